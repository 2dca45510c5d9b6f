//! AuthorizationPolicies with the action `CUSTOM`: the service that decides for a workload (AP-13, AP-14).

use crate::code;
use crate::context::CompileContext;
use crate::destination_rules::{self, Effective};
use crate::report::Notes;
use crate::services;
use crate::settings::Workload;
use crate::spoken;
use ir::policy::{CheckBody, CheckProtocol, ExternalAuthorization, ExternalCheck, HttpCheck, NamePattern, RuleList};
use ir::{ClusterId, UpstreamProtocol};
use resources::spec::mesh_config::{ExtAuthzBody, ExtAuthzGrpc, ExtAuthzHttp, ExtensionProvider};
use resources::spec::scalar::{self, Text};
use std::collections::BTreeSet;
use std::time::Duration;
use text::{HeaderName, HeaderValue, PathText};

/// How long a check takes at most unless the provider says it; Istio waits 600 s.
const TIMEOUT: Duration = Duration::from_secs(1);
const FORBIDDEN: u16 = 403;
const PROVIDER: &str = "spec.provider.name";

/// What the `CUSTOM` policies of a workload demand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct External {
    /// For requests and connections.
    pub(crate) authorization: ExternalAuthorization,
    /// What there is to say of each of the policies.
    pub(crate) notes: Notes,
}

impl External {
    /// Whether a service is asked, and not about connections: as in Istio, one in HTTP.
    pub(crate) fn is_for_requests_alone(&self) -> bool {
        matches!(&self.authorization, ExternalAuthorization::Check(check) if check.connections.is_none())
    }

    /// The cluster of the service.
    pub(crate) fn cluster(&self) -> Option<&ClusterId> {
        match &self.authorization {
            ExternalAuthorization::DenyAll => None,
            ExternalAuthorization::Check(check) => Some(&check.cluster),
        }
    }
}

/// The rules of the policies of a workload.
pub(crate) struct CheckRules {
    /// For requests.
    pub(crate) requests: RuleList,
    /// For connections whose bytes are passed on.
    pub(crate) connections: RuleList,
}

/// What a workload demands whose policies name these providers and have these rules.
pub(crate) fn external(
    context: CompileContext<'_>,
    workload: &Workload,
    providers: &BTreeSet<&str>,
    rules: CheckRules,
) -> External {
    let mut notes = Notes::default();
    let check = match providers.iter().copied().collect::<Vec<_>>()[..] {
        [name] => check(context, workload, name, rules, &mut notes),
        _ => {
            let all = providers.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
            let message = format!(
                "the policies for the workload `{}` name the providers {all}: all its requests are denied",
                workload.name.0
            );
            notes.add_with_help(code::PROVIDER_CONFLICT, PROVIDER, message, "name one provider for a workload");
            None
        }
    };
    let authorization =
        check.map_or(ExternalAuthorization::DenyAll, |check| ExternalAuthorization::Check(Box::new(check)));
    External { authorization, notes }
}

/// Why no service can be asked, and what helps.
struct Refusal {
    message: String,
    help: String,
}

/// The check; `None`, with a note, if the provider cannot be asked.
fn check(
    context: CompileContext<'_>,
    workload: &Workload,
    name: &str,
    rules: CheckRules,
    notes: &mut Notes,
) -> Option<ExternalCheck> {
    let found = provider_options(context, name).and_then(|options| {
        let cluster = cluster(context, workload, &options);
        let unusable = |message| format!("the provider `{name}` cannot be asked: {message}");
        let cluster = cluster.map_err(|refusal| Refusal { message: unusable(refusal.message), ..refusal })?;
        Ok((options, cluster))
    });
    match found {
        Ok((options, cluster)) => {
            if options.protocol == CheckProtocol::Grpc && !cluster.speaks_http2 {
                no_http2(name, &options, notes);
            }
            Some(options.check(name, cluster.id, rules))
        }
        Err(Refusal { message, help }) => {
            let message = format!("{message}: all requests of the workload `{}` are denied", workload.name.0);
            notes.add_with_help(code::PROVIDER_UNKNOWN, PROVIDER, message, help);
            None
        }
    }
}

/// The options of the provider with a name.
fn provider_options<'a>(context: CompileContext<'a>, name: &str) -> Result<Options<'a>, Refusal> {
    let all = &context.settings.mesh.extension_providers;
    let Some(provider) = all.iter().find(|provider| *provider.name == *name) else {
        let known: Vec<&str> = all.iter().filter(|one| one.authorizes()).map(|one| &*one.name).collect();
        let help = match &known[..] {
            [] => "add it to `extensionProviders` in the mesh settings, without errors".to_owned(),
            known => format!("the mesh settings have: {}", known.join(", ")),
        };
        return Err(Refusal { message: format!("there is no provider `{name}`"), help });
    };
    Options::of(provider).ok_or_else(|| {
        let kinds: Vec<&str> = provider.kinds().collect();
        let message = format!("the provider `{name}` is of the kind `{}`, which does not authorize", kinds.join(", "));
        Refusal { message, help: "name a provider with `envoyExtAuthzGrpc` or `envoyExtAuthzHttp`".to_owned() }
    })
}

/// Reports a gRPC service on a port that does not speak HTTP/2.
fn no_http2(name: &str, options: &Options<'_>, notes: &mut Notes) {
    let message = format!(
        "the provider `{name}` is a gRPC service, and port {} of `{}` does not speak HTTP/2: no check has a decision",
        options.port, options.service
    );
    let help = "name the port `grpc` or `http2`, or set its `appProtocol`";
    notes.add_with_help(code::PROVIDER_NOT_HTTP2, PROVIDER, message, help);
}

