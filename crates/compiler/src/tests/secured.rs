//! TLS settings fail closed: a setting that cannot be enforced stops the traffic, and is reported.

use super::mesh_settings::settings;
use super::world::{compiled_with, endpoints, entry, findings, gateway, set, virtual_service};
use crate::{Compiled, Memo, Settings, compile};
use ir::{ClientAuth, Credential, HostPattern, Termination, TlsParameters, TlsVersion, Trust, Verify};
use resources::file_contents::FileContents;
use std::sync::Arc;

macro_rules! data {
    ($name:literal) => {
        include_str!(concat!("../../../testkit/data/x509-v1/", $name))
    };
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// A Secret of the gateway's namespace.
fn secret(name: &str, values: &[(&str, &str)]) -> String {
    let values: String = values.iter().map(|(key, value)| format!("  {key}: |\n{}", indented(value))).collect();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: istio-system}}\nstringData:\n{values}---\n"
    )
}

/// Version 1, without names, by an authority that is in the Secret, too.
fn web() -> String {
    secret("web", &[("tls.crt", data!("server.crt")), ("tls.key", data!("server.key")), ("ca.crt", data!("ca.crt"))])
}

/// A Gateway with TLS servers on one port, each a host and its settings.
fn servers(servers: &[(&str, &str)]) -> String {
    let servers: String = servers
        .iter()
        .enumerate()
        .map(|(at, (host, tls))| {
            format!(
                "  - port: {{number: 443, name: p{at}, protocol: HTTPS}}\n    hosts: ['{host}']\n    tls: {{{tls}}}\n"
            )
        })
        .collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: gw, namespace: default}}\nspec:\n  servers:\n{servers}---\n"
    )
}

fn terminations(compiled: &Compiled) -> Vec<(String, Arc<Termination>)> {
    let listener = compiled.snapshot.listeners.values().find(|listener| listener.id.address.port() == 443).unwrap();
    let one = |server: &ir::TlsServer| (server.names[0].to_string(), server.termination.clone().unwrap());
    listener.tls.iter().map(one).collect()
}

/// The termination of one server with these settings, and what is found.
fn server(tls: &str, settings: &Settings) -> (Arc<Termination>, Vec<String>) {
    let compiled = compiled_with(&[servers(&[("*", tls)]), web()].concat(), settings);
    let found = findings(&compiled).iter().filter(|found| !found.starts_with("MG6018")).cloned().collect();
    (terminations(&compiled).remove(0).1, found)
}

fn required(termination: &Termination) -> Option<&Trust> {
    match &termination.client {
        ClientAuth::Required(trust) => Some(trust),
        ClientAuth::None | ClientAuth::Optional(_) | ClientAuth::Unverified => None,
    }
}

fn is_missing(termination: &Termination) -> bool {
    matches!(termination.credential, Credential::Missing(_))
}

#[test]
fn certificates_of_version_1_are_served_and_their_lack_of_names_is_reported() {
    let compiled = compiled_with(
        &[servers(&[("a.test", "mode: SIMPLE, credentialName: web")]), web()].concat(),
        &Settings::default(),
    );
    assert!(matches!(terminations(&compiled)[0].1.credential, Credential::Ready(_)));
    assert_eq!(findings(&compiled), ["MG6018 Gateway default/gw"]);
    let message = &compiled.report.iter().next().unwrap().message;
    assert!(message.contains("no subjectAltName (it is X.509 version 1, which has none)"), "{message}");
}

/// GW-10: another server of the port must not answer for its names instead.
#[test]
fn gw_10_a_server_for_the_mesh_takes_its_names_and_rejects_every_client() {
    let both = [("*", "mode: SIMPLE, credentialName: web"), ("admin.test", "mode: ISTIO_MUTUAL")];
    let compiled = compiled_with(&[servers(&both), web()].concat(), &Settings::default());
    let found = terminations(&compiled);
    let (_, closed) = found.iter().find(|(name, _)| name == "admin.test").unwrap();
    assert!(is_missing(closed) && required(closed).is_some_and(|trust| trust.authorities.is_empty()));
    assert!(findings(&compiled).contains(&"MG6019 Gateway default/gw".to_owned()));
    let listener = compiled.snapshot.listeners.values().next().unwrap();
    assert!(listener.tls.iter().any(|server| server.names == [HostPattern::parse("admin.test").unwrap()]));
}

