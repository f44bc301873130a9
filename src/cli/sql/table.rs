//! How do rows fit a terminal? Wide values are cut with `…`; what has more columns than fit is shown one column a line.

use serde_json::value::RawValue;

use super::super::failure::Failure;
use super::super::output;
use super::super::output::Output;
use super::super::output::cut;
use super::super::output::printable;
use super::document::Column;
use super::document::Row;

/// Whether each column of a row has a line of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// When the columns do not fit side by side.
    Auto,
    Always,
    Never,
}

/// Prints rows, of which the first is number `first`.
pub(super) fn print(columns: &[Column], rows: &[Row], first: u64, layout: Layout, output: &mut Output) -> Result<(), Failure> {
    let width = output.width();
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|value| told(value)).collect()).collect();
    let is_narrow = match layout {
        Layout::Auto => width.is_some_and(|width| smallest_width(columns, &cells) > usize::from(width)),
        Layout::Always => true,
        Layout::Never => false,
    };
    if is_narrow {
        return print_records(columns, &cells, first, output);
    }
    let heads: Vec<output::Column> =
        columns.iter().map(|column| output::Column::named(column.name.clone(), is_number(&column.data_type))).collect();
    output.fitted_table(&heads, cells)?;
    Ok(())
}

/// What the columns take with values cut as short as can still be read.
fn smallest_width(columns: &[Column], cells: &[Vec<String>]) -> usize {
    let of_column = |(place, column): (usize, &Column)| {
        let widest = cells.iter().filter_map(|row| row.get(place)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(column.name.chars().count()).min(READABLE_CHARS) + GAP
    };
    columns.iter().enumerate().map(of_column).sum()
}

fn print_records(columns: &[Column], cells: &[Vec<String>], first: u64, output: &mut Output) -> Result<(), Failure> {
    let names: Vec<String> = columns.iter().map(|column| printable(&column.name)).collect();
    let name_width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let value_width = output.width().map_or(usize::MAX, |width| usize::from(width).saturating_sub(name_width + 3).max(READABLE_CHARS));
    for (number, row) in (first..).zip(cells) {
        let head = output.dim(&format!("row {number}"));
        output.line(&head)?;
        for (name, cell) in names.iter().zip(row) {
            let padded = format!("{name:<name_width$}");
            let line = format!(" {}  {}", output.bold(&padded), cut(&printable(cell), value_width));
            output.line(line.trim_end())?;
        }
    }
    Ok(())
}

/// A value as people read it: texts without quotes, nothing for null.
fn told(value: &RawValue) -> String {
    match value.get() {
        "null" => String::new(),
        text => cut(serde_json::from_str::<String>(text).as_deref().unwrap_or(text), CELL_CHARS_MAX),
    }
}

fn is_number(data_type: &str) -> bool {
    ["tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint", "real", "double"].contains(&data_type)
        || data_type.starts_with("decimal(")
}

/// Shorter than this, values tell nothing.
const READABLE_CHARS: usize = 8;
/// Between columns.
const GAP: usize = 2;
/// No terminal is wider; what is longer costs time only.
const CELL_CHARS_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(types: &[(&str, &str)]) -> Vec<Column> {
        types.iter().map(|(name, data_type)| Column { name: (*name).to_owned(), data_type: (*data_type).to_owned() }).collect()
    }

    #[test]
    fn values_read_as_people_read_them() {
        let check = |json: &str, expected: &str| assert_eq!(told(&RawValue::from_string(json.to_owned()).unwrap()), expected);
        check("null", "");
        check("12.50", "12.50");
        check("\"a\\\"b\"", "a\"b");
        check("{\"a\":[1]}", "{\"a\":[1]}");
        check(&format!("\"{}\"", "x".repeat(5_000)), &format!("{}…", "x".repeat(1_999)));
    }

    #[test]
    fn columns_that_do_not_fit_are_told_from_those_that_do() {
        let few = columns(&[("a", "bigint"), ("long_name_of_a_column", "text")]);
        let cells = vec![vec!["1".to_owned(), "x".repeat(500)]];
        assert_eq!(smallest_width(&few, &cells), 1 + GAP + READABLE_CHARS + GAP);
        let many: Vec<Column> = (0..30).map(|_| Column { name: "name".to_owned(), data_type: "text".to_owned() }).collect();
        assert_eq!(smallest_width(&many, &[]), 30 * (4 + GAP));
        assert!(is_number("decimal(12,2)") && is_number("bigint") && !is_number("bigint[]"));
    }
}
