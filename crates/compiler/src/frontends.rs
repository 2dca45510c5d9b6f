//! The front ends: from the kinds of one dialect to plans that know no dialect. Each dialect is one module; the functions here choose among
//! them by the kind of an object.

mod istio;

pub(crate) use istio::auto_passthrough::Implied;

use crate::context::CompileContext;
use crate::index::References;
use crate::plan::bindings::Binding;
use crate::plan::servers::{GatewayPlan, ServerPlans};
use crate::report::Notes;
use crate::settings::Workload;
use ir::HostPattern;
use resources::key::{Kind, ObjectRef};
use resources::set::{Object, ResourceSet};
use resources::spec::core::Service;

/// Plans Gateways, of whatever dialect.
pub(crate) struct GatewayPlanner<'a> {
    context: CompileContext<'a>,
    istio: istio::gateway::Planner<'a>,
}

impl<'a> GatewayPlanner<'a> {
    pub(crate) fn new(context: CompileContext<'a>) -> Self {
        Self { context, istio: istio::gateway::Planner::new(context) }
    }

    /// The plan of a Gateway; `None` where there is no such object.
    pub(crate) fn plan(&self, gateway: &ObjectRef) -> Option<GatewayPlan> {
        match gateway.kind {
            Kind::Gateway => self.context.set.gateways.get(&gateway.key).map(|object| self.istio.plan(object)),
            _ => None,
        }
    }
}

/// Whether a Service is one of a workload itself, so that its ports say where the workload listens.
pub(crate) fn is_of_workload(object: &Object<Service>, workload: &Workload) -> bool {
    istio::gateway::ports::is_for(object, workload)
}

/// The host by which sidecars send to a workload, if it has one.
pub(crate) fn service_host(workload: &Workload, domain: &str) -> Option<String> {
    istio::first_hop::service_host(workload, domain)
}

/// All Gateways of a set.
pub(crate) fn gateways(set: &ResourceSet) -> impl Iterator<Item = ObjectRef> {
    set.gateways.keys().map(|key| ObjectRef { kind: Kind::Gateway, key: key.clone() })
}

/// How many objects of a set have routes.
pub(crate) fn count_route_sources(set: &ResourceSet) -> usize {
    set.virtual_services.size()
}

/// All objects of a set that have routes.
pub(crate) fn route_sources(set: &ResourceSet) -> impl Iterator<Item = ObjectRef> {
    set.virtual_services.keys().map(|key| ObjectRef { kind: Kind::VirtualService, key: key.clone() })
}

/// The objects with routes that have conditions on the claims of tokens.
pub(crate) fn with_claims(set: &ResourceSet) -> impl Iterator<Item = ObjectRef> {
    let having = set.virtual_services.values().filter(|object| istio::has_claims(&object.spec));
    having.map(|object| ObjectRef { kind: Kind::VirtualService, key: object.key.clone() })
}

/// The names in an object with routes by which it is found again; none where there is no such object.
pub(crate) fn references(set: &ResourceSet, source: &ObjectRef, domain: &str) -> References {
    match source.kind {
        Kind::VirtualService => {
            set.virtual_services.get(&source.key).map(|object| istio::references::of(object, domain))
        }
        _ => None,
    }
    .unwrap_or_default()
}

/// Binds an object with routes to servers; to none where there is no such object.
pub(crate) fn bind(context: CompileContext<'_>, plans: &ServerPlans, source: &ObjectRef) -> Binding {
    match source.kind {
        Kind::VirtualService => {
            let object = context.set.virtual_services.get(&source.key);
            object.map(|object| istio::virtual_service::bind(context, plans, object))
        }
        _ => None,
    }
    .unwrap_or_default()
}

/// Whether an object with routes names no Gateway, so that sidecars alone use it.
pub(crate) fn is_for_sidecars(context: CompileContext<'_>, source: &ObjectRef) -> bool {
    match source.kind {
        Kind::VirtualService => {
            let object = context.set.virtual_services.get(&source.key);
            object.is_some_and(|object| istio::virtual_service::is_for_sidecars(context, object))
        }
        _ => false,
    }
}

/// The hosts of an object with routes.
pub(crate) fn hosts(context: CompileContext<'_>, source: &ObjectRef) -> Vec<HostPattern> {
    match source.kind {
        Kind::VirtualService => {
            let object = context.set.virtual_services.get(&source.key);
            object.map(|object| istio::virtual_service::hosts(context, object, &mut Notes::default()))
        }
        _ => None,
    }
    .unwrap_or_default()
}
