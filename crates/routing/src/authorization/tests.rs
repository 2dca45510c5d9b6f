//! Tests of decisions, by row, and of the index against the judgement of every rule.

use super::facts::{AccessFacts, ConnectionAccess};
use super::index::RuleIndex;
use super::*;
use crate::claims::Claims;
use crate::fixture::ask;
use ir::policy::{Condition, Demand, HeaderOf, IdentityMatch, PathMatch, PathTemplate, RequestPrincipal, TextMatch};
use ir::{ObjectKind, Origin};
use std::net::IpAddr;
use std::sync::Arc;
use wire::edit::Edits;

fn rule(name: &str, from: Vec<Vec<Condition>>, to: Vec<Vec<Condition>>, when: Vec<Condition>) -> AuthorizationRule {
    let origin = Origin {
        kind: ObjectKind::AuthorizationPolicy,
        namespace: "n".into(),
        name: name.into(),
        rule: "rules[0]".into(),
    };
    AuthorizationRule { name: format!("ns[n]-policy[{name}]-rule[0]").into(), origin, from, to, when }
}

fn when(name: &str, conditions: Vec<Condition>) -> AuthorizationRule {
    rule(name, vec![vec![]], vec![vec![]], conditions)
}

fn is(demand: Demand) -> Condition {
    Condition { field: "rules[0]".into(), negated: false, demand }
}

fn not(demand: Demand) -> Condition {
    Condition { negated: true, ..is(demand) }
}

fn texts(values: &[&str]) -> Vec<TextMatch> {
    values.iter().map(|value| TextMatch::parse(value)).collect()
}

fn header(name: &str, values: &[&str]) -> Demand {
    Demand::Header { name: HeaderOf::parse(name), values: texts(values), is_list: false, allows: false }
}

fn list(rules: Vec<AuthorizationRule>) -> Option<RuleList> {
    Some(rules.into_iter().map(Arc::new).collect())
}

/// What varies in a request of the tests.
#[derive(Clone, Default)]
struct Given {
    head: String,
    source: Option<IpAddr>,
    remote: Option<IpAddr>,
    port: u16,
    server_name: String,
    identity: Vec<Box<str>>,
    claims: Option<Claims>,
}

impl Given {
    fn get(target: &str) -> Self {
        Self { head: format!("GET {target} HTTP/1.1\nHost: a.test:8080"), port: 80, ..Self::default() }
    }

    fn with<T>(&self, edits: &Edits<'_>, then: impl FnOnce(&AccessFacts<'_>) -> T) -> T {
        let local = IpAddr::from([127, 0, 0, 1]);
        ask(&self.head, |view| {
            then(&AccessFacts {
                connection: ConnectionAccess {
                    source: self.source.unwrap_or(local),
                    destination: local,
                    port: self.port,
                    server_name: &self.server_name,
                    identity: &self.identity,
                },
                remote: self.remote.unwrap_or(local),
                view: Some(view),
                edits: &edits.fields,
                claims: self.claims.as_ref(),
            })
        })
    }

    fn meets(&self, condition: Condition) -> bool {
        let rule = when("p", vec![condition]);
        self.with(&Edits::default(), |facts| judge(&rule, facts).is_ok())
    }

    fn decide(&self, rules: &ActionRules) -> String {
        let index = ActionIndex::build(rules);
        self.with(&Edits::default(), |facts| {
            let verdict = index.decide(facts);
            if verdict.decision.is_allowed() { "allowed".to_owned() } else { verdict.decision.detail() }
        })
    }
}

#[test]
fn ap_02_deny_comes_before_allow_and_is_named() {
    let path = |path: &str| is(Demand::Path(vec![PathMatch::Text(TextMatch::parse(path))]));
    let rules = ActionRules {
        deny: list(vec![when("d", vec![path("/admin*")])]),
        allow: list(vec![when("a", vec![path("/a*")])]),
        ..ActionRules::default()
    };
    assert_eq!(Given::get("/admin").decide(&rules), "rbac_access_denied_matched_policy[ns[n]-policy[d]-rule[0]]");
    assert_eq!(Given::get("/a?x").decide(&rules), "allowed");
    assert_eq!(Given::get("/b").decide(&rules), "rbac_access_denied_matched_policy[none]");
}

