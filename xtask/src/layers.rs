//! The layer rules of docs/architecture.md, held against the sources.
//!
//! GGUF bytes → model → session → sampler → text: data flows one way, `kernels` knows no model, `session` no text, the
//! core no host, a host no other host, modules do not go in circles ([`circles`]), and unsafe has few addresses. The sources are
//! read as tokens, so comments and strings cannot mislead and macros cannot hide. Tests (`#[cfg(test)]`) may use what they
//! like, but not unsafe elsewhere.

mod circles;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Each top-level module of the core and the others it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("weights", &["kernels"]),
    ("model", &["gguf", "kernels", "team", "weights"]),
    ("session", &["kernels", "model", "team", "weights"]),
    ("sampler", &["kernels"]),
    ("text", &["gguf"]),
];

/// Names of the core that are crates of their own, which know nothing of it.
const CRATES_WITHIN: [&str; 3] = ["gguf", "kernels", "team"];

/// What only a host has.
const HOST_ONLY: &[&str] = &["env", "fs", "io", "net", "os", "process", "thread", "time"];
const HOST_MACROS: &[&str] = &["dbg", "eprint", "eprintln", "print", "println"];

/// The files and folders where unsafe may stand.
const UNSAFE: &[&str] = &[
    "core/grammar/src/clock.rs",
    "core/kernels/src/isa/",
    "core/kernels/src/cast.rs",
    "core/kernels/src/float_env.rs",
    "core/kernels/src/team.rs",
    "native/machine/src/cpu.rs",
    "native/machine/src/file/",
    "native/machine/src/fork_join.rs",
    "wasi-host/guest/src/component/mapped.rs",
    "wasi-host/src/sandbox/memory.rs",
    "wasi-host/src/sandbox/runtime.rs",
    "wasm-web/src/team.rs",
];

/// Each crate and those of this repository it may depend on (its tests, on any). Hosts (from `picolm` on) do not know each other.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("picolm-unicode", &[]),
    ("picolm-gguf", &[]),
    ("picolm-grammar", &[]),
    ("picolm-kernels", &[]),
    ("picolm-template", &["picolm-unicode"]),
    ("picolm-core", &["picolm-gguf", "picolm-kernels", "picolm-template", "picolm-unicode"]),
    ("picolm-engine", &["picolm-core", "picolm-grammar"]),
    ("picolm-machine", &["picolm-core"]),
    ("picolm-server", &["picolm-core", "picolm-engine"]),
    ("picolm", &["picolm-core", "picolm-engine", "picolm-grammar", "picolm-machine"]),
    ("picolm-web", &["picolm-core", "picolm-engine", "picolm-machine"]),
    ("picolm-web-grammar", &["picolm-grammar"]),
    ("picolm-guest", &["picolm-core", "picolm-engine"]),
    ("picolm-host", &["picolm-core", "picolm-engine", "picolm-machine", "picolm-server"]),
    ("picolm-benches", &["picolm-core", "picolm-machine"]),
    ("picolm-fuzz", &["picolm-core", "picolm-grammar"]),
    ("picolm-client-guest", &[]),
    ("picolm-hostile-guest", &[]),
    ("picolm-web-build", &[]),
    ("xtask", &[]),
];

/// Every breach, as `file:line: what`, for the repository at `root`.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ["));
    let members = members.context("Cargo.toml has no line of members")?.split('"').skip(1).step_by(2);
    let (mut faults, mut files) = (Vec::new(), Vec::new());
    for member in members.chain(["fuzz"]) {
        let manifest = format!("{member}/Cargo.toml");
        faults.extend(check_manifest(&manifest, &fs::read_to_string(root.join(&manifest))?));
        // Integration tests are not read: they need unsafe to count allocations, say.
        if !member.contains("/tests/") {
            rust_files(&root.join(member).join(if member == "fuzz" { "" } else { "src" }), &mut files)?;
        }
    }
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        let name = file.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
        sources.push((name, fs::read_to_string(&file)?));
    }
    faults.extend(check_sources(&sources)?);
    Ok(faults)
}

