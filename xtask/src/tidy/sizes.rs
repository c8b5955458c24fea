//! The rule of small rooms: how long a file and a function may be, tests not counted.
//!
//! `exceptions.txt` holds what is longer, with its length. The list only gets shorter: an entry that is no longer
//! needed, or larger than what it is for, is an error, so every step towards the limit is kept.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result, bail};
use syn::{Attribute, Item, spanned::Spanned, visit::Visit};

use super::{Finding, Source};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const EXCEPTIONS: &str = include_str!("exceptions.txt");
const EXCEPTIONS_PATH: &str = "xtask/src/tidy/exceptions.txt";

/// What has a size: a file, or a function in one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    File(String),
    Function(String, String),
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Room::File(path) => write!(f, "file {path}"),
            Room::Function(path, name) => write!(f, "function {path} {name}"),
        }
    }
}

impl Room {
    fn limit(&self) -> usize {
        match self {
            Room::File(_) => FILE_LINES,
            Room::Function(..) => FUNCTION_LINES,
        }
    }
}

pub(super) fn check(sources: &[Source]) -> Result<Vec<Finding>> {
    let mut rooms = BTreeMap::new();
    for source in sources
        .iter()
        .filter(|source| source.is("rs") && !source.is_generated() && !is_test(source))
    {
        measure(source, &mut rooms)?;
    }
    Ok(compare(&rooms, &exceptions(EXCEPTIONS)?))
}

/// Whether a whole file is tests: by its place.
fn is_test(source: &Source) -> bool {
    let in_tests = source.path.components().any(|part| part.as_os_str() == "tests");
    let stem = source.path.file_stem().unwrap_or_default().to_string_lossy();
    in_tests || stem == "tests" || stem.ends_with("_tests")
}

fn compare(rooms: &BTreeMap<Room, usize>, exceptions: &BTreeMap<Room, usize>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (room, lines) in rooms {
        let limit = exceptions.get(room).copied().unwrap_or(room.limit());
        if *lines > limit {
            findings.push(Finding::new(room, format!("{lines} lines, {limit} are allowed")));
        }
    }
    for (room, allowed) in exceptions {
        let lines = rooms.get(room).copied().unwrap_or_default();
        if lines <= room.limit() {
            findings.push(Finding::new(
                EXCEPTIONS_PATH,
                format!("{room} needs no exception any more: take it out"),
            ));
        } else if lines < *allowed {
            findings.push(Finding::new(
                EXCEPTIONS_PATH,
                format!("{room} has become shorter: write {lines}"),
            ));
        }
    }
    findings
}

/// Reads lines of `file PATH LINES` and `function PATH NAME LINES`; `#` begins a comment.
fn exceptions(text: &str) -> Result<BTreeMap<Room, usize>> {
    let mut exceptions = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (room, lines) = match line.split(' ').collect::<Vec<_>>()[..] {
            ["file", path, lines] => (Room::File(path.to_owned()), lines),
            ["function", path, name, lines] => (Room::Function(path.to_owned(), name.to_owned()), lines),
            _ => bail!("{EXCEPTIONS_PATH}: cannot read {line:?}"),
        };
        let lines = lines
            .parse()
            .with_context(|| format!("{EXCEPTIONS_PATH}: {line:?}"))?;
        if exceptions.insert(room, lines).is_some() {
            bail!("{EXCEPTIONS_PATH}: {line:?} is there twice");
        }
    }
    Ok(exceptions)
}

fn measure(source: &Source, rooms: &mut BTreeMap<Room, usize>) -> Result<()> {
    let path = source.place().to_string();
    let file = syn::parse_file(&source.text).with_context(|| format!("cannot parse {path}"))?;
    let tests: usize = file
        .items
        .iter()
        .filter(|item| is_for_tests(attributes(item)))
        .map(lines)
        .sum();
    rooms.insert(Room::File(path.clone()), source.text.lines().count() - tests);
    let mut functions = Functions {
        path,
        place: Vec::new(),
        rooms,
    };
    functions.visit_file(&file);
    Ok(())
}

/// Walks over the functions of a file and knows which type or module each is in.
struct Functions<'a> {
    path: String,
    place: Vec<String>,
    rooms: &'a mut BTreeMap<Room, usize>,
}

