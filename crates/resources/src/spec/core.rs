//! Kubernetes' own kinds, as far as a gateway uses them. Their other fields are left unread, and unknown ones are no fault:
//! an API server has checked them.

use super::scalar::{NumberOrName, RareText, Text};
use super::text_match::Labels;
use crate::shown::Shown;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// `Service`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// Ports.
    pub ports: Box<[CoreServicePort]>,
    /// Labels of its Pods.
    pub selector: Labels,
    /// `None` for a headless one.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Text,
    /// `ClusterIP`, `NodePort`, `LoadBalancer`, `ExternalName`.
    #[serde(rename = "type")]
    pub kind: Text,
    /// The name that an `ExternalName` stands for.
    pub external_name: RareText,
    /// Also endpoints that are not ready.
    pub publish_not_ready_addresses: bool,
    /// Which endpoints are preferred: `PreferClose`, `PreferSameZone`, `PreferSameNode` (DR-13).
    pub traffic_distribution: RareText,
    /// Where it is reached from outside. The addresses of load balancers are in the status, the others are here.
    #[serde(rename = "externalIPs", with = "external_ips")]
    pub outside: Shown<Outside>,
}

/// Where a Service is reached from outside; most are not, and take a word.
pub type Outside = Option<Box<OutsideAddresses>>;

/// Addresses at which a Service is reached from outside.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OutsideAddresses {
    /// `spec.externalIPs`.
    pub external_ips: Box<[Text]>,
    /// `status.loadBalancer.ingress`.
    pub ingress: Box<[IngressPoint]>,
}

/// Where a load balancer is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressPoint {
    /// Its address.
    pub ip: Text,
    /// Its name, where it has no address.
    pub hostname: Text,
    /// Whether packets have the address of the load balancer (`VIP`) or that of a node (`Proxy`).
    pub ip_mode: Text,
}

/// The part of [`Outside`] that is in the `spec`.
mod external_ips {
    use super::{Outside, OutsideAddresses, Shown, Text};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(outside: &Shown<Outside>, serializer: S) -> Result<S::Ok, S::Error> {
        outside.0.as_deref().map_or(&[][..], |outside| &outside.external_ips).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Shown<Outside>, D::Error> {
        let external_ips: Box<[Text]> = Deserialize::deserialize(deserializer)?;
        let outside = OutsideAddresses { external_ips, ..OutsideAddresses::default() };
        Ok(Shown((!outside.external_ips.is_empty()).then(|| Box::new(outside))))
    }
}

impl Service {
    /// Takes the addresses of load balancers.
    pub(crate) fn set_ingress(&mut self, ingress: Box<[IngressPoint]>) {
        if !ingress.is_empty() {
            self.outside.0.get_or_insert_default().ingress = ingress;
        }
    }

    /// Where load balancers of it are.
    pub fn ingress(&self) -> &[IngressPoint] {
        self.outside.0.as_deref().map_or(&[], |outside| &outside.ingress)
    }
}

/// A port of a `Service`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CoreServicePort {
    /// Its name.
    pub name: Text,
    /// Its number.
    pub port: u16,
    /// The port of endpoints.
    pub target_port: Option<NumberOrName>,
    /// `TCP` when empty.
    pub protocol: Text,
    /// What is spoken on it.
    pub app_protocol: Text,
    /// The port of each node that leads here; 0 where there is none.
    pub node_port: Shown<u16>,
}

/// `Endpoints`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoints {
    /// Addresses with ports.
    pub subsets: Vec<EndpointSubset>,
}

/// Addresses that share ports.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSubset {
    /// Ready ones.
    pub addresses: Vec<EndpointAddress>,
    /// Others.
    pub not_ready_addresses: Vec<EndpointAddress>,
    /// Ports.
    pub ports: Box<[EndpointPort]>,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointAddress {
    /// The address.
    pub ip: Text,
    /// The node that it is on.
    pub node_name: Text,
    /// What it is.
    pub target_ref: Option<TargetRef>,
}

/// A port of endpoints.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointPort {
    /// The name of the Service's port.
    pub name: Text,
    /// Its number.
    pub port: Option<u16>,
    /// `TCP` when empty.
    pub protocol: Text,
}

/// `EndpointSlice`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: Text,
    /// Addresses.
    pub endpoints: Box<[SliceEndpoint]>,
    /// Ports.
    pub ports: Box<[EndpointPort]>,
}

/// One endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SliceEndpoint {
    /// Its addresses; the first counts.
    pub addresses: Box<[Text]>,
    /// Whether it may be used.
    pub conditions: SliceConditions,
    /// Its zone.
    pub zone: Text,
    /// The node that it is on.
    pub node_name: Text,
    /// What it is.
    pub target_ref: Option<Box<TargetRef>>,
}

