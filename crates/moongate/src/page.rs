//! The page for a browser: what is served and what is wrong. No scripts, nothing from elsewhere.

use crate::current::Current;
use crate::served::{self, By};
use crate::words::counted;
use ir::{HttpTable, Listener, ListenerId};
use resources::diagnostic::{Diagnostic, Severity};
use std::fmt::Write as _;
use std::net::SocketAddr;

/// Findings that the page shows; the report has all.
const SHOWN: usize = 200;

/// On a narrow screen each cell of a table is a block of its own, with the name of its column above it. Names, paths and messages may be
/// longer than a line, so they break anywhere: nothing is wider than the screen.
const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
th,td.address{white-space:nowrap}td>div.in{margin-left:1rem}
code{font:13px ui-monospace,monospace}.tag{display:inline-block;padding:0 .5rem;border-radius:1rem;background:var(--soft);white-space:nowrap}
.error{background:#c62828;color:#fff}.warning{background:#9a5b00;color:#fff}.good{background:#2e7d32;color:#fff}
nav a{margin-right:1rem}p{margin:.3rem 0}
@media(max-width:40rem){body{margin:1rem auto}thead{display:none}table,tbody,tr,td{display:block}
tr{border-bottom:1px solid var(--line);padding:.5rem 0}td,td.address{border:0;padding:.1rem 0;white-space:normal}
td[data-name]:not(:empty)::before{content:attr(data-name);display:block;font-size:.8rem;opacity:.7}}";

/// The page. Files are read for the lines of findings.
pub(crate) fn index(current: &Current, ready: bool, listening: &[(ListenerId, SocketAddr)], workers: &[u64]) -> String {
    let mut out = String::new();
    let state =
        if ready { "<span class=\"tag good\">ready</span>" } else { "<span class=\"tag error\">not ready</span>" };
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Moongate</title><style>{STYLE}</style></head><body><h1>Moongate {} {state}</h1>\
         <p>Generation {} of the configuration: {}, {}. {}</p>\
         <nav><a href=\"/report?format=text\">report</a><a href=\"/config\">config</a><a href=\"/metrics\">metrics</a></nav>",
        env!("CARGO_PKG_VERSION"),
        current.generation,
        counted(current.set.len(), "object"),
        counted(current.snapshot.clusters.size(), "cluster"),
        of_workers(current.generation, workers),
    );
    if current.unavailable > 0 {
        let _ = write!(
            out,
            "<p><span class=\"tag error\">{} cannot be read</span> What was read there before is still served.</p>",
            counted(current.unavailable, "configured path")
        );
    }
    listeners(&mut out, current, listening);
    findings(&mut out, current);
    out.push_str("</body></html>\n");
    out
}

/// How many workers serve the generation that was applied last, in words.
fn of_workers(generation: u64, workers: &[u64]) -> String {
    let current = workers.iter().filter(|served| **served == generation).count();
    if current == workers.len() {
        format!("All {current} workers serve it.")
    } else {
        format!("{current} of {} workers serve it; the others still serve the one before.", workers.len())
    }
}

fn listeners(out: &mut String, current: &Current, listening: &[(ListenerId, SocketAddr)]) {
    out.push_str("<h2>Listeners</h2>");
    if current.snapshot.listeners.is_empty() {
        out.push_str("<p>No listener.</p>");
        return;
    }
    out.push_str("<table><thead><tr><th>Workload<th>Address<th>Servers<th>Serves</tr></thead><tbody>");
    for (id, listener) in &current.snapshot.listeners {
        let open = listening.iter().find(|(open, _)| open == id);
        let address = match open {
            Some((_, address)) => format!("<code>{address}</code>"),
            None => format!("<code>{}</code> <span class=\"tag error\">not open</span>", id.address),
        };
        let servers: Vec<String> = listener.servers.iter().map(|origin| escape(&origin.to_string())).collect();
        let _ = write!(
            out,
            "<tr><td data-name=\"Workload\">{}<td class=\"address\" data-name=\"Address\">{address}<td data-name=\"Servers\">{}\
             <td data-name=\"Serves\">{}</tr>",
            escape(&id.workload.0),
            servers.join("<br>"),
            lines(listener, current)
        );
    }
    out.push_str("</tbody></table>");
}

