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

/// Prints rows, each on one line; columns that have no room are left out, and told. The columns of the first row are those of all.
pub(super) fn print_table(rows: &[Row], has_more: bool, output: &mut Output) -> Result<(), Failure> {
    let places: Vec<usize> = rows.first().map(|row| row.own_places().collect()).unwrap_or_default();
    let name = |place: usize| rows.first().and_then(|row| row.0.get(place)).map(|(name, _)| name.clone()).unwrap_or_default();
    let cell = |row: &Row, place: usize| row.value(place).map(|value| to_the_second(told(value, CELL_MAX))).unwrap_or_default();
    let is_number = |place: usize| rows.iter().any(|row| row.value(place).is_some_and(is_number));
    let columns = places.iter().map(|place| Column::named(name(*place), is_number(*place))).collect();
    let cells = rows.iter().map(|row| places.iter().map(|place| cell(row, *place)).collect()).collect();
    let left_out = if rows.is_empty() { 0 } else { output.table_of_lines(columns, cells)? };
    let count = grouped(rows.len() as u64);
    let more = if has_more { ", and there are more (--limit)" } else { "" };
    let hidden = match left_out {
        0 => String::new(),
        number => format!(", without {number} column{} (--json has all)", if number == 1 { "" } else { "s" }),
    };
    let line = output.dim(&format!("{count} row{}{more}{hidden}", if rows.len() == 1 { "" } else { "s" }));
    output.line(&line)?;
    Ok(())
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
}
