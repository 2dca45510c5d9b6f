//! `moongate check`: all that is wrong or worth knowing, for people or programs, and an exit code.

use crate::certificates::Certificates;
use crate::cli::CheckArgs;
use crate::mesh::Mesh;
use crate::output::{self, Output};
use crate::positions::SourceTexts;
use crate::serving::{Demand, NO_OWN_GATEWAY};
use crate::words::counted;
use crate::{objects, settings};
use anyhow::Result;
use compiler::Memo;
use resources::diagnostic::{Diagnostic, Severity};
use sources::FileReader;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::SystemTime;

/// Reads, compiles and reports once.
pub(crate) fn check(args: &CheckArgs) -> Result<ExitCode> {
    let mut settings = settings::settings(&args.config.workload)?;
    let source = FileReader::new(args.config.paths.clone())?;
    let mut source = source.with_mesh(args.config.workload.mesh_config.clone());
    let Some(loaded) = source.refresh() else { return Ok(ExitCode::SUCCESS) };
    let mut mesh = Mesh::default();
    mesh.apply(&loaded, &mut settings);
    let mut all = mesh.found;
    let compiled = compiler::compile(&loaded.set, &settings, &mut Memo::default());
    all.extend(loaded.diagnostics.iter().cloned());
    let demand = Demand::of(&loaded.set, &settings.workloads, compiled.snapshot.listeners.size());
    all.extend(demand.findings().map(gravest_without_own_gateway));
    let mut texts = SourceTexts::new(&loaded.streams);
    all.extend(compiled.report.located(&loaded.set).map(|diagnostic| texts.locate(diagnostic, &loaded.set)));
    let certificates = Certificates::of(&compiled.snapshot);
    let ending = certificates.findings(SystemTime::now(), args.config.workload.certificate_warning());
    all.extend(ending.into_iter().map(|one| texts.locate(objects::placed(one, &loaded.set), &loaded.set)));
    if args.quiet {
        all.retain(|diagnostic| diagnostic.severity > Severity::Info);
    }
    let place = |one: &Diagnostic| one.position.clone().map(|place| (place.file, place.line, place.column));
    all.sort_by(|one, other| place(one).cmp(&place(other)).then_with(|| one.code.cmp(other.code)));
    match args.output {
        Output::Json => output::print(&format!("{}\n", serde_json::to_string_pretty(&all)?))?,
        Output::Text => output::print(&report(&all, &mut texts, loaded.set.len()))?,
    }
    let failed = all.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    Ok(ExitCode::from(u8::from(failed)))
}

/// Files are checked for the gateway that is to serve them, so that none of their Gateways being for it is a mistake. In a cluster there are
/// Gateways of others, and its own may come later.
fn gravest_without_own_gateway(found: Diagnostic) -> Diagnostic {
    let severity = if found.code == NO_OWN_GATEWAY { Severity::Error } else { found.severity };
    Diagnostic { severity, ..found }
}

fn report(all: &[Diagnostic], texts: &mut SourceTexts, objects: usize) -> String {
    let mut out = String::new();
    for diagnostic in all {
        let position = diagnostic.position.as_ref();
        let line = position.and_then(|position| texts.get(&position.file)?.line(position.line));
        let _ = writeln!(out, "{}\n", resources::render::frame(diagnostic, line, true));
    }
    let count = |severity: Severity| all.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let _ = writeln!(
        out,
        "{}: {}, {}, {}",
        counted(objects, "object"),
        counted(count(Severity::Error), "error"),
        counted(count(Severity::Warning), "warning"),
        counted(count(Severity::Info), "note"),
    );
    out
}
