//! What objects refer to, by which it is decided what else is kept: EndpointSlices of Services that something routes to, Secrets and
//! ConfigMaps that are named, Pods of endpoints where there are subsets. More may be named than is there: a host is taken for every Service that it could be.

use resources::annotation::{CREDENTIAL, PROXY_USERS};
use resources::few::Sorted;
use resources::key::{Key, Kind, ObjectRef};
use resources::set::{AnyObject, Meta, Object};
use resources::spec::core::{Service, TRAFFIC_DISTRIBUTION};
use resources::spec::destination_rule::{DestinationRule, LoadBalancer, OutlierDetection, TrafficPolicy};
use resources::spec::gateway::{Gateway, TlsMode};
use resources::spec::scalar::NumberOrName;
use resources::spec::virtual_service::VirtualService;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Something that is referred to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Reference {
    /// The EndpointSlices of a Service.
    Slices(Key),
    /// Those of all Services.
    AllSlices,
    /// A Secret of the gateway's namespace.
    Secret(Arc<str>),
    /// A ConfigMap of the gateway's namespace.
    ConfigMap(Arc<str>),
    /// A Pod.
    Pod(Key),
    /// Pods at all.
    Pods,
    /// Nodes at all.
    Nodes,
}

impl Reference {
    /// The kind of what is referred to.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Slices(_) | Self::AllSlices => Kind::EndpointSlice,
            Self::Secret(_) => Kind::Secret,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::Pod(_) | Self::Pods => Kind::Pod,
            Self::Nodes => Kind::Node,
        }
    }
}

/// What each object refers to.
#[derive(Debug, Default)]
pub(super) struct References {
    /// Nearly all refer to one thing.
    by_object: HashMap<ObjectRef, Sorted<Reference>>,
    counts: HashMap<Reference, usize>,
    /// Whether it matters where endpoints are: not to a gateway that does not know where it is itself.
    with_nodes: bool,
    /// What was touched since the last call of `changes`.
    touched: BTreeSet<Reference>,
    /// Which of these were wanted then.
    before: BTreeSet<Reference>,
}

impl References {
    /// `with_nodes`: where endpoints are may matter.
    pub(super) fn new(with_nodes: bool) -> Self {
        Self { with_nodes, ..Self::default() }
    }

    /// The text of the mesh settings of a file, or that there is none.
    pub(super) fn set_mesh(&mut self, text: Option<&str>) {
        self.set(nameless(Kind::ConfigMap), text.map(of_mesh).unwrap_or_default());
    }

    /// The object says something else now. `namespace` is that of the gateway; `services` are those that are kept.
    pub(super) fn update(&mut self, object: &AnyObject, namespace: &str, services: Option<&HashSet<Key>>) {
        let references: BTreeSet<Reference> = match object {
            AnyObject::Gateway(gateway) => {
                let mut references = of_gateway(&gateway.spec, namespace);
                references.extend(annotated(&gateway.meta, PROXY_USERS));
                references
            }
            AnyObject::VirtualService(service) => of_virtual_service(&service.spec, &service.key.namespace),
            AnyObject::DestinationRule(rule) => {
                let mut references = of_rule(&rule.spec);
                references.extend(annotated(&rule.meta, CREDENTIAL));
                references
            }
            AnyObject::Service(service) => of_service(service, namespace),
            AnyObject::EndpointSlice(slice) => {
                let targets = slice.spec.endpoints.iter().filter_map(|one| one.target_ref.as_deref());
                let pods = targets.filter(|target| &*target.kind == "Pod").map(|target| {
                    let namespace =
                        if target.namespace.is_empty() { &*slice.key.namespace } else { &*target.namespace };
                    Reference::Pod(Key::new(namespace, &*target.name))
                });
                pods.collect()
            }
            // Providers of the mesh settings.
            AnyObject::ConfigMap(map) => map.spec.data.values().flat_map(|text| of_mesh(text)).collect(),
            _ => return,
        };
        let references = references.into_iter().map(|reference| self.shared(reference, services)).collect();
        self.set(object.object_ref(), references);
    }

    /// The reference with the name that is kept already, if there is one: names are not kept twice.
    fn shared(&self, reference: Reference, services: Option<&HashSet<Key>>) -> Reference {
        match reference {
            Reference::Slices(service) => match services.and_then(|services| services.get(&service)) {
                Some(known) => Reference::Slices(known.clone()),
                None => Reference::Slices(self.slices_of(service)),
            },
            other => other,
        }
    }

