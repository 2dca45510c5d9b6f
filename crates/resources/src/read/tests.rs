use super::*;
use crate::diagnostic::SourceLocation;

fn read_all(text: &str) -> Reading {
    let file: Arc<Path> = Arc::from(Path::new("in.yaml"));
    let mut all = Reading::default();
    for document in documents(text) {
        let one = read(&file, document);
        all.objects.extend(one.objects);
        all.rejected.extend(one.rejected);
        all.diagnostics.extend(one.diagnostics);
        all.foreign.extend(one.foreign);
    }
    all
}

fn found(text: &str) -> Vec<(&'static str, u32, u32, String)> {
    let place = |d: Diagnostic| {
        let position = d.position.unwrap();
        (d.code, position.line, position.column, d.field)
    };
    read_all(text).diagnostics.into_iter().map(place).collect()
}

const GATEWAY: &str = "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: g
spec:
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*']
";

#[test]
fn documents_are_cut_before_they_are_parsed() {
    let text = format!("# head\n---\n{GATEWAY}---\nspec: [\n---\n{}", GATEWAY.replace("name: g", "name: h"));
    let reading = read_all(&text);
    assert_eq!(reading.objects.len(), 2);
    assert_eq!(reading.diagnostics.len(), 1);
    let position = reading.diagnostics[0].position.clone().unwrap();
    assert!((12..=13).contains(&position.line), "{position:?}");
}

#[test]
fn an_unknown_field_is_named_with_its_place_and_the_nearest_name() {
    let text = GATEWAY.replace("hosts:", "host:");
    let reading = read_all(&text);
    let first = &reading.diagnostics[0];
    assert_eq!((first.code, first.field.as_str()), (code::UNKNOWN_FIELD, "spec.servers[0].host"));
    assert_eq!(first.help.as_deref(), Some("did you mean `hosts`?"));
    assert_eq!(first.position.as_ref().map(|p| (p.line, p.column)), Some((8, 5)));
    let object = ObjectRef { kind: Kind::Gateway, key: Key::new("default", "g") };
    assert_eq!(
        reading.rejected,
        [Rejected { object, code: code::UNKNOWN_FIELD, guard: None, selector: Some(Labels::default()) }]
    );
}

#[test]
fn all_errors_of_a_document_are_found() {
    let text = GATEWAY
        .replace("number: 80", "number: eighty")
        .replace("hosts:", "host:")
        .replace("servers:", "selector: 5\n  servers:");
    let codes: Vec<_> = found(&text).into_iter().map(|(code, .., field)| (code, field)).collect();
    for wanted in [
        (code::WRONG_VALUE, "spec.selector"),
        (code::WRONG_VALUE, "spec.servers[0].port.number"),
        (code::UNKNOWN_FIELD, "spec.servers[0].host"),
    ] {
        assert!(codes.contains(&(wanted.0, wanted.1.to_owned())), "{wanted:?} is not in {codes:?}");
    }
}

#[test]
fn a_number_where_a_text_belongs_is_to_be_quoted() {
    let text = GATEWAY.replace("spec:\n", "spec:\n  selector: {version: 1}\n");
    let reading = read_all(&text);
    assert_eq!(reading.diagnostics[0].help.as_deref(), Some("write it in quotes: \"1\""));
}

#[test]
fn every_number_of_a_list_of_texts_is_to_be_quoted_and_told_once() {
    let hosts: Vec<_> = found(&GATEWAY.replace("['*']", "[5, '*', 7]")).into_iter().map(|(.., field)| field).collect();
    assert_eq!(hosts, ["spec.servers[0].hosts[0]", "spec.servers[0].hosts[2]"]);
}