impl Functions<'_> {
    fn function(&mut self, name: &syn::Ident, lines: usize) {
        let mut full = self.place.clone();
        full.push(name.to_string());
        // Two functions of one name (impls of one trait for several types print alike): the longest counts.
        let room = Room::Function(self.path.clone(), full.join("::"));
        let longest = self.rooms.entry(room).or_default();
        *longest = lines.max(*longest);
    }

    fn within(&mut self, place: String, visit: impl FnOnce(&mut Self)) {
        self.place.push(place);
        visit(self);
        self.place.pop();
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig.ident, between(&item.sig, &item.block));
        self.within(item.sig.ident.to_string(), |this| {
            syn::visit::visit_item_fn(this, item)
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig.ident, between(&item.sig, &item.block));
        self.within(item.sig.ident.to_string(), |this| {
            syn::visit::visit_impl_item_fn(this, item)
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig.ident, between(&item.sig, block));
        }
        syn::visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let name = match &*item.self_ty {
            syn::Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        self.within(name.unwrap_or_else(|| "impl".to_owned()), |this| {
            syn::visit::visit_item_impl(this, item)
        });
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.within(item.ident.to_string(), |this| {
            syn::visit::visit_item_trait(this, item)
        });
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.within(item.ident.to_string(), |this| {
            syn::visit::visit_item_mod(this, item)
        });
    }
}

/// The lines that an item takes, its attributes and documentation included.
fn lines(item: &Item) -> usize {
    let span = item.span();
    span.end().line + 1 - span.start().line
}

/// The lines from a signature to the end of its body.
fn between(signature: &syn::Signature, block: &syn::Block) -> usize {
    block.span().end().line + 1 - signature.span().start().line
}

/// Whether an item exists only in tests.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute
            .meta
            .require_list()
            .map(|list| list.tokens.to_string())
            .unwrap_or_default();
        attribute.path().is_ident("test") || (attribute.path().is_ident("cfg") && condition == "test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    fn rooms(text: &str) -> BTreeMap<Room, usize> {
        let mut rooms = BTreeMap::new();
        measure(&source("a.rs", text), &mut rooms).unwrap();
        rooms
    }

    fn function(name: &str) -> Room {
        Room::Function("a.rs".to_owned(), name.to_owned())
    }

    #[test]
    fn functions_are_measured_from_signature_to_end_wherever_they_are() {
        let text = "/// Says.\n#[must_use]\nfn a(\n    b: u8,\n) {\n}\nstruct S;\nimpl S {\n    fn m() {\n        fn inner() {}\n    }\n}\n\
                    trait T {\n    fn d() {\n    }\n    fn no_body();\n}\nmod m {\n    async fn f() {}\n}\n";
        let rooms = rooms(text);
        let expected = [
            ("S::m", 3),
            ("S::m::inner", 1),
            ("T::d", 2),
            ("a", 4),
            ("m::f", 1),
        ];
        for (name, lines) in expected {
            assert_eq!(rooms.get(&function(name)), Some(&lines), "{name}");
        }
        assert_eq!(rooms.len(), expected.len() + 1);
    }

    #[test]
    fn tests_do_not_count_wherever_they_stand() {
        let text = "fn a() {}\n\n/// For tests.\n#[cfg(test)]\nfn b() {\n}\n\nfn c() {}\n\n#[cfg(test)]\nmod tests {\n    fn d() {}\n}\n";
        let rooms = rooms(text);
        assert_eq!(rooms.get(&Room::File("a.rs".to_owned())), Some(&5));
        assert_eq!(rooms.get(&function("tests::d")), None);
        assert_eq!(rooms.get(&function("c")), Some(&1));
        assert!(
            is_test(&source("crates/a/tests/b.rs", "")) && is_test(&source("crates/a/src/b/tests.rs", ""))
        );
        assert!(!is_test(&source("crates/a/src/attestation.rs", "")));
    }

    #[test]
    fn what_is_too_long_is_found() {
        let long = |count| format!("fn a() {{\n{}}}\n", "    b();\n".repeat(count));
        assert_eq!(compare(&rooms(&long(68)), &BTreeMap::new()), []);
        assert_eq!(compare(&rooms(&long(69)), &BTreeMap::new()).len(), 1);
        assert_eq!(
            compare(&rooms(&long(600)), &BTreeMap::new()).len(),
            2,
            "the function and the file"
        );
    }

    #[test]
    fn the_list_of_exceptions_may_only_shrink() {
        let rooms = rooms(&format!("fn a() {{\n{}}}\n", "    b();\n".repeat(78)));
        for (entry, found) in [
            ("# why\nfunction a.rs a 80\n", 0),
            ("function a.rs a 79\n", 1),
            ("function a.rs a 81\n", 1),
            ("function a.rs a 80\nfunction a.rs gone 90\n", 1),
            ("function a.rs a 80\nfile a.rs 600\n", 1),
        ] {
            assert_eq!(
                compare(&rooms, &exceptions(entry).unwrap()).len(),
                found,
                "{entry}"
            );
        }
        assert!(exceptions("function a.rs 80\nfile").is_err());
        assert!(exceptions("file a.rs x").is_err());
        assert!(exceptions("file a.rs 600\nfile a.rs 600").is_err());
    }
}
