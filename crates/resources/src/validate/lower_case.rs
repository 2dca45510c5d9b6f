//! Hosts in lower case, as names of DNS are compared (RFC 4343). It is done once, when an object is read and after its validation, so that
//! findings show what is written and everything else compares bytes. `Spec::normalise` calls it.

use crate::spec::destination_rule::{Destination, DestinationRule};
use crate::spec::gateway::Gateway;
use crate::spec::scalar::Text;
use crate::spec::service_entry::ServiceEntry;
use crate::spec::virtual_service::VirtualService;

/// Hosts of servers. What stands before a `/` is a namespace.
pub(super) fn gateway(gateway: &mut Gateway) {
    for host in gateway.servers.iter_mut().flat_map(|server| &mut server.hosts) {
        let begin = host.find('/').map_or(0, |slash| slash + 1);
        if let Some(name) = host.get_mut(begin..) {
            name.make_ascii_lowercase();
        }
    }
}

/// Its own hosts, those of its destinations, and the names of TLS.
pub(super) fn virtual_service(service: &mut VirtualService) {
    all(service.hosts.iter_mut());
    for route in &mut service.http {
        all(route.route.iter_mut().filter_map(|one| one.destination.as_mut()).map(host));
        all(route.mirror.iter_mut().map(|one| host(one)));
        all(route.mirrors.iter_mut().filter_map(|one| one.destination.as_mut()).map(host));
    }
    for rule in &mut service.tls {
        all(rule.matches.iter_mut().flat_map(|one| &mut one.sni_hosts));
        all(rule.route.iter_mut().filter_map(|one| one.destination.as_mut()).map(host));
    }
    for rule in &mut service.tcp {
        all(rule.route.iter_mut().filter_map(|one| one.destination.as_mut()).map(host));
    }
}

/// The host that it is for.
pub(super) fn destination_rule(rule: &mut DestinationRule) {
    rule.host.make_ascii_lowercase();
}

/// The hosts of the service.
pub(super) fn service_entry(entry: &mut ServiceEntry) {
    all(entry.hosts.iter_mut());
}

fn host(destination: &mut Destination) -> &mut Text {
    &mut destination.host
}

fn all<'a>(hosts: impl Iterator<Item = &'a mut Text>) {
    hosts.for_each(|host| host.make_ascii_lowercase());
}
