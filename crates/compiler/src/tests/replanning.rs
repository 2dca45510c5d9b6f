//! What an edit makes the compiler do anew, counted. That it is enough, `incremental` tests.

use super::world::{entry, findings, objects, virtual_service};
use crate::{Compiled, Memo, Settings, Work, compile};
use resources::key::{Key, Kind, ObjectRef};
use resources::set::{Change, ResourceSet};

const APPS: usize = 20;

/// A gateway that is edited again and again.
struct Edited {
    set: ResourceSet,
    memo: Memo,
    last: Compiled,
}

impl Edited {
    /// Two Gateways on ports 80 and 81, one for HTTPS, and `APPS` VirtualServices on hosts of their own at each of them.
    fn new() -> Self {
        let mut yaml = [on_80("'*.one.test'", ""), on_81("'*.two.test'"), https("one")].concat();
        for n in 0..APPS {
            yaml += &app("one", "on-80", n);
            yaml += &app("two", "on-81", n);
            yaml += &app("three", "https", n);
        }
        yaml += &entry("web.test", &[9001]);
        let set = ResourceSet::default().with(objects(&yaml).into_iter().map(Change::Put));
        let mut memo = Memo::default();
        let last = compile(&set, &Settings::default(), &mut memo);
        assert!(findings(&last).iter().all(|found| found == "MG6011 Gateway default/https"), "{:?}", findings(&last));
        Self { set, memo, last }
    }

    fn change(&mut self, changes: impl IntoIterator<Item = Change>) -> Work {
        self.set = self.set.with(changes);
        self.last = compile(&self.set, &Settings::default(), &mut self.memo);
        let scratch = compile(&self.set, &Settings::default(), &mut Memo::default());
        assert_eq!(self.last.snapshot, scratch.snapshot);
        assert_eq!(self.last.report, scratch.report);
        self.last.work
    }

    fn put(&mut self, yaml: &str) -> Work {
        self.change(objects(yaml).into_iter().map(Change::Put))
    }

    fn delete(&mut self, name: &str) -> Work {
        let key = Key::new("default", name);
        self.change([Change::Delete(ObjectRef { kind: Kind::Gateway, key })])
    }
}

fn gateway(name: &str, meta: &str, server: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: default{meta}}}\nspec: \
         {{selector: {{istio: ingressgateway}}, servers: [{server}]}}\n---\n"
    )
}

fn on_80(hosts: &str, meta: &str) -> String {
    gateway("on-80", meta, &format!("{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: [{hosts}]}}"))
}

fn on_81(hosts: &str) -> String {
    gateway("on-81", "", &format!("{{port: {{number: 81, name: http, protocol: HTTP}}, hosts: [{hosts}]}}"))
}

fn https(secret: &str) -> String {
    let tls = format!("tls: {{mode: SIMPLE, credentialName: {secret}}}");
    let server = format!("{{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: ['*.three.test'], {tls}}}");
    gateway("https", "", &server)
}

fn app(domain: &str, gateway: &str, n: usize) -> String {
    let spec = format!(
        "  hosts: [app-{n}.{domain}.test]\n  gateways: [{gateway}]\n  http: [{{route: [{{destination: {{host: web.test}}}}]}}]"
    );
    virtual_service(&format!("{domain}-{n}"), &spec)
}

#[test]
fn labels_of_a_gateway_concern_nothing_else() {
    let mut edited = Edited::new();
    let work = edited.put(&on_80("'*.one.test'", ", labels: {version: b}"));
    assert_eq!(work, Work { gateways: 1, ..Work::default() });
}

#[test]
fn another_certificate_concerns_the_listener_alone() {
    let mut edited = Edited::new();
    let work = edited.put(&https("two"));
    assert_eq!(work, Work { gateways: 1, addresses: 1, listeners: 1, ..Work::default() });
}