#[test]
fn ap_03_ap_04_nothing_is_allowed_by_no_rules_and_all_by_an_empty_one() {
    let allow = |rules| ActionRules { allow: list(rules), ..ActionRules::default() };
    assert_eq!(Given::get("/").decide(&allow(vec![])), "rbac_access_denied_matched_policy[none]");
    assert_eq!(Given::get("/").decide(&allow(vec![when("a", vec![])])), "allowed");
    assert_eq!(Given::get("/").decide(&ActionRules::default()), "allowed");
    let never = rule("d", vec![], vec![vec![]], vec![]);
    assert_eq!(Given::get("/").decide(&ActionRules { deny: list(vec![never]), ..ActionRules::default() }), "allowed");
}

#[test]
fn ap_05_alternatives_are_or_and_conditions_are_and() {
    let port = |port: u16| is(Demand::Port(vec![port]));
    let method = |method: &str| is(Demand::Method(texts(&[method])));
    let judged = |rule: AuthorizationRule| Given::get("/").with(&Edits::default(), |facts| judge(&rule, facts).is_ok());
    assert!(judged(rule("p", vec![vec![port(1)], vec![port(80)]], vec![vec![method("GET")]], vec![])));
    assert!(!judged(rule("p", vec![vec![port(1)], vec![port(2)]], vec![vec![]], vec![])));
    assert!(!judged(rule("p", vec![vec![]], vec![vec![port(80), method("PUT")]], vec![])));
    assert!(!judged(rule("p", vec![vec![]], vec![vec![]], vec![port(80), port(81)])));
    assert!(judged(rule("p", vec![vec![]], vec![vec![not(Demand::Port(vec![81]))]], vec![])));
}

#[test]
fn ap_06_a_host_keeps_its_port_and_ignores_case() {
    let host = |values: &[&str]| Given::get("/").meets(is(Demand::Host(texts(values))));
    assert!(host(&["A.Test:8080"]) && host(&["a.test:*"]) && host(&["*"]) && host(&["a.*"]) && host(&["*:8080"]));
    assert!(!host(&["a.test"]) && !host(&["*.test"]));
}

#[test]
fn ap_06_a_path_has_no_query() {
    let path = |value: PathMatch| Given::get("/a/b/../c?d=/x").meets(is(Demand::Path(vec![value])));
    assert!(path(PathMatch::Text(TextMatch::parse("/a/c"))));
    assert!(path(PathMatch::Template(PathTemplate::parse("/{*}/c").unwrap())));
    assert!(!path(PathMatch::Text(TextMatch::parse("*x"))));
}

#[test]
fn ap_07_the_peer_is_not_the_client() {
    let given = Given { source: Some([10, 0, 0, 1].into()), remote: Some([9, 9, 9, 9].into()), ..Given::get("/") };
    let ranges = |text: &str| vec![text.parse().unwrap()];
    assert!(given.meets(is(Demand::SourceIp(ranges("10.0.0.0/8")))));
    assert!(given.meets(is(Demand::RemoteIp(ranges("9.9.9.9")))));
    assert!(given.meets(not(Demand::RemoteIp(ranges("10.0.0.0/8")))));
    assert!(!given.meets(is(Demand::DestinationIp(ranges("10.0.0.0/8")))));
}

#[test]
fn ap_09_any_name_of_the_certificate_is_an_identity() {
    let given = Given { identity: vec!["spiffe://td/ns/a/sa/b".into(), "a.test".into()], ..Given::get("/") };
    let identity = |value: IdentityMatch| Demand::Identity(vec![value]);
    assert!(given.meets(is(identity(IdentityMatch::Exact("a.test".into())))));
    assert!(given.meets(is(identity(IdentityMatch::Namespace("a".into())))));
    assert!(given.meets(is(identity(IdentityMatch::Any))));
    assert!(!Given::get("/").meets(is(identity(IdentityMatch::Any))));
    assert!(Given::get("/").meets(not(identity(IdentityMatch::Any))));
}

