use super::imports::{self, Import};
use super::modules;
use super::{boundary, circles, order};
use std::collections::BTreeSet;
use std::path::Path;

/// The imports of a crate `k` with these files, as `from -> to`.
fn edges(files: &[(&str, &str)]) -> Vec<String> {
    let mut edges: Vec<_> =
        imports_of(files).into_iter().map(|import| format!("{} -> {}", import.from, import.to)).collect();
    edges.dedup();
    edges
}

fn imports_of(files: &[(&str, &str)]) -> Vec<Import> {
    imports::of(&modules_of(files))
}

fn modules_of(files: &[(&str, &str)]) -> Vec<modules::Module> {
    let read = |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned());
    modules::load("k", Path::new("lib.rs"), &read).unwrap()
}

fn edge(from: &str, to: &str) -> Import {
    Import { from: from.to_owned(), to: to.to_owned(), file: "x.rs".into(), line: 7, path: "p".to_owned() }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The imports of a module `a` with this text, whose siblings are `b`, `c` and `b::d`, each with an item of its own.
fn from_a(text: &str) -> Vec<String> {
    let root = "mod a; mod b; mod c; pub struct Root;";
    let files = [
        ("lib.rs", root),
        ("a.rs", text),
        (
            "b.rs",
            "pub mod d; pub struct B; pub use self::d::Moved; pub use std::sync::Arc; macro_rules! made { () => {} } made!();",
        ),
        ("b/d.rs", "pub struct D; pub struct Moved;"),
        ("c.rs", "pub struct C; pub fn c() {}"),
    ];
    edges(&files).into_iter().filter(|edge| edge.starts_with("k::a ")).collect()
}

#[test]
fn an_import_names_the_module_that_defines_the_item() {
    assert_eq!(from_a("use crate::b::B;"), ["k::a -> k::b"]);
    assert_eq!(from_a("use crate::b::d::D;"), ["k::a -> k::b::d"]);
    assert_eq!(from_a("use crate::Root;"), ["k::a -> k"]);
    assert_eq!(from_a("use super::c::C;"), ["k::a -> k::c"]);
    assert_eq!(from_a("use std::b::B; use ::b::B;"), [] as [&str; 0]);
    assert_eq!(from_a("// crate::b::B\nfn f() { let _ = \"crate::b::B\"; }"), [] as [&str; 0]);
}

#[test]
fn a_reexport_counts_as_the_module_that_defines_the_item() {
    assert_eq!(from_a("use crate::b::Moved;"), ["k::a -> k::b::d"]);
    // What another crate or a macro defines is the re-exporting module's.
    assert_eq!(from_a("use crate::b::Arc;"), ["k::a -> k::b"]);
    assert_eq!(from_a("use crate::b::Made;"), ["k::a -> k::b"]);
}

#[test]
fn braces_renames_globs_and_self_are_read() {
    assert_eq!(from_a("use crate::{b::{d::D, B}, c::C};"), ["k::a -> k::b", "k::a -> k::b::d", "k::a -> k::c"]);
    assert_eq!(from_a("use crate::b::{self as other}; fn f(_: other::d::D) {}"), ["k::a -> k::b::d"]);
    assert_eq!(from_a("use crate::b as other; fn f(_: other::B) {}"), ["k::a -> k::b"]);
    assert_eq!(from_a("use super::{c::{self}}; fn f() { c::c() }"), ["k::a -> k::c"]);
    assert_eq!(from_a("use crate::b::*; fn f(_: B) {}"), ["k::a -> k::b"]);
    assert_eq!(from_a("use self::inner::X; mod inner { pub struct X; }"), [] as [&str; 0]);
    // The name of a module alone is no import; a path through it is.
    assert_eq!(from_a("use crate::b;"), [] as [&str; 0]);
}

#[test]
fn a_name_that_a_glob_brings_in_is_found() {
    assert_eq!(
        edges(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::X;"),
            ("b.rs", "pub use crate::c::*;"),
            ("c.rs", "pub struct X;"),
        ]),
        ["k::a -> k::c", "k::b -> k::c"]
    );
}

#[test]
fn super_counts_from_inline_modules_and_files() {
    assert_eq!(from_a("mod inner { use super::super::c::C; }"), ["k::a -> k::c"]);
    assert_eq!(from_a("mod inner { use super::X; } struct X;"), [] as [&str; 0]);
    let files = [
        ("lib.rs", "mod a; pub struct Root;"),
        ("a/mod.rs", "mod b; struct A;"),
        ("a/b.rs", "mod c; struct B;"),
        ("a/b/c.rs", "use super::{B, super::A}; fn f(_: super::super::super::Root) {}"),
    ];
    assert_eq!(edges(&files), ["k::a::b::c -> k", "k::a::b::c -> k::a", "k::a::b::c -> k::a::b"]);
}

