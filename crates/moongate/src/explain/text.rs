//! An answer of `explain` as people read it: from the listener to the endpoint, or to where it stops.

use super::{Answer, Outcome, Question, TargetAnswer};
use anstyle::{AnsiColor, Style};
use std::fmt::Write as _;

const BOLD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const SOFT: Style = Style::new().dimmed();

/// The whole answer, with the colours of a terminal.
pub fn text(question: &Question, answer: &Answer) -> String {
    let mut out = String::new();
    let host =
        question.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).map_or("", |(_, value)| value);
    let _ =
        writeln!(out, "{BOLD}{} {} for {host} on port {}{BOLD:#}\n", question.method, question.target, question.port);
    match &answer.listener {
        None => {}
        Some(listener) => {
            let servers: Vec<String> = answer.servers.iter().map(ToString::to_string).collect();
            let _ = writeln!(out, "listener  {listener}  {SOFT}{}{SOFT:#}", servers.join(", "));
            if let Some(from) = &answer.proxied {
                let _ = writeln!(out, "proxy     connections begin with a PROXY header  {SOFT}from {from}{SOFT:#}");
            }
            if let Some(secured) = &answer.secured {
                let _ = writeln!(out, "server    {}  {SOFT}{}{SOFT:#}", secured.names.join(", "), secured.origin);
                let certificates = secured.certificates.join(", ");
                let shown = if certificates.is_empty() { String::new() } else { format!("{certificates}; ") };
                let _ = writeln!(out, "tls       {shown}{SOFT}{}{SOFT:#}", secured.client);
            }
            let is_http = matches!(answer.outcome, Outcome::Answered { .. } | Outcome::Forwarded { .. });
            for token in &answer.tokens {
                let colour = if token.verdict.starts_with("valid") { GOOD } else { BAD };
                let _ = writeln!(
                    out,
                    "token     {colour}{}{colour:#}  {} {SOFT}{}{SOFT:#}",
                    token.verdict, token.token, token.rule
                );
            }
            let is_refused =
                matches!(&answer.outcome, Outcome::Answered { detail, .. } if detail.starts_with("jwt_authn"));
            let _ = match &answer.host {
                _ if !is_http || is_refused => Ok(()),
                Some(host) => writeln!(out, "host      {host}"),
                None => writeln!(out, "host      {BAD}no matching host{BAD:#}"),
            };
        }
    }
    policies(&mut out, answer);
    check(&mut out, answer);
    rules(&mut out, answer);
    if let Some(fault) = &answer.fault {
        let _ = writeln!(out, "fault     {BAD}{fault}{BAD:#}");
    }
    outcome(&mut out, &answer.outcome);
    out
}

fn policies(out: &mut String, answer: &Answer) {
    for policy in &answer.policies {
        let (action, origin) = (policy.action, &policy.origin);
        let _ = match &policy.lost {
            Some(why) => writeln!(out, "policy    {SOFT}✗ {action}{SOFT:#} {origin}\n            {SOFT}{why}{SOFT:#}"),
            None => writeln!(out, "policy    {BOLD}✓ {action}{BOLD:#} {origin}"),
        };
    }
}

fn check(out: &mut String, answer: &Answer) {
    let Some(check) = &answer.check else { return };
    let _ = writeln!(
        out,
        "check     {BOLD}{}{BOLD:#} is asked by {}  {SOFT}{}, within {}{SOFT:#}",
        check.provider, check.protocol, check.cluster, check.timeout
    );
    for line in &check.sent {
        let _ = writeln!(out, "            {line}");
    }
    let _ = writeln!(out, "            {SOFT}without a decision {}; below: if it allows{SOFT:#}", check.on_failure);
}