/// What a listener serves, line by line: the hosts in clear text, then each TLS server.
fn lines(listener: &Listener, current: &Current) -> String {
    let mut lines = String::new();
    for one in served::of(listener, &current.snapshot) {
        let behind = match one.by {
            By::Hosts(table) => hosts(table),
            By::Route(origin) => vec![format!("bytes by {}", escape(&origin.to_string()))],
        };
        let class = if one.names.is_empty() { "" } else { " class=\"in\"" };
        if !one.names.is_empty() {
            let names: Vec<String> = one.names.iter().map(|name| escape(&name.to_string())).collect();
            let (names, protocol) = (names.join(", "), one.protocol.as_str());
            let _ = write!(lines, "<div><b>{names}</b> <span class=\"tag\">{protocol}</span></div>");
        }
        behind.iter().for_each(|line| {
            let _ = write!(lines, "<div{class}>{line}</div>");
        });
    }
    lines
}

fn hosts(table: &HttpTable) -> Vec<String> {
    let mut hosts: Vec<String> = table.hosts.keys().take(20).map(|host| escape(&host.to_string())).collect();
    if table.hosts.size() > hosts.len() {
        hosts.push(format!("… {} in all", table.hosts.size()));
    }
    hosts
}

fn findings(out: &mut String, current: &Current) {
    let mut all = current.diagnostics();
    let count = |severity: Severity| all.iter().filter(|one| one.severity == severity).count();
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Info));
    out.push_str("<h2>Findings</h2><p>");
    if errors + warnings == 0 {
        out.push_str("Nothing is wrong.");
    } else {
        let _ = write!(out, "{}, {}.", counted(errors, "error"), counted(warnings, "warning"));
    }
    if notes > 0 {
        let _ = write!(out, " The <a href=\"/report?format=text\">report</a> has {}, too.", counted(notes, "note"));
    }
    out.push_str("</p>");
    all.retain(|one| one.severity > Severity::Info);
    if all.is_empty() {
        return;
    }
    let count = all.len();
    // Errors first, so that no number of warnings hides one.
    all.sort_by_key(|one| std::cmp::Reverse(one.severity));
    all.truncate(SHOWN);
    current.locate(&mut all);
    out.push_str("<table><thead><tr><th>Code<th>Where<th>What</tr></thead><tbody>");
    all.iter().for_each(|one| finding(out, one));
    out.push_str("</tbody></table>");
    if count > SHOWN {
        let _ = write!(
            out,
            "<p>These are the first {SHOWN} of {count}, errors first; the <a href=\"/report?format=text\">report</a> has all.</p>"
        );
    }
}

fn finding(out: &mut String, one: &Diagnostic) {
    let class = if one.severity == Severity::Error { "error" } else { "warning" };
    let place = one.position.as_ref().map_or_else(String::new, |p| format!("{}:{}", p.file.display(), p.line));
    let object = one.object.as_ref().map_or_else(String::new, ToString::to_string);
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("<code>{}</code>", escape(text)) };
    let place = [escape(&object), code(&one.field), code(&place)];
    let _ = write!(
        out,
        "<tr><td><span class=\"tag {class}\">{}</span><td data-name=\"Where\">{}<td data-name=\"What\">{}</tr>",
        one.code,
        lines_of(&place),
        lines_of(&[escape(&one.message), escape(one.help.as_deref().unwrap_or_default())]),
    );
}

/// Those of some lines of HTML that are not empty.
fn lines_of(lines: &[String]) -> String {
    let lines: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
    lines.join("<br>")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
