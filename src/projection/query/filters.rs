//! How do comparisons become ranges of sortable bytes? An index and a row that is looked at then answer from the same ranges.

use std::collections::BTreeMap;

use super::super::spec::Column;
use super::super::spec::ColumnType;
use super::super::spec::Columns;
use super::super::target::embedded::encoding;
use super::super::target::embedded::fault::Trouble;
use super::super::target::embedded::sortable::NULL;
use super::super::target::embedded::sortable::PRESENT;
use super::super::target::embedded::sortable::behind;
use super::super::target::embedded::sortable::push_sortable;
use super::super::target::embedded::sortable::push_text_prefix;
use super::super::value::Value;
use super::Comparison;
use super::QueryFault;
use super::Test;
use super::name_of;
use super::ranges::Ranges;

/// What rows must be, by column.
pub(super) struct Filters {
    by_place: BTreeMap<usize, Filter>,
}

/// What one column must be.
pub(super) struct Filter {
    pub(super) ranges: Ranges,
    /// One value at most.
    pub(super) is_point: bool,
}

impl Filters {
    pub(super) fn new(columns: &Columns, comparisons: &[Comparison]) -> Result<Self, QueryFault> {
        let mut by_place: BTreeMap<usize, Filter> = BTreeMap::new();
        for comparison in comparisons {
            let invalid = |detail: &str| QueryFault::Invalid { field: name_of(columns, comparison.place), detail: detail.to_owned() };
            let column = columns.list().get(comparison.place).ok_or_else(|| invalid("is not a column of the view"))?;
            let ranges = ranges(column, &comparison.test).map_err(invalid)?;
            let is_one_choice = matches!(&comparison.test, Test::In(values) if values.len() <= 1);
            let is_point = is_one_choice || matches!(comparison.test, Test::Equal(_) | Test::IsNull(true));
            match by_place.get_mut(&comparison.place) {
                Some(before) => {
                    before.ranges = before.ranges.intersect(&ranges);
                    before.is_point |= is_point;
                }
                None => {
                    by_place.insert(comparison.place, Filter { ranges, is_point });
                }
            }
        }
        Ok(Self { by_place })
    }

    pub(super) fn get(&self, place: usize) -> Option<&Filter> {
        self.by_place.get(&place)
    }

    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.by_place.keys().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    /// Whether there is nothing to ask of a row that a walk over this column has found.
    pub(super) fn are_all_of(&self, place: usize) -> bool {
        self.places().all(|own| own == place)
    }

    /// Whether a row passes; the column `known` is known to. `key` is its primary key, sortable.
    pub(super) fn pass(&self, columns: &Columns, key: &[u8], row: &[u8], known: Option<usize>) -> Result<bool, Trouble> {
        let mut bytes = Vec::new();
        for (place, filter) in self.by_place.iter().filter(|(place, _)| Some(**place) != known) {
            let passes = if *place == columns.primary_key() {
                filter.ranges.contains(key)
            } else {
                let value = encoding::value_at(row, columns, *place)?;
                bytes.clear();
                if let Some(column) = columns.list().get(*place) {
                    push_sortable(&mut bytes, &value, column.column_type);
                }
                filter.ranges.contains(&bytes)
            };
            if !passes {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn ranges(column: &Column, test: &Test) -> Result<Ranges, &'static str> {
    let is_json = column.column_type == ColumnType::Json;
    let encoded = |value: &Value| {
        if is_json {
            return Err("is JSON, which cannot be compared; only whether it is null can be asked");
        }
        if value.is_null() {
            return Err("cannot be compared with null; ask whether it is null");
        }
        let mut bytes = Vec::new();
        push_sortable(&mut bytes, value, column.column_type);
        Ok(bytes)
    };
    Ok(match test {
        Test::Equal(Value::Null) | Test::IsNull(true) => Ranges::one(vec![NULL], vec![NULL + 1]),
        Test::NotEqual(Value::Null) | Test::IsNull(false) => Ranges::one(vec![PRESENT], vec![NULL]),
        Test::Equal(value) => point(encoded(value)?),
        Test::NotEqual(value) => {
            let (start, end) = (encoded(value)?, behind(encoded(value)?));
            Ranges::of(vec![(vec![PRESENT], start), (end, vec![NULL])])
        }
        Test::Greater(value) => Ranges::one(behind(encoded(value)?), vec![NULL]),
        Test::GreaterOrEqual(value) => Ranges::one(encoded(value)?, vec![NULL]),
        Test::Less(value) => Ranges::one(vec![PRESENT], encoded(value)?),
        Test::LessOrEqual(value) => Ranges::one(vec![PRESENT], behind(encoded(value)?)),
        Test::In(values) => {
            let points = values.iter().map(|value| Ok((encoded(value)?, behind(encoded(value)?))));
            Ranges::of(points.collect::<Result<_, &'static str>>()?)
        }
        Test::Prefix(prefix) => {
            if column.column_type != ColumnType::Text {
                return Err("is no text, so it has no beginning");
            }
            let mut start = vec![PRESENT];
            push_text_prefix(&mut start, prefix);
            let end = behind(start.clone());
            Ranges::one(start, end)
        }
    })
}

fn point(bytes: Vec<u8>) -> Ranges {
    let end = behind(bytes.clone());
    Ranges::one(bytes, end)
}
