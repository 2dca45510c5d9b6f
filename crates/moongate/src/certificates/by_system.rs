//! What is verified by the authorities of the system, and the findings where the system has none, as in an image without them: everything
//! that needs them fails then.

use crate::objects::object_ref;
use ir::policy::{KeySource, Provider};
use ir::{ClusterId, ListenerId, Origin, Snapshot, Verify};
use resources::diagnostic::{Diagnostic, Severity};
use std::collections::BTreeMap;
use std::sync::Arc;

/// `docs/diagnostics.md` lists it.
pub(super) const NO_AUTHORITIES: &str = "MG9047";

/// The rules that need the authorities of the system.
#[derive(Debug, Clone, Default)]
pub(super) struct BySystem {
    clusters: BTreeMap<ClusterId, Origin>,
    listeners: BTreeMap<ListenerId, Vec<Arc<Provider>>>,
}

impl BySystem {
    pub(super) fn is_empty(&self) -> bool {
        self.clusters.is_empty() && self.listeners.is_empty()
    }

    pub(super) fn put_cluster(&mut self, snapshot: &Snapshot, id: &ClusterId) {
        let needs = |verify: &Verify| match verify {
            Verify::Nothing => false,
            Verify::Authorities { trust, .. } => trust.as_ref().is_none_or(|trust| trust.authorities.is_empty()),
        };
        let cluster = snapshot.clusters.get(id).filter(|one| one.tls.as_ref().is_some_and(|tls| needs(&tls.verify)));
        match cluster {
            Some(cluster) => {
                let origin = cluster.policy.as_deref().unwrap_or(&cluster.origin);
                self.clusters.insert(id.clone(), origin.clone());
            }
            None => drop(self.clusters.remove(id)),
        }
    }

    pub(super) fn put_listener(&mut self, snapshot: &Snapshot, id: &ListenerId) {
        let authentication = snapshot.listeners.get(id).and_then(|listener| listener.policies.authentication.as_ref());
        let needs =
            |provider: &&Arc<Provider>| matches!(&provider.keys, KeySource::Remote(keys) if is_https(&keys.url));
        let needy: Vec<_> = authentication.iter().flat_map(|one| one.providers.iter().filter(needs)).cloned().collect();
        if needy.is_empty() {
            self.listeners.remove(id);
        } else {
            self.listeners.insert(id.clone(), needy);
        }
    }

    /// What there is to say where the system has no authorities, once of each rule.
    pub(super) fn findings(&self) -> Vec<Diagnostic> {
        let of_clusters = self.clusters.values().map(|origin| (origin.to_string(), of_cluster(origin)));
        let of_issuers = self.listeners.values().flatten().map(|one| (one.origin.to_string(), of_issuer(one)));
        of_clusters.chain(of_issuers).collect::<BTreeMap<_, _>>().into_values().collect()
    }
}

fn is_https(url: &str) -> bool {
    url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

fn of_cluster(origin: &Origin) -> Diagnostic {
    let message = "the endpoints are to be verified by the authorities of the system, which has none: requests get 503";
    finding(
        origin,
        "spec.trafficPolicy.tls".to_owned(),
        message.to_owned(),
        ", or set `caCertificates` or `credentialName`",
    )
}

fn of_issuer(provider: &Provider) -> Diagnostic {
    let message = format!(
        "the keys of `{}` are to be fetched by TLS with the authorities of the system, which has none: every token of the issuer is refused",
        provider.issuer
    );
    finding(&provider.origin, format!("spec.{}", provider.origin.rule), message, "")
}

fn finding(origin: &Origin, field: String, message: String, other: &str) -> Diagnostic {
    let help = format!(
        "install certificates of authorities (`/etc/ssl/certs/ca-certificates.crt` in an image), name a file of them in the variable SSL_CERT_FILE{other}, and restart the gateway"
    );
    let (code, severity) = (NO_AUTHORITIES, Severity::Error);
    let object = Some(object_ref(origin));
    Diagnostic { code, severity, object, field, position: None, message, help: Some(help) }
}

#[cfg(test)]
mod tests {
    use super::super::Certificates;
    use super::*;
    use compiler::{Memo, Settings};
    use resources::read::{documents, read};
    use resources::set::{Change, ResourceSet};
    use std::path::Path;

    const YAML: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: vs, namespace: default}
spec:
  hosts: ["*"]
  gateways: [gw]
  http:
  - match: [{uri: {prefix: /unverified}}]
    route: [{destination: {host: unverified.test}}]
  - route: [{destination: {host: verified.test}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: se, namespace: default}
spec:
  hosts: [verified.test, unverified.test]
  ports: [{number: 443, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 192.0.2.1}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: verified, namespace: default}
spec: {host: verified.test, trafficPolicy: {tls: {mode: SIMPLE, sni: verified.test}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: unverified, namespace: default}
spec: {host: unverified.test, trafficPolicy: {tls: {mode: SIMPLE, sni: unverified.test, insecureSkipVerify: true}}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: istio-system}
spec:
  jwtRules:
  - {issuer: a, jwksUri: "https://a.test/keys"}
  - {issuer: b, jwksUri: "http://b.test/keys"}
"#;

    #[test]
    fn dr_41_what_needs_the_authorities_of_the_system_is_known() {
        let file: Arc<Path> = Path::new("in.yaml").into();
        let objects = documents(YAML).flat_map(|document| read(&file, document).objects);
        let set = ResourceSet::default().with(objects.map(Change::Put));
        let compiled = compiler::compile(&set, &Settings::default(), &mut Memo::default());
        let mut certificates = Certificates::of(&compiled.snapshot);
        let found = certificates.without_authorities(|| false);
        let found: Vec<_> =
            found.iter().map(|one| (one.object.as_ref().map(ToString::to_string), &*one.field)).collect();
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(
            found,
            [
                (named("DestinationRule default/verified"), "spec.trafficPolicy.tls"),
                (named("RequestAuthentication istio-system/tokens"), "spec.jwtRules[0]"),
            ]
        );
        assert_eq!(certificates.without_authorities(|| true), []);
        // Authorities are read only where something needs them.
        certificates.update(&Snapshot::default(), None);
        assert_eq!(certificates.without_authorities(|| panic!("nothing needs them")), []);
    }
}