#[test]
fn ap_10_conditions_on_tokens_need_one() {
    let payload = r#"{"iss": "https://i", "sub": "bob", "aud": ["x", "y"], "n": {"l": ["r"]}, "s": ""}"#;
    let claims = Claims::new(serde_json::from_str(payload).unwrap(), &[]);
    let given = Given { claims: Some(claims), ..Given::get("/") };
    let principal = |value: &str| Demand::RequestPrincipal(vec![RequestPrincipal::parse(value)]);
    let claim = |path: &[&str], values: &[&str]| Demand::Claim {
        path: path.iter().map(|name| (*name).into()).collect(),
        values: texts(values),
    };
    for value in ["*", "https://i/bob", "*/bob", "https://i/*", "*b"] {
        assert!(given.meets(is(principal(value))), "{value}");
        assert!(!Given::get("/").meets(is(principal(value))), "{value}");
        assert!(Given::get("/").meets(not(principal(value))), "{value}");
    }
    assert!(!given.meets(is(principal("*/alice"))));
    assert!(given.meets(is(claim(&["aud"], &["y"]))) && given.meets(is(claim(&["n", "l"], &["r"]))));
    assert!(!given.meets(is(claim(&["s"], &["*"]))) && !given.meets(is(claim(&["n"], &["*"]))));
}

#[test]
fn each_line_of_a_header_is_compared_by_itself() {
    let mut given = Given::get("/");
    given.head.push_str("\nX-A: one\nx-a: two\nx-empty:\nx-list: a,b");
    assert!(given.meets(is(header("x-a", &["two"]))) && given.meets(is(header("X-A", &["o*"]))));
    assert!(!given.meets(not(header("x-a", &["two"]))) && !given.meets(is(header("x-a", &["one,two"]))));
    assert!(given.meets(is(header("x-empty", &["*"]))) && !given.meets(is(header("x-none", &["*"]))));
    assert!(given.meets(not(header("x-none", &["a"]))));
    assert!(given.meets(is(header(":method", &["GET"]))) && given.meets(is(header("Host", &["a.test:8080"]))));
    let inline = |values: &[&str]| Demand::Header {
        name: HeaderOf::parse("x-list"),
        values: texts(values),
        is_list: true,
        allows: false,
    };
    assert!(given.meets(is(inline(&["b"]))) && !given.meets(is(inline(&["a,b"]))) && given.meets(is(inline(&["*"]))));
    let mut query = Given::get("/p?q");
    query.head.push_str("\nx: y");
    assert!(query.meets(is(header(":path", &["/p?q"]))) && query.meets(is(header(":scheme", &["http"]))));
}

#[test]
fn lines_that_envoy_joins_allow_no_more_than_in_istio() {
    let mut given = Given::get("/");
    given.head.push_str("\nuser-agent: good\nuser-agent: bad\nx-a: good\nx-a: bad");
    let allowing = |name: &str, value: &str| Demand::Header {
        name: HeaderOf::parse(name),
        values: texts(&[value]),
        is_list: false,
        allows: true,
    };
    assert!(!given.meets(is(allowing("user-agent", "good"))) && given.meets(is(allowing("user-agent", "good,bad"))));
    assert!(given.meets(is(allowing("x-a", "good"))) && given.meets(is(header("user-agent", &["bad"]))));
    assert!(!given.meets(is(allowing("via", "*"))));
}

#[test]
fn headers_are_seen_through_the_edits_so_far() {
    let mut given = Given::get("/");
    given.head.push_str("\nx-forwarded-client-cert: forged\nx-user: client");
    let mut edits = Edits::default();
    edits.remove("x-forwarded-client-cert");
    edits.set("x-user", text::FieldValue::checked(&b"token"[..]).unwrap());
    edits.append("x-user", text::FieldValue::checked(&b"second"[..]).unwrap());
    let meets = |condition: Condition| {
        let rule = when("p", vec![condition]);
        given.with(&edits, |facts| judge(&rule, facts).is_ok())
    };
    assert!(!meets(is(header("x-forwarded-client-cert", &["*"]))));
    assert!(!meets(is(header("x-user", &["client"]))));
    assert!(meets(is(header("x-user", &["token"]))) && meets(is(header("x-user", &["second"]))));
}

