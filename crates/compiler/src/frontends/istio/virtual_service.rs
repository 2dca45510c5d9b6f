//! VirtualServices: the Gateways and hosts that they name, the workloads of their rules, and the findings about a rule without effect
//! (S-50 to S-55, VS-01 to VS-03).

use super::auto_passthrough;
use super::first_hop;
use super::l4;
use super::references;
use super::refusal::{self, Refused};
use super::routes;
use crate::code;
use crate::context::CompileContext;
use crate::names;
use crate::plan::bindings::{Binder, Binding, RouteSource};
use crate::plan::owner::Owner;
use crate::plan::servers::ServerPlans;
use crate::report::Notes;
use crate::settings::Workload;
use crate::visibility::{self, Class};
use ir::HostPattern;
use resources::key::ObjectRef;
use resources::set::Object;
use resources::spec::virtual_service::VirtualService;

/// Binds a VirtualService. There are no findings about an implied one.
pub(crate) fn bind(context: CompileContext<'_>, plans: &ServerPlans, object: &Object<VirtualService>) -> Binding {
    let mut binding = bind_written(context, plans, object);
    if auto_passthrough::is_implied(&object.key) {
        binding.notes = Notes::default();
    }
    binding
}

/// The hosts of a VirtualService; those that are none are reported and left out.
pub(crate) fn hosts(
    context: CompileContext<'_>,
    object: &Object<VirtualService>,
    notes: &mut Notes,
) -> Vec<HostPattern> {
    let mut hosts = Vec::with_capacity(object.spec.hosts.len());
    for (index, text) in object.spec.hosts.iter().enumerate() {
        let full = names::full_host(text, &object.key.namespace, context.domain());
        match HostPattern::parse(&full) {
            Ok(host) => hosts.push(host),
            Err(why) => notes.add(code::BAD_HOST, format!("spec.hosts[{index}]"), why.to_string()),
        }
    }
    hosts
}

/// Whether a VirtualService names no Gateway.
pub(crate) fn is_for_sidecars(context: CompileContext<'_>, object: &Object<VirtualService>) -> bool {
    object.spec.gateways.iter().all(|text| references::gateway(text, object, context.domain()).is_none())
}

fn bind_written(context: CompileContext<'_>, plans: &ServerPlans, object: &Object<VirtualService>) -> Binding {
    let mut notes = Notes::default();
    let owner = Owner::of(object);
    if object.spec.hosts.is_empty() {
        if context.index.delegating_to(&owner.object).next().is_none() {
            let message = "a VirtualService without hosts is for others to delegate to, and none does";
            notes.add(code::DELEGATE_UNUSED, "spec.hosts", message);
        }
        return Binding { notes, ..Binding::default() };
    }
    let gateways = gateways(context, object);
    if gateways.is_empty() {
        let hosts = hosts(context, object, &mut Notes::default());
        if !first_hop::report(context, plans, object, &hosts, &mut notes) {
            let help = "name a Gateway in `gateways` to route what comes through it";
            let message = "it routes nothing here because it names no gateway: only sidecars use it";
            notes.add_with_help(code::MESH_ONLY, "spec.gateways", message, help);
        }
        return Binding { notes, ..Binding::default() };
    }
    let source = RouteSource {
        owner,
        hosts: hosts(context, object, &mut notes),
        class: &|workload| class(context, object, workload),
        http: &|target, notes| routes::compile_routes(context, object, target, notes),
        bytes: &|target, notes| l4::compile(context, object, target, notes),
    };
    let mut binder = Binder::new(context.workloads(), plans, source);
    for (field, gateway) in &gateways {
        if let Err(why) = binder.attach(gateway, &mut notes) {
            refusal::report(context, plans, Refused { object, gateway, field, why }, &mut notes);
        }
    }
    if !binder.is_unbound() {
        for (index, host) in binder.unmet() {
            let message = format!("`{host}` is in no server of the named Gateways, and routes nothing");
            notes.add(code::HOST_UNBOUND, format!("spec.hosts[{index}]"), message);
        }
        unused_blocks(object, &binder, &mut notes);
    }
    Binding { created: object.meta.created, bound: binder.bound, l4: binder.l4, notes }
}

/// The Gateways that are named, each once, with the field that names it.
fn gateways(context: CompileContext<'_>, object: &Object<VirtualService>) -> Vec<(String, ObjectRef)> {
    let mut gateways: Vec<(String, ObjectRef)> = Vec::new();
    for (index, text) in object.spec.gateways.iter().enumerate() {
        if let Some(gateway) = references::gateway(text, object, context.domain())
            && !gateways.iter().any(|(_, known)| *known == gateway)
        {
            gateways.push((format!("spec.gateways[{index}]"), gateway));
        }
    }
    gateways
}

fn class(context: CompileContext<'_>, object: &Object<VirtualService>, workload: &Workload) -> Option<Class> {
    let export_to = visibility::entries(&object.spec.export_to);
    let default = &context.settings.mesh.default_virtual_service_export_to;
    visibility::class(export_to, default, &object.key.namespace, &workload.namespace)
}

/// VS-67: rules of a kind that no server of the Gateways has a use for.
fn unused_blocks(object: &Object<VirtualService>, binder: &Binder<'_>, notes: &mut Notes) {
    let spec = &object.spec;
    let reached = |block: &str| binder.l4.iter().any(|l4| l4.route.origin.rule.starts_with(block));
    let unused = [
        (!spec.http.is_empty() && binder.bound.is_empty(), "http", "a server that speaks HTTP"),
        (!spec.tls.is_empty() && !reached("tls"), "tls", "a server that passes TLS through"),
        (!spec.tcp.is_empty() && !reached("tcp"), "tcp", "a server for TCP, or for TLS that is taken off"),
    ];
    for (is_unused, block, wanted) in unused {
        if is_unused {
            let message = format!("its `{block}` rules are not used: none of its Gateways has {wanted} for it");
            notes.add(code::FIELD_NO_EFFECT, format!("spec.{block}"), message);
        }
    }
}
