//! How do rows read as text: a JSON document, one object a line, or CSV?

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::super::type_name::type_name;
use super::cells::Column;
use super::cells::push_csv_text;
use crate::Error;
use crate::subscription::json_text::push_string;

/// A format that is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextFormat {
    /// `{"columns": …, "rows": …, "cursor": …}`, each row on a line of its own.
    Json,
    /// One object a line.
    Ndjson,
    /// A line of names, then one line a row.
    Csv,
}

/// Writes rows as text.
pub(super) struct TextEncoder {
    format: TextFormat,
    schema: SchemaRef,
    cursor: String,
    has_rows: bool,
}

impl TextEncoder {
    pub(super) fn new(format: TextFormat, schema: SchemaRef, cursor: String) -> Self {
        Self { format, schema, cursor, has_rows: false }
    }

    /// What stands before the first row.
    pub(super) fn push_head(&self, out: &mut Vec<u8>) {
        let fields = self.schema.fields();
        match self.format {
            TextFormat::Json => {
                out.extend_from_slice(b"{\"columns\":[");
                for (number, field) in fields.iter().enumerate() {
                    out.extend_from_slice(if number > 0 { b",{\"name\":" } else { b"{\"name\":" });
                    push_string(out, field.name());
                    out.extend_from_slice(b",\"type\":");
                    push_string(out, &type_name(field));
                    out.push(b'}');
                }
                out.extend_from_slice(b"],\"rows\":[");
            }
            TextFormat::Ndjson => {}
            TextFormat::Csv => {
                for (number, field) in fields.iter().enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    push_csv_text(out, field.name().as_bytes());
                }
                out.push(b'\n');
            }
        }
    }

    /// Writes rows from `from` on until `out` has `enough` bytes; the row to go on with.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`] for a column that cannot be written.
    pub(super) fn push_rows(&mut self, out: &mut Vec<u8>, batch: &RecordBatch, from: usize, enough: usize) -> Result<usize, Error> {
        let columns = batch.columns().iter().zip(self.schema.fields()).map(|(array, field)| Column::new(array, field));
        let columns: Vec<Column<'_>> = columns.collect::<Result<_, Error>>()?;
        let mut row = from;
        while row < batch.num_rows() && out.len() < enough {
            match self.format {
                TextFormat::Json => {
                    out.extend_from_slice(if self.has_rows { b",\n[" } else { b"\n[" });
                    for (number, column) in columns.iter().enumerate() {
                        if number > 0 {
                            out.push(b',');
                        }
                        column.push_json(out, row);
                    }
                    out.push(b']');
                }
                TextFormat::Ndjson => self.push_object(out, &columns, row),
                TextFormat::Csv => push_csv_line(out, &columns, row),
            }
            self.has_rows = true;
            row += 1;
        }
        Ok(row)
    }

    fn push_object(&self, out: &mut Vec<u8>, columns: &[Column<'_>], row: usize) {
        out.push(b'{');
        for (number, (column, field)) in columns.iter().zip(self.schema.fields()).enumerate() {
            if number > 0 {
                out.push(b',');
            }
            push_string(out, field.name());
            out.push(b':');
            column.push_json(out, row);
        }
        out.extend_from_slice(b"}\n");
    }

    /// What stands behind the last row.
    pub(super) fn push_tail(&self, out: &mut Vec<u8>) {
        if self.format == TextFormat::Json {
            out.extend_from_slice(if self.has_rows { b"\n],\"cursor\":" } else { b"],\"cursor\":" });
            push_string(out, &self.cursor);
            out.extend_from_slice(b"}\n");
        }
    }
}

fn push_csv_line(out: &mut Vec<u8>, columns: &[Column<'_>], row: usize) {
    let start = out.len();
    for (number, column) in columns.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        column.push_csv(out, row);
    }
    // A line without anything is no line for many readers: null alone is written as an empty text.
    if out.len() == start && columns.len() == 1 {
        out.extend_from_slice(b"\"\"");
    }
    out.push(b'\n');
}
