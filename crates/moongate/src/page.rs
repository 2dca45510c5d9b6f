//! The one page for a browser: what is served and what is wrong, at a glance. No scripts, nothing from elsewhere.

use crate::pipeline::Current;
use crate::served::{self, By};
use ir::{HttpTable, Listener, ListenerId};
use resources::diagnostic::Severity;
use std::fmt::Write as _;
use std::net::SocketAddr;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
code{font:13px ui-monospace,monospace}.tag{display:inline-block;padding:0 .5rem;border-radius:1rem;background:var(--soft)}
.error{background:#c62828;color:#fff}.warning{background:#b26a00;color:#fff}.good{background:#2e7d32;color:#fff}
nav a{margin-right:1rem}p{margin:.3rem 0}";

/// The page.
pub(crate) fn index(current: &Current, ready: bool, listening: &[(ListenerId, SocketAddr)], workers: &[u64]) -> String {
    let mut out = String::new();
    let state =
        if ready { "<span class=\"tag good\">ready</span>" } else { "<span class=\"tag error\">not ready</span>" };
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Moongate</title><style>{STYLE}</style><h1>Moongate {} {state}</h1>\
         <p>Generation {} of the configuration: {} objects, {} clusters. {}</p>\
         <nav><a href=\"/report?format=text\">report</a><a href=\"/config\">config</a><a href=\"/metrics\">metrics</a></nav>",
        env!("CARGO_PKG_VERSION"),
        current.generation,
        current.set.len(),
        current.snapshot.clusters.size(),
        of_workers(current.generation, workers),
    );
    if current.unavailable > 0 {
        let paths = if current.unavailable == 1 { "path" } else { "paths" };
        let _ = write!(
            out,
            "<p><span class=\"tag error\">{} configured {paths} cannot be read</span> What was read there before keeps serving.</p>",
            current.unavailable
        );
    }
    listeners(&mut out, current, listening);
    findings(&mut out, current);
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
    out.push_str("<h2>Listeners</h2><table><tr><th>Workload<th>Address<th>Servers<th>Serves</tr>");
    for (id, listener) in &current.snapshot.listeners {
        let open = listening.iter().find(|(open, _)| open == id);
        let address = match open {
            Some((_, address)) => format!("<code>{address}</code>"),
            None => format!("<code>{}</code> <span class=\"tag error\">not open</span>", id.address),
        };
        let servers: Vec<String> = listener.servers.iter().map(|origin| escape(&origin.to_string())).collect();
        let hosts = lines(listener, current);
        let _ = write!(
            out,
            "<tr><td>{}<td>{address}<td>{}<td>{}</tr>",
            escape(&id.workload.0),
            servers.join("<br>"),
            hosts.join("<br>")
        );
    }
    out.push_str("</table>");
}

/// What a listener serves, line by line: the hosts in clear text, then each TLS server.
fn lines(listener: &Listener, current: &Current) -> Vec<String> {
    let mut lines = Vec::new();
    for one in served::of(listener, &current.snapshot) {
        let behind = match one.by {
            By::Hosts(table) => hosts(table),
            By::Route(origin) => vec![format!("bytes by {}", escape(&origin.to_string()))],
        };
        if one.names.is_empty() {
            lines.extend(behind);
            continue;
        }
        let names: Vec<String> = one.names.iter().map(|name| escape(&name.to_string())).collect();
        lines.push(format!("<b>{}</b> <span class=\"tag\">{}</span>", names.join(", "), one.protocol.as_str()));
        lines.extend(behind.into_iter().map(|line| format!("&emsp;{line}")));
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
    let all: Vec<_> = current.diagnostics().into_iter().filter(|one| one.severity > Severity::Info).collect();
    out.push_str("<h2>Findings</h2>");
    if all.is_empty() {
        out.push_str("<p>Nothing is wrong.</p>");
        return;
    }
    out.push_str("<table><tr><th>Code<th>Where<th>What</tr>");
    for one in all.iter().take(200) {
        let class = if one.severity == Severity::Error { "error" } else { "warning" };
        let place = one.position.as_ref().map_or_else(String::new, |p| format!("{}:{}", p.file.display(), p.line));
        let object = one.object.as_ref().map_or_else(String::new, ToString::to_string);
        let _ = write!(
            out,
            "<tr><td><span class=\"tag {class}\">{}</span><td>{}<br><code>{}</code><br><code>{}</code><td>{}<br>{}</tr>",
            one.code,
            escape(&object),
            escape(&one.field),
            escape(&place),
            escape(&one.message),
            escape(one.help.as_deref().unwrap_or_default())
        );
    }
    out.push_str("</table>");
    if all.len() > 200 {
        let _ = write!(out, "<p>… {} in all; the report has them.</p>", all.len());
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
