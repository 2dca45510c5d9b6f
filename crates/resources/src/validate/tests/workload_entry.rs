//! WE-01.

use super::holds;

#[track_caller]
fn entry(spec: &str, wanted: &[&str]) {
    holds("WorkloadEntry", spec, wanted);
}

#[test]
fn we_01_an_address_or_a_network_is_needed() {
    for good in ["1.2.3.4", "'::1'", "a.test", "unix:///run/a", "unix://@a"] {
        entry(&format!("address: {good}"), &[]);
    }
    entry("{}", &["E MG5001 spec.address"]);
    entry("network: net", &["W MG5001 spec.address"]);
    for bad in ["unix:///run/", "unix://a", "unix://", "a b", "http://a.test"] {
        entry(&format!("address: {bad}"), &["E MG5001 spec.address"]);
    }
}

#[test]
fn we_01_a_socket_has_no_ports() {
    entry("address: unix://@a\nports: {http: 80}", &["E MG5001 spec.ports"]);
}

#[test]
fn we_01_ports_have_names_and_numbers() {
    entry("address: 1.2.3.4\nports: {http: 80}\nlabels: {app: a}\nweight: 2\nlocality: a/b/c\nserviceAccount: s", &[]);
    entry("address: 1.2.3.4\nports: {http: 99999}", &["E MG5002 spec.ports.http"]);
    entry("address: 1.2.3.4\nports: {'@': 80}", &["E MG5002 spec.ports.@"]);
    entry("address: 1.2.3.4\nlabels: {'a b': c}", &["E MG5003 spec.labels"]);
}
