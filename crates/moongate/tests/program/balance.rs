//! `explain` says how endpoints are chosen (DR-10 to DR-13).

use moongate::explain::{Explainer, Outcome, Question};
use moongate::settings;
use std::path::Path;

/// The description of the only target of a host, in a case.
fn told(case: &str, host: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases/balance").join(case).join("in.yaml");
    let mut settings = settings::ingress();
    settings.workloads[0].locality = Some(ir::Locality("eu-west/a".into()));
    let explainer = Explainer::read(vec![path], None, settings).unwrap();
    let question = Question {
        port: 80,
        method: "GET".to_owned(),
        target: "/".to_owned(),
        headers: vec![("Host".to_owned(), host.to_owned())],
        body: false,
        tls: None,
        from: [127, 0, 0, 1].into(),
        identity: None,
    };
    match explainer.ask(&question).unwrap().outcome {
        Outcome::Forwarded { targets, .. } => targets[0].balance.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn dr_11_the_key_and_the_table_are_told() {
    let told = |host| told("consistent-hash", host);
    assert_eq!(told("header.test"), "ring hash by header `x-user`");
    assert_eq!(told("query.test"), "Maglev by query parameter `user`");
    assert_eq!(told("address.test"), "ring hash by the client's address");
    assert_eq!(told("cookie.test"), "ring hash by cookie `session`, which is made for clients without it");
}

#[test]
fn dr_12_and_dr_13_warm_up_priorities_and_shares_are_told() {
    assert_eq!(told("warm-up", "warm.test"), "round robin; new endpoints warm up for 60s");
    let told = |host| told("localities", host);
    assert_eq!(told("ignored.test"), "least request");
    assert_eq!(told("never.test"), "least request");
    assert_eq!(
        told("near.test"),
        "least request; nearest first: 127.0.0.1:9001, then 127.0.0.1:9002, then 127.0.0.1:9003"
    );
    assert_eq!(told("shares.test"), "least request; shares: 50 to eu-west/b, 50 to us-east/a");
}
