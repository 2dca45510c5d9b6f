//! Which endpoints' certificates are accepted, and what is said of the others (DR-41 to DR-45).

use super::*;
use ir::{Der, TlsParameters};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Der,
}

impl Authority {
    fn new() -> Self {
        Self::named("authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = Der(params.self_signed(&key).unwrap().der().to_vec().into());
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn sign(&self, names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    /// A list that takes nothing back, between the beginnings of two years.
    fn list(&self, from: i32, until: i32) -> Der {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(from, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Der(params.signed_by(&self.issuer).unwrap().der().to_vec().into())
    }

    fn trust(&self, names: &[&str], revoked: Vec<Der>) -> Trust {
        Trust {
            authorities: vec![self.certificate.clone()],
            revoked,
            names: names.iter().map(|name| StringMatch::Exact((*name).into())).collect(),
            key_pins: Vec::new(),
            certificate_pins: Vec::new(),
        }
    }
}

/// What comes of an endpoint's certificate for a name; an error is the text of the access log.
fn verify(trust: Trust, sni: Sni, certificate: &CertificateDer<'_>, name: &str) -> Result<(), String> {
    let by_sni = trust.names.is_empty();
    let verify = Verify::Authorities { trust: Some(Arc::new(trust)), by_sni };
    let tls = ClientTls { sni, verify, identity: None, key_pins: Vec::new(), parameters: TlsParameters::default() };
    let verifier = Verifier::build(&tls, &parameters::provider(&tls.parameters)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let verified = verifier.verify_server_cert(certificate, &[], &name, &[], UnixTime::now());
    verified.map(drop).map_err(|error| certificate::describe(&error))
}

/// As Envoy has it, and as authorities of one's own issue them.
#[test]
fn dr_43_a_wildcard_one_label_deep_counts_with_authorities_that_are_given() {
    let authority = Authority::new();
    let wild = authority.sign(&["*.test"]);
    let asked = |name: &str| verify(authority.trust(&[], vec![]), Sni::Host, &wild, name).is_ok();
    assert_eq!(["a.test", "A.TEST", "a.b.test", "test", "a.other"].map(asked), [true, true, false, false, false]);
    let listed = |name: &str| verify(authority.trust(&[name], vec![]), Sni::Host, &wild, "x.invalid").is_ok();
    assert_eq!(["a.test", "a.b.test"].map(listed), [true, false]);
    let of_system = Trust { authorities: Vec::new(), ..authority.trust(&[], vec![]) };
    assert!(!certificate::covers_by_short_wildcard(&wild, "a.test", &of_system));
    assert!(!certificate::covers_by_short_wildcard(&authority.sign(&["*.a.test"]), "x.a.test", &of_system));
}

#[test]
fn dr_43_a_wrong_name_is_reported_with_the_field_to_set() {
    let authority = Authority::new();
    let shown = authority.sign(&["real.test", "10.0.0.1"]);
    let by_sni = verify(authority.trust(&[], vec![]), Sni::Name("asked.test".into()), &shown, "asked.test");
    let text = "the endpoint's certificate is not valid for `asked.test` (the DestinationRule's `tls.sni`); it is valid for real.test, 10.0.0.1: set `tls.sni` or `tls.subjectAltNames` of the DestinationRule to a name that it has";
    assert_eq!(by_sni.unwrap_err(), text);
    let by_host = verify(authority.trust(&[], vec![]), Sni::Host, &authority.sign(&[]), "asked.test").unwrap_err();
    assert!(by_host.contains("(the host that the request is sent to); it has no subjectAltName"), "{by_host}");
    let listed = verify(authority.trust(&["a.test", "b.test"], vec![]), Sni::Host, &shown, "asked.test").unwrap_err();
    assert!(
        listed.contains("has none of the `subjectAltNames` `a.test`, `b.test`; it is valid for real.test"),
        "{listed}"
    );
    assert_eq!(verify(authority.trust(&["real.test"], vec![]), Sni::Host, &shown, "asked.test"), Ok(()));
}

/// Pins hold beside the authorities, and in place of them where the chain is not verified.
#[test]
fn an_endpoint_with_another_public_key_than_the_pinned_ones_is_rejected_with_its_key() {
    let authority = Authority::new();
    let shown = authority.sign(&["a.test"]);
    let key = certificate::key_digest(&shown).unwrap();
    let verify = |verify: Verify, key_pins: &[[u8; 32]]| {
        let parameters = TlsParameters::default();
        let tls = ClientTls { sni: Sni::Host, verify, identity: None, key_pins: key_pins.to_vec(), parameters };
        let verifier = Verifier::build(&tls, &parameters::provider(&tls.parameters)).unwrap();
        let name = ServerName::try_from("a.test").unwrap();
        let verified = verifier.verify_server_cert(&shown, &[], &name, &[], UnixTime::now());
        verified.map(drop).map_err(|error| certificate::describe(&error))
    };
    let trusted = || Verify::Authorities { trust: Some(Arc::new(authority.trust(&[], vec![]))), by_sni: true };
    for accepted in [trusted(), Verify::Nothing] {
        assert_eq!(verify(accepted.clone(), &[]), Ok(()));
        assert_eq!(verify(accepted.clone(), &[[1; 32], key]), Ok(()));
        let error = verify(accepted, &[[1; 32]]).unwrap_err();
        assert!(error.contains(&format!("is `sha256/{}`", STANDARD.encode(key))), "{error}");
    }
    // A pin is no authority.
    let other = Authority::named("other").trust(&[], vec![]);
    assert!(verify(Verify::Authorities { trust: Some(Arc::new(other)), by_sni: true }, &[key]).is_err());
}

/// webpki reads version 3 alone; see `make.sh` beside the certificates.
#[test]
fn an_endpoint_with_a_version_1_certificate_is_rejected_with_the_reason() {
    let read = |pem: &[u8]| CertificateDer::from_pem_slice(pem).unwrap();
    let leaf = read(include_bytes!("../../../testkit/data/x509-v1/server.crt"));
    let authority = read(include_bytes!("../../../testkit/data/x509-v1/ca.crt"));
    let trust = Trust { authorities: vec![Der(authority.to_vec().into())], ..Authority::new().trust(&[], vec![]) };
    let error = verify(trust, Sni::Host, &leaf, "httpbin.example.com").unwrap_err();
    assert!(error.contains("the peer's certificate is X.509 version 1, and only version 3 can be verified"), "{error}");
}

/// As BoringSSL: who keeps a new list away must not bring back what it takes away.
#[test]
fn s_84_a_list_that_is_out_of_date_rejects_every_certificate() {
    let authority = Authority::new();
    let shown = authority.sign(&["a.test"]);
    let with = |lists: Vec<Der>| verify(authority.trust(&[], lists), Sni::Host, &shown, "a.test");
    let list = |from: i32, until: i32| authority.list(from, until);
    assert_eq!(with(vec![list(2000, 3000)]), Ok(()));
    assert!(with(vec![list(2000, 2001)]).is_err());
    assert!(with(vec![list(2999, 3000)]).is_err());
    // A list of another authority says nothing of this one's certificates.
    let other = Authority::named("other");
    assert!(with(vec![other.list(2000, 3000)]).is_err());
    assert_eq!(with(vec![list(2000, 3000), other.list(2999, 3000)]), Ok(()));
}

/// As our own, version 1 is shown to endpoints like any other.
#[test]
fn a_certificate_of_version_1_is_shown_to_endpoints_and_only_with_its_key() {
    use ir::{Identity, KeyForm, PrivateKey};
    use rustls::pki_types::PrivateKeyDer;
    let certificate =
        CertificateDer::from_pem_slice(include_bytes!("../../../testkit/data/x509-v1/client.crt")).unwrap();
    let with = |key: &[u8]| {
        let key = PrivateKeyDer::from_pem_slice(key).unwrap();
        let identity = Identity {
            source: "it".into(),
            chain: vec![Der(certificate.to_vec().into())],
            key: PrivateKey { form: KeyForm::Pkcs8, der: key.secret_der().into() },
            staple: None,
        };
        let (sni, parameters) = (Sni::Host, TlsParameters::default());
        let tls = ClientTls {
            sni,
            verify: Verify::Nothing,
            identity: Some(Arc::new(identity)),
            key_pins: Vec::new(),
            parameters,
        };
        Connector::build(&tls, &UpstreamProtocol::Http1).map(|built| built.config.client_auth_cert_resolver.has_certs())
    };
    assert_eq!(with(include_bytes!("../../../testkit/data/x509-v1/client.key")), Ok(true));
    let other = with(include_bytes!("../../../testkit/data/x509-v1/server.key"));
    assert!(other.unwrap_err().to_string().contains("private key does not match the certificate"));
}
