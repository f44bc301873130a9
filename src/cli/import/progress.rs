//! What does the server say while it imports, and how is it shown?

use std::time::Duration;

use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use serde::Deserialize;
use serde_json::Value;

use super::Totals;
use crate::cli::failure::Failure;
use crate::cli::failure::Problem;
use crate::cli::output::grouped;

/// Cuts the server's answer into lines.
#[derive(Debug, Default)]
pub(super) struct ProgressLines {
    buffer: Vec<u8>,
}

impl ProgressLines {
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<Vec<String>, Failure> {
        self.buffer.extend_from_slice(chunk);
        let mut lines = Vec::new();
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            if !text.is_empty() {
                lines.push(text);
            }
        }
        if self.buffer.len() > LINE_BYTES_MAX {
            return Err(Failure::failed("the server's progress cannot be read").detail("a line without an end"));
        }
        Ok(lines)
    }
}

/// Why the server ended the import, and at which line.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) problem: Problem,
    pub(super) line: Option<u64>,
}

/// Reads one line: progress, or the end of it.
pub(super) fn read(line: &str) -> Result<Result<Totals, Refused>, Failure> {
    let unreadable = |error: serde_json::Error| Failure::failed("the server's progress cannot be read").detail(error.to_string());
    let value: Value = serde_json::from_str(line).map_err(unreadable)?;
    let Some(error) = value.get("$error") else {
        return Totals::deserialize(&value).map(Ok).map_err(unreadable);
    };
    let problem = Problem::deserialize(error.get("problem").unwrap_or(error)).map_err(unreadable)?;
    Ok(Err(Refused { problem, line: error.get("line").and_then(Value::as_u64) }))
}

/// A bar on stderr if that is a terminal, else nothing.
pub(crate) fn bar(bytes_total: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes_total {
        Some(total) => (ProgressBar::new(total), "  {bar:30} {bytes}/{total_bytes}  {msg}"),
        None => (ProgressBar::new_spinner(), "  {spinner} {bytes}  {msg}"),
    };
    bar.set_style(ProgressStyle::with_template(template).expect("a constant template is valid"));
    bar
}

/// What stands beside the bar.
pub(super) fn message(totals: &Totals, elapsed: Duration) -> String {
    format!("{} events, {} events/s", grouped(totals.imported + totals.duplicates), grouped(rate(totals, elapsed.as_secs_f64())))
}

/// Events a second.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
pub(crate) fn rate(totals: &Totals, seconds: f64) -> u64 {
    ((totals.imported + totals.duplicates) as f64 / seconds.max(1e-6)) as u64
}

const LINE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_comes_in_lines_whatever_the_chunks() {
        let mut lines = ProgressLines::default();
        assert!(lines.push(br#"{"imported":1,"duplica"#).unwrap().is_empty());
        let whole = lines.push(b"tes\":2,\"bytes\":3,\"cursor\":\"4\"}\n{\"imported\":9").unwrap();
        let totals = read(whole.first().unwrap()).unwrap().unwrap();
        assert_eq!((totals.imported, totals.duplicates, totals.bytes, totals.cursor.as_str(), totals.done), (1, 2, 3, "4", false));
    }

    #[test]
    fn a_refused_line_is_named() {
        let refused = read(r#"{"$error":{"title":"Malformed request","status":400,"detail":"no type","line":17}}"#).unwrap().unwrap_err();
        assert_eq!((refused.line, refused.problem.detail.as_str()), (Some(17), "no type"));
        let refused = read(r#"{"$error":{"problem":{"title":"x","status":507},"line":2}}"#).unwrap().unwrap_err();
        assert_eq!((refused.line, refused.problem.status), (Some(2), 507));
        assert!(read("not json").is_err());
    }
}
