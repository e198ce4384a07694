//! Circles between the modules of a crate.
//!
//! A file and its parts (a module and those within it) are one thing and may know each other. Between siblings, each with all of its
//! parts, arrows must not come back. An arrow is a path that begins with `crate`, `super` or `self`, or a `use` of what the
//! module has; a name that another module only hands on (`use`, `pub use`, `*`) counts as a use of where it comes from.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{children_of, is_path_separator, is_punct, without_tests};

/// A place in the tree of modules; the root is empty.
type Path = Vec<String>;

/// Arrows between the children of one module: from, to, and the first place where it is drawn.
type Arrows = BTreeMap<String, BTreeMap<String, String>>;

/// A module, as its file has it.
#[derive(Default)]
struct Module {
    children: HashSet<String>,
    items: HashSet<String>,
    /// What `use` brings, by the name it has here: paths as they are written.
    imports: HashMap<String, Path>,
    globs: Vec<Path>,
    /// All paths as they are written, and where.
    uses: Vec<(Path, String)>,
}

/// All circles of the crates whose roots (`src/lib.rs`, `src/main.rs`) are among the files: `folder: a -> b -> a (file:line, file:line)`.
pub(super) fn find(files: &[(&str, TokenStream)]) -> Vec<String> {
    let by_name: HashMap<&str, &TokenStream> = files.iter().map(|(name, tokens)| (*name, tokens)).collect();
    let mut found = Vec::new();
    for (name, tokens) in files {
        let Some(folder) = ["/lib.rs", "/main.rs"].iter().find_map(|root| name.strip_suffix(root)) else { continue };
        if folder.ends_with("/src") {
            let mut tree = Tree::default();
            tree.read(Path::new(), name, (*tokens).clone(), &by_name);
            found.extend(tree.circles().into_iter().map(|circle| format!("{folder}{circle}")));
        }
    }
    found
}

/// The modules of a crate.
#[derive(Default)]
struct Tree(BTreeMap<Path, Module>);

impl Tree {
    fn read(&mut self, at: Path, file: &str, tokens: TokenStream, files: &HashMap<&str, &TokenStream>) {
        let mut module = Module::default();
        let tokens = without_tests(tokens, &mut |_| ());
        for i in 0..tokens.len() {
            let (TokenTree::Ident(word), Some(TokenTree::Ident(name))) = (&tokens[i], tokens.get(i + 1)) else {
                continue;
            };
            let name = name.to_string();
            match word.to_string().as_str() {
                "mod" => {
                    let child = [&at[..], std::slice::from_ref(&name)].concat();
                    if let Some(TokenTree::Group(body)) = tokens.get(i + 2) {
                        self.read(child, file, body.stream(), files);
                    } else {
                        let stem = format!("{}{name}", children_of(file));
                        let names = [format!("{stem}.rs"), format!("{stem}/mod.rs")];
                        if let Some(name) = names.iter().find(|name| files.contains_key(name.as_str())) {
                            self.read(child, name, files[name.as_str()].clone(), files);
                        }
                    }
                    module.children.insert(name);
                }
                "fn" | "struct" | "enum" | "union" | "trait" | "const" | "static" | "type" => {
                    module.items.insert(name);
                }
                _ => {}
            }
        }
        module.scan(&tokens, file, true);
        self.0.insert(at, module);
    }

    /// The module that a path, as it is written in `from`, leads into; none if it leaves the crate.
    fn resolve(&self, from: &Path, path: &[String], steps: usize) -> Option<Path> {
        let (mut at, mut rest) = match path.first()?.as_str() {
            "crate" => (Path::new(), &path[1..]),
            "self" => (from.clone(), &path[1..]),
            "super" => (from[..from.len().checked_sub(1)?].to_vec(), &path[1..]),
            name => match self.0[from].children.contains(name) || self.0[from].imports.contains_key(name) {
                true => (from.clone(), path),
                false => return None,
            },
        };
        while let Some((name, after)) = rest.split_first() {
            let module = self.0.get(&at)?;
            match name.as_str() {
                "super" => _ = at.pop()?,
                "self" => {}
                _ if module.children.contains(name) => at.push(name.clone()),
                _ if steps == 0 => return Some(at),
                _ => match module.imports.get(name).filter(|import| import.first() != Some(name)) {
                    Some(import) => return self.resolve(&at, &[import, after].concat(), steps - 1),
                    None => return Some(self.through_globs(&at, name, steps).unwrap_or(at)),
                },
            }
            rest = after;
        }
        self.0.contains_key(&at).then_some(at)
    }

