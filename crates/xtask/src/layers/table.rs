//! The tables that `cargo xtask layers` compares with the workspace: here those of crates, and in a file for each crate the order of its
//! modules. ARCHITECTURE.md explains them.

mod compiler;
mod dataplane;
mod fuzz_targets;
mod ir;
mod jose;
mod moongate;
mod resources;
mod routing;
mod sources;
mod testkit;
mod text;
mod upstream;
mod wire;
mod xtask;

use super::order::List;

/// Every crate of ours and which others of ours it may use outside tests.
pub(super) const CRATES: &[(&str, &[&str])] = &[
    ("text", &[]),
    ("jose", &[]),
    ("ir", &["text"]),
    ("wire", &["text"]),
    ("resources", &["jose", "text"]),
    ("routing", &["ir", "jose", "text", "wire"]),
    ("upstream", &["ir", "wire"]),
    ("compiler", &["ir", "resources", "text"]),
    ("sources", &["resources"]),
    ("dataplane", &["ir", "jose", "routing", "text", "upstream", "wire"]),
    (
        "moongate",
        &["compiler", "dataplane", "ir", "jose", "resources", "routing", "sources", "text", "upstream", "wire"],
    ),
    ("testkit", &["resources"]),
    ("fuzz_targets", &["compiler", "ir", "resources", "routing", "text", "wire"]),
    ("xtask", &[]),
];

/// Crates of others that a crate may not use, and why.
pub(super) const BANNED: &[(&str, &[&str], &str)] = &[
    ("text", &["tokio", "http", "httparse", "hyper"], "rules about characters and formats, of no engine"),
    ("jose", &["tokio", "http", "hyper"], "keys and tokens as values, no client"),
    ("ir", &["tokio", "kube", "tonic", "hyper"], "the contract is plain values"),
    ("wire", &["tokio", "hyper", "socket2"], "the codec is sans-io"),
    ("resources", &["tokio", "kube", "hyper"], "documents to values, no client"),
    ("compiler", &["tokio", "rustix", "socket2", "hyper"], "pure: no clock, net or environment"),
    ("routing", &["tokio", "rustix", "socket2", "hyper"], "decisions are pure"),
    ("dataplane", &["kube", "tonic", "axum", "hyper"], "the engines are ours"),
];

/// Children of a module, lowest first, as `order` reads them: a module imports from those before it, never from those
/// behind it, and the module's own file stands last or where `self` stands. Every module with two or more children
/// has a list. `cargo xtask layers MODULE` prints an order that holds.
pub(super) fn order() -> Vec<List<'static>> {
    [
        compiler::ORDER,
        dataplane::ORDER,
        fuzz_targets::ORDER,
        ir::ORDER,
        jose::ORDER,
        moongate::ORDER,
        resources::ORDER,
        routing::ORDER,
        sources::ORDER,
        testkit::ORDER,
        text::ORDER,
        upstream::ORDER,
        wire::ORDER,
        xtask::ORDER,
    ]
    .concat()
}
