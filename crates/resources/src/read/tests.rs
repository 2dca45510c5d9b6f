use super::*;

fn read_all(text: &str) -> Reading {
    let file: Arc<Path> = Arc::from(Path::new("in.yaml"));
    let mut all = Reading::default();
    for document in documents(text) {
        let one = read(&file, document);
        all.objects.extend(one.objects);
        all.refused.extend(one.refused);
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
    assert_eq!(reading.refused.len(), 1);
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
fn what_belongs_there_is_said_in_words_of_yaml() {
    const RULE: &str = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d}\nspec:\n  \
                        host: a.test\n  trafficPolicy: {POLICY}\n";
    let told = |policy: &str| {
        let found = read_all(&RULE.replace("POLICY", policy)).diagnostics.remove(0);
        format!("{}; {}", found.message, found.help.unwrap())
    };
    let idle =
        "string \"10\" stands where there has to be a duration such as `5s`, `300ms` or `1h30m`; add the unit: 10s";
    assert_eq!(told("connectionPool: {http: {idleTimeout: '10'}}"), idle);
    assert_eq!(told("connectionPool: {http: {idleTimeout: 10}}"), idle.replace("string \"10\"", "integer `10`"));
    let share = told("retryBudget: {percent: 20}");
    assert!(share.starts_with("integer `20` stands where there has to be a share such as `{value: 50}`;"), "{share}");
    let count = told("retryBudget: {minRetryConcurrency: -2}");
    assert!(count.contains("there has to be a whole number from 0 to 4294967295;"), "{count}");
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
    assert_eq!(reading.foreign, vec![("apps/v1".to_owned(), "Deployment".to_owned())]);
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

#[test]
fn a_field_is_located_again() {
    let text = format!("---\n{GATEWAY}");
    let object = ObjectRef { kind: Kind::Gateway, key: Key { namespace: "default".into(), name: "g".into() } };
    assert_eq!(locate(&text, &object, "spec.servers[0].hosts[0]"), Some((9, 13)));
    assert_eq!(locate(&text, &object, "spec.servers[0].tls.mode"), Some((8, 5)));
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
