//! The order of the modules of `text`.

use crate::layers::order::List;

pub(super) const ORDER: &[List<'static>] = &[
    ("text", &["error", "authority", "cookie", "octets", "header", "path", "field", "made", "format"]),
    ("text::format", &["time_format", "operator", "parse", "header_text", "log_format"]),
    ("text::format::operator", &["fact", "names", "self", "display", "parse"]),
];