#[test]
fn paths_in_code_count_as_imports_do() {
    assert_eq!(from_a("fn f(x: &crate::b::B) {}"), ["k::a -> k::b"]);
    assert_eq!(from_a("fn f() { crate::c::c() }"), ["k::a -> k::c"]);
    assert_eq!(from_a("impl Iterator for X<super::c::C> {}"), ["k::a -> k::c"]);
    assert_eq!(from_a("fn f(x: Vec<super::b::d::D>) {}"), ["k::a -> k::b::d"]);
    assert_eq!(from_a("fn f() { use crate::c; c::c() }"), ["k::a -> k::c"]);
    // Neither visibility nor the name of a module in a path is one.
    assert_eq!(from_a("pub(super) struct X; pub(in super::super) struct Y;"), [] as [&str; 0]);
}

#[test]
fn tokens_of_macros_and_strings_of_attributes_are_read() {
    assert_eq!(from_a("fn f() { print!(\"{}\", crate::c::c()) }"), ["k::a -> k::c"]);
    assert_eq!(
        from_a("fn f() { select! { x = super::c::c() => { super::b::B::new() } } }"),
        ["k::a -> k::b", "k::a -> k::c"]
    );
    assert_eq!(from_a("macro_rules! m { () => { $crate::c::c() } }"), ["k::a -> k::c"]);
    assert_eq!(from_a("list! { use crate::{b::d::D, c::C}; }"), ["k::a -> k::b::d", "k::a -> k::c"]);
    assert_eq!(from_a("#[serde(with = \"crate::c::text\")] struct X;"), ["k::a -> k::c"]);
    assert_eq!(from_a("fn f() { print!(\"crate::c::c\", std::b::B, x::<u8>::b::B) }"), [] as [&str; 0]);
}

#[test]
fn what_only_tests_have_does_not_count() {
    assert_eq!(from_a("#[cfg(test)] mod tests { use crate::c::C; }"), [] as [&str; 0]);
    assert_eq!(from_a("#[cfg(all(test, unix))] mod elsewhere;"), [] as [&str; 0]);
    assert_eq!(from_a("#[cfg(test)] use crate::c::C;"), [] as [&str; 0]);
    assert_eq!(from_a("impl X { #[cfg(test)] fn f() { crate::c::c() } }"), [] as [&str; 0]);
    assert_eq!(from_a("#[cfg(not(test))] use crate::c::C;"), ["k::a -> k::c"]);
    assert_eq!(from_a("#[cfg(any(test, unix))] use crate::c::C;"), ["k::a -> k::c"]);
}

#[test]
fn an_import_has_its_file_and_line() {
    let imports = imports_of(&[
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "\nuse crate::{\n    b::B,\n};"),
        ("b.rs", "pub struct B;"),
    ]);
    assert_eq!(imports.iter().map(circles::line).collect::<Vec<_>>(), ["a.rs:3: k::a imports k::b (`crate::b::B`)"]);
}

#[test]
fn a_circle_of_reexports_ends() {
    assert_eq!(
        edges(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub use crate::b::X;"),
            ("b.rs", "pub use crate::a::X; pub use crate::a::*;")
        ]),
        ["k::a -> k::b", "k::b -> k::a"]
    );
}

#[test]
fn a_module_without_its_file_is_an_error() {
    let read = |path: &Path| (path == Path::new("lib.rs")).then(|| "mod gone;".to_owned());
    let error = modules::load("k", Path::new("lib.rs"), &read).unwrap_err();
    assert_eq!(error.to_string(), "cannot read gone/mod.rs");
}

#[test]
fn circles_are_the_strongly_connected_components() {
    let imports = [
        edge("k::a", "k::b"),
        edge("k::b", "k::c"),
        edge("k::c", "k::a"),
        edge("k::c", "k::d"),
        edge("k::d", "k::e"),
        edge("k::e", "k::d"),
        edge("k::e", "k::f"),
    ];
    assert_eq!(circles::find(&imports), [set(&["k::a", "k::b", "k::c"]), set(&["k::d", "k::e"])]);
    assert_eq!(circles::find(&imports[..2]), [] as [BTreeSet<String>; 0]);
}

#[test]
fn a_circle_is_shown_by_a_shortest_way_around() {
    let imports = [edge("k::a", "k::b"), edge("k::b", "k::c"), edge("k::c", "k::a"), edge("k::c", "k::b")];
    let faults = circles::faults(&circles::find(&imports), &imports);
    assert_eq!(
        faults,
        ["a circle of imports among 3 modules: k::a, k::b, k::c\
          \n    x.rs:7: k::b imports k::c (`p`)\
          \n    x.rs:7: k::c imports k::b (`p`)"]
    );
}