    /// The object is gone.
    pub(super) fn remove(&mut self, object: &ObjectRef) {
        self.set(object.clone(), BTreeSet::new());
    }

    fn set(&mut self, object: ObjectRef, mut references: BTreeSet<Reference>) {
        if !self.with_nodes {
            references.remove(&Reference::Nodes);
        }
        let before = self.by_object.remove(&object).unwrap_or_default();
        for gone in before.as_slice().iter().filter(|one| !references.contains(one)) {
            self.touch(gone);
            if let Some(count) = self.counts.get_mut(gone) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(gone);
                }
            }
        }
        for new in references.iter().filter(|one| !before.contains(one)) {
            self.touch(new);
            *self.counts.entry(new.clone()).or_default() += 1;
        }
        if !references.is_empty() {
            self.by_object.insert(object, references.into_iter().collect());
        }
    }

    fn touch(&mut self, reference: &Reference) {
        if self.touched.insert(reference.clone()) && self.counts.contains_key(reference) {
            self.before.insert(reference.clone());
        }
    }

    /// Something is wanted although no object refers to it, or is not any more. One thing of a kind can be kept so.
    pub(super) fn keep(&mut self, reference: &Reference, keeps: bool) {
        let references = keeps.then(|| reference.clone()).into_iter().collect();
        self.set(nameless(reference.kind()), references);
    }

    pub(super) fn keeps(&self, reference: &Reference) -> bool {
        self.by_object.get(&nameless(reference.kind())).is_some_and(|kept| kept.contains(reference))
    }

    /// Whether an object refers to it.
    pub(super) fn uses(&self, reference: &Reference) -> bool {
        self.counts.get(reference).is_some_and(|count| *count > usize::from(self.keeps(reference)))
    }

    /// Whether something refers to it.
    pub(super) fn wants(&self, reference: &Reference) -> bool {
        self.counts.contains_key(reference)
    }

    /// The name of a Service, as what refers to its EndpointSlices has it: names are not kept twice.
    pub(super) fn slices_of(&self, service: Key) -> Key {
        match self.counts.get_key_value(&Reference::Slices(service.clone())) {
            Some((Reference::Slices(known), _)) => known.clone(),
            _ => service,
        }
    }

    /// What is wanted now and was not at the last call, and what was and is not.
    pub(super) fn changes(&mut self) -> (Vec<Reference>, Vec<Reference>) {
        let (touched, before) = (std::mem::take(&mut self.touched), std::mem::take(&mut self.before));
        let (mut new, mut gone) = (Vec::new(), Vec::new());
        for reference in touched {
            match (before.contains(&reference), self.wants(&reference)) {
                (false, true) => new.push(reference),
                (true, false) => gone.push(reference),
                _ => {}
            }
        }
        (new, gone)
    }
}

/// Stands for what refers to something and is no object: no object has such a name.
fn nameless(kind: Kind) -> ObjectRef {
    ObjectRef { kind, key: Key::new("", "") }
}

fn of_gateway(gateway: &Gateway, namespace: &str) -> BTreeSet<Reference> {
    let mut references = BTreeSet::new();
    for tls in gateway.servers.iter().filter_map(|server| server.tls.as_deref()) {
        let names = tls.credential_names.iter().chain([&tls.credential_name, &tls.ca_cert_credential_name]);
        references.extend(names.flat_map(|name| secrets(name)));
        references.extend(config_map(&tls.ca_cert_credential_name, namespace));
        if tls.mode == Some(TlsMode::AutoPassthrough) {
            references.insert(Reference::AllSlices);
        }
    }
    references
}

fn of_rule(rule: &DestinationRule) -> BTreeSet<Reference> {
    let mut references: BTreeSet<Reference> = rule.traffic_policy.as_deref().map(of_policy).unwrap_or_default();
    for subset in &rule.subsets {
        references.insert(Reference::Pods);
        references.extend(subset.traffic_policy.as_deref().map(of_policy).unwrap_or_default());
    }
    references
}

