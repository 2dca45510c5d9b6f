//! Files cut into documents.

use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;

/// One document of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentText<'a> {
    /// The line of the file on which it begins, from 1.
    pub first_line: u32,
    /// Its text.
    pub text: &'a str,
}

impl DocumentText<'_> {
    /// A number by which this process tells the text from others. Each object keeps it, so it has 32 bits: of four billion edits one goes unnoticed,
    /// and then a finding is shown at the line where its field was.
    pub fn fingerprint(&self) -> u32 {
        let mut hasher = DefaultHasher::new();
        hasher.write(self.text.as_bytes());
        (hasher.finish() >> u32::BITS) as u32
    }
}

/// Cuts a file at lines that begin with `---`, before anything is parsed, so that a broken document spoils no other.
pub fn documents(text: &str) -> impl Iterator<Item = DocumentText<'_>> {
    let document = |(first_line, range)| Some(DocumentText { first_line, text: text.get(range)? });
    cuts(text).into_iter().filter_map(document)
}

/// The first line of each document, and where it is in the text.
pub(super) fn cuts(text: &str) -> Vec<(u32, Range<usize>)> {
    let mut found = Vec::new();
    let (mut start, mut first_line, mut line) = (0, 1, 1);
    let mut offset = 0;
    for piece in text.split_inclusive('\n') {
        if piece.starts_with("---") && offset > start {
            found.push((first_line, start..offset));
            (start, first_line) = (offset, line);
        }
        offset += piece.len();
        line += 1;
    }
    found.push((first_line, start..text.len()));
    found.retain(|(_, range)| text.get(range.clone()).is_some_and(|text| !is_blank(text)));
    found
}

/// Whether there is nothing but comments and marks.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || matches!(line, "---" | "...")
    })
}
