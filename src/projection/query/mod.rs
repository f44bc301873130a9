//! Which rows of a view are wanted, in which order?

use super::row::Row;
use super::spec::Columns;
use super::target::Fault;
use super::target::embedded::fault::Trouble;
use super::value::Value;
use crate::subscription::Cursor;

mod filters;
pub(crate) mod json;
mod order;
mod plan;
mod ranges;
mod run;
#[cfg(test)]
mod tests;
pub(crate) mod text;

pub(crate) use run::run;
#[cfg(feature = "analytics")]
pub(crate) use run::scan;

/// A question to a view. All comparisons must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewQuery {
    /// What must be true of a row.
    pub filters: Vec<Comparison>,
    /// Rows that are equal in all of these, and all rows if there are none, stand in the order of their keys, in the direction of the last
    /// of these.
    pub order_by: Vec<Order>,
    /// How many rows to give at most. A page ends earlier when its rows take too many bytes.
    pub limit: usize,
    /// The `next` of the page before.
    pub after: Option<String>,
    /// Count all rows that match, on all pages.
    pub count: bool,
}

impl Default for ViewQuery {
    /// The first hundred rows in the order of their keys.
    fn default() -> Self {
        Self { filters: Vec::new(), order_by: Vec::new(), limit: 100, after: None, count: false }
    }
}

/// What must be true of one column of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The place of the column.
    pub place: usize,
    /// What of its value.
    pub test: Test,
}

/// A test of a value. As in SQL null is neither equal nor unequal to anything, and in no order; only equality with [`Value::Null`] itself
/// is taken as the question whether there is a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// It is this.
    Equal(Value),
    /// It is there, and is not this.
    NotEqual(Value),
    /// It is greater.
    Greater(Value),
    /// It is greater, or this.
    GreaterOrEqual(Value),
    /// It is less.
    Less(Value),
    /// It is less, or this.
    LessOrEqual(Value),
    /// It is one of these.
    In(Vec<Value>),
    /// It is a text that begins so.
    Prefix(String),
    /// It is null, or is not.
    IsNull(bool),
}

/// One column of an order. Null comes behind everything else, and first in descending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The place of the column.
    pub place: usize,
    /// From the greatest to the smallest.
    pub is_descending: bool,
}

/// Rows, all from one state of the view.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewPage {
    /// The rows, in order.
    pub rows: Vec<Row>,
    /// Leads to the next page, if there is more.
    pub next: Option<String>,
    /// How many rows match in all, if that was asked.
    pub count: Option<u64>,
    /// Everything up to here is in the rows.
    pub cursor: Cursor,
}

/// Why a query has no answer.
#[derive(Debug)]
pub(crate) enum QueryFault {
    /// The query makes no sense for these columns.
    Invalid { field: String, detail: String },
    /// It took too long: why, and what would help.
    TooSlow(String),
    /// The rows can't be read.
    Unread(Trouble),
}

impl From<Trouble> for QueryFault {
    fn from(trouble: Trouble) -> Self {
        Self::Unread(trouble)
    }
}

impl From<Fault> for QueryFault {
    fn from(fault: Fault) -> Self {
        Self::Unread(Trouble::Told(fault))
    }
}

impl From<redb::TableError> for QueryFault {
    fn from(error: redb::TableError) -> Self {
        Self::Unread(Trouble::from(error))
    }
}

impl From<redb::StorageError> for QueryFault {
    fn from(error: redb::StorageError) -> Self {
        Self::Unread(Trouble::from(error))
    }
}

fn name_of(columns: &Columns, place: usize) -> String {
    columns.list().get(place).map_or_else(|| format!("column {place}"), |column| column.name.clone())
}
