//! Prometheus' text format 0.0.4, made of OpenMetrics while it is written. Samples look the same in both. What differs is the metadata:
//! 0.0.4 names a family as its samples are named (`x_total` of a counter, `x_info` of an info), has no units, knows no type `info` or
//! `unknown`, and has no end mark.

use std::fmt;

/// Takes OpenMetrics in pieces of any size and writes the text format. Only one line of metadata, and the help of one family, wait here.
pub(super) struct TextFormat<'a> {
    out: &'a mut String,
    at_line_start: bool,
    /// The line of metadata that has begun.
    metadata: Option<String>,
    /// The family and its help, until the type is known.
    help: Option<(String, String)>,
}

impl<'a> TextFormat<'a> {
    /// Appends to `out`.
    pub(super) fn new(out: &'a mut String) -> Self {
        Self { out, at_line_start: true, metadata: None, help: None }
    }

    fn end_metadata(&mut self, line: &str) {
        let mut parts = line.trim_end().splitn(4, ' ').skip(1);
        let (keyword, name, rest) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        match (keyword, name) {
            (Some("HELP"), Some(name)) => self.help = Some((name.to_owned(), rest.to_owned())),
            (Some("TYPE"), Some(name)) => {
                let (suffix, kind) = match rest {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    kind => ("", kind),
                };
                if let Some((_, help)) = self.help.take_if(|(of, _)| of == name) {
                    self.out.push_str(&format!("# HELP {name}{suffix} {help}\n"));
                }
                self.out.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            }
            // `# UNIT` and `# EOF`.
            _ => {}
        }
    }
}

impl fmt::Write for TextFormat<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            if self.at_line_start && piece.starts_with('#') {
                self.metadata = Some(String::new());
            }
            self.at_line_start = piece.ends_with('\n');
            match &mut self.metadata {
                None => self.out.push_str(piece),
                Some(line) => line.push_str(piece),
            }
            if self.at_line_start
                && let Some(line) = self.metadata.take()
            {
                self.end_metadata(&line);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    const OPEN_METRICS: &str = "\
# HELP a_seconds Counted # so.
# TYPE a_seconds counter
# UNIT a_seconds seconds
a_seconds_total{x=\"# HELP y\"} 1.5
# HELP b Now.
# TYPE b gauge
b 2
# TYPE build info
build_info{v=\"1\"} 1
# HELP u Any.
# TYPE u unknown
u 3
# HELP h Sizes.
# TYPE h histogram
h_sum 4.0
h_count 1
h_bucket{le=\"+Inf\"} 1
# EOF
";

    const TEXT: &str = "\
# HELP a_seconds_total Counted # so.
# TYPE a_seconds_total counter
a_seconds_total{x=\"# HELP y\"} 1.5
# HELP b Now.
# TYPE b gauge
b 2
# TYPE build_info gauge
build_info{v=\"1\"} 1
# HELP u Any.
# TYPE u untyped
u 3
# HELP h Sizes.
# TYPE h histogram
h_sum 4.0
h_count 1
h_bucket{le=\"+Inf\"} 1
";

    #[test]
    fn metadata_is_renamed_or_left_out_and_samples_stay_in_pieces_of_any_size() {
        for size in [1, 2, 3, 7, OPEN_METRICS.len()] {
            let mut out = String::new();
            let mut writer = TextFormat::new(&mut out);
            for piece in OPEN_METRICS.as_bytes().chunks(size) {
                writer.write_str(std::str::from_utf8(piece).unwrap()).unwrap();
            }
            assert_eq!(out, TEXT, "pieces of {size}");
        }
    }
}
