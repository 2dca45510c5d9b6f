//! The page for a browser, and the report: lines of fields, many findings and none, and a screen as narrow as a phone's.

use super::operation::{direct, server, start};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::debian;
use testkit::gateway::Gateway;
use testkit::wait::until;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moongate");

/// A route to a host that does not exist, in the 12th line of its document and the 12th column.
fn to_nowhere(name: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: {name}
  namespace: default
spec:
  hosts: [{name}.test]
  gateways: [g]
  http:
  - route:
    - destination:
        host: {name}.nowhere.test
---
"
    )
}

fn page(gateway: &Gateway, target: &str) -> String {
    let (status, text) = gateway.get(gateway.admin, target).unwrap();
    assert_eq!(status, 200, "{text}");
    text
}

#[test]
fn the_page_and_the_report_show_the_line_of_the_field_as_check_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    let text = server("g", 80) + &to_nowhere("a");
    fs::write(&file, &text).unwrap();
    let gateway = start(folder.path(), &[80], &[]);
    let output = Command::new(PROGRAM).args(["check", "--output", "json"]).arg(folder.path()).output().unwrap();
    let field = |json: &str| {
        let all: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
        all.into_iter().find(|one| one["field"] == "spec.http[0].route[0].destination.host").unwrap()
    };
    let line = 1 + text.lines().position(|line| line.contains("host: a.nowhere.test")).unwrap();
    let (checked, reported) = (field(&String::from_utf8(output.stdout).unwrap()), field(&page(&gateway, "/report")));
    assert_eq!(reported, checked);
    assert_eq!((&reported["position"]["line"], &reported["position"]["column"]), (&line.into(), &9.into()));
    let file_name = file.display().to_string();
    assert!(page(&gateway, "/report?format=text").contains(&format!("{file_name}:{line}:9: ")));
    assert!(page(&gateway, "/").contains(&format!("<code>{file_name}:{line}</code>")), "{}", page(&gateway, "/"));

    // It moves, and the lines with it.
    fs::write(&file, format!("# One more line.\n{text}")).unwrap();
    until("the lines move", || page(&gateway, "/").contains(&format!("<code>{file_name}:{}</code>", line + 1)));
    // The file differs from the served configuration: only the line of the object is shown.
    fs::write(&file, text.replace("  - route:", "  - rout:")).unwrap();
    until("the document is refused", || page(&gateway, "/report").contains("`rout`"));
    let reported = field(&page(&gateway, "/report"));
    assert_eq!(reported["position"]["column"], 0, "{reported}");
}

#[test]
fn a_page_says_how_many_findings_there_are_and_shows_errors_first() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(folder.path(), &[], &[]);
    let empty = page(&gateway, "/");
    assert!(empty.contains("<p>No listener.</p>") && empty.contains("0 objects, 0 clusters"), "{empty}");
    fs::write(folder.path().join("a.yaml"), server("g", testkit::ports::free()) + &direct("a", "g", 201)).unwrap();
    until("nothing is wrong", || page(&gateway, "/").contains("<p>Nothing is wrong."));

    // A warning each, by name before the one error.
    let mut text = server("g", testkit::ports::free());
    let gateway_of_others = |i: usize| server(&format!("a{i}"), 80).replace("istio: ingressgateway", "istio: other");
    (0..250).for_each(|i| text.push_str(&gateway_of_others(i)));
    text.push_str(&to_nowhere("z"));
    fs::write(folder.path().join("a.yaml"), text).unwrap();
    until("there are many", || page(&gateway, "/").contains("These are the first 200 of "));
    let all: Vec<serde_json::Value> = serde_json::from_str(&page(&gateway, "/report")).unwrap();
    let count = |severity: &str| all.iter().filter(|one| one["severity"] == severity).count();
    let (errors, warnings) = (count("error"), count("warning"));
    let shown = page(&gateway, "/");
    assert!(errors > 0 && warnings > 0 && errors + warnings > 200, "{errors} errors, {warnings} warnings");
    assert!(shown.contains(&format!("These are the first 200 of {}, errors first", errors + warnings)), "{shown}");
    assert_eq!(shown.matches("<tr><td><span class=").count(), 200);
    let first = shown.find("class=\"tag warning\"").unwrap_or(shown.len());
    assert!(shown.rfind("class=\"tag error\"").unwrap() < first, "a warning is before an error");
}

