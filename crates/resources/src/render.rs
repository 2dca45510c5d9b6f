//! Diagnostics as people read them: a frame with the line of the file under it, or one line.

use crate::diagnostic::{Diagnostic, Severity};
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use std::fmt::Write as _;

/// Lines that are longer are not shown: what is written by programs on one line is read by programs.
const MAX_LINE: usize = 1000;

/// A frame around the place in `line`, the text of the line that the position names; without text, the place and the bare message.
pub fn frame(diagnostic: &Diagnostic, line: Option<&str>, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let title = level(diagnostic.severity).primary_title(title(diagnostic)).id(diagnostic.code);
    let mut group = annotate_snippets::Group::with_title(title);
    if let Some(position) = &diagnostic.position {
        let path = position.file.display().to_string();
        let number = usize::try_from(position.line).unwrap_or(usize::MAX);
        let shown = line.filter(|line| line.len() <= MAX_LINE);
        match shown.and_then(|line| Some((line, span(line, position.column)?))) {
            Some((line, (start, end))) => {
                let snippet = Snippet::source(line).line_start(number).path(path);
                let annotation = AnnotationKind::Primary.span(start..end).label(diagnostic.field.as_str());
                group = group.element(snippet.annotation(annotation));
            }
            None => {
                let column = usize::try_from(position.column).unwrap_or(usize::MAX).max(1);
                group = group.element(Origin::path(path).line(number).char_column(column));
            }
        }
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
    escape_controls(out)
}

/// Escapes control characters, which the texts of a document may have: they would end the line, or control a terminal.
fn escape_controls(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
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

/// The bytes of a line from a column to the end of what is there: a key, a scalar, or the rest of the line.
fn span(line: &str, column: u32) -> Option<(usize, usize)> {
    let skip: usize = line.chars().take(column.saturating_sub(1) as usize).map(char::len_utf8).sum();
    let here = line.get(skip..)?;
    let length = here.find([':', ',', '}', ']']).filter(|at| *at > 0).unwrap_or(here.trim_end().len());
    Some((skip, skip + length.max(usize::from(!here.is_empty()))))
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
            message: "unknown field `host`".into(),
            help: Some("did you mean `hosts`?".into()),
        }
    }

    #[test]
    fn a_frame_shows_the_line_and_what_to_do() {
        let text = frame(&diagnostic(), Some("  host: x"), false);
        insta::assert_snapshot!(text, @r"
        error[MG0004]: unknown field `host`
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
            "a.yaml:2:3: error[MG0004]: unknown field `host` (spec.host); did you mean `hosts`?"
        );
    }

    #[test]
    fn without_the_line_there_is_the_place() {
        let bare = frame(&diagnostic(), None, false);
        insta::assert_snapshot!(bare, @r"
        error[MG0004]: unknown field `host`
        --> a.yaml:2:3
         = help: did you mean `hosts`?
        ");
        assert_eq!(frame(&diagnostic(), Some(&" ".repeat(5000)), false), bare);
    }

    #[test]
    fn a_line_stays_one_line_whatever_a_document_says() {
        let diagnostic = Diagnostic {
            code: "MG0000",
            severity: Severity::Error,
            object: None,
            field: "spec.x\u{1b}[2J".to_owned(),
            position: None,
            message: "invalid `a\nERROR forged`".to_owned(),
            help: None,
        };
        let line = line(&diagnostic);
        assert!(!line.contains(char::is_control) && line.contains("a\\nERROR forged"), "{line}");
    }
}
