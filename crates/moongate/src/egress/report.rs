//! The output of `moongate egress suggest`: YAML with the ServiceEntries, and comments about what was denied and what a person has to decide.

use super::additions::{self, Additions, Known};
use super::denials::{Denial, Denials, Target, Way};
use super::entries::{self, Entries};
use crate::words::{counted, printable};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Clients that a line names.
const SHOWN: usize = 8;

/// The whole text.
pub(super) fn text(denials: &Denials, known: &Known, namespace: &str, wildcards: bool) -> String {
    let mut out = String::new();
    let (mut entries, mut additions) = (Entries::new(), Additions::new());
    head(denials, &mut out);
    for (target, denial) in &denials.by_target {
        let mut add = |reason: &str| {
            let added = additions::add(&mut additions, known, target, denial, reason);
            added.or_else(|| entries::add(&mut entries, target, denial, reason))
        };
        let remarks: Vec<(&String, Option<String>)> =
            denial.reasons.keys().map(|reason| (reason, add(reason))).collect();
        describe(target, denial, &remarks, &mut out);
    }
    for (key, addition) in &additions {
        out.push_str(&additions::text(key, addition, known));
    }
    if wildcards {
        entries = entries::widen(entries);
    }
    let mut names = BTreeSet::new();
    for (host, entry) in &entries {
        let mut object = String::new();
        for remark in &entry.remarks {
            let _ = writeln!(object, "# {}", printable(remark));
        }
        if !entry.names.is_empty() {
            let list = entry.names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let _ = writeln!(object, "# for {list}");
        }
        let yaml = entries::yaml(host, entry, namespace, &entries::name(host, &mut names));
        if entry.is_comment {
            out.push_str("\n# Not without a decision of a person:\n");
            out.push_str(&object);
            for line in yaml.lines() {
                let _ = writeln!(out, "# {line}");
            }
        } else {
            let _ = write!(out, "\n{object}---\n{yaml}");
        }
    }
    out
}

fn head(denials: &Denials, out: &mut String) {
    let count = |number: u64, what| counted(usize::try_from(number).unwrap_or(usize::MAX), what);
    let all: u64 = denials.by_target.values().map(|denial| denial.count).sum::<u64>() + denials.others;
    let served: u64 = denials.by_target.values().map(|denial| denial.served).sum();
    let _ = write!(out, "# {} of {}", count(all, "denial"), count(denials.records, "record"));
    if served > 0 {
        let _ = write!(out, "; {served} of them were served, because what would deny them is not enforced");
    }
    out.push('\n');
    if denials.others > 0 {
        let _ = writeln!(
            out,
            "# {} of destinations beyond the first {} are not listed",
            count(denials.others, "denial"),
            denials.by_target.len()
        );
    }
    if denials.unreadable > 0 {
        let _ = writeln!(
            out,
            "# {} not a record of a decision log (`moongate audit verify` finds changes)",
            if denials.unreadable == 1 { "1 line is".to_owned() } else { format!("{} lines are", denials.unreadable) }
        );
    }
}

/// What was denied, how often, for which clients, and the remedy where it is not an object below.
fn describe(target: &Target, denial: &Denial, remarks: &[(&String, Option<String>)], out: &mut String) {
    let way = match target.way {
        Way::Request => "HTTP requests",
        Way::Tunnel => "CONNECT",
        Way::Sni => "TLS",
    };
    let port = target.port.map(|port| format!(" port {port}")).unwrap_or_default();
    let times = counted(usize::try_from(denial.count).unwrap_or(usize::MAX), "time");
    let _ = writeln!(
        out,
        "#\n# {}{port} ({way}): {times}, from {} to {}",
        printable(&target.host),
        printable(&denial.first),
        printable(&denial.last)
    );
    let shown: Vec<String> = denial.clients.iter().take(SHOWN).map(|client| printable(client)).collect();
    let more = denial.more_clients || denial.clients.len() > SHOWN;
    let _ = writeln!(out, "#   clients: {}{}", shown.join(", "), if more { ", and others" } else { "" });
    for (reason, remark) in remarks {
        let _ = write!(out, "#   {}", printable(reason));
        if let Some(remark) = remark {
            let _ = write!(out, ": {}", printable(remark));
        }
        out.push('\n');
    }
}