#[test]
fn ap_16_dry_runs_and_audits_decide_nothing() {
    let any = || list(vec![when("any", vec![])]);
    let rules =
        ActionRules { audit: any(), dry_run_deny: any(), dry_run_allow: list(vec![]), ..ActionRules::default() };
    let index = ActionIndex::build(&rules);
    Given::get("/").with(&Edits::default(), |facts| {
        let verdict = index.decide(facts);
        assert_eq!((verdict.decision, verdict.audited), (PolicyDecision::Allowed, Some(true)));
        let deny = verdict.dry_run_deny.unwrap();
        assert!(!deny.is_allowed && deny.rule.is_some());
        assert_eq!(verdict.dry_run_allow, Some(DryRun { is_allowed: false, rule: None }));
    });
}

/// Numbers that look random, the same in every run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn of<'v>(&mut self, values: &[&'v str]) -> &'v str {
        values[self.below(values.len())]
    }

    fn texts(&mut self, values: &[&str]) -> Vec<TextMatch> {
        (0..=self.below(2)).map(|_| TextMatch::parse(self.of(values))).collect()
    }
}

const HOSTS: [&str; 6] = ["a.test", "A.test:8080", "*.test", "b.*", "*", "*:8080"];
const PATHS: [&str; 9] = ["/", "/a", "/a*", "*/c", "/a/{*}/c", "/{**}/c", "/x/{**}", "*", "/a/"];
const TEXTS: [&str; 5] = ["one", "two", "o*", "*o", "*"];
const RANGES: [&str; 6] = ["127.0.0.1", "10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "::/0", "9.9.9.9"];
const PRINCIPALS: [&str; 6] = ["*", "i/one", "*/two", "i/*", "j*", "*o"];
const NAMES: [&str; 3] = ["spiffe://td/ns/a/sa/one", "spiffe://td/ns/b/sa/two", "one"];

fn seeded_demand(seeded: &mut Seeded) -> Demand {
    let ranges = |seeded: &mut Seeded| (0..=seeded.below(2)).map(|_| seeded.of(&RANGES).parse().unwrap()).collect();
    match seeded.below(13) {
        0 => Demand::SourceIp(ranges(seeded)),
        1 => Demand::RemoteIp(ranges(seeded)),
        2 => Demand::DestinationIp(ranges(seeded)),
        3 => Demand::Port(vec![[80, 443][seeded.below(2)]]),
        4 => Demand::ServerName(seeded.texts(&HOSTS)),
        5 => Demand::Identity(vec![match seeded.below(5) {
            0 => IdentityMatch::Any,
            1 => IdentityMatch::Exact(seeded.of(&NAMES).into()),
            2 => IdentityMatch::Namespace(seeded.of(&["a", "b"]).into()),
            3 => IdentityMatch::Suffix(seeded.of(&["one", "/two"]).into()),
            _ => IdentityMatch::ServiceAccount { namespace: "a".into(), name: seeded.of(&["one", "two"]).into() },
        }]),
        6 => Demand::Host(seeded.texts(&HOSTS)),
        7 => Demand::Method(seeded.texts(&["GET", "P*", "*T", "*"])),
        8 => {
            let path = |value: &str| match PathTemplate::is_template(value) {
                true => PathMatch::Template(PathTemplate::parse(value).unwrap()),
                false => PathMatch::Text(TextMatch::parse(value)),
            };
            Demand::Path((0..=seeded.below(2)).map(|_| path(seeded.of(&PATHS))).collect())
        }
        9 => Demand::Header {
            name: HeaderOf::parse(seeded.of(&["x-a", "x-b", "x-set", "host", ":method", "via"])),
            values: seeded.texts(&TEXTS),
            is_list: seeded.below(4) == 0,
            allows: seeded.below(2) == 0,
        },
        10 => Demand::RequestPrincipal(vec![RequestPrincipal::parse(seeded.of(&PRINCIPALS))]),
        11 => {
            Demand::Claim { path: vec![format!("c{}", seeded.below(12)).as_str().into()], values: seeded.texts(&TEXTS) }
        }
        _ => Demand::Unknown,
    }
}

fn seeded_conditions(seeded: &mut Seeded) -> Vec<Condition> {
    let condition = |seeded: &mut Seeded| Condition {
        field: "f".into(),
        negated: seeded.below(6) == 0,
        demand: seeded_demand(seeded),
    };
    (0..1 + seeded.below(2)).map(|_| condition(seeded)).collect()
}

/// Rules of which few match a request, since a matching rule hides later ones.
fn seeded_rules(seeded: &mut Seeded) -> RuleList {
    let alternatives =
        |seeded: &mut Seeded| (0..=seeded.below(6) / 5).map(|_| seeded_conditions(seeded)).collect::<Vec<_>>();
    let one = |at: usize, seeded: &mut Seeded| {
        let (from, to) = (alternatives(seeded), alternatives(seeded));
        Arc::new(rule(&format!("p{at:03}"), from, to, seeded_conditions(seeded)))
    };
    (0..9 + seeded.below(40)).map(|at| one(at, seeded)).collect()
}

fn seeded_request(seeded: &mut Seeded) -> Given {
    let host = seeded.of(&["a.test", "A.TEST:8080", "b.test", "c"]);
    let path = seeded.of(&["/", "/a", "/a/b/c", "/a/", "/x/y", "/ab", "/c?x", "//c"]);
    let method = seeded.of(&["GET", "PUT", "POST"]);
    let mut head = format!("{method} {path} HTTP/1.1\nHost: {host}");
    for _ in 0..seeded.below(3) {
        head.push_str(&format!(
            "\n{}: {}",
            seeded.of(&["x-a", "X-B", "x-set", "via"]),
            seeded.of(&["one", "two", "", "o,two"])
        ));
    }
    let address = |seeded: &mut Seeded| {
        Some(seeded.of(&["127.0.0.1", "10.1.2.3", "10.2.3.4", "9.9.9.9", "::1"]).parse().unwrap())
    };
    let claims = (seeded.below(2) == 0).then(|| {
        let payload = format!(
            r#"{{"iss": "{}", "sub": "{}", "c{}": ["{}", "x"], "c{}": "one"}}"#,
            seeded.of(&["i", "j"]),
            seeded.of(&["one", "two"]),
            seeded.below(12),
            seeded.of(&["one", "two"]),
            seeded.below(12)
        );
        Claims::new(serde_json::from_str(&payload).unwrap(), &[])
    });
    Given {
        head,
        source: address(seeded),
        remote: address(seeded),
        port: [80, 443][seeded.below(2)],
        server_name: seeded.of(&["", "a.test", "b.x"]).to_owned(),
        identity: (0..seeded.below(3)).map(|_| seeded.of(&NAMES).into()).collect(),
        claims,
    }
}

/// The bar of the index: it finds what the judgement of every rule finds, for 50,000 pairs of policies and requests.
#[test]
fn the_index_finds_the_rule_that_judging_every_rule_finds() {
    let mut seeded = Seeded(7);
    let (mut matched, mut pairs) = (0, 0);
    let mut edits = Edits::default();
    edits.set("x-set", text::FieldValue::checked(&b"two"[..]).unwrap());
    edits.remove("x-b");
    for _ in 0..250 {
        let rules = seeded_rules(&mut seeded);
        let index = RuleIndex::build(&rules);
        for _ in 0..200 {
            let given = seeded_request(&mut seeded);
            let edits = if seeded.below(2) == 0 { Edits::default() } else { edits.clone() };
            given.with(&edits, |facts| {
                let (found, expected) = (index.first(facts), index.first_of_all(facts));
                assert_eq!(found.map(|rule| &rule.name), expected.map(|rule| &rule.name), "{}", given.head);
                matched += usize::from(found.is_some());
                pairs += 1;
            });
        }
    }
    assert_eq!(pairs, 50_000);
    assert!((5_000..45_000).contains(&matched), "the requests say too little: {matched} match");
}
