//! The boundary of `dataplane::codec`: which modules may know the versions of HTTP that the sides of an exchange speak.

use super::modules::Module;

/// The versions, as variants of the types below are named.
const VERSIONS: [&str; 3] = ["H1", "H2", "H3"];

/// The types of the data plane that differ by version.
const SIDES: [&str; 3] = ["Downstream", "Upstream", "Protocol"];

/// Modules of the data plane, with all below them, that choose by the version of a side.
const CODEC: [&str; 2] = ["dataplane::codec", "dataplane::conn"];

/// Further modules of the data plane that may name the library of HTTP/2, and why.
const H2_USERS: &[(&str, &str)] = &[
    ("dataplane::http::decide", "the protocol of an extended CONNECT"),
    ("dataplane::http::request_head", "the protocol of an extended CONNECT"),
    ("dataplane::ext_authz", "calls of a gRPC service"),
    ("dataplane::http::multiplexed", "connections of clients in HTTP/2, which have many exchanges"),
    ("dataplane::tcp::tunnel", "errors of opening a stream"),
];

/// Modules outside the boundary that choose by a version, or that name the library of HTTP/2 without a reason in the table.
pub(super) fn faults(modules: &[Module]) -> Vec<String> {
    let outside = modules.iter().filter(|module| is_below(&module.name, "dataplane") && !is_codec(&module.name));
    let mut faults = Vec::new();
    for module in outside {
        for mention in &module.mentions {
            let path = mention.path.join("::");
            let place = format!("{}:{}: {path}", module.file.display(), mention.line);
            if is_version(&mention.path) {
                faults.push(format!(
                    "{place}: only `dataplane::codec` and `dataplane::conn` choose by the version of HTTP"
                ));
            }
            let names_h2 = mention.path.len() > 1 && mention.path.first().is_some_and(|first| first == "h2");
            if names_h2 && !H2_USERS.iter().any(|(user, _)| is_below(&module.name, user)) {
                faults.push(format!("{place}: `h2` needs an entry in H2_USERS in crates/xtask/src/layers/boundary.rs"));
            }
        }
    }
    faults
}

fn is_codec(module: &str) -> bool {
    CODEC.iter().any(|codec| is_below(module, codec))
}

fn is_below(module: &str, parent: &str) -> bool {
    module.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether a path is a variant of one of the types.
fn is_version(path: &[String]) -> bool {
    let [.., side, version] = path else { return false };
    SIDES.contains(&side.as_str()) && VERSIONS.contains(&version.as_str())
}
