//! Names as objects write them: short names of hosts, and names of Gateways.

use resources::key::Key;
use resources::spec::virtual_service::HttpRoute;
use std::borrow::Cow;
use std::sync::Arc;

/// The full form of a host: a name without a dot is a Service of the object's own namespace (VS-01, VS-31, DR-01).
pub(crate) fn full_host<'a>(host: &'a str, namespace: &str, domain: &str) -> Cow<'a, str> {
    if host == "*" || host.contains('.') || host.is_empty() {
        Cow::Borrowed(host)
    } else {
        Cow::Owned(service_host(host, namespace, domain))
    }
}

/// The host of a Service.
pub(crate) fn service_host(name: &str, namespace: &str, domain: &str) -> String {
    format!("{name}.{namespace}.svc.{domain}")
}

/// Which Service would have this host.
pub(crate) fn service_of_host(host: &str, domain: &str) -> Option<Key> {
    let own = host.strip_suffix(domain)?.strip_suffix(".svc.")?;
    let (name, namespace) = own.split_once('.')?;
    (!name.is_empty() && !namespace.contains('.')).then(|| Key::new(namespace, name))
}

/// The delegate that a rule names, if it delegates.
pub(crate) fn delegate(rule: &HttpRoute, root: &Key) -> Option<Key> {
    let named = rule.delegate.as_ref()?;
    let own = named.namespace.is_empty();
    let namespace = if own { Arc::clone(&root.namespace) } else { (*named.namespace).into() };
    Some(Key::new(namespace, &*named.name))
}

/// A Gateway as VirtualServices name it: `name`, `namespace/name`, `./name`, or the old `name.namespace.svc.domain` (VS-02).
/// `None` is the mesh.
pub fn gateway(text: &str, namespace: &Arc<str>, domain: &str) -> Option<Key> {
    if text == "mesh" {
        return None;
    }
    Some(match text.split_once('/') {
        Some((".", name)) => Key::new(Arc::clone(namespace), name),
        Some((other, name)) => Key::new(other, name),
        None => legacy_gateway(text, domain).unwrap_or_else(|| Key::new(Arc::clone(namespace), text)),
    })
}

/// `name.namespace.svc.domain`; Istio also takes the forms that end earlier.
fn legacy_gateway(text: &str, domain: &str) -> Option<Key> {
    let own =
        text.strip_suffix(domain).and_then(|rest| rest.strip_suffix(".svc.")).or_else(|| text.strip_suffix(".svc"));
    let (name, namespace) = own.unwrap_or(text).split_once('.')?;
    (!namespace.contains('.')).then(|| Key::new(namespace, name))
}

/// Port, subset and host of `outbound|port|subset|host`. The cluster for all destinations has the host `*`.
pub(crate) fn parts(id: &ir::ClusterId) -> Option<(u16, &str, &str)> {
    if id.is_passthrough() {
        return Some((0, "", "*"));
    }
    let mut parts = id.as_str().splitn(4, '|').skip(1);
    Some((parts.next()?.parse().ok()?, parts.next()?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vs_31_a_short_name_is_of_the_own_namespace() {
        assert_eq!(full_host("a", "apps", "cluster.local"), "a.apps.svc.cluster.local");
        assert_eq!(full_host("a.apps", "default", "cluster.local"), "a.apps");
        assert_eq!(full_host("*", "apps", "cluster.local"), "*");
    }

    #[test]
    fn vs_02_gateways_are_named_in_four_ways() {
        let own: Arc<str> = "apps".into();
        let named = |text: &str| gateway(text, &own, "cluster.local").map(|key| key.to_string());
        assert_eq!(named("gw").as_deref(), Some("apps/gw"));
        assert_eq!(named("./gw").as_deref(), Some("apps/gw"));
        assert_eq!(named("web/gw").as_deref(), Some("web/gw"));
        assert_eq!(named("gw.web.svc.cluster.local").as_deref(), Some("web/gw"));
        assert_eq!(named("mesh"), None);
    }
}