#[test]
fn a_secret_concerns_the_gateways_that_name_it() {
    let mut edited = Edited::new();
    let secret = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: istio-system}}\ndata: {{tls.crt: eA==}}\n"
        )
    };
    assert_eq!(edited.put(&secret("other")), Work::default());
    let work = edited.put(&secret("one"));
    assert_eq!(work, Work { gateways: 1, addresses: 1, listeners: 1, ..Work::default() });
}

#[test]
fn a_host_concerns_what_overlaps_with_it() {
    let mut edited = Edited::new();
    let work = edited.put(&on_81("'*.two.test', x.test"));
    assert_eq!(work, Work { gateways: 1, addresses: 1, listeners: 1, ..Work::default() });
    // The route of one app is compiled anew; nothing of it is different.
    let work = edited.put(&on_81("'*.two.test', app-7.two.test"));
    assert_eq!(work, Work { gateways: 1, addresses: 1, listeners: 1, sources: 1, ..Work::default() });
    // Each of them loses its host, which is reported.
    let work = edited.put(&on_81("app-7.two.test"));
    let lost = APPS - 1;
    assert_eq!(work.sources, APPS);
    assert_eq!((work.gateways, work.addresses, work.listeners, work.hosts), (1, 1, 1, lost));
    assert_eq!(findings(&edited.last).iter().filter(|found| found.starts_with("MG7006 VirtualService")).count(), lost);
    // Findings name the hosts of the Gateway: objects with such a finding are bound again, whatever their host.
    let work = edited.put(&on_81("app-7.two.test, y.test"));
    assert_eq!((work.sources, work.hosts), (lost, 0));
}

#[test]
fn a_gateway_that_goes_concerns_what_names_it() {
    let mut edited = Edited::new();
    let work = edited.delete("on-81");
    assert_eq!((work.gateways, work.addresses, work.sources, work.listeners), (1, 1, APPS, 1));
    // A Gateway of the same name in another namespace is the nearest one.
    let elsewhere = on_81("'*.two.test'").replace("namespace: default", "namespace: apps");
    assert_eq!(edited.put(&elsewhere).sources, APPS);
    assert_eq!(edited.put(&on_81("'*.two.test'")).sources, APPS);
    assert_eq!(edited.put(&elsewhere.replace("'*.two.test'", "z.test")).sources, 0);
}

#[test]
fn a_route_concerns_its_hosts() {
    let mut edited = Edited::new();
    let work = edited.put(&app("one", "on-80", 3).replace("http: [{", "http: [{timeout: 3s, "));
    assert_eq!(work, Work { sources: 1, hosts: 1, ..Work::default() });
}

#[test]
fn vs_04_another_age_alone_moves_routes() {
    let rules = |name: &str, at: &str| {
        let spec = format!(
            "  hosts: [app-0.one.test]\n  gateways: [on-80]\n  http: [{{name: {name}, match: [{{uri: {{prefix: /{name}}}}}], \
             directResponse: {{status: 200}}}}]"
        );
        virtual_service(name, &spec)
            .replace("namespace: default}", &format!("namespace: default, creationTimestamp: '{at}'}}"))
    };
    let mut edited = Edited::new();
    edited.put(&[rules("a", "2026-01-01T00:00:00Z"), rules("b", "2026-01-02T00:00:00Z")].concat());
    let order = |edited: &Edited| -> Vec<String> {
        let table = edited.last.snapshot.tables.values().find(|table| table.hosts.size() > 1).unwrap();
        let host = table.hosts.values().find(|host| host.pattern.to_string() == "app-0.one.test").unwrap();
        host.routes.iter().map(|route| route.name.to_string()).collect()
    };
    assert_eq!(order(&edited), ["a", "b", ""]);
    let work = edited.put(&rules("a", "2026-01-03T00:00:00Z"));
    assert_eq!(order(&edited), ["b", "a", ""]);
    assert_eq!(work, Work { sources: 1, hosts: 1, ..Work::default() });
}
