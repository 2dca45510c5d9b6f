//! `moongate check`: all that is wrong or worth knowing, for people or programs, and an exit code.

use crate::certificates::Certificates;
use crate::cli::{CheckArgs, Output};
use crate::mesh::Mesh;
use crate::serving::Demand;
use crate::{output, pipeline, settings};
use anyhow::Result;
use compiler::Memo;
use resources::diagnostic::{Diagnostic, Severity};
use resources::read::SourceText;
use sources::{FileSource, StreamTexts};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

/// Reads, compiles and reports once.
pub(crate) fn check(args: &CheckArgs) -> Result<ExitCode> {
    let mut settings = settings::settings(&args.config.workload)?;
    let source = FileSource::new(args.config.paths.clone())?;
    let mut source = source.with_mesh(args.config.workload.mesh_config.clone());
    let Some(loaded) = source.refresh() else { return Ok(ExitCode::SUCCESS) };
    let mut mesh = Mesh::default();
    mesh.take(&loaded, &mut settings);
    let mut all = mesh.found;
    let compiled = compiler::compile(&loaded.set, &settings, &mut Memo::default());
    all.extend(loaded.diagnostics.iter().cloned());
    all.extend(Demand::of(&loaded.set, &loaded.diagnostics).findings(compiled.snapshot.listeners.size()));
    let mut texts = Texts::new(&loaded.streams);
    all.extend(compiled.report.located(&loaded.set).map(|diagnostic| texts.locate(diagnostic)));
    let certificates = Certificates::of(&compiled.snapshot);
    let ending = certificates.findings(SystemTime::now(), args.config.workload.certificate_warning());
    all.extend(ending.into_iter().map(|one| texts.locate(pipeline::placed(one, &loaded.set))));
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

fn report(all: &[Diagnostic], texts: &mut Texts, objects: usize) -> String {
    let mut out = String::new();
    for diagnostic in all {
        let position = diagnostic.position.as_ref();
        let line = position.and_then(|position| texts.get(&position.file)?.line(position.line));
        let _ = writeln!(out, "{}\n", resources::render::frame(diagnostic, line, true));
    }
    let count = |severity: Severity| all.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let _ = writeln!(
        out,
        "{}: {}, {}, {}",
        plural(objects, "object"),
        plural(count(Severity::Error), "error"),
        plural(count(Severity::Warning), "warning"),
        plural(count(Severity::Info), "note"),
    );
    out
}

/// Texts of files, each read once, and each document of them at most once more.
pub(crate) struct Texts {
    files: HashMap<Arc<Path>, Option<SourceText>>,
    streams: StreamTexts,
}

impl Texts {
    /// `streams`: texts that cannot be read again.
    pub(crate) fn new(streams: &StreamTexts) -> Self {
        Self { files: HashMap::new(), streams: Arc::clone(streams) }
    }

    fn get(&mut self, file: &Arc<Path>) -> Option<&mut SourceText> {
        let read = || {
            if let Some(text) = self.streams.get(file) {
                return Some(SourceText::new(Arc::clone(text)));
            }
            // Opening anything but a regular file may block.
            let is_file = std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file());
            let text = is_file.then(|| std::fs::read_to_string(file).ok()).flatten();
            text.map(|text| SourceText::new(text.into()))
        };
        self.files.entry(Arc::clone(file)).or_insert_with(read).as_mut()
    }

    /// A diagnostic of the compiler knows its object, its field and the line on which the document begins; where the field is, is found by
    /// reading the document again.
    pub(crate) fn locate(&mut self, mut diagnostic: Diagnostic) -> Diagnostic {
        if let (Some(position), Some(object)) = (&mut diagnostic.position, &diagnostic.object)
            && let Some(text) = self.get(&position.file)
            && let Some((line, column)) = text.locate(object, position.line, &diagnostic.field)
        {
            (position.line, position.column) = (line, column);
        }
        diagnostic
    }
}
