//! The names in a VirtualService by which it is found again.

use crate::index::References;
use crate::names;
use resources::key::{Kind, ObjectRef};
use resources::set::Object;
use resources::spec::virtual_service::VirtualService;

/// What a VirtualService names.
pub(crate) fn of(object: &Object<VirtualService>, domain: &str) -> References {
    let namespace = &object.key.namespace;
    let spec = &object.spec;
    let of_http = spec.http.iter().flat_map(|rule| {
        let targets = rule.route.iter().filter_map(|route| route.destination.as_ref());
        let mirrors = rule.mirrors.iter().filter_map(|mirror| mirror.destination.as_ref());
        targets.chain(mirrors).chain(rule.mirror.as_deref())
    });
    let of_bytes = spec.tls.iter().flat_map(|rule| &rule.route).chain(spec.tcp.iter().flat_map(|rule| &rule.route));
    let hosts = of_http.chain(of_bytes.filter_map(|route| route.destination.as_ref()));
    let delegates = spec.http.iter().filter_map(|rule| names::delegate(rule, &object.key));
    References {
        hosts: hosts.map(|to| names::full_host(&to.host, namespace, domain).into_owned()).collect(),
        gateways: spec.gateways.iter().filter_map(|name| gateway(name, object, domain)).collect(),
        delegates: delegates.map(|key| ObjectRef { kind: Kind::VirtualService, key }).collect(),
    }
}

/// The Gateway that a VirtualService names so; `None` for the mesh.
pub(super) fn gateway(name: &str, object: &Object<VirtualService>, domain: &str) -> Option<ObjectRef> {
    let key = names::gateway(name, &object.key.namespace, domain)?;
    Some(ObjectRef { kind: Kind::Gateway, key })
}