/// What a `Cargo.toml` depends on that it may not.
fn check_manifest(name: &str, text: &str) -> Vec<String> {
    let (mut package, mut section, mut faults) = ("", "", Vec::new());
    for (line, number) in text.lines().zip(1..) {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            section = header;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        if section == "package" && key.trim() == "name" {
            package = value.trim().trim_matches('"');
        }
        // `[dependencies]`, `[target.….dependencies]`, `[dependencies.x]`, but not of tests.
        let dependency = match section.split_once("dependencies.") {
            Some((_, dependency)) if line.starts_with('[') => dependency,
            None if section.ends_with("dependencies") => key.split('.').next().unwrap_or("").trim(),
            _ => continue,
        };
        let ours = MAY_DEPEND_ON.iter().any(|(crate_, _)| *crate_ == dependency) || dependency.starts_with("picolm");
        let allowed =
            MAY_DEPEND_ON.iter().find(|(crate_, _)| *crate_ == package).map_or(&[][..], |(_, allowed)| allowed);
        if ours && !section.starts_with("dev-") && !allowed.contains(&dependency) {
            faults.push(format!("{name}:{number}: {package} must not depend on {dependency}"));
        }
    }
    if !MAY_DEPEND_ON.iter().any(|(crate_, _)| *crate_ == package) {
        faults.push(format!("{name}: a new crate; say what it may depend on in xtask/src/layers.rs"));
    }
    faults
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The same for (path in the repository, text) pairs.
fn check_sources(sources: &[(String, String)]) -> Result<Vec<String>> {
    let mut parsed = Vec::new();
    for (name, text) in sources {
        let tokens = text.parse::<TokenStream>().map_err(|error| anyhow!("{name}: {error}"))?;
        parsed.push((name.as_str(), tokens));
    }
    let mut modules: HashSet<&str> = sources.iter().filter_map(|(name, _)| top_module(name)).collect();
    let mut test_modules = HashSet::new();
    for (name, tokens) in &parsed {
        without_tests(tokens.clone(), &mut |test| _ = test_modules.insert(format!("{}{test}", children_of(name))));
    }
    let is_test = |name: &str| test_modules.iter().any(|module| name.starts_with(module.as_str()));

    let mut faults = circles::find(&parsed);
    for module in &modules {
        if !MAY_USE.iter().any(|(name, _)| name == module) {
            faults
                .push(format!("core/src/{module}: a new top-level module; say what it may use in xtask/src/layers.rs"));
        }
    }
    modules.extend(CRATES_WITHIN);
    for (name, tokens) in parsed {
        if !UNSAFE.iter().any(|place| name.starts_with(place)) {
            find_unsafe(tokens.clone(), &mut |line| faults.push(format!("{name}:{line}: unsafe outside its places")));
        }
        if name.starts_with("core/src/") && name != "core/src/lib.rs" && !is_test(name) {
            let mut file = CoreFile { name, modules: &modules, faults: &mut faults };
            file.scan(without_tests(tokens, &mut |_| ()));
        }
    }
    faults.sort();
    Ok(faults)
}

/// `core/src/model/arch/llama.rs` belongs to `model`, `core/src/weights.rs` to `weights`.
fn top_module(file: &str) -> Option<&str> {
    let first = file.strip_prefix("core/src/")?.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first)).filter(|name| *name != "lib")
}

/// The path prefix of the modules a file declares: `a/b.rs`, `a/b/mod.rs` -> `a/b/`.
fn children_of(file: &str) -> String {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let stem = ["/mod", "/lib", "/main"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(stem);
    format!("{stem}/")
}

/// Drops what stands behind `#[cfg(test)]`, up to its body or semicolon, and reports modules in files of their own.
fn without_tests(tokens: TokenStream, test_module: &mut dyn FnMut(&str)) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let cfg_test = is_punct(&token, '#')
            && tokens.peek().is_some_and(|next| next.to_string().replace(' ', "") == "[cfg(test)]");
        if !cfg_test {
            kept.push(token);
            continue;
        }
        let mut last = String::new();
        for skipped in tokens.by_ref() {
            match skipped {
                TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => break,
                TokenTree::Punct(end) if end.as_char() == ';' => {
                    test_module(&last);
                    break;
                }
                other => last = other.to_string(),
            }
        }
    }
    kept
}

