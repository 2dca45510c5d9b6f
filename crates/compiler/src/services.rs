//! What stands behind a destination host: a Service, or ServiceEntries (VS-31, S-55, SE-12, SE-14).

use crate::context::CompileContext;
use crate::names;
use crate::order;
use crate::texts;
use crate::visibility::{self, Class};
use ir::{ObjectKind, Origin};
use resources::key::Key;
use resources::set::Object;
use resources::spec::core::Service;
use resources::spec::service_entry::ServiceEntry;
use std::sync::Arc;

/// The annotation that stands for `exportTo` on Services.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// One object that has the host.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Backing<'a> {
    Service(&'a Arc<Object<Service>>),
    Entry(&'a Arc<Object<ServiceEntry>>),
}

/// A port of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackingPort<'a> {
    pub(crate) number: u16,
    pub(crate) name: &'a str,
    /// What is spoken on it: what the object says, else the name.
    pub(crate) protocol: &'a str,
}

impl<'a> BackingPort<'a> {
    /// The protocol by which a forward proxy treats the port. Without a protocol, the name of the port begins with it.
    pub(crate) fn forwarded(self) -> &'a str {
        if self.protocol.is_empty() { self.name.split('-').next().unwrap_or_default() } else { self.protocol }
    }
}

impl<'a> Backing<'a> {
    pub(crate) fn key(self) -> &'a Key {
        match self {
            Self::Service(object) => &object.key,
            Self::Entry(object) => &object.key,
        }
    }

    pub(crate) fn origin(self) -> Origin {
        let kind = match self {
            Self::Service(_) => ObjectKind::Service,
            Self::Entry(_) => ObjectKind::ServiceEntry,
        };
        let key = self.key();
        let (namespace, name) = (Arc::clone(&key.namespace), Arc::clone(&key.name));
        Origin { kind, namespace, name, rule: texts::shared("") }
    }

    /// The port of this number, unless it is one for UDP.
    pub(crate) fn port(self, number: u16) -> Option<BackingPort<'a>> {
        self.ports().find(|(port, udp)| port.number == number && !udp).map(|(port, _)| port)
    }

    /// The number of its port when it has only one (VS-31).
    pub(crate) fn only_port(self) -> Option<u16> {
        let mut ports = self.ports();
        let (first, _) = ports.next()?;
        ports.next().is_none().then_some(first.number)
    }

    /// All port numbers, for people.
    pub(crate) fn port_numbers(self) -> String {
        self.ports().map(|(port, _)| port.number.to_string()).collect::<Vec<_>>().join(", ")
    }

    /// All ports, with whether they are for UDP.
    pub(crate) fn ports(self) -> impl Iterator<Item = (BackingPort<'a>, bool)> {
        let (services, entries) = match self {
            Self::Service(object) => (&object.spec.ports[..], &[][..]),
            Self::Entry(object) => (&[][..], &object.spec.ports[..]),
        };
        let of_service = services.iter().map(|port| {
            let protocol = if port.app_protocol.is_empty() { &port.name } else { &port.app_protocol };
            (BackingPort { number: port.port, name: &port.name, protocol }, port.protocol.eq_ignore_ascii_case("UDP"))
        });
        let of_entry = entries.iter().map(|port| {
            let number = u16::try_from(port.number).unwrap_or(0);
            (
                BackingPort { number, name: &port.name, protocol: &port.protocol },
                port.protocol.eq_ignore_ascii_case("UDP"),
            )
        });
        of_service.chain(of_entry)
    }

    fn class(self, context: CompileContext<'_>, client: &str) -> Option<Class> {
        let default = &context.settings.mesh.default_service_export_to;
        match self {
            Self::Service(object) => {
                let export_to = visibility::annotation(object.meta.annotations.get(EXPORT_TO));
                visibility::class(export_to, default, &object.key.namespace, client)
            }
            Self::Entry(object) => {
                let export_to = visibility::entries(&object.spec.export_to);
                visibility::class(export_to, default, &object.key.namespace, client)
            }
        }
    }

    fn is_service(self) -> bool {
        matches!(self, Self::Service(_))
    }
}

/// Everything that has the host, whoever may see it; the Service first, ServiceEntries in the order of their keys.
pub(crate) fn all<'a>(context: CompileContext<'a>, host: &str) -> impl Iterator<Item = Backing<'a>> {
    let service = names::service_of_host(host, context.domain()).and_then(|key| context.set.services.get(&key));
    let entries = context.index.host(host).map_or(&[][..], |entry| entry.entries.as_slice());
    let entries = entries.iter().filter_map(move |key| context.set.service_entries.get(key));
    service.into_iter().map(Backing::Service).chain(entries.map(Backing::Entry))
}

/// What `client`'s namespace sees of it, the preferred first: a Service before ServiceEntries, which nobody may take a
/// Service's host with; then private, exported, public; then the oldest.
pub(crate) fn visible<'a>(context: CompileContext<'a>, host: &str, client: &str) -> Vec<Backing<'a>> {
    let seen = all(context, host).filter_map(|backing| Some((backing.class(context, client)?, backing)));
    let mut seen: Vec<_> = seen.collect();
    seen.sort_by(|(class_a, a), (class_b, b)| {
        let kind = b.is_service().cmp(&a.is_service());
        kind.then(class_a.cmp(class_b)).then_with(|| match (a, b) {
            (Backing::Entry(a), Backing::Entry(b)) => order::by_age(a, b),
            _ => std::cmp::Ordering::Equal,
        })
    });
    seen.into_iter().map(|(_, backing)| backing).collect()
}

/// The one whose ports a VirtualService of `namespace` means (S-55): that of its own namespace where it is seen.
pub(crate) fn preferred<'a>(visible: &[Backing<'a>], namespace: &str) -> Option<Backing<'a>> {
    let own = visible.iter().find(|backing| &*backing.key().namespace == namespace);
    own.or_else(|| visible.first()).copied()
}
