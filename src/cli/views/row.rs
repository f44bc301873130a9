//! How does a row look to people?

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

use crate::cli::event::seconds;
use crate::cli::failure::Failure;
use crate::cli::output::Column;
use crate::cli::output::Output;
use crate::cli::output::cut;
use crate::cli::output::grouped;
use crate::cli::output::terminal_width;
use crate::subscription::time::parse_timestamp;

/// A row as it came: columns in their order, numbers with all their digits.
pub(super) struct Row(pub(super) Vec<(String, Box<RawValue>)>);

impl Row {
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
        serde_json::from_str(text).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))
    }

    /// Without what Factum adds to every row.
    fn own_places(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().filter(|(_, (name, _))| !matches!(name.as_str(), "_version" | "_position")).map(|(place, _)| place)
    }

    fn value(&self, place: usize) -> Option<&RawValue> {
        self.0.get(place).map(|(_, value)| &**value)
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Cells;
        impl<'de> Visitor<'de> for Cells {
            type Value = Row;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
                let mut cells = Vec::new();
                while let Some(cell) = map.next_entry()? {
                    cells.push(cell);
                }
                Ok(Row(cells))
            }
        }
        deserializer.deserialize_map(Cells)
    }
}

/// Prints rows, each on one line: what is too long for the terminal is cut, and columns that have no room at all are left out, and told.
/// The columns of the first row are those of all.
pub(super) fn print_table(rows: &[Row], has_more: bool, output: &mut Output) -> Result<(), Failure> {
    let mut places: Vec<usize> = rows.first().map(|row| row.own_places().collect()).unwrap_or_default();
    let name = |place: usize| rows.first().and_then(|row| row.0.get(place)).map(|(name, _)| name.clone()).unwrap_or_default();
    let cell = |row: &Row, place: usize| row.value(place).map(|value| to_the_second(told(value, CELL_MAX))).unwrap_or_default();
    let is_number = |place: usize| rows.iter().any(|row| row.value(place).is_some_and(is_number));
    let natural = |place: &usize| {
        let longest = rows.iter().map(|row| cell(row, *place).chars().count()).max().unwrap_or_default();
        longest.max(name(*place).chars().count())
    };
    let widths = fitting(&places.iter().map(natural).collect::<Vec<_>>(), usize::from(terminal_width()));
    let left_out = places.split_off(widths.len());
    if !places.is_empty() {
        let columns: Vec<Column> =
            places.iter().zip(&widths).map(|(place, width)| Column::named(cut(&name(*place), *width), is_number(*place))).collect();
        let line = |row: &Row| places.iter().zip(&widths).map(|(place, width)| cut(&cell(row, *place), *width)).collect();
        output.table(&columns, rows.iter().map(line).collect())?;
    }
    let count = grouped(rows.len() as u64);
    let more = if has_more { ", and there are more (--limit)" } else { "" };
    let hidden = match left_out.len() {
        0 => String::new(),
        number => format!(", without {number} column{} (--json has all)", if number == 1 { "" } else { "s" }),
    };
    let line = output.dim(&format!("{count} row{}{more}{hidden}", if rows.len() == 1 { "" } else { "s" }));
    output.line(&line)?;
    Ok(())
}

/// How wide columns may be so that a line fits: the widest give way first. As many columns as have room for a few characters.
fn fitting(natural: &[usize], width: usize) -> Vec<usize> {
    let mut columns = natural.to_vec();
    // A space stands on either side of a cell.
    let room = |columns: &[usize]| width.saturating_sub(columns.len() * 2);
    let least = |columns: &[usize]| columns.iter().map(|column| (*column).min(CELL_MIN)).sum::<usize>();
    while columns.len() > 1 && least(&columns) > room(&columns) {
        columns.pop();
    }
    let widest = (CELL_MIN..=columns.iter().copied().max().unwrap_or(CELL_MIN).max(CELL_MIN)).rev();
    let fits = |cap: &usize| columns.iter().map(|column| (*column).min(*cap)).sum::<usize>() <= room(&columns);
    let cap = widest.into_iter().find(fits).unwrap_or(CELL_MIN);
    columns.iter().map(|column| (*column).min(cap)).collect()
}

fn is_number(value: &RawValue) -> bool {
    value.get().starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// A value as people read it: texts without quotes, nothing for null.
pub(super) fn told(value: &RawValue, characters_max: usize) -> String {
    match value.get() {
        "null" => String::new(),
        text => cut(serde_json::from_str::<String>(text).as_deref().unwrap_or(text), characters_max),
    }
}

/// A time as the server writes it, without what takes half of a column and says nothing.
fn to_the_second(text: String) -> String {
    if text.len() == TIME_BYTES && parse_timestamp(&text).is_ok() { seconds(&text) } else { text }
}

const CELL_MAX: usize = 60;
const CELL_MIN: usize = 8;
/// `2026-11-22T18:41:54.000000Z`
const TIME_BYTES: usize = 27;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_order_and_their_digits() {
        let row = Row::read(r#"{"z":"a\"b","amount":12.50,"a":null,"_version":1,"_position":2}"#).expect("a row");
        let told: Vec<String> = row.own_places().map(|place| format!("{}={}", row.0[place].0, told(&row.0[place].1, 60))).collect();
        assert_eq!(told, ["z=a\"b", "amount=12.50", "a="]);
        assert!(is_number(&row.0[1].1) && !is_number(&row.0[0].1));
    }

    #[test]
    fn times_are_told_to_the_second_and_other_texts_as_they_are() {
        assert_eq!(to_the_second("2018-01-30T08:20:07.000000Z".to_owned()), "2018-01-30 08:20:07");
        for text in ["2018-01-30", "abcdefghijklmnopqrstuvwxyz1", "2018-01-30T08:20:07.000000+"] {
            assert_eq!(to_the_second(text.to_owned()), text);
        }
    }

    #[test]
    fn lines_fit_the_terminal() {
        let check =
            |natural: &[usize], width: usize, expected: &[usize]| assert_eq!(fitting(natural, width), expected, "{natural:?} in {width}");
        check(&[5, 5], 80, &[5, 5]);
        check(&[30, 5, 60], 80, &[30, 5, 39]);
        check(&[60, 60, 4], 80, &[35, 35, 4]);
        check(&[60; 20], 80, &[8; 8]);
        check(&[60], 5, &[8]);
        check(&[], 80, &[]);
        for natural in [vec![1; 40], vec![60; 40], vec![3, 60, 9, 60, 60, 2]] {
            let widths = fitting(&natural, 100);
            assert!(widths.iter().map(|width| width + 2).sum::<usize>() <= 100, "{widths:?}");
        }
    }
}
