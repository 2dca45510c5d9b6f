//! What is demanded of values besides their types, for the API server: the part of `resources::validate` that a schema can say, at the paths of
//! the fields. Keywords where there is one; rules in CEL, whose cost the server bounds, elsewhere. What several objects have to be to
//! one another is checked when they are read.

use resources::key::Kind;
use serde_json::{Map, Value, json};

/// A demand on the value at a path.
enum Demand {
    /// These fields have to be there.
    Required(&'static [&'static str]),
    /// Of these fields at most one may be there.
    AtMostOne(&'static [&'static str]),
    /// A keyword of schemas with its value.
    Keyword(&'static str, i64),
    /// One of these words, in any case.
    AnyCase(&'static [&'static str]),
    /// A rule in CEL, and what it says.
    Rule(&'static str, &'static str),
    /// A length of time of 1 ms or more.
    Time,
    /// The same, or zero.
    TimeOrZero,
    /// The number of a port.
    Port,
}

use Demand::{AnyCase, AtMostOne, Keyword, Port, Required, Rule, Time, TimeOrZero};

/// The protocols of ports (GW-03).
const PROTOCOLS: &[&str] = &[
    "HTTP",
    "HTTP2",
    "GRPC",
    "GRPC-WEB",
    "GRPC_WEB",
    "HTTP_PROXY",
    "HTTPS",
    "TLS",
    "TCP",
    "MONGO",
    "REDIS",
    "MYSQL",
    "UDP",
];

/// A policy selects in one way (AP-01).
const ONE_TARGET: Demand = Rule(
    "(has(self.selector) ? 1 : 0) + (has(self.targetRef) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1",
    "only one of targetRefs or selector can be set",
);