fn find_unsafe(tokens: TokenStream, found: &mut dyn FnMut(usize)) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => find_unsafe(group.stream(), found),
            TokenTree::Ident(word) if word == "unsafe" => found(word.span().start().line),
            _ => {}
        }
    }
}

/// One file of the core, being read.
struct CoreFile<'a> {
    name: &'a str,
    modules: &'a HashSet<&'a str>,
    faults: &'a mut Vec<String>,
}

impl CoreFile<'_> {
    fn scan(&mut self, tokens: Vec<TokenTree>) {
        // How many `super`s lead from this file to the root of the crate.
        let depth = children_of(self.name).matches('/').count() - 2;
        let mut supers = 0;
        for i in 0..tokens.len() {
            let word = match &tokens[i] {
                TokenTree::Group(group) => {
                    self.scan(without_tests(group.stream(), &mut |_| ()));
                    continue;
                }
                TokenTree::Ident(word) => word.to_string(),
                _ => continue,
            };
            if HOST_MACROS.contains(&word.as_str()) && tokens.get(i + 1).is_some_and(|next| is_punct(next, '!')) {
                self.fault(&tokens[i], &format!("{word}! in the core, which has no host"));
            }
            if !is_path_separator(&tokens[i + 1..]) {
                supers = 0;
                continue;
            }
            supers = if word == "super" { supers + 1 } else { 0 };
            let Some(next) = tokens.get(i + 3) else { continue };
            match word.as_str() {
                "crate" => self.each_first(next, &mut |file, at, name| file.use_of(at, name, true)),
                "super" if supers >= depth => self.each_first(next, &mut |file, at, name| file.use_of(at, name, false)),
                "std" => self.each_first(next, &mut |file, at, name| {
                    if HOST_ONLY.contains(&name) {
                        file.fault(at, &format!("std::{name} in the core, which has no host"));
                    }
                }),
                _ => {}
            }
        }
    }

    /// The first names of what follows `crate::`: one, or several in braces.
    fn each_first(&mut self, next: &TokenTree, found: &mut dyn FnMut(&mut Self, &TokenTree, &str)) {
        match next {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let mut at_start = true;
                for token in group.stream() {
                    if at_start {
                        found(self, &token, &token.to_string());
                    }
                    at_start = is_punct(&token, ',');
                }
            }
            TokenTree::Ident(name) => found(self, next, &name.to_string()),
            _ => {}
        }
    }

    /// A use of `crate::name`. Behind `super`, which may stop at a module inside the file, unknown names are let be.
    fn use_of(&mut self, at: &TokenTree, name: &str, certain: bool) {
        let own = top_module(self.name).unwrap_or_default();
        let allowed = MAY_USE.iter().find(|(module, _)| *module == own).map_or(&[][..], |(_, allowed)| allowed);
        if name == own || allowed.contains(&name) {
            return;
        }
        if self.modules.contains(name) {
            self.fault(at, &format!("{own} must not use {name}"));
        } else if certain {
            self.fault(at, &format!("crate::{name} hides its module: name it in full"));
        }
    }

    fn fault(&mut self, at: &TokenTree, what: &str) {
        self.faults.push(format!("{}:{}: {what}", self.name, at.span().start().line));
    }
}

