//! How are the rows of an answer read while they come? The JSON document has each on a line of its own.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::failure::Failure;
use super::super::failure::Problem;

/// A column of an answer.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) data_type: String,
}

/// A row: its values as they came.
pub(super) type Row = Vec<Box<RawValue>>;

/// What one line of the document holds.
pub(super) enum Line {
    Columns(Vec<Column>),
    Row(Row),
    /// The end, with the cursor.
    End(String),
}

/// Reads a document from the parts in which it comes.
#[derive(Default)]
pub(super) struct Document {
    buffer: Vec<u8>,
    has_columns: bool,
    has_ended: bool,
}

#[derive(Deserialize)]
struct Head {
    columns: Vec<Column>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Tail {
    cursor: String,
}

impl Document {
    /// What has become readable with this part.
    pub(super) fn push(&mut self, part: &[u8]) -> Result<Vec<Line>, Failure> {
        self.buffer.extend_from_slice(part);
        let Some(end) = self.buffer.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let rest = self.buffer.split_off(end + 1);
        let whole = std::mem::replace(&mut self.buffer, rest);
        let mut lines = Vec::new();
        for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.read(line, &mut lines)?;
        }
        Ok(lines)
    }

    /// Whether it was whole; asked when nothing more comes.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        if self.has_ended { Ok(()) } else { Err(Failure::failed("the answer broke off before its end")) }
    }

    fn read(&mut self, line: &[u8], lines: &mut Vec<Line>) -> Result<(), Failure> {
        if !self.has_columns {
            self.has_columns = true;
            let is_empty = line.ends_with(b"}");
            let head: Head = parsed(&if is_empty { line.to_vec() } else { [line, b"]}"].concat() })?;
            lines.push(Line::Columns(head.columns));
            if let Some(cursor) = head.cursor {
                self.has_ended = true;
                lines.push(Line::End(cursor));
            }
            return Ok(());
        }
        match line.strip_prefix(b"],") {
            None => lines.push(Line::Row(parsed(line.strip_suffix(b",").unwrap_or(line))?)),
            Some(broken) if broken.starts_with(b"\"$error\":") => {
                let problem: Problem = parsed(broken.get(b"\"$error\":".len()..).unwrap_or_default())?;
                return Err(Failure::problem(problem));
            }
            Some(rest) => {
                let tail: Tail = parsed(&[b"{", rest].concat())?;
                self.has_ended = true;
                lines.push(Line::End(tail.cursor));
            }
        }
        Ok(())
    }
}

/// The problem that a line of NDJSON says instead of a row, if it does.
pub(super) fn problem_of(line: &[u8]) -> Option<Problem> {
    #[derive(Deserialize)]
    struct Broken {
        #[serde(rename = "$error")]
        problem: Problem,
    }
    if !line.starts_with(b"{\"$error\":{\"type\":\"urn:factum:problem:") {
        return None;
    }
    serde_json::from_slice::<Broken>(line).ok().map(|broken| broken.problem)
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(text).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a document that comes in parts of `size` bytes, and tells it in words.
    fn read(text: &str, size: usize) -> Result<Vec<String>, Failure> {
        let mut document = Document::default();
        let mut told = Vec::new();
        for part in text.as_bytes().chunks(size) {
            for line in document.push(part)? {
                told.push(match line {
                    Line::Columns(columns) => columns.iter().map(|column| format!("{} {}", column.name, column.data_type)).collect(),
                    Line::Row(row) => row.iter().map(|value| value.get()).collect::<Vec<_>>().join("|"),
                    Line::End(cursor) => format!("at {cursor}"),
                });
            }
        }
        document.finish()?;
        Ok(told)
    }

    #[test]
    fn rows_are_read_whatever_the_parts() {
        let text = "{\"columns\":[{\"name\":\"a\",\"type\":\"decimal(5,2)\"}],\"rows\":[\n[1.50],\n[\"],[\"]\n],\"cursor\":\"7\"}\n";
        for size in [1, 7, 1_000] {
            assert_eq!(read(text, size).unwrap(), ["a decimal(5,2)", "1.50", "\"],[\"", "at 7"]);
        }
        let none = "{\"columns\":[],\"rows\":[],\"cursor\":\"0\"}\n";
        assert_eq!(read(none, 3).unwrap(), ["", "at 0"]);
    }

    #[test]
    fn what_breaks_off_is_no_answer() {
        let head = "{\"columns\":[],\"rows\":[\n[1]";
        assert!(read(head, 10).is_err() && read(&format!("{head},\n[2]\n"), 10).is_err() && read("", 1).is_err());
        let problem = "{\"type\":\"urn:factum:problem:query-limit-exceeded\",\"title\":\"t\",\"status\":422,\"detail\":\"too much\"}";
        let failure = read(&format!("{head}\n],\"$error\":{problem}\n"), 10).unwrap_err();
        assert_eq!(failure.as_problem().map(|problem| problem.detail.as_str()), Some("too much"));
        assert_eq!(problem_of(format!("{{\"$error\":{problem}}}").as_bytes()).map(|problem| problem.status), Some(422));
        assert!(problem_of(b"{\"$error\":1}").is_none() && problem_of(b"{\"a\":1}").is_none());
    }
}
