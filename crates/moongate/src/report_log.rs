//! Findings in the process's own log: each when it is new. What is only good to know is left to `check`. The cost follows what changed.

use crate::current::{Current, bind_diagnostic};
use crate::objects::place;
use crate::positions::SourceTexts;
use crate::sink::{ReportSink, Update};
use resources::diagnostic::{Diagnostic, Severity};
use std::collections::{BTreeSet, HashSet};

/// Findings of one update for which the line of the field is looked up; further ones are logged with the line of their object.
const LOCATED: usize = 64;

/// Logs what is found, and what is well again.
pub(crate) struct ReportLog;

impl ReportSink for ReportLog {
    fn receive(&mut self, update: &Update<'_>) {
        let Update { before, current, .. } = update;
        log_read(before, current);
        let mut lines = Lines { texts: SourceTexts::new(&current.streams), left: LOCATED, current };
        log_objects(before, current, &mut lines);
        log_problems(before, current, &mut lines);
        current.ending.iter().filter(|one| !before.ending.contains(one)).for_each(|one| lines.log(one.clone()));
    }
}

/// The lines of fields, of a bounded number of findings.
struct Lines<'a> {
    texts: SourceTexts,
    left: usize,
    current: &'a Current,
}

impl Lines<'_> {
    /// Logs a finding that has the place of its object.
    fn log(&mut self, mut found: Diagnostic) {
        if found.severity > Severity::Info && self.left > 0 {
            found = self.texts.locate(found, &self.current.set);
            self.left -= 1;
        }
        log(&found);
    }
}

/// What was found while reading.
fn log_read(before: &Current, current: &Current) {
    if before.read == current.read {
        return;
    }
    let logged: BTreeSet<String> = before.read.iter().map(resources::render::line).collect();
    current.read.iter().filter(|one| !logged.contains(&resources::render::line(one))).for_each(log);
    if before.unavailable > 0 && current.unavailable == 0 {
        tracing::info!("all configured paths can be read again");
    }
}

/// What was found by compiling.
fn log_objects(before: &Current, current: &Current, lines: &mut Lines<'_>) {
    let mut logged = BTreeSet::new();
    for object in current.report.changed() {
        if !logged.insert(object) {
            continue;
        }
        // An object may have as many findings as it has rules.
        let reported: HashSet<&Diagnostic> = before.report.of(object).iter().collect();
        for one in current.report.of(object).iter().filter(|one| !reported.contains(one)) {
            lines.log(Diagnostic { position: place(&current.set, object), ..one.clone() });
        }
    }
}

/// Listeners that are not open, and parts of the process that have not applied the configuration.
fn log_problems(before: &Current, current: &Current, lines: &mut Lines<'_>) {
    for problem in current.problems.iter().filter(|problem| !before.problems.contains(problem)) {
        lines.log(bind_diagnostic(problem, current));
    }
    current.behind.iter().filter(|one| !before.behind.contains(one)).for_each(log);
    if before.unserved != current.unserved {
        match &current.unserved {
            Some(unserved) => log(unserved),
            None if before.generation > 0 => tracing::info!("the configuration is served again"),
            None => {}
        }
    }
}

fn log(diagnostic: &Diagnostic) {
    let line = resources::render::line(diagnostic);
    match diagnostic.severity {
        Severity::Error => tracing::error!("{line}"),
        Severity::Warning => tracing::warn!("{line}"),
        Severity::Info => tracing::debug!("{line}"),
    }
}