    /// Where a name comes from that a module may have by `use …::*`.
    fn through_globs(&self, at: &Path, name: &String, steps: usize) -> Option<Path> {
        let mut origins = self.0[at].globs.iter().filter_map(|glob| self.resolve(at, glob, steps - 1));
        origins.find(|origin| self.0[origin].items.contains(name) || self.0[origin].imports.contains_key(name))
    }

    /// The arrows between the children of each module.
    fn arrows(&self) -> BTreeMap<Path, Arrows> {
        let mut arrows: BTreeMap<Path, Arrows> = BTreeMap::new();
        for (from, module) in &self.0 {
            for (path, place) in &module.uses {
                let Some(to) = self.resolve(from, path, 16) else { continue };
                let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
                if let (Some(a), Some(b)) = (from.get(common), to.get(common)) {
                    let between = arrows.entry(from[..common].to_vec()).or_default();
                    between.entry(a.clone()).or_default().entry(b.clone()).or_insert_with(|| place.clone());
                }
            }
        }
        arrows
    }

    /// For each arrow the shortest way back.
    fn circles(&self) -> BTreeSet<String> {
        let mut circles = BTreeSet::new();
        for (parent, arrows) in self.arrows() {
            let within: String = parent.iter().map(|name| format!("/{name}")).collect();
            for from in arrows.keys() {
                for to in arrows[from].keys() {
                    let Some(mut ring) = way(&arrows, to, from) else { continue };
                    let first = (0..ring.len()).min_by_key(|&i| ring[i]).unwrap_or(0);
                    ring.rotate_left(first);
                    ring.push(ring[0]);
                    let places: Vec<&str> = ring.windows(2).map(|pair| arrows[pair[0]][pair[1]].as_str()).collect();
                    circles.insert(format!("{within}: {} ({})", ring.join(" -> "), places.join(", ")));
                }
            }
        }
        circles
    }
}

