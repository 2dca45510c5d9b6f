//! Prints the records of a decision log for people, as they are written.

use crate::audit::Record;
use crate::output;
use crate::words::printable;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// Follows the log in a thread of its own, which ends with the process.
pub(super) fn follow(file: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(File::open(file)?);
    let follow = move || {
        let mut line = String::new();
        loop {
            match lines.read_line(&mut line) {
                Ok(0) => std::thread::sleep(EVERY),
                // A line without its end is still being written.
                Ok(_) if !line.ends_with('\n') => {}
                Ok(_) => {
                    if let Some(record) = Record::read(&line)
                        && output::print(&format(&record)).is_err()
                    {
                        return;
                    }
                    line.clear();
                }
                Err(_) => return,
            }
        }
    };
    std::thread::Builder::new().name("decisions".to_owned()).spawn(follow).map(drop)
}

/// One line: when, what was decided, who asked for what, and what came of it or why not.
fn format(record: &Record) -> String {
    let style = match record.decision.as_str() {
        "allowed" => anstyle::AnsiColor::Green,
        "denied" => anstyle::AnsiColor::Red,
        _ => anstyle::AnsiColor::Yellow,
    };
    let style = style.on_default().bold();
    // The time of day, to the second.
    let time = record.time.get(11..19).unwrap_or_default();
    // Names are those of clients.
    let mut out = format!(
        "  {}  {style}{:<8}{style:#}{}",
        printable(time),
        printable(&record.decision),
        printable(&record.asked())
    );
    if record.status > 0 {
        let _ = write!(out, "  {}", record.status);
    }
    if record.decision != "allowed" && !record.reason.is_empty() {
        let _ = write!(out, "  {}", printable(&record.reason));
    }
    if !record.rule.is_empty() && record.rule != record.reason {
        let _ = write!(out, "  by {}", printable(&record.rule));
    }
    if !record.endpoint.is_empty() {
        let _ = write!(out, "  to {}", printable(&record.endpoint));
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_decided_and_why() {
        let of = |text: &str| anstream::adapter::strip_str(&format(&Record::read(text).unwrap())).to_string();
        let allowed = r#"{"kind":"request","time":"2026-11-29T12:13:14.567Z","method":"GET","authority":"a.test","path":"/x","decision":"allowed","rule":"ServiceEntry default/a","reason":"via_upstream","endpoint":"127.0.0.1:1","status":200}"#;
        assert_eq!(of(allowed), "  12:13:14  allowed GET a.test/x  200  by ServiceEntry default/a  to 127.0.0.1:1\n");
        let denied = r#"{"kind":"request","time":"2026-11-29T12:13:14.567Z","method":"CONNECT","authority":"b.test:443","decision":"denied","reason":"egress_denied{not_listed}","status":403}"#;
        assert_eq!(of(denied), "  12:13:14  denied  CONNECT b.test:443  403  egress_denied{not_listed}\n");
        let passed = r#"{"kind":"connection","time":"","sni":"c.test","decision":"failed","reason":"","status":0}"#;
        assert_eq!(of(passed), "    failed  TLS c.test\n");
        assert_eq!(Record::read(r#"{"event":"start"}"#), None);
        let forged = r#"{"kind":"request","method":"GET","authority":"\u009b2J\u001b[2J\u202ea.test\n","path":"/","decision":"denied"}"#;
        assert_eq!(of(forged), "    denied  GET ?2J?[2J?a.test?/\n");
    }
}
