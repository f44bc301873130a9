//! What is a row, and what can an event do to rows?

use super::spec::Columns;
use super::value::Value;

/// A row of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// One for each column, in the order of the definition.
    pub values: Box<[Value]>,
    /// The version, in its stream, of the event that changed the row last.
    pub version: u64,
    /// The position of that event in its shard's log.
    pub position: u64,
}

impl Row {
    /// A row with everything at its default.
    #[must_use]
    pub fn blank(columns: &Columns, key: Value) -> Self {
        let mut values: Box<[Value]> = columns.list().iter().map(|column| column.default.clone()).collect();
        if let Some(place) = values.get_mut(columns.primary_key()) {
            *place = key;
        }
        Self { values, version: 0, position: 0 }
    }

    /// The value of the primary key.
    #[must_use]
    pub fn key(&self, columns: &Columns) -> &Value {
        self.values.get(columns.primary_key()).unwrap_or(&Value::Null)
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.values.iter().map(Value::bytes).sum::<usize>() + 32
    }
}

/// What an event does. Places are those of columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Makes the row, or changes what it says of these columns.
    Upsert { key: Value, set: Vec<(usize, Value)>, add: Vec<(usize, Value)> },
    /// Changes every row that has all of these values.
    Update { matching: Vec<(usize, Value)>, set: Vec<(usize, Value)>, add: Vec<(usize, Value)> },
    /// Takes the row away, if it is there.
    Delete { key: Value },
    /// Takes every row away that has all of these values.
    DeleteMatching { matching: Vec<(usize, Value)> },
}

/// A row as it is to be after a batch; `None`: gone.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) key: Value,
    pub(crate) row: Option<Row>,
}