/// Whether an endpoint may be used.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SliceConditions {
    /// Unknown counts as ready.
    pub ready: Option<bool>,
    /// Still answers while it ends.
    pub serving: Option<bool>,
    /// Ends.
    pub terminating: Option<bool>,
}

/// What an endpoint is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetRef {
    /// `Pod`.
    pub kind: Text,
    /// Its name.
    pub name: Text,
    /// Its namespace; that of what refers to it when empty.
    pub namespace: Text,
}

/// `Secret`, with its values decoded; they are never printed or written out.
#[derive(Clone, PartialEq, Default)]
pub struct Secret {
    /// `kubernetes.io/tls` and the like.
    pub kind: Text,
    /// Values by name.
    pub values: BTreeMap<Text, Box<[u8]>>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("kind", &self.kind).field("keys", &self.values.keys()).finish_non_exhaustive()
    }
}

/// The kind and the names alone, which have nothing for their values.
impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut out = serializer.serialize_struct("Secret", 2)?;
        out.serialize_field("data", &self.values.keys().map(|name| (name, "")).collect::<BTreeMap<_, _>>())?;
        out.serialize_field("type", &self.kind)?;
        out.end()
    }
}

/// `ConfigMap`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    /// Values by name.
    pub data: BTreeMap<Text, Text>,
    /// The names of those that are no text.
    pub binary_data: Shown<Names>,
}

/// The names of a map; its values are not kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Names(pub Box<[Text]>);

/// The names, which have nothing for their values.
impl Serialize for Names {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|name| (name, "")))
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = BTreeMap::<Text, serde::de::IgnoredAny>::deserialize(deserializer)?;
        Ok(Self(all.into_keys().collect()))
    }
}

/// `Namespace`; its labels are in the metadata.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Namespace {
    /// Its `status.phase`.
    #[serde(skip)]
    pub phase: Shown<Option<NamespacePhase>>,
}

/// How far a Namespace is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespacePhase {
    /// It is used.
    Active,
    /// It ends, with what is in it.
    Terminating,
}

/// `Node`; where it is, is in the labels of its metadata.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {}

/// The annotation of Services and ServiceEntries that stands for `trafficDistribution`.
pub const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";
/// The label of a Node with its region (DR-14).
pub const REGION: &str = "topology.kubernetes.io/region";
/// The label of a Node with its zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// The label of a Node with its subzone, which is Istio's.
pub const SUBZONE: &str = "topology.istio.io/subzone";

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        use serde::de::Error as _;
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default)]
        struct Raw {
            #[serde(rename = "type")]
            kind: Text,
            data: BTreeMap<Text, Text>,
            string_data: BTreeMap<Text, Text>,
        }
        let raw = Raw::deserialize(deserializer)?;
        let mut values = BTreeMap::new();
        for (name, text) in raw.data {
            let compact: String = text.split_ascii_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(compact)
                .map_err(|_| D::Error::custom(format!("`data.{name}` is not base64")))?;
            values.insert(name, bytes.into());
        }
        values.extend(raw.string_data.into_iter().map(|(name, text)| (name, text.into_boxed_bytes())));
        Ok(Self { kind: raw.kind, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json, to_value};

    #[test]
    fn values_of_secrets_are_decoded_and_not_shown() {
        let written = json!({"type": "Opaque", "data": {"a": "c2Vj\ncmV0", "b": "eA=="}, "stringData": {"b": "plain"}});
        let secret: Secret = from_value(written).unwrap();
        assert_eq!(&*secret.values["a"], b"secret");
        assert_eq!(&*secret.values["b"], b"plain");
        let shown = format!("{secret:?} {}", to_value(&secret).unwrap());
        assert!(shown.contains("Opaque") && !shown.contains("secret\"") && !shown.contains("plain"), "{shown}");
        let error = from_value::<Secret>(json!({"data": {"tls.key": "hidden!"}})).unwrap_err().to_string();
        assert!(error.contains("data.tls.key") && !error.contains("hidden"), "{error}");
    }

    #[test]
    fn target_ports_are_numbers_or_names() {
        let ports =
            json!({"ports": [{"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": "web"}], "unknown": 1});
        let service: Service = from_value(ports).unwrap();
        let targets: Vec<_> = service.ports.iter().map(|port| port.target_port.clone()).collect();
        assert_eq!(targets, [Some(NumberOrName::Number(8080)), Some(NumberOrName::Name("web".into()))]);
        assert!(from_value::<Service>(json!({"ports": [{"port": 70000}]})).is_err());
    }

    #[test]
    fn endpoints_are_ready_unless_they_say_no() {
        let slice: EndpointSlice = from_value(json!({
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["10.0.0.1"], "zone": "a"}, {"addresses": ["10.0.0.2"], "conditions": {"ready": false}}],
        }))
        .unwrap();
        let ready: Vec<_> = slice.endpoints.iter().map(|endpoint| endpoint.conditions.ready).collect();
        assert_eq!(ready, [None, Some(false)]);
    }
}