#[test]
fn gw_15_what_is_demanded_of_client_certificates_is_enforced_in_every_mode() {
    let none = Settings::default();
    for demand in ["subjectAltNames: [a.test]", "verifyCertificateHash: ['00']", "verifyCertificateSpki: [AA==]"] {
        for mode in [
            "SIMPLE",
            "OPTIONAL_MUTUAL",
            "MUTUAL, insecureSkipVerify: true",
            "OPTIONAL_MUTUAL, insecureSkipVerify: true",
        ] {
            let (termination, found) = server(&format!("mode: {mode}, credentialName: web, {demand}"), &none);
            assert!(required(&termination).is_some_and(|trust| !trust.authorities.is_empty()), "{mode} {demand}");
            let contradicts = mode != "OPTIONAL_MUTUAL";
            assert_eq!(found.contains(&"MG6021 Gateway default/gw".to_owned()), contradicts, "{mode} {demand}");
        }
    }
    let (termination, found) = server("mode: MUTUAL, credentialName: web, insecureSkipVerify: true", &none);
    assert_eq!((&termination.client, found.len()), (&ClientAuth::Unverified, 0));
    let (termination, _) = server("mode: SIMPLE, credentialName: web", &none);
    assert_eq!(termination.client, ClientAuth::None);
}

#[test]
fn gw_11_a_list_of_revoked_certificates_that_cannot_be_had_trusts_nobody() {
    let ca = secret("ca", &[("ca.crt", data!("ca.crt"))]);
    let with = |tls: &str, more: &str| {
        let compiled = compiled_with(&format!("{}{}{more}", servers(&[("*", tls)]), web()), &Settings::default());
        let termination = terminations(&compiled).remove(0).1;
        (is_missing(&termination), required(&termination).map(|trust| trust.authorities.len()), findings(&compiled))
    };
    let own = "mode: MUTUAL, serverCertificate: /a, privateKey: /b, caCertCredentialName: ca";
    let (missing, authorities, found) = with(&format!("{own}, caCrl: /gone"), &ca);
    assert_eq!((missing, authorities), (true, Some(0)));
    assert!(found.contains(&"MG6011 Gateway default/gw".to_owned()), "{found:?}");
    // In a Secret: what is no list is not the same as none.
    let no_list = secret("ca", &[("ca.crt", data!("ca.crt")), ("ca.crl", "# none yet")]);
    let (missing, authorities, found) = with("mode: MUTUAL, credentialName: web, caCertCredentialName: ca", &no_list);
    assert_eq!((missing, authorities), (true, Some(0)));
    assert!(found.contains(&"MG6012 Gateway default/gw".to_owned()), "{found:?}");
}

#[test]
fn gw_17_gw_18_where_nothing_that_is_written_is_supported_nothing_else_is_offered() {
    let none = Settings::default();
    let of = |tls: &str, settings: &Settings| server(&format!("mode: SIMPLE, credentialName: web, {tls}"), settings);
    let (termination, found) = of("cipherSuites: [AES128-SHA, AES256-SHA]", &none);
    assert_eq!((termination.parameters.lowest, is_missing(&termination)), (TlsVersion::V1_3, false));
    assert!(found.contains(&"MG6022 Gateway default/gw".to_owned()), "{found:?}");
    for tls in ["cipherSuites: [AES128-SHA], maxProtocolVersion: TLSV1_2", "ecdhCurves: [P-521]"] {
        let (termination, found) = of(tls, &none);
        assert!(is_missing(&termination) && found.contains(&"MG6022 Gateway default/gw".to_owned()), "{found:?}");
    }
    let (termination, found) = of("cipherSuites: [AES128-SHA, ECDHE-RSA-AES128-GCM-SHA256]", &none);
    let suites = vec!["ECDHE-RSA-AES128-GCM-SHA256".into()];
    assert_eq!(termination.parameters, TlsParameters { suites, ..TlsParameters::default() });
    assert_eq!(found, ["MG6015 Gateway default/gw"]);
    // MC-03: those of the mesh hold where a server has none.
    let mesh = settings("tlsDefaults: {ecdhCurves: [P-521], cipherSuites: [AES128-SHA]}");
    assert!(is_missing(&of("maxProtocolVersion: TLSV1_3", &mesh).0));
    let own = "ecdhCurves: [P-256], cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256]";
    assert!(!is_missing(&of(own, &mesh).0));
}