#[test]
fn what_is_expected_and_found_is_said_in_words_of_yaml() {
    const RULE: &str = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d}\nspec:\n  \
                        host: a.test\n  trafficPolicy: {POLICY}\n";
    let said = |policy: &str| {
        let found = read_all(&RULE.replace("POLICY", policy)).diagnostics.remove(0);
        format!("{}; {}", found.message, found.help.unwrap())
    };
    let idle = "expected a duration such as `5s`, `300ms` or `1h30m`, found the string `10`; add the unit: 10s";
    assert_eq!(said("connectionPool: {http: {idleTimeout: '10'}}"), idle);
    assert_eq!(said("connectionPool: {http: {idleTimeout: 10}}"), idle.replace("the string", "the number"));
    let share = "expected a number, found a map; write the number alone: 20";
    assert_eq!(said("retryBudget: {percent: {value: 20}}"), share);
    let status = "expected a whole number from 0 to 4294967295, found the string `404`; write it without quotes: 404";
    assert_eq!(said("outlierDetection: {outlierDetectionHttpErrorCodes: ['404']}"), status);
    let count = said("retryBudget: {minRetryConcurrency: -2}");
    assert!(count.starts_with("expected a whole number from 0 to 4294967295, found the number `-2`;"), "{count}");
    assert!(said("tls: [x]").starts_with("expected a block of fields, found a list;"), "{}", said("tls: [x]"));
    assert_eq!(said("tls: {mode: SIMPEL}"), "unknown value `SIMPEL`; did you mean `SIMPLE`?");
    assert_eq!(
        said("tls: {mode: on-demand}"),
        "unknown value `on-demand`; use one of `DISABLE`, `SIMPLE`, `MUTUAL`, `ISTIO_MUTUAL`"
    );
    assert_eq!(said("conectionPool: {}"), "unknown field `conectionPool`; did you mean `connectionPool`?");
}

#[test]
fn a_share_of_requests_is_a_block() {
    let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n  hosts: [a.test]\n  gateways: [g]\n  http:\n  - mirror: {host: m}\n    mirrorPercentage: 20\n    route:\n    - destination: {host: b}\n";
    let message = read_all(text).diagnostics.remove(0).message;
    assert!(message.starts_with("expected a share such as `{value: 50}`, found the number `20`"), "{message}");
}

#[test]
fn fields_that_are_null_are_absent() {
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d}\nspec: {host: a.test, trafficPolicy: {loadBalancer: {localityLbSetting: {enabled: null}}, \
                outlierDetection: {consecutive5xxErrors: null, consecutiveGatewayErrors: }, tls: {mode: SIMPLE, insecureSkipVerify: null}}}\n";
    assert!(read_all(rule).rejected.is_empty(), "{:?}", read_all(rule).diagnostics);
}

#[test]
fn what_yaml_made_of_a_text_is_shown_as_it_was_written() {
    let found = |labels: &str| {
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: w}}\nspec:\n  address: 1.1.1.1\n  labels:\n    {labels}\n"
        );
        let mut found = read_all(&text).diagnostics;
        assert_eq!(found.len(), 1, "{found:?}");
        let one = found.remove(0);
        let position = one.position.unwrap();
        (one.severity, (position.line, position.column), format!("{}; {}", one.message, one.help.unwrap()))
    };
    for (written, kind) in [
        ("1.10", "number"),
        ("0012", "number"),
        ("1_000", "number"),
        ("0x1F", "number"),
        ("yes", "boolean"),
        ("Off", "boolean"),
        ("n", "boolean"),
        ("true", "boolean"),
    ] {
        let said = format!("expected a string, found the {kind} `{written}`; write it in quotes: \"{written}\"");
        assert_eq!(found(&format!("version: {written}")), (Severity::Error, (7, 5), said));
    }
    let null = "write \"\" for an empty string, or remove it";
    assert_eq!(found("version: ~").2, format!("expected a string, found null (`~`); {null}"));
    assert_eq!(found("version:").2, format!("expected a string, found nothing (null); {null}"));
    for (written, kind, read) in [
        ("on", "a boolean", "true"),
        ("n", "a boolean", "false"),
        ("0012", "a number", "10"),
        ("1.10", "a number", "1.1"),
    ] {
        let said = format!(
            "YAML reads the key `{written}` as {kind}, so that it becomes `{read}`; write it in quotes: \"{written}\""
        );
        assert_eq!(found(&format!("{written}: x")), (Severity::Warning, (7, 5), said));
    }
    assert_eq!(found("null: x").0, Severity::Error);
}

#[test]
fn null_is_an_empty_text_to_kubernetes_and_an_error_to_istio() {
    let labels = |kind: &str, version: &str, spec: &str| {
        read_all(&format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a, labels: {{x: }}}}\n{spec}\n"))
    };
    let service = labels("Service", "v1", "spec: {selector: {app: }, ports: [{port: 80, name: }]}");
    let severities: Vec<_> = service.diagnostics.iter().map(|one| (one.severity, &*one.field)).collect();
    assert_eq!(severities, [(Severity::Warning, "metadata.labels.x"), (Severity::Warning, "spec.selector.app")]);
    let AnyObject::Service(service) = &service.objects[0] else { unreachable!() };
    assert_eq!(service.spec.selector.get("app").map(|text| &**text), Some(""));
    // Left out, the selector would select every workload.
    let gateway = read_all(&GATEWAY.replace("spec:\n", "spec:\n  selector: {istio: }\n"));
    assert_eq!((gateway.objects.len(), gateway.diagnostics[0].code), (0, code::WRONG_VALUE));
}