#[test]
fn a_module_imports_only_what_stands_before_it() {
    let modules = set(&["k", "k::a", "k::a::x", "k::a::y", "k::b"]);
    let faults = |imports: &[Import], list: &[&str], nested: &[&str]| {
        order::faults(&modules, imports, &[("k", list), ("k::a", nested)])
    };
    let (list, nested): (&[&str], &[&str]) = (&["a", "b"], &["x", "y"]);
    let down = [
        edge("k::b", "k::a"),
        edge("k::b", "k::a::x"),
        edge("k", "k::a::x"),
        edge("k::a", "k::a::y"),
        edge("k::a::y", "k::a::x"),
    ];
    assert_eq!(faults(&down, list, nested), [] as [&str; 0]);
    let fault = |from: &str, to: &str, above: &str, below: &str, list: &str| {
        [format!("x.rs:7: {from} imports {to} (`p`), but {above} stands above {below} in the list of {list}")]
    };
    assert_eq!(faults(&[edge("k::a::x", "k::b")], list, nested), fault("k::a::x", "k::b", "b", "a", "k"));
    assert_eq!(faults(&[edge("k::a::x", "k::a::y")], list, nested), fault("k::a::x", "k::a::y", "y", "x", "k::a"));
    // The module's own file stands last.
    assert_eq!(faults(&[edge("k::a::x", "k::a")], list, nested), fault("k::a::x", "k::a", "k::a", "x", "k::a"));
    assert_eq!(faults(&[edge("k::b", "k")], list, nested), fault("k::b", "k", "k", "b", "k"));
    // Or where the list says.
    let first: &[&str] = &["self", "x", "y"];
    assert_eq!(faults(&[edge("k::a::x", "k::a")], list, first), [] as [&str; 0]);
    assert_eq!(faults(&[edge("k::a", "k::a::x")], list, first), fault("k::a", "k::a::x", "x", "k::a", "k::a"));
}

#[test]
fn lists_have_every_module_and_no_other() {
    let modules = set(&["k", "k::a", "k::b", "k::b::only", "l", "l::a"]);
    let table = "crates/xtask/src/layers/table/k.rs";
    let faults = |lists: &[order::List<'_>]| order::faults(&modules, &[], lists);
    assert_eq!(faults(&[("k", &["a", "b"])]), [] as [&str; 0]);
    assert_eq!(
        faults(&[]),
        [format!(
            "k has 2 modules and no list of their order: add it to {table} (`cargo xtask layers k` prints an order that holds)"
        )]
    );
    assert_eq!(
        faults(&[("k", &["a"])]),
        [format!("k::b is in no list: add it to {table} (`cargo xtask layers k` prints an order that holds)")]
    );
    assert_eq!(
        faults(&[("k", &["a", "b", "gone"])]),
        [format!("k::gone does not exist: remove it from the list of k in {table}")]
    );
    assert_eq!(
        faults(&[("k", &["a", "b"]), ("k::a", &["x"])]),
        [format!("k::a has no modules: remove its list from {table}")]
    );
    assert_eq!(faults(&[("k", &["a", "b", "a"])]), ["k::a is in the list of k twice"]);
    assert_eq!(faults(&[("k", &["a", "b"]), ("k", &["a", "b"])]), [format!("k has two lists in {table}: remove one")]);
}

#[test]
fn a_proposed_order_holds_and_keeps_to_the_list() {
    let modules = set(&["k", "k::a", "k::b", "k::c"]);
    let imports = [edge("k::a", "k::c"), edge("k", "k::a")];
    assert_eq!(order::propose("k", &modules, &imports, &[]), (vec!["b", "c", "a", "self"], vec![]));
    assert_eq!(order::propose("k", &modules, &imports, &[("k", &["c", "b", "a"])]).0, ["c", "b", "a", "self"]);
    let circle = [edge("k::a", "k::c"), edge("k::c", "k::a")];
    assert_eq!(order::propose("k", &modules, &circle, &[]).1, [&circle[0]]);
}

#[test]
fn only_the_codec_chooses_by_the_version_of_http() {
    let chooses = "fn f(d: Downstream) { match d { Downstream::H1(_) => {} codec::Downstream::H2(_) => {} } }";
    let names_h2 = "use h2::Reason;";
    let root = "mod codec; mod conn; mod http;";
    let server = "mod multiplexed; mod local;";
    let files = [
        ("lib.rs", root),
        ("codec.rs", chooses),
        ("conn.rs", names_h2),
        ("http.rs", server),
        ("http/multiplexed.rs", names_h2),
        (
            "http/local.rs",
            "use h2::Reason; fn f(d: D) { if let Downstream::H1(_) = d {} wire::h2::response(); StreamError::H2; }",
        ),
    ];
    let read = |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned());
    let faults = boundary::faults(&modules::load("dataplane", Path::new("lib.rs"), &read).unwrap());
    let places: Vec<_> = faults.iter().map(|fault| fault.rsplit_once(": ").unwrap().0).collect();
    assert_eq!(places, ["http/local.rs:1: h2::Reason", "http/local.rs:1: Downstream::H1"]);
    assert_eq!(boundary::faults(&modules::load("other", Path::new("lib.rs"), &read).unwrap()), [] as [String; 0]);
}
