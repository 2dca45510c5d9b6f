//! From the port of a server to the port that is bound (S-40 to S-46).

use crate::context::CompileContext;
use crate::order;
use crate::settings::Workload;
use resources::key::Key;
use resources::set::Object;
use resources::spec::core::{CoreServicePort, Service};
use resources::spec::scalar::NumberOrName;
use resources::spec::text_match::selects;
use std::sync::Arc;

/// S-41.
const NO_TRANSLATION: &str = "experimental.istio.io/disable-gateway-port-translation";

/// A target port that only a Pod could resolve.
pub(crate) struct UnknownTarget {
    pub(crate) service: Key,
    pub(crate) name: String,
}

/// Whether a Service is one of the gateway itself, so that its ports say where to listen.
pub(crate) fn is_for(object: &Object<Service>, workload: &Workload) -> bool {
    !object.spec.selector.is_empty()
        && object.key.namespace == workload.namespace
        && selects(&object.spec.selector, &workload.labels)
}

/// The workload's own Services, oldest first. Costs the Services of its namespace that have a selector.
pub(crate) fn services_of<'a>(context: CompileContext<'a>, workload: &Workload) -> Vec<&'a Arc<Object<Service>>> {
    let here = context.index.selecting(&workload.namespace);
    let here = here.into_iter().flat_map(|selecting| &selecting.services);
    let services = here.filter_map(|key| context.set.services.get(key));
    let mut services: Vec<_> = services.filter(|object| is_for(object, workload)).collect();
    services.sort_by(|a, b| order::by_age(a, b));
    services
}

/// What to listen on for a server's port (S-40): the target port of the first Service that has the port, else the port itself.
pub(crate) fn resolve(
    context: CompileContext<'_>,
    services: &[&Arc<Object<Service>>],
    number: u16,
) -> (u16, Option<UnknownTarget>) {
    let translating = services.iter().filter(|object| !object.meta.labels.contains_key(NO_TRANSLATION));
    for object in translating {
        let Some(port) = object.spec.ports.iter().find(|port| port.port == number) else { continue };
        return match &port.target_port {
            None => (number, None),
            Some(NumberOrName::Number(0)) => continue,
            Some(NumberOrName::Number(target)) => (*target, None),
            Some(NumberOrName::Name(name)) => match by_slices(context, object, port) {
                Some(target) => (target, None),
                None => (number, Some(UnknownTarget { service: object.key.clone(), name: (**name).to_owned() })),
            },
        };
    }
    (number, None)
}

/// A named target port is a number in the Service's EndpointSlices.
fn by_slices(context: CompileContext<'_>, object: &Object<Service>, port: &CoreServicePort) -> Option<u16> {
    let slices = context.index.slices(&object.key).iter();
    let ports = slices.filter_map(|key| context.set.endpoint_slices.get(key)).flat_map(|slice| &slice.spec.ports);
    ports.into_iter().find(|found| found.name == port.name).and_then(|found| found.port)
}