fn of_policy(policy: &TrafficPolicy) -> BTreeSet<Reference> {
    let ports = policy.port_level_settings.iter().filter_map(|port| port.tls.as_deref());
    let mut references: BTreeSet<Reference> =
        policy.tls.as_deref().into_iter().chain(ports).flat_map(|tls| secrets(&tls.credential_name)).collect();
    let whole = goes_by_place(policy.load_balancer.as_deref(), policy.outlier_detection.as_deref());
    let mut ports = policy.port_level_settings.iter();
    if whole || ports.any(|port| goes_by_place(port.load_balancer.as_deref(), port.outlier_detection.as_deref())) {
        references.insert(Reference::Nodes);
    }
    references
}

/// Whether it may matter where endpoints are (DR-13): with outlier detection the mesh's setting holds, which is on unless it says otherwise.
fn goes_by_place(balancer: Option<&LoadBalancer>, outlier: Option<&OutlierDetection>) -> bool {
    match balancer.and_then(|balancer| balancer.locality_lb_setting.as_deref()) {
        Some(setting) => setting.enabled != Some(false),
        None => outlier.is_some(),
    }
}

fn of_service(service: &Object<Service>, namespace: &str) -> BTreeSet<Reference> {
    let mut references = BTreeSet::new();
    // A target port by name is looked up in the slices of a gateway's own Service.
    let is_named = |target: &Option<NumberOrName>| matches!(target, Some(NumberOrName::Name(_)));
    if &*service.key.namespace == namespace && service.spec.ports.iter().any(|port| is_named(&port.target_port)) {
        references.insert(Reference::Slices(service.key.clone()));
    }
    if !service.spec.traffic_distribution.is_empty() || service.meta.annotations.contains_key(TRAFFIC_DISTRIBUTION) {
        references.insert(Reference::Nodes);
    }
    references
}

/// What mesh settings, or any text that may be some, refer to: the Services of providers, and Nodes where shares by locality are set.
fn of_mesh(text: &str) -> BTreeSet<Reference> {
    let mut references: BTreeSet<Reference> = hosts_in(text).collect();
    if ["localityLbSetting", "locality_lb_setting"].iter().any(|field| text.contains(field)) {
        references.insert(Reference::Nodes);
    }
    references
}

/// The Secret that an annotation names.
fn annotated(meta: &Meta, annotation: &str) -> Option<Reference> {
    let name = meta.annotations.get(annotation)?.trim().rsplit('/').next()?;
    (!name.is_empty()).then(|| Reference::Secret(name.into()))
}

/// A Secret, and the one beside it that has its authorities (S-93).
fn secrets(name: &str) -> Vec<Reference> {
    let plain = name.rsplit('/').next().unwrap_or_default();
    if plain.is_empty() || name.starts_with("configmap://") {
        return Vec::new();
    }
    vec![Reference::Secret(plain.into()), Reference::Secret(format!("{plain}-cacert").into())]
}

/// The ConfigMap of authorities that a credential is (GW-14, S-91): only those of the gateway's namespace are read.
fn config_map(name: &str, own: &str) -> Option<Reference> {
    let rest = name.strip_prefix("configmap://")?;
    let (namespace, plain) = rest.split_once('/').unwrap_or((own, rest));
    (namespace == own && !plain.is_empty()).then(|| Reference::ConfigMap(plain.into()))
}

fn of_virtual_service(service: &VirtualService, namespace: &Arc<str>) -> BTreeSet<Reference> {
    let mut hosts: Vec<&str> = Vec::new();
    for rule in &service.http {
        hosts.extend(rule.route.iter().filter_map(|route| route.destination.as_ref()).map(|one| &*one.host));
        hosts.extend(rule.mirror.as_deref().map(|one| &*one.host));
        hosts.extend(rule.mirrors.iter().filter_map(|mirror| mirror.destination.as_ref()).map(|one| &*one.host));
    }
    let tls = service.tls.iter().flat_map(|rule| &rule.route);
    let tcp = service.tcp.iter().flat_map(|rule| &rule.route);
    hosts.extend(tls.chain(tcp).filter_map(|route| route.destination.as_ref()).map(|one| &*one.host));
    hosts.into_iter().filter_map(|host| slices(host, Some(namespace))).collect()
}