fn rules(out: &mut String, answer: &Answer) {
    for rule in &answer.rules {
        let name = if rule.name.is_empty() { String::new() } else { format!(" `{}`", rule.name) };
        let _ = match &rule.lost {
            Some(why) => {
                writeln!(out, "rule      {BAD}✗{BAD:#} {}{name}\n            {SOFT}{why}{SOFT:#}", rule.origin)
            }
            None => writeln!(
                out,
                "rule      {GOOD}✓{GOOD:#} {}{name}\n            {SOFT}{}{SOFT:#}",
                rule.origin, rule.demands
            ),
        };
    }
}

fn outcome(out: &mut String, outcome: &Outcome) {
    match outcome {
        Outcome::Refused { ports } => {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            let there =
                if ports.is_empty() { "no port is open".to_owned() } else { format!("open are {}", ports.join(", ")) };
            let _ = writeln!(
                out,
                "answer    {BAD}connection refused{BAD:#}: no server of a Gateway listens on that port; {there}"
            );
        }
        Outcome::NoHandshake { reason } => {
            let _ = writeln!(out, "answer    {BAD}no TLS{BAD:#}: {reason}");
        }
        Outcome::Closed { reason } => {
            let _ = writeln!(out, "answer    {BAD}closed{BAD:#}: {reason}");
        }
        Outcome::Bytes { rule, targets } => {
            let _ = writeln!(out, "rule      {GOOD}✓{GOOD:#} {rule}");
            all_targets(out, targets);
        }
        Outcome::Answered { status, grpc, detail, location, headers, body } => {
            let colour = if *status < 400 && grpc.is_none_or(|grpc| grpc == 0) { GOOD } else { BAD };
            let _ = writeln!(out, "answer    {colour}{status}{}{colour:#} {detail}", grpc_status(*grpc));
            if let Some(location) = location {
                let _ = writeln!(out, "            location: {location}");
            }
            for header in headers {
                let _ = writeln!(out, "            {header}");
            }
            if let Some(body) = body {
                let _ = writeln!(out, "            body: {body}");
            }
        }
        Outcome::Forwarded { targets, mirrors, retries } => {
            all_targets(out, targets);
            for mirror in mirrors {
                match &mirror.target.fails {
                    Some(fails) => {
                        let (share, cluster) = (&mirror.share, &mirror.target.cluster);
                        let _ = writeln!(out, "copies    {share}, but {BAD}none{BAD:#} to {cluster}: {}", fails.reason);
                    }
                    None => {
                        let _ = writeln!(out, "copies    {}", mirror.share);
                        target(out, &mirror.target, None);
                    }
                }
            }
            let _ = writeln!(out, "retries   {retries}");
        }
    }
}

fn all_targets(out: &mut String, targets: &[TargetAnswer]) {
    let total: u32 = targets.iter().map(|target| target.weight).sum();
    for one in targets {
        target(out, one, (targets.len() > 1).then_some(total));
    }
}

fn target(out: &mut String, target: &TargetAnswer, total: Option<u32>) {
    let share = total.map_or_else(String::new, |total| format!("  {SOFT}{} of {total}{SOFT:#}", target.weight));
    let _ = writeln!(out, "cluster   {}{share}", target.cluster);
    match &target.fails {
        Some(fails) => {
            let grpc = grpc_status(fails.grpc);
            let _ = writeln!(out, "answer    {BAD}{}{grpc} {}{BAD:#} {}", fails.status, fails.flag, fails.reason);
        }
        None => {
            let endpoints = target.endpoints.join(", ");
            let _ = writeln!(out, "endpoints {endpoints}  {SOFT}{}{SOFT:#}", target.spoken);
            let _ = writeln!(out, "balance   {}", target.balance);
            for bound in &target.bounds {
                let _ = writeln!(out, "            {SOFT}{bound}{SOFT:#}");
            }
            if target.head.is_empty() {
                return;
            }
            let mut lines = target.head.lines();
            let _ = writeln!(out, "sent      {}", lines.next().unwrap_or_default());
            for line in lines {
                let _ = writeln!(out, "            {line}");
            }
        }
    }
}

fn grpc_status(status: Option<u8>) -> String {
    status.map_or_else(String::new, |status| format!(" grpc-status {status}"))
}