#[test]
fn mc_03_what_the_mesh_says_of_tls_holds_where_nothing_else_is_said() {
    let parameters = |mesh: &str| server("mode: SIMPLE, credentialName: web", &settings(mesh)).0.parameters.clone();
    assert_eq!(parameters("{}"), TlsParameters::default());
    let written = "minProtocolVersion: TLSV1_3, ecdhCurves: [P-256, P-521], cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256, AES128-SHA]";
    let wanted = TlsParameters {
        lowest: TlsVersion::V1_3,
        groups: vec!["P-256".into()],
        suites: vec!["ECDHE-RSA-AES128-GCM-SHA256".into()],
        ..TlsParameters::default()
    };
    assert_eq!(parameters(&format!("tlsDefaults: {{{written}}}")), wanted);
}

/// A route to `b.test` with a DestinationRule.
fn to_backend(rule: &str) -> String {
    let route = virtual_service(
        "a",
        "  hosts: [a.test]\n  gateways: [gw]\n  http:\n  - match: [{uri: {prefix: /v1}}]\n    route: [{destination: {host: b.test, subset: v1}}]\n  - route: [{destination: {host: b.test}}]",
    );
    let rule = format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: b, namespace: default}}\nspec:\n  host: b.test\n{rule}\n---\n"
    );
    [gateway("gw", "a.test"), route, entry("b.test", &[8080]), rule].concat()
}

#[test]
fn dr_46_istio_mutual_fails_the_destination_wherever_it_is_written() {
    const PLAIN: &str = "127.0.0.1:8080";
    const CLOSED: &str = "no TLS";
    let mutual = "{tls: {mode: ISTIO_MUTUAL}}";
    for (rule, whole, subset) in [
        (format!("  trafficPolicy: {mutual}\n  subsets: [{{name: v1, labels: {{version: v1}}}}]"), CLOSED, CLOSED),
        (
            "  trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}]}\n  subsets: [{name: v1, labels: {version: v1}}]".to_owned(),
            CLOSED,
            CLOSED,
        ),
        (format!("  subsets: [{{name: v1, labels: {{version: v1}}, trafficPolicy: {mutual}}}]"), PLAIN, CLOSED),
        (
            format!("  trafficPolicy: {mutual}\n  subsets: [{{name: v1, labels: {{version: v1}}, trafficPolicy: {{tls: {{mode: DISABLE}}}}}}]"),
            CLOSED,
            PLAIN,
        ),
    ] {
        let compiled = compiled_with(&to_backend(&rule), &Settings::default());
        assert_eq!(endpoints(&compiled, "outbound|80||b.test"), [whole], "{rule}");
        assert_eq!(endpoints(&compiled, "outbound|80|v1|b.test"), [subset], "{rule}");
        assert_eq!(findings(&compiled), ["MG8020 DestinationRule default/b"], "{rule}");
    }
}

#[test]
fn dr_45_tls_settings_of_a_destination_fail_closed() {
    let with = |tls: &str| {
        let rule = format!("  trafficPolicy: {{tls: {{{tls}}}}}\n  subsets: [{{name: v1, labels: {{version: v1}}}}]");
        compiled_with(&to_backend(&rule), &Settings::default())
    };
    for (tls, code) in [
        ("mode: SIMPLE, caCrl: /gone", "MG6011"),
        ("mode: SIMPLE, caCertificates: /gone", "MG6011"),
        ("mode: SIMPLE, cipherSuites: [AES128-SHA], maxProtocolVersion: TLSV1_2", "MG6022"),
        ("mode: MUTUAL, credentialName: gone", "MG6011"),
    ] {
        let compiled = with(tls);
        assert_eq!(endpoints(&compiled, "outbound|80||b.test"), ["no TLS"], "{tls}");
        assert!(findings(&compiled).contains(&format!("{code} DestinationRule default/b")), "{tls}");
    }
    let suites = with("mode: SIMPLE, cipherSuites: [AES128-SHA]");
    let tls = suites.snapshot.clusters.values().next().unwrap().tls.clone().unwrap();
    assert_eq!(tls.parameters.lowest, TlsVersion::V1_3);
}

