//! What do all events say together, in SQL?

use std::time::Duration;

use super::Database;
use crate::Error;
use crate::analytics::SqlAnswer;
use crate::subscription::Cursor;

/// A query.
#[derive(Clone, Debug, Default)]
pub struct SqlQuery {
    /// One statement that reads.
    pub text: String,
    /// What `$1`, `$2` … in it stand for, as JSON values.
    pub params: Vec<serde_json::Value>,
    /// The views that it names must have come so far,
    pub min: Option<Cursor>,
    /// within this time.
    pub wait: Duration,
}

/// A table that can be queried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// Its name.
    pub name: String,
    /// What its rows are.
    pub kind: TableKind,
    /// Its columns, in order.
    pub columns: Vec<TableColumn>,
}

/// What the rows of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// All events.
    Events,
    /// The events of one category.
    Category,
    /// The rows of an embedded view.
    View,
    /// What an export has published.
    Export,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type, as SQL names it.
    pub data_type: String,
    /// It may be null.
    pub nullable: bool,
}

impl Database {
    /// Answers a query over everything that is committed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidQuery`], [`Error::QueryLimit`], [`Error::SqlBusy`], [`Error::ReadModelBehind`].
    pub async fn sql(&self, query: SqlQuery) -> Result<SqlAnswer, Error> {
        drop(query);
        todo!()
    }

    /// The tables that can be queried, by name.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn tables(&self) -> Result<Vec<TableInfo>, Error> {
        todo!()
    }
}
