//! The endpoints of a Service's or ServiceEntry's port (SE-05 to SE-11, WE-01, DR-06).

mod entry;
mod found;
mod service;
mod workloads;

use crate::context::CompileContext;
use crate::services::Backing;
use ir::EndpointSource;

pub(crate) use entry::{allowed_addresses, port_of_address};
pub(crate) use found::EndpointQuery;
pub(crate) use service::is_resolved_by_dns;
pub(crate) use workloads::{any_selected, labels_of};

/// The endpoints of a forward proxy's cluster: those that a ServiceEntry lists, or else the addresses of the name that a client asks for.
pub(crate) fn forward(
    context: CompileContext<'_>,
    backing: Backing<'_>,
    others: &[Backing<'_>],
    wanted: EndpointQuery<'_>,
) -> EndpointSource {
    match backing {
        Backing::Entry(object) => entry::forward(context, object, others, wanted),
        Backing::Service(_) => find(context, backing, others, wanted),
    }
}

/// The endpoints behind `backing`. `others` are the further ServiceEntries with the host.
pub(crate) fn find(
    context: CompileContext<'_>,
    backing: Backing<'_>,
    others: &[Backing<'_>],
    wanted: EndpointQuery<'_>,
) -> EndpointSource {
    match backing {
        Backing::Service(object) => service::find(context, object, wanted),
        Backing::Entry(object) => entry::find(context, object, others, wanted),
    }
}