/// Lists of the system's authorities and a list of what they took back go together.
#[test]
fn dr_41_a_list_of_revoked_certificates_counts_with_the_systems_authorities() {
    let rule = "  trafficPolicy: {tls: {mode: SIMPLE, caCrl: /crl}}\n  subsets: [{name: v1, labels: {version: v1}}]";
    let crl = include_bytes!("../../../testkit/data/x509-v1/ca.crl");
    let mut files = ir::Map::new_sync();
    files.insert_mut(Arc::from("/crl"), Arc::from(&crl[..]));
    let compiled = compile(
        &set(&to_backend(rule)).with_files(FileContents::of_all(files)),
        &Settings::default(),
        &mut Memo::default(),
    );
    let tls = compiled.snapshot.clusters.values().next().unwrap().tls.clone().unwrap();
    let Verify::Authorities { trust: Some(trust), by_sni: true } = &tls.verify else { panic!("{:?}", tls.verify) };
    assert_eq!((trust.authorities.len(), trust.revoked.len()), (0, 1));
}

/// Whoever may write objects in another namespace could use the keys of the gateway otherwise, those that its own objects name included.
#[test]
fn gw_11_files_of_one_namespace_are_used_by_no_object_of_another() {
    let files = [
        ("/server.crt", data!("server.crt")),
        ("/server.key", data!("server.key")),
        ("/client.crt", data!("client.crt")),
        ("/client.key", data!("client.key")),
        ("/ca.crt", data!("ca.crt")),
        ("/ca.crl", data!("ca.crl")),
    ];
    let contents: ir::Map<Arc<str>, Arc<[u8]>> =
        files.into_iter().map(|(path, text)| (path.into(), text.as_bytes().into())).collect();
    // The objects are in namespace `default`.
    let of = |text: &str, only: &str| {
        let files = FileContents::of_all(contents.clone()).only_of(only.into());
        compile(&set(text).with_files(files), &Settings::default(), &mut Memo::default())
    };
    let is_missed = |compiled: &Compiled, object: &str| findings(compiled).contains(&format!("MG6011 {object}"));
    for tls in [
        "mode: SIMPLE, serverCertificate: /server.crt, privateKey: /server.key",
        "mode: MUTUAL, serverCertificate: /server.crt, privateKey: /server.key, caCertificates: /ca.crt",
        "mode: MUTUAL, serverCertificate: /server.crt, privateKey: /server.key, caCertificates: /ca.crt, caCrl: /ca.crl",
    ] {
        let text = servers(&[("*", tls)]);
        let is_closed = |compiled: &Compiled| {
            let (_, termination) = terminations(compiled).remove(0);
            is_missing(&termination) || required(&termination).is_some_and(|trust| trust.authorities.is_empty())
        };
        let (own, other) = (of(&text, "default"), of(&text, "istio-system"));
        assert!(!is_closed(&own) && !is_missed(&own, "Gateway default/gw"), "{tls}: {:?}", findings(&own));
        assert!(is_closed(&other) && is_missed(&other, "Gateway default/gw"), "{tls}: {:?}", findings(&other));
    }
    for tls in [
        "mode: MUTUAL, clientCertificate: /client.crt, privateKey: /client.key",
        "mode: SIMPLE, caCertificates: /ca.crt",
        "mode: SIMPLE, caCrl: /ca.crl",
    ] {
        for (policy, id) in [
            (format!("  trafficPolicy: {{tls: {{{tls}}}}}\n  subsets: [{{name: v1, labels: {{version: v1}}}}]"), "||"),
            (
                format!(
                    "  trafficPolicy: {{portLevelSettings: [{{port: {{number: 80}}, tls: {{{tls}}}}}]}}\n  subsets: [{{name: v1, labels: {{version: v1}}}}]"
                ),
                "||",
            ),
            (format!("  subsets: [{{name: v1, labels: {{version: v1}}, trafficPolicy: {{tls: {{{tls}}}}}}}]"), "|v1|"),
        ] {
            let withheld = |compiled: &Compiled| endpoints(compiled, &format!("outbound|80{id}b.test")) == ["no TLS"];
            let (own, other) = (of(&to_backend(&policy), "default"), of(&to_backend(&policy), "istio-system"));
            assert!(!withheld(&own) && !is_missed(&own, "DestinationRule default/b"), "{policy}: {:?}", findings(&own));
            assert!(withheld(&other) && is_missed(&other, "DestinationRule default/b"), "{policy}");
        }
    }
}
