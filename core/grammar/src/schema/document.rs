//! [`Document`]: a schema's text, and the places in it that references name.

use serde_json::Value;
use std::collections::HashMap;

/// A schema as it was read. Places in it are JSON pointers (RFC 6901).
pub(super) struct Document {
    root: Value,
    /// the keyword that names a schema: `$id`, or `id` in draft 4
    id: &'static str,
    /// places by base and anchor
    anchors: HashMap<(String, String), String>,
    /// places by absolute `$id`
    ids: HashMap<String, String>,
}

impl Document {
    pub(super) fn new(root: Value) -> Self {
        let draft = root.get("$schema").and_then(Value::as_str).unwrap_or_default();
        let id = if ["draft-03", "draft-04"].iter().any(|old| draft.contains(old)) { "id" } else { "$id" };
        let mut document = Document { root: Value::Null, id, anchors: HashMap::new(), ids: HashMap::new() };
        document.collect(&root, "", "");
        document.root = root;
        document
    }

    /// What stands at a place.
    pub(super) fn at(&self, pointer: &str) -> Option<&Value> {
        self.root.pointer(pointer)
    }

    /// The place that a reference in the schema at `from` names.
    ///
    /// # Errors
    /// Why it names none: in words.
    pub(super) fn resolve(&self, from: &str, reference: &str) -> Result<String, String> {
        let (resource, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let base = match resource {
            "" => self.base(from),
            _ => self.ids.get(resource).cloned().ok_or_else(|| format!("{reference:?} is outside of the schema"))?,
        };
        let fragment = decode(fragment).ok_or_else(|| format!("{reference:?} is no reference"))?;
        let place = if fragment.is_empty() || fragment.starts_with('/') {
            Some(base + &fragment).filter(|place| self.at(place).is_some())
        } else {
            self.anchors.get(&(base, fragment)).cloned()
        };
        place.ok_or_else(|| format!("{reference:?} is nowhere in the schema"))
    }

    /// The innermost schema around a place that has a name of its own: what `#` means there.
    fn base(&self, place: &str) -> String {
        let ends = place.match_indices('/').map(|(at, _)| at).chain([place.len()]);
        let named = ends.filter(|&end| end == 0 || self.at(&place[..end]).is_some_and(|value| self.is_named(value)));
        place[..named.max().unwrap_or(0)].into()
    }

    fn is_named(&self, value: &Value) -> bool {
        value.get(self.id).and_then(Value::as_str).is_some_and(|id| !id.starts_with('#'))
    }

    fn collect(&mut self, value: &Value, place: &str, base: &str) {
        let base = if self.is_named(value) { place } else { base };
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let text = value.as_str().unwrap_or_default();
                    let anchor = match key.as_str() {
                        "$anchor" | "$dynamicAnchor" => Some(text),
                        key if key == self.id => text.strip_prefix('#'),
                        _ => None,
                    };
                    if let Some(anchor) = anchor.filter(|anchor| !anchor.is_empty()) {
                        self.anchors.insert((base.into(), anchor.into()), place.into());
                    } else if key == self.id && (text.contains("://") || text.starts_with("urn:")) {
                        self.ids.insert(text.trim_end_matches('#').into(), place.into());
                    }
                    // Values are no schemas.
                    if !["const", "enum", "default", "examples"].contains(&key.as_str()) {
                        self.collect(value, &child(place, key), base);
                    }
                }
            }
            Value::Array(items) => {
                (0..).zip(items).for_each(|(at, item): (usize, _)| self.collect(item, &format!("{place}/{at}"), base));
            }
            _ => {}
        }
    }
}

/// The place of a member.
pub(super) fn child(place: &str, key: &str) -> String {
    format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// A fragment without its percent signs.
fn decode(fragment: &str) -> Option<String> {
    let mut parts = fragment.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}