/// The Service that a host may be: `name`, `name.namespace`, `name.namespace.svc` and what follows.
fn slices(host: &str, namespace: Option<&Arc<str>>) -> Option<Reference> {
    let host = host.to_ascii_lowercase();
    let mut labels = host.split('.');
    let (name, second, third) = (labels.next()?, labels.next(), labels.next());
    let namespace = match (second, third) {
        (None, None) => Arc::clone(namespace?),
        (Some(second), None | Some("svc")) => second.into(),
        _ => return None,
    };
    let is_complete = !name.is_empty() && !namespace.is_empty() && name != "*";
    is_complete.then(|| Reference::Slices(Key::new(namespace, name)))
}

/// Names of Services in a text, each with its namespace.
fn hosts_in(text: &str) -> impl Iterator<Item = Reference> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-'));
    words.filter(|word| word.contains(".svc")).filter_map(|word| slices(word, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::read::read_value;
    use serde_json::{Value, json};

    fn object(value: Value) -> AnyObject {
        read_value(value).objects.remove(0)
    }

    fn route(name: &str, host: &str) -> AnyObject {
        object(json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name, "namespace": "a"},
            "spec": {"hosts": ["x.test"], "http": [{"route": [{"destination": {"host": host}}]}]},
        }))
    }

    fn of(namespace: &str, name: &str) -> Reference {
        Reference::Slices(Key::new(namespace, name))
    }

    #[test]
    fn a_host_is_every_service_that_it_could_be() {
        let hosts =
            ["b", "b.c", "b.c.svc", "b.c.svc.cluster.local", "B.C.svc.other.domain", "api.example.com", "*.c", ""];
        let namespace: Arc<str> = "a".into();
        let found = hosts.map(|host| slices(host, Some(&namespace)));
        let expected = [
            Some(of("a", "b")),
            Some(of("c", "b")),
            Some(of("c", "b")),
            Some(of("c", "b")),
            Some(of("c", "b")),
            None,
            None,
            None,
        ];
        assert_eq!(found, expected);
        let text =
            "extensionProviders: [{name: e, envoyExtAuthzGrpc: {service: authz.b.svc.cluster.local, port: 9000}}]";
        assert_eq!(hosts_in(text).collect::<Vec<_>>(), [of("b", "authz")]);
    }

    #[test]
    fn what_several_refer_to_is_wanted_until_the_last_is_gone() {
        let mut references = References::default();
        references.update(&route("one", "b"), "istio-system", None);
        references.update(&route("two", "b.a.svc.cluster.local"), "istio-system", None);
        assert_eq!(references.changes(), (vec![of("a", "b")], vec![]));
        references.update(&route("one", "c"), "istio-system", None);
        assert_eq!(references.changes(), (vec![of("a", "c")], vec![]));
        references.remove(&route("two", "b").object_ref());
        assert_eq!(references.changes(), (vec![], vec![of("a", "b")]));
        // Gone and back between two calls is no change.
        references.remove(&route("one", "c").object_ref());
        references.update(&route("one", "c"), "istio-system", None);
        assert_eq!(references.changes(), (vec![], vec![]));
    }

    #[test]
    fn names_of_services_are_kept_once() {
        let mut references = References::default();
        let services = HashSet::from([Key::new("a", "b")]);
        references.update(&route("one", "b"), "istio-system", Some(&services));
        references.update(&route("two", "c"), "istio-system", Some(&services));
        references.update(&route("three", "c"), "istio-system", Some(&services));
        let is_one = |one: &Key, other: &Key| std::ptr::eq(&**one, &**other);
        let kept = services.iter().next().unwrap();
        assert!(is_one(&references.slices_of(Key::new("a", "b")), kept), "a Service that is there has the name");
        let of_object = |name: &str| match references.by_object[&route(name, "c").object_ref()].as_slice() {
            [Reference::Slices(key)] => key.clone(),
            other => panic!("{other:?}"),
        };
        assert!(is_one(&of_object("two"), &of_object("three")), "otherwise what referred to it first");
        assert!(is_one(&references.slices_of(Key::new("a", "c")), &of_object("two")));
    }

    #[test]
    fn secrets_are_wanted_by_their_names() {
        let gateway = object(json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g", "namespace": "a"},
            "spec": {"servers": [{"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["*"],
                "tls": {"mode": "MUTUAL", "credentialName": "kubernetes://site"}}]},
        }));
        let mut references = References::default();
        references.update(&gateway, "istio-system", None);
        let secret = |name: &str| Reference::Secret(name.into());
        assert_eq!(references.changes().0, [secret("site"), secret("site-cacert")]);
    }

    #[test]
    fn gw_14_config_maps_of_the_own_namespace_are_wanted_by_their_names() {
        let of = |name: &str| {
            let gateway = object(json!({
                "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g", "namespace": "a"},
                "spec": {"servers": [{"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["*"],
                    "tls": {"mode": "MUTUAL", "credentialName": "site", "caCertCredentialName": name}}]},
            }));
            let mut references = References::default();
            references.update(&gateway, "istio-system", None);
            let new = references.changes().0.into_iter();
            new.filter(|one| one.kind() == Kind::ConfigMap).collect::<Vec<_>>()
        };
        let trusted = [Reference::ConfigMap("trusted".into())];
        assert_eq!(
            (of("configmap://istio-system/trusted"), of("configmap://trusted")),
            (trusted.to_vec(), trusted.to_vec())
        );
        assert_eq!((of("configmap://a/trusted"), of("configmap://"), of("trusted")), (vec![], vec![], vec![]));
    }

    #[test]
    fn nodes_are_wanted_where_it_matters_where_endpoints_are() {
        let rule = |policy: &str| {
            let policy: Value = serde_json::from_str(policy).unwrap();
            object(json!({
                "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "r", "namespace": "a"},
                "spec": {"host": "b", "trafficPolicy": policy},
            }))
        };
        let wants = |object: &AnyObject, with_nodes: bool| {
            let mut references = References::new(with_nodes);
            references.update(object, "istio-system", None);
            references.wants(&Reference::Nodes)
        };
        let on = r#"{"loadBalancer": {"localityLbSetting": {"failoverPriority": ["a"]}}}"#;
        let off = r#"{"outlierDetection": {}, "loadBalancer": {"localityLbSetting": {"enabled": false}}}"#;
        let of_port = r#"{"portLevelSettings": [{"port": {"number": 80}, "outlierDetection": {}}]}"#;
        let other = r#"{"tls": {"mode": "DISABLE"}}"#;
        let found = [on, r#"{"outlierDetection": {}}"#, of_port, off, other].map(|policy| wants(&rule(policy), true));
        assert_eq!(found, [true, true, true, false, false]);
        assert!(!wants(&rule(on), false), "the gateway does not know where it is");
        let service = object(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "a"},
            "spec": {"trafficDistribution": "PreferClose", "ports": [{"port": 80}]},
        }));
        assert!(wants(&service, true));
        let mut references = References::new(true);
        references.set_mesh(Some(
            "localityLbSetting: {distribute: []}\nextensionProviders: [{service: x.y.svc.cluster.local}]",
        ));
        assert_eq!(references.changes().0, [of("y", "x"), Reference::Nodes]);
        references.set_mesh(None);
        assert_eq!(references.changes().1, [of("y", "x"), Reference::Nodes]);
    }

    #[test]
    fn what_is_kept_is_kept_beside_what_objects_refer_to() {
        let mut references = References::new(true);
        let state = |references: &References| {
            let nodes = &Reference::Nodes;
            (references.uses(nodes), references.keeps(nodes), references.wants(nodes))
        };
        references.set_mesh(Some("localityLbSetting: {}"));
        assert_eq!(state(&references), (true, false, true));
        references.keep(&Reference::Nodes, true);
        assert_eq!(state(&references), (true, true, true));
        references.set_mesh(None);
        assert_eq!(state(&references), (false, true, true));
        references.keep(&Reference::Nodes, false);
        assert_eq!(state(&references), (false, false, false));
    }

    #[test]
    fn secrets_are_wanted_by_annotations() {
        let of = |kind: &str, annotation: &str, spec: Value| {
            let mut references = References::default();
            let object = object(json!({
                "apiVersion": "networking.istio.io/v1", "kind": kind, "spec": spec,
                "metadata": {"name": "g", "namespace": "istio-system", "annotations": {annotation: "users"}},
            }));
            references.update(&object, "istio-system", None);
            references.changes().0
        };
        let server = json!({"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]});
        let users = [Reference::Secret("users".into())];
        assert_eq!(of("Gateway", PROXY_USERS, json!({"servers": [server]})), users);
        assert_eq!(of("DestinationRule", CREDENTIAL, json!({"host": "a.test"})), users);
        assert_eq!(of("DestinationRule", PROXY_USERS, json!({"host": "a.test"})), []);
    }
}