/// The demands on a kind: paths with `[]` for the elements of a list, and `{}` for the values of a map.
const DEMANDS: &[(Kind, &str, Demand)] = &[
    (Kind::Gateway, "", Required(&["servers"])),
    (Kind::Gateway, "", Rule("size(self.servers) > 0", "a Gateway needs at least one server")),
    (Kind::Gateway, "servers[]", Required(&["port", "hosts"])),
    (
        Kind::Gateway,
        "servers[]",
        Rule(
            "self.port.number > 0 || has(self.bind) && self.bind.startsWith('unix://')",
            "the number of a port is 1 to 65535",
        ),
    ),
    (Kind::Gateway, "servers[].hosts", Keyword("minItems", 1)),
    (
        Kind::Gateway,
        "servers[]",
        Rule("!(self.port.protocol in ['HTTPS', 'TLS']) || has(self.tls)", "a server for HTTPS or TLS needs tls"),
    ),
    (
        Kind::Gateway,
        "servers[]",
        Rule("self.port.protocol != 'TCP' || !has(self.tls)", "a server for TCP may not have tls"),
    ),
    (
        Kind::Gateway,
        "servers[].tls",
        Rule(
            "!has(self.mode) || !(self.mode in ['SIMPLE', 'MUTUAL', 'OPTIONAL_MUTUAL']) || has(self.credentialName) || \
             has(self.credentialNames) || has(self.serverCertificate) || has(self.tlsCertificates)",
            "the server has no certificate",
        ),
    ),
    (
        Kind::Gateway,
        "servers[].tls",
        Rule(
            "!has(self.mode) || !(self.mode in ['SIMPLE', 'MUTUAL', 'OPTIONAL_MUTUAL']) || (has(self.credentialName) ? 1 : 0) + \
             (has(self.credentialNames) ? 1 : 0) + (has(self.serverCertificate) ? 1 : 0) + (has(self.tlsCertificates) ? 1 : 0) <= 1",
            "the server has more than one source of certificates",
        ),
    ),
    (Kind::Gateway, "servers[].port", Required(&["number", "protocol", "name"])),
    (Kind::Gateway, "servers[].port.number", Keyword("maximum", 65535)),
    (Kind::Gateway, "servers[].port.name", Keyword("minLength", 1)),
    (Kind::Gateway, "servers[].port.protocol", AnyCase(PROTOCOLS)),
    (
        Kind::VirtualService,
        "",
        Rule(
            "has(self.http) && size(self.http) > 0 || has(self.tls) && size(self.tls) > 0 || has(self.tcp) && size(self.tcp) > 0",
            "a VirtualService needs at least one rule",
        ),
    ),
    (
        Kind::VirtualService,
        "",
        Rule(
            "!has(self.gateways) || !has(self.hosts) || !('*' in self.hosts) || !('mesh' in self.gateways)",
            "`*` may not be bound to the mesh",
        ),
    ),
    (
        Kind::VirtualService,
        "http[]",
        Rule(
            "(has(self.route) && size(self.route) > 0 ? 1 : 0) + (has(self.redirect) ? 1 : 0) + (has(self.directResponse) ? 1 : 0) + \
             (has(self.delegate) ? 1 : 0) == 1",
            "a rule has exactly one of route, redirect, directResponse and delegate",
        ),
    ),
    (Kind::VirtualService, "http[].timeout", Time),
    (Kind::VirtualService, "http[].delegate", Required(&["name"])),
    (Kind::VirtualService, "http[].route[]", Required(&["destination"])),
    (Kind::VirtualService, "http[].route[].destination", Required(&["host"])),
    (Kind::VirtualService, "http[].route[].destination.host", Keyword("minLength", 1)),
    (Kind::VirtualService, "http[].route[].destination.port.number", Port),
    (Kind::VirtualService, "http[].route[].weight", Keyword("minimum", 0)),
    (Kind::VirtualService, "http[].mirror", Required(&["host"])),
    (Kind::VirtualService, "http[].mirror.port.number", Port),
    (Kind::VirtualService, "http[].mirrors[]", Required(&["destination"])),
    (Kind::VirtualService, "http[].mirrors[].destination", Required(&["host"])),
    (Kind::VirtualService, "http[].mirrorPercentage.value", Keyword("maximum", 100)),
    (Kind::VirtualService, "http[].mirrorPercentage.value", Keyword("minimum", 0)),
    (Kind::VirtualService, "http[].directResponse", Required(&["status"])),
    (Kind::VirtualService, "http[].directResponse.status", Keyword("minimum", 200)),
    (Kind::VirtualService, "http[].directResponse.status", Keyword("maximum", 599)),
    (Kind::VirtualService, "http[].retries.attempts", Keyword("minimum", 0)),
    (Kind::VirtualService, "http[].retries.perTryTimeout", Time),
    (Kind::VirtualService, "http[].retries.backoff", Time),
    (
        Kind::VirtualService,
        "http[].fault",
        Rule("has(self.delay) || has(self.abort)", "the fault has neither delay nor abort"),
    ),
    (Kind::VirtualService, "http[].fault.delay.fixedDelay", Time),
    (Kind::VirtualService, "http[].fault.abort", AtMostOne(&["httpStatus", "grpcStatus", "http2Error"])),
    (Kind::VirtualService, "http[].fault.abort.httpStatus", Keyword("minimum", 200)),
    (Kind::VirtualService, "http[].fault.abort.httpStatus", Keyword("maximum", 599)),
    (Kind::VirtualService, "http[].corsPolicy.maxAge", Time),
    (Kind::VirtualService, "tls[]", Required(&["match", "route"])),
    (Kind::VirtualService, "tls[].match", Keyword("minItems", 1)),
    (Kind::VirtualService, "tls[].match[]", Required(&["sniHosts"])),
    (Kind::VirtualService, "tls[].match[].sniHosts", Keyword("minItems", 1)),
    (Kind::VirtualService, "tls[].route", Keyword("minItems", 1)),
    (Kind::VirtualService, "tls[].route[]", Required(&["destination"])),
    (Kind::VirtualService, "tls[].route[].destination", Required(&["host"])),
    (Kind::VirtualService, "tcp[]", Required(&["route"])),
    (Kind::VirtualService, "tcp[].route", Keyword("minItems", 1)),
    (Kind::VirtualService, "tcp[].route[]", Required(&["destination"])),
    (Kind::VirtualService, "tcp[].route[].destination", Required(&["host"])),
    (Kind::DestinationRule, "", Required(&["host"])),
    (Kind::DestinationRule, "", Rule("size(self.host) > 0", "the host of a DestinationRule is a name or a wildcard")),
    (Kind::DestinationRule, "subsets[]", Required(&["name"])),
    (Kind::DestinationRule, "subsets[].name", Keyword("minLength", 1)),
    (Kind::DestinationRule, "trafficPolicy", Keyword("minProperties", 1)),
    (Kind::DestinationRule, "trafficPolicy.loadBalancer.warmup.duration", Time),
    (Kind::DestinationRule, "trafficPolicy.loadBalancer.consistentHash", AtMostOne(&["ringHash", "maglev"])),
    (Kind::DestinationRule, "trafficPolicy.connectionPool", Keyword("minProperties", 1)),
    (Kind::DestinationRule, "trafficPolicy.connectionPool.tcp.maxConnections", Keyword("minimum", 0)),
    (Kind::DestinationRule, "trafficPolicy.connectionPool.tcp.connectTimeout", Time),
    (Kind::DestinationRule, "trafficPolicy.connectionPool.tcp.idleTimeout", TimeOrZero),
    (Kind::DestinationRule, "trafficPolicy.connectionPool.tcp.maxConnectionDuration", Time),
    (Kind::DestinationRule, "trafficPolicy.connectionPool.http.maxRetries", Keyword("minimum", 0)),
    (Kind::DestinationRule, "trafficPolicy.connectionPool.http.idleTimeout", Time),
    (Kind::DestinationRule, "trafficPolicy.connectionPool.http.http2KeepAlive", Required(&["interval", "timeout"])),
    (Kind::DestinationRule, "trafficPolicy.outlierDetection.interval", Time),
    (Kind::DestinationRule, "trafficPolicy.outlierDetection.baseEjectionTime", Time),
    (Kind::DestinationRule, "trafficPolicy.outlierDetection.maxEjectionPercent", Keyword("minimum", 0)),
    (Kind::DestinationRule, "trafficPolicy.outlierDetection.maxEjectionPercent", Keyword("maximum", 100)),
    (Kind::DestinationRule, "trafficPolicy.outlierDetection.minHealthPercent", Keyword("minimum", 0)),
    (Kind::DestinationRule, "trafficPolicy.outlierDetection.minHealthPercent", Keyword("maximum", 100)),
    (Kind::DestinationRule, "trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes[]", Keyword("minimum", 100)),
    (Kind::DestinationRule, "trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes[]", Keyword("maximum", 599)),
    (Kind::DestinationRule, "trafficPolicy.retryBudget.percent", Keyword("minimum", 0)),
    (Kind::DestinationRule, "trafficPolicy.retryBudget.percent", Keyword("maximum", 100)),
    (Kind::DestinationRule, "trafficPolicy.tunnel", Required(&["targetHost", "targetPort"])),
    (Kind::DestinationRule, "trafficPolicy.tunnel.targetPort", Port),
    (Kind::DestinationRule, "trafficPolicy.portLevelSettings[]", Required(&["port"])),
    (Kind::DestinationRule, "trafficPolicy.portLevelSettings[].port.number", Port),
    (Kind::ServiceEntry, "", Required(&["hosts"])),
    (Kind::ServiceEntry, "", Rule("size(self.hosts) > 0", "a ServiceEntry needs at least one host")),
    (Kind::ServiceEntry, "", Rule("!('*' in self.hosts)", "`*` is not the host of a service")),
    (
        Kind::ServiceEntry,
        "",
        Rule(
            "!has(self.endpoints) || size(self.endpoints) == 0 || has(self.resolution) && self.resolution != 'NONE'",
            "there may be no endpoints with resolution NONE",
        ),
    ),
    (
        Kind::ServiceEntry,
        "",
        Rule(
            "!has(self.resolution) || self.resolution != 'DNS_ROUND_ROBIN' || !has(self.endpoints) || size(self.endpoints) <= 1",
            "DNS_ROUND_ROBIN takes one endpoint",
        ),
    ),
    (
        Kind::ServiceEntry,
        "",
        Rule(
            "!has(self.resolution) || self.resolution != 'DYNAMIC_DNS' || self.hosts.all(host, host.startsWith('*'))",
            "DYNAMIC_DNS takes wildcards alone",
        ),
    ),
    (
        Kind::ServiceEntry,
        "",
        Rule(
            "!(has(self.workloadSelector) && has(self.endpoints))",
            "only one of WorkloadSelector or Endpoints can be set",
        ),
    ),
    (Kind::ServiceEntry, "ports[]", Required(&["number", "name"])),
    (Kind::ServiceEntry, "ports[].number", Port),
    (Kind::ServiceEntry, "ports[].name", Keyword("minLength", 1)),
    (Kind::ServiceEntry, "ports[].targetPort", Keyword("maximum", 65535)),
    (Kind::ServiceEntry, "endpoints[].ports{}", Port),
    (Kind::WorkloadEntry, "", Rule("has(self.address) || has(self.network)", "Address is required")),
    (Kind::WorkloadEntry, "ports{}", Port),
    (Kind::RequestAuthentication, "", ONE_TARGET),
    (Kind::RequestAuthentication, "targetRefs", Keyword("maxItems", 16)),
    (Kind::RequestAuthentication, "jwtRules[]", Required(&["issuer"])),
    (Kind::RequestAuthentication, "jwtRules[].issuer", Keyword("minLength", 1)),
    (Kind::RequestAuthentication, "jwtRules[].audiences[]", Keyword("minLength", 1)),
    (Kind::RequestAuthentication, "jwtRules[].fromHeaders[]", Required(&["name"])),
    (Kind::RequestAuthentication, "jwtRules[].fromHeaders[].name", Keyword("minLength", 1)),
    (Kind::RequestAuthentication, "jwtRules[].outputClaimToHeaders[]", Required(&["header", "claim"])),
    (Kind::AuthorizationPolicy, "", ONE_TARGET),
    (Kind::AuthorizationPolicy, "targetRefs", Keyword("maxItems", 16)),
    (
        Kind::AuthorizationPolicy,
        "",
        Rule(
            "(has(self.action) && self.action == 'CUSTOM') == has(self.provider)",
            "CUSTOM policies, and no others, have a provider",
        ),
    ),
    (Kind::AuthorizationPolicy, "rules[].from[]", Required(&["source"])),
    (Kind::AuthorizationPolicy, "rules[].from[].source", Keyword("minProperties", 1)),
    (Kind::AuthorizationPolicy, "rules[].to[]", Required(&["operation"])),
    (Kind::AuthorizationPolicy, "rules[].to[].operation", Keyword("minProperties", 1)),
    (Kind::AuthorizationPolicy, "rules[].when[]", Required(&["key"])),
    (
        Kind::AuthorizationPolicy,
        "rules[].when[]",
        Rule("has(self.values) || has(self.notValues)", "a condition needs values or notValues"),
    ),
    (
        Kind::PeerAuthentication,
        "",
        Rule("!has(self.portLevelMtls) || has(self.selector)", "portLevelMtls requires selector"),
    ),
];

