//! `exportTo`: which namespaces see an object (VS-03, DR-03, SE-12). What is asked is always whether the namespace of the
//! gateway's workload sees it.

use resources::spec::scalar::Text;

/// In which of Istio's three lists an object stands for a namespace; the order is that of VS-04.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Private to its own namespace, which is the one that asks.
    Private,
    /// Exported to the namespace that asks, by name.
    Exported,
    /// Everybody sees it.
    Public,
}

/// How `client` sees an object of namespace `own`, or `None` when it does not. An empty `export_to` takes the mesh's
/// default, of which only `.` and `*` are honoured; no default at all is `*`.
pub(crate) fn class<'a>(
    export_to: impl Iterator<Item = &'a str> + Clone,
    default: &[Text],
    own: &str,
    client: &str,
) -> Option<Class> {
    let has = |wanted: &str| export_to.clone().any(|entry| entry == wanted);
    if export_to.clone().next().is_none() {
        return by_default(default, own, client);
    }
    if has("*") {
        Some(Class::Public)
    } else if has("~") {
        None
    } else if own == client && (has(".") || has(own)) {
        Some(Class::Private)
    } else {
        has(client).then_some(Class::Exported)
    }
}

fn by_default(default: &[Text], own: &str, client: &str) -> Option<Class> {
    let has = |wanted: &str| default.iter().any(|entry| &**entry == wanted);
    if default.is_empty() {
        Some(Class::Public)
    } else if has(".") {
        (own == client).then_some(Class::Private)
    } else {
        has("*").then_some(Class::Public)
    }
}

/// The entries of a list field.
pub(crate) fn entries(list: &[Text]) -> impl Iterator<Item = &str> + Clone {
    list.iter().map(|entry| &**entry)
}

/// The entries of the annotation `networking.istio.io/exportTo` of Services.
pub(crate) fn annotation(text: Option<&Text>) -> impl Iterator<Item = &str> + Clone {
    text.map_or("", |text| text).split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(export_to: &[&str], default: &[&str], own: &str) -> Option<Class> {
        let default: Vec<Text> = default.iter().map(|entry| (*entry).into()).collect();
        class(export_to.iter().copied(), &default, own, "istio-system")
    }

    #[test]
    fn vs_03_export_to_is_judged_by_the_gateways_namespace() {
        assert_eq!(seen(&[], &[], "a"), Some(Class::Public));
        assert_eq!(seen(&["."], &[], "a"), None);
        assert_eq!(seen(&["."], &[], "istio-system"), Some(Class::Private));
        assert_eq!(seen(&["b", "istio-system"], &[], "a"), Some(Class::Exported));
        assert_eq!(seen(&["~", "."], &[], "istio-system"), None);
        assert_eq!(seen(&["*", "~"], &[], "a"), Some(Class::Public));
    }

    #[test]
    fn mc_05_the_default_holds_where_nothing_is_said() {
        assert_eq!(seen(&[], &["."], "a"), None);
        assert_eq!(seen(&[], &["."], "istio-system"), Some(Class::Private));
        assert_eq!(seen(&["*"], &["."], "a"), Some(Class::Public));
        assert_eq!(seen(&[], &["~"], "istio-system"), None);
    }
}
