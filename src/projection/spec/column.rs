//! Which columns do the rows of a view have?

use super::super::value::Value;

/// A column as a definition declares it: `"decimal(12,2) not null default 0"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name: a letter or `_`, then letters, digits and `_`, all lower case; at most 63 bytes. One `_` at the beginning is ours.
    pub name: String,
    /// What stands in it.
    pub column_type: ColumnType,
    /// It tells a row from all others. Exactly one column of a view does; it is never null.
    pub is_primary_key: bool,
    /// Rows are found by it without looking at all of them.
    pub is_indexed: bool,
    /// What a new row has in it, if its first event says nothing.
    pub default: Value,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `text`.
    Text,
    /// `bigint`: 64 bits, signed.
    Bigint,
    /// `integer`: 32 bits, signed.
    Integer,
    /// `double`: 64 bits, IEEE 754; also `double precision`.
    Double,
    /// `decimal(precision,scale)`, also `numeric`: exact, at most 28 digits.
    Decimal {
        /// How many digits in all.
        precision: u32,
        /// How many of them behind the point.
        scale: u32,
    },
    /// `boolean`.
    Boolean,
    /// `timestamp`: a point in time, in microseconds; `timestamptz` in Postgres.
    Timestamp,
    /// `date`.
    Date,
    /// `uuid`.
    Uuid,
    /// `json`: any JSON value; `jsonb` in Postgres.
    Json,
}

/// The columns of a view, in the order of the definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    pub(crate) list: Vec<Column>,
    pub(crate) primary_key: usize,
}

impl Columns {
    /// All of them.
    #[must_use]
    pub fn list(&self) -> &[Column] {
        &self.list
    }

    /// Where the primary key stands among them.
    #[must_use]
    pub fn primary_key(&self) -> usize {
        self.primary_key
    }

    /// Whether any text is a key.
    pub(crate) fn has_text_keys(&self) -> bool {
        self.list.get(self.primary_key).is_some_and(|column| column.column_type == ColumnType::Text)
    }

    /// The place of a column.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|column| column.name == name)
    }
}