/// Bounds of lists of texts by which the server tells what a rule costs at most.
const TEXTS: i64 = 4096;
const TEXT: i64 = 1024;
/// Lists and maps of which rules are asked about each element.
const BOUNDED: &[(Kind, &str, i64)] = &[(Kind::Gateway, "servers", 1024), (Kind::VirtualService, "http", 4096)];

/// Adds what is demanded of a kind to its schema; an error names a path that the schema has not.
pub(super) fn add(kind: Kind, schema: &mut Value) -> Result<(), String> {
    for (_, path, demand) in DEMANDS.iter().filter(|(of, ..)| *of == kind) {
        let place = at(schema, path).ok_or_else(|| format!("{kind} has no {path}"))?;
        demand.add(place);
    }
    for (_, path, most) in BOUNDED.iter().filter(|(of, ..)| *of == kind) {
        let place = at(schema, path).ok_or_else(|| format!("{kind} has no {path}"))?;
        place.entry("maxItems").or_insert((*most).into());
    }
    everywhere(schema);
    for field in ["hosts", "gateways"] {
        if let Some(texts) = at(schema, field) {
            texts.insert("maxItems".to_owned(), TEXTS.into());
            texts.insert("items".to_owned(), json!({"type": "string", "maxLength": TEXT}));
        }
    }
    Ok(())
}