#[test]
fn misspelt_kinds_are_errors_with_a_suggestion() {
    let reading = read_all(&GATEWAY.replace("kind: Gateway", "kind: Gatewya"));
    assert_eq!(reading.diagnostics[0].code, code::UNKNOWN_KIND);
    assert_eq!(reading.diagnostics[0].help.as_deref(), Some("did you mean `Gateway`?"));
    assert!(reading.foreign.is_empty());
    let group = read_all(&GATEWAY.replace("networking.istio.io/v1", "v1"));
    assert_eq!(group.diagnostics[0].help.as_deref(), Some("did you mean `networking.istio.io/v1`?"));
}

#[test]
fn policies_are_read_with_all_their_fields() {
    let policy = |spec: &str| {
        read_all(&format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p}}\nspec:\n  {spec}\n"
        ))
    };
    let good = policy(
        "selector: {matchLabels: {app: x}}\n  action: DENY\n  rules:\n  - from: [{source: {notIpBlocks: [10.0.0.0/8]}}]\n    to: [{operation: {paths: [/admin*]}}]\n    when: [{key: 'request.headers[x]', values: [a]}]",
    );
    assert!(good.diagnostics.is_empty(), "{:?}", good.diagnostics);
    let AnyObject::AuthorizationPolicy(good) = &good.objects[0] else { unreachable!() };
    assert_eq!(good.spec.action, Some(crate::spec::security::AuthorizationAction::Deny));
    let codes = |spec: &str| policy(spec).diagnostics.into_iter().map(|one| (one.code, one.field)).collect::<Vec<_>>();
    assert_eq!(codes("rule: []"), [(code::UNKNOWN_FIELD, "spec.rule".to_owned())]);
    assert_eq!(codes("action: DENI"), [(code::WRONG_VALUE, "spec.action".to_owned())]);
    assert_eq!(
        codes("selector: {matchLabels: {a: b}}\n  targetRef: {kind: Gateway, name: g}"),
        [(code::POLICY_TARGETS, "spec.selector".to_owned())]
    );
    let jwt = "apiVersion: security.istio.io/v1beta1\nkind: RequestAuthentication\nmetadata: {name: p}\nspec:\n  jwtRules:\n  - {issuer: i, jwksUri: https://i/, fromHeaders: [{name: x, prefix: 'y '}], forwardOriginalToken: true, timeout: 5s}\n";
    let peer = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: {mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}\n";
    for text in [jwt, peer] {
        let reading = read_all(text);
        assert!(reading.diagnostics.is_empty() && reading.objects.len() == 1, "{:?}", reading.diagnostics);
    }
}

#[test]
fn the_places_of_a_document_are_found_once_however_many_findings_it_has() {
    let item = |i: usize| {
        format!(
            "- {}",
            GATEWAY
                .replace("name: g", &format!("name: g{i}"))
                .replace("number: 80", "number: 0")
                .replace('\n', "\n  ")
                .trim_end()
        )
    };
    let items: Vec<String> = (0..200).map(item).collect();
    let text = format!("apiVersion: v1\nkind: List\nitems:\n{}\n", items.join("\n"));
    let before = yaml::documents_read();
    let reading = read_all(&text);
    assert_eq!(reading.diagnostics.len(), 200);
    assert_eq!(yaml::documents_read() - before, 2);
    let lines: Vec<u32> = reading.diagnostics.iter().map(|one| one.position.as_ref().unwrap().line).collect();
    assert!(lines.windows(2).all(|pair| pair[1] - pair[0] == 8), "{lines:?}");
    // The same when findings are located later.
    let at = whole(&text);
    let mut source = SourceText::new(text.into());
    for i in 0..200_u32 {
        let key = Key::new("default", format!("g{i}"));
        let at = source.locate(&ObjectRef { kind: Kind::Gateway, key }, &at, "spec.servers[0].port.number");
        assert_eq!(at, Some((10 + 8 * i, 14)));
    }
    assert_eq!(source.documents_read(), 1);
}