/// The options that both kinds have.
struct Options<'a> {
    service: &'a str,
    port: u32,
    timeout: Option<scalar::Duration>,
    fail_open: bool,
    status_on_error: &'a str,
    clear_route_cache: bool,
    body: Option<ExtAuthzBody>,
    protocol: CheckProtocol,
}

/// The cluster of a service.
struct ServiceCluster {
    id: ClusterId,
    speaks_http2: bool,
}

impl<'a> Options<'a> {
    /// The check by a service with these options.
    fn check(self, name: &str, cluster: ClusterId, rules: CheckRules) -> ExternalCheck {
        ExternalCheck {
            provider: name.into(),
            cluster,
            timeout: self.timeout.and_then(scalar::Duration::get).unwrap_or(TIMEOUT),
            fail_open: self.fail_open,
            status_on_error: self.status_on_error.parse().unwrap_or(FORBIDDEN),
            clear_route_cache: self.clear_route_cache,
            body: self.body.map(|body| CheckBody {
                octets: usize::try_from(body.max_request_bytes).unwrap_or(usize::MAX),
                partial: body.allow_partial_message,
                raw: body.pack_as_bytes,
            }),
            // As in Istio, a provider in HTTP is not asked about connections.
            connections: (self.protocol == CheckProtocol::Grpc).then_some(rules.connections),
            rules: rules.requests,
            protocol: self.protocol,
        }
    }

    fn of(provider: &'a ExtensionProvider) -> Option<Self> {
        match (&provider.envoy_ext_authz_grpc, &provider.envoy_ext_authz_http) {
            (Some(grpc), _) => Some(Self::of_grpc(grpc)),
            (None, Some(http)) => Some(Self::of_http(http)),
            (None, None) => None,
        }
    }

    fn of_grpc(grpc: &'a ExtAuthzGrpc) -> Self {
        Self {
            service: &grpc.service,
            port: grpc.port,
            timeout: grpc.timeout,
            fail_open: grpc.fail_open,
            status_on_error: &grpc.status_on_error,
            clear_route_cache: grpc.clear_route_cache,
            body: grpc.include_request_body_in_check,
            protocol: CheckProtocol::Grpc,
        }
    }

    fn of_http(http: &'a ExtAuthzHttp) -> Self {
        let patterns = |names: &[Text]| names.iter().map(|name| NamePattern::parse(name)).collect::<Vec<_>>();
        let included = match http.include_request_headers_in_check.is_empty() {
            true => &http.include_headers_in_check,
            false => &http.include_request_headers_in_check,
        };
        let added = http.include_additional_headers_in_check.iter();
        let added =
            added.filter_map(|(name, value)| Some((HeaderName::parse(name).ok()?, HeaderValue::parse(value).ok()?)));
        let check = HttpCheck {
            path_prefix: PathText::parse(&http.path_prefix).ok().filter(|_| !http.path_prefix.is_empty()),
            request_headers: patterns(included),
            additional_headers: added.collect(),
            to_upstream_on_allow: patterns(&http.headers_to_upstream_on_allow),
            to_downstream_on_allow: patterns(&http.headers_to_downstream_on_allow),
            to_downstream_on_deny: patterns(&http.headers_to_downstream_on_deny),
        };
        Self {
            service: &http.service,
            port: http.port,
            timeout: http.timeout,
            fail_open: http.fail_open,
            status_on_error: &http.status_on_error,
            clear_route_cache: http.clear_route_cache,
            body: http.include_request_body_in_check,
            protocol: CheckProtocol::Http(Box::new(check)),
        }
    }
}

/// The cluster of `[<namespace>/]<host>`.
fn cluster(context: CompileContext<'_>, workload: &Workload, options: &Options<'_>) -> Result<ServiceCluster, Refusal> {
    let (namespace, host) = match options.service.split_once('/') {
        Some((namespace, host)) => (Some(namespace), host),
        None => (None, options.service),
    };
    let visible = services::visible(context, host, &workload.namespace);
    let of_namespace: Vec<_> = visible
        .iter()
        .filter(|backing| namespace.is_none_or(|namespace| &*backing.key().namespace == namespace))
        .collect();
    let Some(backing) = of_namespace.first() else {
        let message = format!("no Service or ServiceEntry that the workload sees is `{}`", options.service);
        let help = "write `[<namespace>/]<host name>`, with the whole host name".to_owned();
        return Err(Refusal { message, help });
    };
    let namespaces: BTreeSet<&str> = of_namespace.iter().map(|backing| &*backing.key().namespace).collect();
    if namespaces.len() > 1 {
        let found = namespaces.into_iter().collect::<Vec<_>>().join(", ");
        let message = format!("`{host}` is in the namespaces {found}");
        return Err(Refusal { message, help: "write `<namespace>/<host name>`".to_owned() });
    }
    let port = u16::try_from(options.port).unwrap_or(0);
    let Some(backing_port) = of_namespace.iter().find_map(|backing| backing.port(port)) else {
        let help = format!("its ports: {}", backing.port_numbers());
        return Err(Refusal { message: format!("`{host}` has no port {port}"), help });
    };
    let rules = destination_rules::lookup(context, host, &backing.key().namespace, workload);
    let effective = rules.as_ref().map_or(Effective::default(), |rules| rules.effective(port, None));
    let protocol = spoken::protocol(context, backing_port, effective);
    let speaks_http2 = matches!(protocol, UpstreamProtocol::Http2 { .. });
    Ok(ServiceCluster { id: ClusterId::outbound(port, "", host), speaks_http2 })
}