/// The schema at a path.
fn at<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut Map<String, Value>> {
    let mut place = schema;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let name = part.trim_end_matches(['[', ']', '{', '}']);
        place = place.get_mut("properties")?.get_mut(name)?;
        if part.ends_with("[]") {
            place = place.get_mut("items")?;
        } else if part.ends_with("{}") {
            place = place.get_mut("additionalProperties")?;
        }
    }
    place.as_object_mut()
}

impl Demand {
    fn add(&self, place: &mut Map<String, Value>) {
        let mut rule = |rule: &str, message: &str| {
            let rules = place.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
            if let Value::Array(rules) = rules {
                rules.push(json!({"rule": rule, "message": message}));
            }
        };
        match self {
            Required(fields) => drop(place.insert("required".to_owned(), json!(fields))),
            AtMostOne(fields) => drop(place.insert("not".to_owned(), at_most_one(fields))),
            Keyword(keyword, value) => drop(place.insert((*keyword).to_owned(), (*value).into())),
            AnyCase(words) => {
                let pattern = format!("(?i)^({})$", words.join("|"));
                place.insert("pattern".to_owned(), pattern.into());
            }
            Rule(text, message) => rule(text, message),
            Time => rule("duration(self) >= duration('1ms')", "must be 1ms or more"),
            TimeOrZero => {
                rule(
                    "duration(self) == duration('0s') || duration(self) >= duration('1ms')",
                    "must be 0s, or 1ms or more",
                );
            }
            Port => {
                place.insert("minimum".to_owned(), 1.into());
                place.insert("maximum".to_owned(), 65535.into());
            }
        }
    }
}

/// A schema of objects that have two of these fields.
fn at_most_one(fields: &[&str]) -> Value {
    let mut pairs = Vec::new();
    for (at, one) in fields.iter().enumerate() {
        pairs.extend(fields.iter().skip(at + 1).map(|other| json!({"required": [one, other]})));
    }
    json!({"anyOf": pairs})
}

/// What is demanded wherever a type is: a text is matched in one way.
fn everywhere(schema: &mut Value) {
    const MATCH: [&str; 3] = ["exact", "prefix", "regex"];
    let Value::Object(fields) = schema else { return };
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(everywhere);
        let is_match = properties.len() == MATCH.len() && MATCH.iter().all(|name| properties.contains_key(*name));
        if is_match {
            fields.insert("not".to_owned(), at_most_one(&MATCH));
        }
    }
    for below in ["items", "additionalProperties"] {
        if let Some(below) = fields.get_mut(below) {
            everywhere(below);
        }
    }
}