/// The shortest way along arrows, both ends included.
fn way<'a>(arrows: &'a Arrows, from: &'a str, to: &'a str) -> Option<Vec<&'a str>> {
    let mut before: HashMap<&str, &str> = HashMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(at) = queue.pop_front() {
        if at == to {
            let mut way = vec![to];
            while way[way.len() - 1] != from {
                way.push(before[way[way.len() - 1]]);
            }
            way.reverse();
            return Some(way);
        }
        for next in arrows.get(at).into_iter().flat_map(|all| all.keys()) {
            if next != from && !before.contains_key(next.as_str()) {
                before.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    None
}

impl Module {
    /// Collects paths; `outside` of all braces, what `use` brings as well.
    fn scan(&mut self, tokens: &[TokenTree], file: &str, outside: bool) {
        let mut i = 0;
        while i < tokens.len() {
            let word = match &tokens[i] {
                TokenTree::Ident(word) => word.to_string(),
                TokenTree::Group(group) => {
                    let is_module = i > 1 && tokens[i - 2].to_string() == "mod";
                    if !(outside && is_module) {
                        self.scan(&without_tests(group.stream(), &mut |_| ()), file, false);
                    }
                    String::new()
                }
                _ => String::new(),
            };
            let place = format!("{file}:{}", tokens[i].span().start().line);
            let after_path = i > 1 && is_path_separator(&tokens[i - 2..]);
            if word == "use" {
                let end = tokens[i..].iter().position(|token| is_punct(token, ';')).map_or(tokens.len(), |n| i + n);
                self.tree(&tokens[i + 1..end], &Path::new(), &place, outside);
                i = end;
            } else if matches!(word.as_str(), "crate" | "super" | "self") && !after_path {
                let mut path = vec![word];
                while let (true, Some(TokenTree::Ident(name))) =
                    (is_path_separator(&tokens[i + 1..]), tokens.get(i + 3))
                {
                    path.push(name.to_string());
                    i += 3;
                }
                if path.len() > 1 {
                    self.uses.push((path, place));
                }
            }
            i += 1;
        }
    }

    /// What stands behind `use`: a path, and perhaps braces, a star or another name at its end.
    fn tree(&mut self, tokens: &[TokenTree], before: &Path, place: &str, outside: bool) {
        let (mut path, mut name) = (before.clone(), None);
        for (i, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(word) if word == "as" => {
                    name = tokens.get(i + 1).map(ToString::to_string);
                    break;
                }
                // `a::{self}` is `a`.
                TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    let all: Vec<TokenTree> = group.stream().into_iter().collect();
                    all.split(|token| is_punct(token, ',')).for_each(|one| self.tree(one, &path, place, outside));
                    return;
                }
                TokenTree::Punct(star) if star.as_char() == '*' => {
                    self.uses.push((path.clone(), place.into()));
                    self.globs.extend(outside.then_some(path));
                    return;
                }
                _ => {}
            }
        }
        let Some(last) = path.last() else { return };
        if outside {
            self.imports.insert(name.unwrap_or_else(|| last.clone()), path.clone());
        }
        self.uses.push((path, place.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let parsed: Vec<_> = files.iter().map(|(name, text)| (*name, text.parse().expect("Rust"))).collect();
        find(&parsed)
    }

    #[test]
    fn siblings_that_know_each_other_are_a_circle_in_every_spelling() {
        for (a, b) in [
            ("use crate::b::B;", "use crate::a::A;"),
            ("use super::b;", "fn f() { super::a::g() }"),
            ("use crate::{b::{B, C}, other};", "use super::{a as c};"),
            ("macro_rules! m { () => { $crate::b::f() } }", "use crate::a::*;"),
            // The root only hands on.
            ("use crate::B;", "use super::A;"),
            ("use crate::C;", "use super::A;"),
            ("use crate::D;", "use super::A;"),
        ] {
            let root = "mod a; mod b; pub use a::A; pub use b::{B, B as C}; pub use b::*;";
            let found = circles(&[("x/src/lib.rs", root), ("x/src/a.rs", a), ("x/src/b.rs", &format!("struct D;{b}"))]);
            assert_eq!(found, ["x/src: a -> b -> a (x/src/a.rs:1, x/src/b.rs:1)"], "{a} {b}");
        }
    }

    #[test]
    fn a_file_and_its_parts_may_know_each_other_and_arrows_one_way_are_fine() {
        let found = circles(&[
            ("x/src/main.rs", "mod a; mod b; use a::A; fn f() { b::g() } const ROOT: u8 = 1;"),
            (
                "x/src/a.rs",
                "mod part; use part::Part; use super::b; use crate::ROOT; use std::a::b; mod inner { use super::Part; }",
            ),
            ("x/src/a/part.rs", "use super::A; use crate::a; use super::super::b::B; //! crate::a"),
            (
                "x/src/b/mod.rs",
                "#[cfg(test)] mod tests { use crate::a::A; } #[cfg(test)] use crate::a::A; use core::fmt;",
            ),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn circles_of_parts_and_of_three_are_found() {
        let found = circles(&[
            ("x/src/lib.rs", "mod a; mod b; mod c;"),
            ("x/src/a/mod.rs", "mod p; mod q;"),
            ("x/src/a/p.rs", "use super::q::Q;\nuse crate::b::B;"),
            ("x/src/a/q.rs", "use crate::a::p;"),
            ("x/src/b.rs", "use crate::c::C;"),
            ("x/src/c.rs", "\n\nuse super::a::q;"),
        ]);
        assert_eq!(
            found,
            [
                "x/src/a: p -> q -> p (x/src/a/p.rs:1, x/src/a/q.rs:1)",
                "x/src: a -> b -> c -> a (x/src/a/p.rs:2, x/src/b.rs:1, x/src/c.rs:3)"
            ]
        );
    }
}