#[test]
fn explain_shows_variables_as_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let set = "headers: {request: {set: {x-from: 'at %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%'}}}";
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: b, namespace: default}\nspec: {ports: [{name: http, port: 80}]}\n";
    let route = to_nowhere("a")
        .replace("host: a.nowhere.test", "host: b")
        .replace("  - route:", &format!("  - {set}\n    route:"));
    fs::write(folder.path().join("a.yaml"), server("g", 80) + &route + service).unwrap();
    let output = Command::new(PROGRAM).args(["explain", "http://a.test/"]).arg(folder.path()).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("x-from: at <DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT>"), "{told}");
}

/// Names, fields and messages that are longer than the screen is wide.
fn with_long_words(folder: &Path) -> Gateway {
    let long = format!("{}.{}", ["very-long-name-of-a-service"; 2].join("-"), ["subdomain"; 12].join("."));
    let mut text = String::new();
    for (at, protocol) in ["HTTP", "TLS"].iter().enumerate() {
        let tls = if *protocol == "TLS" { "\n    tls: {mode: PASSTHROUGH}" } else { "" };
        let _ = write!(
            text,
            "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gateway-{at}, namespace: default}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: {}, name: p, protocol: {protocol}}}
    hosts: ['{long}', 'b.{long}']{tls}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {}-{at}, namespace: default}}
spec:
  hosts: ['{long}']
  gateways: [gateway-{at}]
  {}:
  - match: [{}]
    route: [{{destination: {{host: nowhere.{long}, port: {{number: 80}}}}}}]
---
",
            testkit::ports::free(),
            ["name"; 12].join("-"),
            ["http", "tls"][at],
            [String::new(), format!("{{sniHosts: ['{long}']}}")][at],
        );
    }
    fs::write(folder.join("a-file-with-a-name-that-is-long-enough-to-leave-any-screen-of-a-phone.yaml"), text).unwrap();
    start(folder, &[], &[])
}

/// How wide the page is on screens of some widths, and how its tables and their cells are laid out there; by Chromium. The frames are higher
/// than the page, so that no scroll bar takes some of their width.
fn measured(folder: &Path, html: &str, widths: &[u32]) -> Option<Vec<String>> {
    let Some(chromium) = debian::installed("chromium") else {
        testkit::not_run("chromium is not installed").unwrap();
        return None;
    };
    let escaped = html.replace('&', "&amp;").replace('"', "&quot;");
    let frames: String = widths
        .iter()
        .map(|width| format!("<iframe style=\"width:{width}px;height:9000px;border:0\" srcdoc=\"{escaped}\"></iframe>"))
        .collect();
    let script = "addEventListener('load', () => { document.title = 'measured ' + [...document.querySelectorAll('iframe')].map(frame => {
        const page = frame.contentDocument, style = part => frame.contentWindow.getComputedStyle(page.querySelector(part)).display;
        return [page.documentElement.scrollWidth, style('thead'), style('td')].join(':');
    }).join(' ') })";
    let file = folder.join("frames.html");
    fs::write(&file, format!("<!doctype html><meta charset=\"utf-8\"><script>{script}</script>{frames}")).unwrap();
    let mut command = Command::new(chromium);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]);
    command.args(["--disable-component-update", "--disable-sync", "--disable-quic", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", folder.join("browser").display()));
    command.arg(format!("file://{}", file.display()));
    let output = command.stdin(Stdio::null()).output().unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let title = dom.split_once("<title>measured ").and_then(|(_, rest)| rest.split_once("</title>"));
    let Some((title, _)) = title else { panic!("{dom}\n{}", String::from_utf8_lossy(&output.stderr)) };
    Some(title.split(' ').map(str::to_owned).collect())
}

#[test]
fn nothing_on_the_page_is_wider_than_a_phone() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let gateway = with_long_words(folder.path());
    let html = page(&gateway, "/");
    assert!(html.contains("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"));
    assert!(html.contains("TLS passthrough") && html.contains("nowhere."), "{html}");
    let Some(found) = measured(other.path(), &html, &[320, 390, 1280]) else { return };
    assert_eq!(found, ["320:none:block", "390:none:block", "1280:table-header-group:table-cell"]);
}
