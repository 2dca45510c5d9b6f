//! Diagnostics as people read them: a frame with the line of the file under it, or one line.

use crate::diagnostic::{Diagnostic, Severity};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::fmt::Write as _;

/// A frame around the place in `text`, the whole text of the file; without text or place, the bare message.
pub fn frame(diagnostic: &Diagnostic, text: Option<&str>, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let title = level(diagnostic.severity).primary_title(title(diagnostic)).id(diagnostic.code);
    let mut group = annotate_snippets::Group::with_title(title);
    let path = diagnostic.position.as_ref().map(|position| position.file.display().to_string());
    if let (Some(position), Some(text)) = (&diagnostic.position, text)
        && let Some((start, end)) = span(text, position.line, position.column)
    {
        let snippet = Snippet::source(text).path(path.as_deref());
        group = group
            .element(snippet.annotation(AnnotationKind::Primary.span(start..end).label(diagnostic.field.as_str())));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// One line: place, severity, code, object, field, message and what to do.
pub fn line(diagnostic: &Diagnostic) -> String {
    let mut out = String::new();
    if let Some(position) = &diagnostic.position {
        let _ = write!(out, "{}:{}:{}: ", position.file.display(), position.line, position.column.max(1));
    }
    let _ = write!(out, "{}[{}]: {}", word(diagnostic.severity), diagnostic.code, title(diagnostic));
    if !diagnostic.field.is_empty() {
        let _ = write!(out, " ({})", diagnostic.field);
    }
    if let Some(help) = &diagnostic.help {
        let _ = write!(out, "; {help}");
    }
    out
}

fn title(diagnostic: &Diagnostic) -> String {
    match &diagnostic.object {
        Some(object) => format!("{object}: {}", diagnostic.message),
        None => diagnostic.message.clone(),
    }
}

fn level(severity: Severity) -> Level<'static> {
    match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

/// The bytes from a place to the end of what stands there: a key, a scalar, or the rest of the line.
fn span(text: &str, line: u32, column: u32) -> Option<(usize, usize)> {
    let start_of_line: usize = text.split_inclusive('\n').take(line.checked_sub(1)? as usize).map(str::len).sum();
    let rest = text.get(start_of_line..)?.lines().next().unwrap_or_default();
    let skip: usize = rest.chars().take(column.saturating_sub(1) as usize).map(char::len_utf8).sum();
    let here = rest.get(skip..)?;
    let length = here.find([':', ',', '}', ']']).filter(|at| *at > 0).unwrap_or(here.trim_end().len());
    Some((start_of_line + skip, start_of_line + skip + length.max(usize::from(!here.is_empty()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Position;
    use std::path::Path;

    fn diagnostic() -> Diagnostic {
        Diagnostic {
            code: "MG0004",
            severity: Severity::Error,
            object: None,
            field: "spec.host".into(),
            position: Some(Position { file: Path::new("a.yaml").into(), line: 2, column: 3 }),
            message: "there is no field `host` here".into(),
            help: Some("did you mean `hosts`?".into()),
        }
    }

    #[test]
    fn a_frame_shows_the_line_and_what_to_do() {
        let text = frame(&diagnostic(), Some("spec:\n  host: x\n"), false);
        insta::assert_snapshot!(text, @r"
        error[MG0004]: there is no field `host` here
         --> a.yaml:2:3
          |
        2 |   host: x
          |   ^^^^ spec.host
          |
          = help: did you mean `hosts`?
        ");
    }

    #[test]
    fn one_line_holds_it_all() {
        assert_eq!(
            line(&diagnostic()),
            "a.yaml:2:3: error[MG0004]: there is no field `host` here (spec.host); did you mean `hosts`?"
        );
    }

    #[test]
    fn places_outside_of_the_text_give_no_frame() {
        let mut one = diagnostic();
        one.position = Some(Position { file: Path::new("a.yaml").into(), line: 99, column: 1 });
        assert!(frame(&one, Some("x"), false).starts_with("error[MG0004]"));
    }
}
