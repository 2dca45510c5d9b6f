//! Which Gateways a VirtualService with errors names. Where it has no version without errors, it depends on this whether its status is this
//! gateway's to write; what cannot be read is no claim, and the object is left alone. Of Gateways, the set has the selector.

use resources::key::Kind;
use serde::Deserialize as _;
use serde_json::Value;

/// Whose a VirtualService is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is for these Gateways.
    Gateways(Vec<String>),
    /// It is a part of others.
    Delegate,
}

impl Claim {
    /// What an object claims as it is written; `None` also for other kinds.
    pub(super) fn of(kind: Kind, object: &Value) -> Option<Self> {
        if kind != Kind::VirtualService {
            return None;
        }
        let spec = object.get("spec")?.as_object()?;
        let field = |name: &str| spec.get(name).filter(|value| !value.is_null());
        match (field("gateways"), field("hosts")) {
            (Some(gateways), _) => Vec::deserialize(gateways).ok().map(Self::Gateways),
            (None, None) => Some(Self::Delegate),
            (None, Some(hosts)) => hosts.as_array().filter(|hosts| hosts.is_empty()).map(|_| Self::Delegate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_read_claims_nothing() {
        let of = |spec: Value| Claim::of(Kind::VirtualService, &json!({ "spec": spec }));
        let named = Some(Claim::Gateways(vec!["a/b".to_owned()]));
        assert_eq!(of(json!({"hosts": ["x.test"], "gateways": ["a/b"], "htpp": []})), named);
        assert_eq!([json!({"htpp": []}), json!({"hosts": []})].map(of), [Some(Claim::Delegate), Some(Claim::Delegate)]);
        // Without `gateways` it is for sidecars.
        let unreadable =
            [json!({"hosts": ["x.test"]}), json!({"gateways": "a/b"}), json!({"gateways": [1]}), json!("a/b")];
        assert!(unreadable.into_iter().all(|spec| of(spec).is_none()));
        assert_eq!(Claim::of(Kind::Gateway, &json!({"spec": {}})), None);
    }
}
