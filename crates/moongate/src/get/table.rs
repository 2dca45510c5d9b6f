//! Tables as kubectl lays them out: columns as wide as their widest cell and three spaces, the last one without an end.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The least width of a column with the spaces behind it.
const MIN_WIDTH: usize = 6;
const PADDING: usize = 3;

/// The rows of a table, the first the names of the columns.
pub(super) fn render(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell).into_owned()).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let widest = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        (widest.unwrap_or_default() + PADDING).max(MIN_WIDTH)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let last = row.len().saturating_sub(1);
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let width = if at == last { 0 } else { *width };
            let _ = write!(out, "{cell:width$}");
        }
        out.push('\n');
    }
    out
}

/// The first line of a cell, without what a terminal would take for a command.
fn printable(cell: &str) -> Cow<'_, str> {
    let (line, rest) = match cell.find(['\u{c}', '\n', '\r']) {
        Some(end) => (cell.get(..end).unwrap_or_default(), "..."),
        None => (cell, ""),
    };
    if rest.is_empty() && !line.contains('\u{1b}') {
        return line.into();
    }
    (line.replace('\u{1b}', "^[") + rest).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_one_line_without_commands_to_terminals() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = render(&[row(["NAME", "HOST"]), row(["a\nb", "\u{1b}[31mred\r"]), row(["", "é"])]);
        assert_eq!(text, "NAME   HOST\na...   ^[[31mred...\n       é\n");
        assert_eq!(render(&[row(["A", "B"]), row(["é", "b"])]), "A     B\né     b\n");
    }
}
