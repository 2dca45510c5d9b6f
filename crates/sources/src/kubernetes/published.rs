//! Addresses of the gateway that are written into the status of its Services, for clusters in which nothing else does it. Server-side apply
//! tells whose an address is: one that another controller has set is a conflict, and stays.

use resources::key::Key;
use serde_json::{Value, json};
use std::fmt;
use std::net::IpAddr;

/// The class of Services that are left to this gateway; those of other classes belong to others.
const CLASS: &str = "moongate/publish-address";

/// An address as `--publish-address` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// An address.
    Ip(IpAddr),
    /// A name, such as that of a load balancer.
    Host(Box<str>),
}

impl Published {
    /// An address, or else a name.
    pub fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Host(text.into()), Self::Ip)
    }

    fn value(&self) -> Value {
        match self {
            Self::Ip(ip) => json!({"ip": ip.to_string()}),
            Self::Host(host) => json!({"hostname": host}),
        }
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Host(host) => host.fmt(f),
        }
    }
}

/// What of a Service the address depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    is_load_balancer: bool,
    class: Option<Box<str>>,
    /// Addresses and names that it has.
    ingress: Vec<Published>,
}

impl Service {
    pub(super) fn of(service: &Value) -> Self {
        let text = |path: &str| service.pointer(path).and_then(Value::as_str);
        let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
        let published = |one: &Value| {
            let text = one.get("ip").or_else(|| one.get("hostname")).and_then(Value::as_str).unwrap_or_default();
            Published::parse(text)
        };
        Self {
            is_load_balancer: text("/spec/type") == Some("LoadBalancer"),
            class: text("/spec/loadBalancerClass").map(Into::into),
            ingress: ingress.into_iter().flatten().map(published).collect(),
        }
    }

    /// Whether the addresses are to be written: it is a Service of that type, of no class of another controller, and has other ones.
    pub(super) fn may_have(&self, published: &[Published]) -> bool {
        let is_ours = self.class.as_deref().is_none_or(|class| class == CLASS);
        self.is_load_balancer && is_ours && self.ingress != published
    }
}

/// The patch for server-side apply.
pub(super) fn patch(key: &Key, published: &[Published]) -> Value {
    let ingress: Vec<Value> = published.iter().map(Published::value).collect();
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": &*key.name, "namespace": &*key.namespace},
        "status": {"loadBalancer": {"ingress": ingress}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_other_types_and_classes_are_left_alone() {
        let published = [Published::parse("192.0.2.1"), Published::parse("lb.example.com")];
        let service = |spec: Value| Service::of(&json!({"spec": spec}));
        let may = |spec: Value| service(spec).may_have(&published);
        assert!(
            may(json!({"type": "LoadBalancer"})) && may(json!({"type": "LoadBalancer", "loadBalancerClass": CLASS}))
        );
        assert!(!may(json!({"type": "LoadBalancer", "loadBalancerClass": "example.com/lb"})));
        assert!(!may(json!({"type": "ClusterIP"})) && !may(json!({})));
        let ingress = json!([{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}]);
        assert_eq!(patch(&Key::new("a", "b"), &published)["status"]["loadBalancer"]["ingress"], ingress);
        let has = json!({"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": ingress}}});
        assert!(!Service::of(&has).may_have(&published));
    }
}
