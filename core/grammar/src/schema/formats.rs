//! Formats of strings.

/// How a format is enforced.
pub(super) enum Format {
    /// By an expression for the whole string, with so many characters at most.
    Pattern(String, Option<u64>),
    /// By llguidance's expression of that name.
    Named(&'static str),
}

/// A format by its name. What is not here cannot be enforced. Some are narrower than their definition: internationalised names have only ASCII
/// ones, references are whole, minutes have no leap seconds.
pub(super) fn find(name: &str) -> Option<Format> {
    // Leap years: those that 4 divides, but for whole centuries, of which 400 has to divide them.
    let leap = "(?:[0-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)";
    let date = format!(
        "(?:[0-9]{{4}}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)\
         |02-(?:0[1-9]|1[0-9]|2[0-8]))|{leap}-02-29)"
    );
    let time = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]+)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";
    let pointer = "(?:/(?:[^~/]|~[01])*)*";
    let whole = |pattern: String| Some(Format::Pattern(format!("^(?:{pattern})$"), None));
    // Of 63 characters at most, and without two hyphens at the third: what stands behind those is encoded.
    let label = "(?:[0-9A-Za-z](?:[0-9A-Za-z-]{0,2}[0-9A-Za-z])?\
                 |[0-9A-Za-z][0-9A-Za-z-](?:[0-9A-Za-z][0-9A-Za-z-]|-[0-9A-Za-z])[0-9A-Za-z-]{0,58}[0-9A-Za-z])";
    let named = |name| Some(Format::Named(name));
    match name {
        "date" => whole(date),
        "time" => whole(time.into()),
        "date-time" => whole(format!("{date}[Tt]{time}")),
        "json-pointer" => whole(pointer.into()),
        "relative-json-pointer" => whole(format!("(?:0|[1-9][0-9]*)(?:#|{pointer})")),
        "duration" => named("duration"),
        "email" | "idn-email" => named("email"),
        "hostname" | "idn-hostname" => Some(Format::Pattern(format!("^{label}(?:\\.{label})*$"), Some(253))),
        "ipv4" => named("ipv4"),
        "ipv6" => named("ipv6"),
        "uuid" => named("uuid"),
        "uri" | "iri" | "url" | "uri-reference" | "iri-reference" => named("uri"),
        _ => None,
    }
}