fn is_punct(token: &TokenTree, c: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == c)
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    tokens.len() >= 2 && is_punct(&tokens[0], ':') && is_punct(&tokens[1], ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(sources: &[(&str, &str)]) -> Vec<String> {
        // All modules exist, so that names are known.
        let mut all: Vec<_> =
            MAY_USE.iter().map(|(name, _)| (format!("core/src/{name}/mod.rs"), String::new())).collect();
        all.extend(sources.iter().map(|(name, text)| (name.to_string(), text.to_string())));
        check_sources(&all).unwrap()
    }

    #[test]
    fn paths_upward_are_found_in_every_spelling() {
        for text in [
            "use crate::session::Session;",
            "use crate::{gguf, session};",
            "fn f() { let x = crate::session::new(); }",
            "macro_rules! m { () => { $crate::session::new() } }",
            "use super::super::super::session::Session;",
            "use super::super::super::{gguf, session as s};",
        ] {
            assert_eq!(
                faults(&[("core/src/model/arch/llama.rs", text)]),
                ["core/src/model/arch/llama.rs:1: model must not use session"]
            );
        }
        assert_eq!(
            faults(&[("core/src/weights.rs", "\nuse super::text::X;")]),
            ["core/src/weights.rs:2: weights must not use text"]
        );
    }

    #[test]
    fn kernels_are_not_for_everyone() {
        assert_eq!(
            faults(&[("core/src/text/x.rs", "use crate::kernels::Format;")]),
            ["core/src/text/x.rs:1: text must not use kernels"]
        );
    }

    #[test]
    fn what_is_allowed_passes() {
        let text = "// crate::session\n/// [`crate::session`]\nuse crate::{gguf::Gguf, kernels, model::arch}; \
                    use super::session; const S: &str = \"crate::session unsafe std::fs\"; use std::collections::HashMap;";
        assert_eq!(faults(&[("core/src/model/arch/llama.rs", text)]), [""; 0]);
    }

    #[test]
    fn names_without_a_module_are_not_let_through() {
        let found = faults(&[("core/src/text/x.rs", "use crate::Session;"), ("core/src/new.rs", "")]);
        assert_eq!(
            found,
            [
                "core/src/new: a new top-level module; say what it may use in xtask/src/layers.rs",
                "core/src/text/x.rs:1: crate::Session hides its module: name it in full"
            ]
        );
    }

    #[test]
    fn the_core_has_no_host() {
        let found = faults(&[(
            "core/src/text/x.rs",
            "use std::{fmt, time::Instant};\nfn f() { println!(\"{}\", std::env::args()) }",
        )]);
        assert_eq!(
            found,
            [
                "core/src/text/x.rs:1: std::time in the core, which has no host",
                "core/src/text/x.rs:2: println! in the core, which has no host",
                "core/src/text/x.rs:2: std::env in the core, which has no host"
            ]
        );
    }

    #[test]
    fn tests_may_use_what_they_like_but_not_unsafe() {
        let text = "#[cfg(test)]\nmod tests { use crate::session; use std::fs; fn f() { unsafe {} } }\n\
                    #[cfg(test)] use crate::session;\n#[cfg(test)] mod checks;\nuse crate::text;";
        assert_eq!(
            faults(&[("core/src/model/x.rs", text), ("core/src/model/x/checks.rs", "use crate::session;")]),
            ["core/src/model/x.rs:2: unsafe outside its places", "core/src/model/x.rs:5: model must not use text"]
        );
    }

    #[test]
    fn hosts_do_not_depend_on_each_other_nor_the_core_on_a_host() {
        let check =
            |package: &str, rest: &str| check_manifest("x", &format!("[package]\nname = \"{package}\"\n{rest}"));
        let bad = "x:4: picolm-core must not depend on picolm";
        for rest in
            ["[dependencies]\npicolm.workspace = true", "[target.'cfg(unix)'.dependencies]\npicolm = { path = \"a\" }"]
        {
            assert_eq!(check("picolm-core", rest), [bad]);
        }
        assert_eq!(check("picolm-core", "\n[dependencies.picolm]\nversion = \"1\""), [bad]);
        assert_eq!(
            check("picolm-web", "[dependencies]\npicolm-guest = \"1\""),
            ["x:4: picolm-web must not depend on picolm-guest"]
        );
        let fine = "[dependencies]\nlibm.workspace = true\npicolm-gguf.workspace = true\n[dev-dependencies]\npicolm.workspace = true\n[features]\npicolm = []";
        assert_eq!(check("picolm-core", fine), [""; 0]);
        assert_eq!(check("picolm-new", ""), ["x: a new crate; say what it may depend on in xtask/src/layers.rs"]);
    }

    #[test]
    fn unsafe_has_its_places() {
        let text = "pub unsafe fn f() {}";
        let places = ["core/kernels/src/isa/x86_64/avx2.rs", "native/machine/src/cpu.rs"].map(|place| (place, text));
        assert_eq!(faults(&places), [""; 0]);
        assert_eq!(faults(&[("native/src/main.rs", text)]), ["native/src/main.rs:1: unsafe outside its places"]);
    }
}