#[test]
fn lists_are_written_out() {
    let item = GATEWAY.replace('\n', "\n  ");
    let text = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}\n- {}",
        item.trim_end(),
        item.replace("name: g", "name: h").trim_end()
    );
    assert_eq!(read_all(&text).objects.len(), 2);
}

#[test]
fn foreign_kinds_are_no_errors() {
    let reading = read_all("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n");
    let key = Key::new("default", "x");
    assert_eq!(reading.foreign, [Foreign { version: "apps/v1".to_owned(), kind: "Deployment".to_owned(), key }]);
    assert!(reading.diagnostics.is_empty());
}

#[test]
fn a_known_kind_of_another_version_is_told() {
    assert_eq!(found(&GATEWAY.replace("/v1\n", "/v2\n"))[0].0, code::WRONG_VERSION);
}

#[test]
fn vs_15_null_is_presence_in_a_match_and_absent_elsewhere() {
    let reading = read_all(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n  hosts: [a.test]\n  gateways: [g]\n  exportTo:\n  http:\n  - match:\n    - headers: {x-a: , x-b: {}}\n    route:\n    - destination: {host: b}\n",
    );
    assert!(reading.diagnostics.is_empty(), "{:?}", reading.diagnostics);
    let AnyObject::VirtualService(object) = &reading.objects[0] else { unreachable!() };
    assert_eq!(object.spec.http[0].matches[0].headers.len(), 2);
}

#[test]
fn original_proto_names_are_read_too() {
    let reading = read_all(&GATEWAY.replace("hosts: ['*']", "hosts: ['*']\n    default_endpoint: x"));
    assert!(reading.diagnostics.is_empty(), "{:?}", reading.diagnostics);
}

/// The position of the first object of a text, if the text is one document.
fn whole(text: &str) -> SourceLocation {
    let document = documents(text).next().unwrap();
    let file = Path::new("in.yaml").into();
    SourceLocation { file, line: document.first_line, fingerprint: document.fingerprint() }
}

#[test]
fn a_field_is_located_again() {
    let text = format!("---\n{GATEWAY}");
    let object = ObjectRef { kind: Kind::Gateway, key: Key::new("default", "g") };
    let at = whole(&text);
    assert_eq!(read_all(&text).objects[0].source().unwrap().fingerprint, at.fingerprint);
    let mut source = SourceText::new(text.clone().into());
    assert_eq!(source.locate(&object, &at, "spec.servers[0].hosts[0]"), Some((9, 13)));
    assert_eq!(source.locate(&object, &at, "spec.servers[0].tls.mode"), Some((8, 5)));
    assert_eq!(source.locate(&object, &SourceLocation { line: 2, ..at.clone() }, ""), None);
    assert_eq!((source.line(1), source.line(3), source.line(99)), (Some("---"), Some("kind: Gateway"), None));
    // Not in a text that is another one by now.
    let mut edited = SourceText::new(text.replace("spec:", "# more\nspec:").into());
    assert_eq!(edited.locate(&object, &at, "spec.servers[0].hosts[0]"), None);
    assert_eq!(edited.documents_read(), 0);
}

#[test]
fn a_timeout_of_zero_is_refused_with_its_cause() {
    let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n  hosts: [a.test]\n  gateways: [g]\n  http:\n  - timeout: 0s\n    route:\n    - destination: {host: b}\n";
    assert_eq!(found(text), vec![(code::HTTP_TIMEOUT, 8, 5, "spec.http[0].timeout".to_owned())]);
}

#[test]
fn what_follows_from_an_error_is_not_told_again() {
    let codes = |text: &str| found(text).into_iter().map(|(code, .., field)| (code, field)).collect::<Vec<_>>();
    let number = codes(&GATEWAY.replace("number: 80", "number: eighty"));
    assert_eq!(number, vec![(code::WRONG_VALUE, "spec.servers[0].port.number".to_owned())]);
    let port = codes(&GATEWAY.replace("{number: 80, name: http, protocol: HTTP}", "80"));
    assert_eq!(port, vec![(code::WRONG_VALUE, "spec.servers[0].port".to_owned())]);
    let servers = codes("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {servers: 5}\n");
    assert_eq!(servers, vec![(code::WRONG_VALUE, "spec.servers".to_owned())]);
    let both = codes(&GATEWAY.replace("number: 80", "number: eighty").replace("'*'", "'a b'"));
    assert_eq!(both.len(), 2, "{both:?}");
}
