//! What the flags mean to the compiler.

use crate::cli::{Role, WorkloadArgs};
use anyhow::{Context, Result, anyhow, bail};
use compiler::{Settings, Workload};
use ir::{Authority, Http10, Locality};
use std::sync::Arc;

/// The settings of a process that is Istio's ingress gateway, with nothing else said.
pub fn ingress() -> Settings {
    Settings::default()
}

/// The settings of a process that is Istio's egress gateway.
pub fn egress() -> Settings {
    Settings { workloads: vec![Workload::egress()], ..Settings::default() }
}

/// Settings by the flags. Those of the mesh come with the configuration.
pub(crate) fn settings(args: &WorkloadArgs) -> Result<Settings> {
    let mut settings = Settings { workloads: workloads(args)?, ..Settings::default() };
    settings.proxy_protocol_from.clone_from(&args.proxy_protocol_from);
    settings.http10 = args.http10.as_deref().map(http10).transpose()?;
    settings.forward_proxy = args.forward_proxy;
    settings.port_map = args.port_map.iter().copied().collect();
    for (host, address) in &args.endpoints {
        let full = full_name(host, &settings.domain);
        let plain = host.to_ascii_lowercase();
        if host.contains('.') && *full != *plain {
            // `example.com` may be a Service of the namespace `com`, and the host of a ServiceEntry.
            settings.endpoints.entry(plain.into()).or_default().push(*address);
        }
        settings.endpoints.entry(full).or_default().push(*address);
    }
    if let Some(path) = &args.mesh_config {
        std::fs::File::open(path).with_context(|| format!("cannot read the mesh settings in {}", path.display()))?;
    }
    Ok(settings)
}

/// `--http10`, with the host of requests that name none.
fn http10(host: &str) -> Result<Http10> {
    let default_host = match host {
        "" => None,
        host => Some(Authority::parse(host).map_err(|error| anyhow!("--http10: {error}; {}", error.help()))?),
    };
    Ok(Http10 { default_host })
}

fn workloads(args: &WorkloadArgs) -> Result<Vec<Workload>> {
    let mut workloads: Vec<Workload> = Vec::new();
    for role in &args.roles {
        let mut workload = match role {
            Role::Ingress => Workload::ingress(),
            Role::Egress => Workload::egress(),
        };
        if let Some(bind) = args.egress_bind.filter(|_| *role == Role::Egress).or(args.bind) {
            workload.bind = bind;
        }
        workload.namespace = args.namespace.as_str().into();
        workload.locality = args.locality.as_deref().map(|locality| Locality(locality.into()));
        workload.node = args.node_name.as_deref().filter(|name| !name.is_empty()).map(Arc::from);
        if workloads.iter().any(|before| before.name == workload.name) {
            bail!("`--as` names one gateway twice");
        }
        workloads.push(workload);
    }
    match (args.labels.is_empty(), workloads.as_mut_slice()) {
        (true, _) => {}
        (false, [workload]) => {
            workload.labels =
                args.labels.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect();
        }
        (false, _) => bail!("`--labels` goes with one gateway: give `--as` one role"),
    }
    Ok(workloads)
}

/// `web.shop` is short for `web.shop.svc.cluster.local`.
fn full_name(host: &str, domain: &str) -> Arc<str> {
    let host = &*host.to_ascii_lowercase();
    match host.split('.').count() {
        1 => format!("{host}.default.svc.{domain}").into(),
        2 => format!("{host}.svc.{domain}").into(),
        3 if host.ends_with(".svc") => format!("{host}.{domain}").into(),
        _ => host.into(),
    }
}
