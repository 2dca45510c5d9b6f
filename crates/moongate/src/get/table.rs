//! Tables as kubectl lays them out: columns as wide as their widest cell and three spaces, the last one without an end.

use std::fmt::Write as _;

/// The least width of a column with the spaces behind it.
const MIN_WIDTH: usize = 6;
const PADDING: usize = 3;

/// The rows of a table, the first the names of the columns.
pub(super) fn render(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let widest = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        (widest.unwrap_or_default() + PADDING).max(MIN_WIDTH)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let last = row.len().saturating_sub(1);
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let width = if at == last { 0 } else { *width };
            let _ = write!(out, "{cell:width$}");
        }
        out.push('\n');
    }
    out
}
