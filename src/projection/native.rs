//! How does a Rust program say what events do to rows?

use std::fmt;

use factum_storage::Filter;
use serde_json::Map;
use serde_json::Value as Json;

use super::row::Change;
use super::row::Row;
use super::spec::Columns;
use super::value::Value;
use super::working::Working;
use crate::subscription::Event;

/// A projection that is a Rust type. It is kept like one that was defined in TOML: rows and checkpoint change together, each event once.
///
/// `project` must be pure: of the same events and rows it makes the same changes. It may be called more than once for an event, and what
/// it changed counts once.
pub trait Projection: Send + Sync + 'static {
    /// The name of the view.
    fn name(&self) -> &str;

    /// Counts up with every change of what `project` does: the view is then rebuilt beside the old one.
    fn version(&self) -> u32;

    /// The view's columns, declared as in TOML: `("amount", "decimal(12,2) index")`. One is the `primary key`.
    fn columns(&self) -> Vec<(&str, &str)>;

    /// Which events are wanted; by default all but the system's.
    fn source(&self) -> Filter {
        Filter::default()
    }

    /// What an event does to the rows.
    ///
    /// # Errors
    ///
    /// [`ProjectError`] from [`Rows`] is handed on with `?`; one made of a text says why the event can't be digested: the projection then
    /// fails there, visibly.
    fn project(&self, event: &Event, rows: &mut Rows<'_>) -> Result<(), ProjectError>;
}

impl fmt::Debug for dyn Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Projection({}, version {})", self.name(), self.version())
    }
}

/// Why an event was not projected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProjectError(String);

impl From<&str> for ProjectError {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

impl From<String> for ProjectError {
    fn from(reason: String) -> Self {
        Self(reason)
    }
}

/// The rows of a view, as one event finds and changes them. Keys and cells are JSON values of the type of their column.
pub struct Rows<'a> {
    working: &'a Working,
    changes: Vec<Change>,
    /// What this event has made of rows so far.
    own: Vec<(Value, Option<Row>)>,
    missing: Vec<Value>,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(working: &'a Working) -> Self {
        Self { working, changes: Vec::new(), own: Vec::new(), missing: Vec::new() }
    }

    /// What the event has changed, or the keys that have to be loaded before it can be projected.
    pub(crate) fn into_parts(self) -> (Vec<Change>, Vec<Value>) {
        (self.changes, self.missing)
    }

    /// A row, as its cells in the order of the columns.
    ///
    /// # Errors
    ///
    /// A key of the wrong type; or the row has to be fetched first, and `project` is called again.
    pub fn get(&mut self, key: impl Into<Json>) -> Result<Option<Row>, ProjectError> {
        let key = self.key(&key.into())?;
        if let Some((_, row)) = self.own.iter().rev().find(|(other, _)| *other == key) {
            return Ok(row.clone());
        }
        match self.working.get(&key) {
            Some(row) => Ok(row.cloned()),
            None => {
                self.missing.push(key);
                Err(ProjectError("the row has to be fetched first".to_owned()))
            }
        }
    }

    /// Makes the row, or changes the columns that are named; a new row has the others at their defaults.
    ///
    /// # Errors
    ///
    /// A column that is not there, or a value of the wrong type.
    pub fn upsert(&mut self, key: impl Into<Json>, row: Json) -> Result<(), ProjectError> {
        let key = self.key(&key.into())?;
        let set = cells(self.columns(), &object(row)?)?;
        if set.iter().any(|(place, value)| *place == self.columns().primary_key() && *value != key) {
            return Err("the row's primary key is another than its key".into());
        }
        let before = match self.own.iter().rev().find(|(other, _)| *other == key) {
            Some((_, row)) => Some(row.clone()),
            None => self.working.get(&key).map(|row| row.cloned()),
        };
        if let Some(before) = before {
            let mut after = before.unwrap_or_else(|| Row::blank(self.columns(), key.clone()));
            for (place, value) in &set {
                if let Some(cell) = after.values.get_mut(*place) {
                    *cell = value.clone();
                }
            }
            self.own.push((key.clone(), Some(after)));
        }
        self.changes.push(Change::Upsert { key, set, add: Vec::new() });
        Ok(())
    }

    /// Takes a row away, if it is there.
    ///
    /// # Errors
    ///
    /// A key of the wrong type.
    pub fn delete(&mut self, key: impl Into<Json>) -> Result<(), ProjectError> {
        let key = self.key(&key.into())?;
        self.own.push((key.clone(), None));
        self.changes.push(Change::Delete { key });
        Ok(())
    }

    /// Changes every row that has all of these values in these columns, as it stands after the event's earlier changes. [`Rows::get`]
    /// tells of it from the next event on.
    ///
    /// # Errors
    ///
    /// As [`Rows::upsert`].
    pub fn update(&mut self, matching: Json, changes: Json) -> Result<(), ProjectError> {
        let matching = cells(self.columns(), &object(matching)?)?;
        let set = cells(self.columns(), &object(changes)?)?;
        if matching.is_empty() {
            return Err("an update needs at least one column that says which rows".into());
        }
        if set.iter().any(|(place, _)| *place == self.columns().primary_key()) {
            return Err("a row's primary key can't be changed".into());
        }
        if !matching.iter().any(|(_, value)| value.is_null()) {
            self.changes.push(Change::Update { matching, set, add: Vec::new() });
        }
        Ok(())
    }

    fn columns(&self) -> &'a Columns {
        self.working.columns()
    }

    fn key(&self, json: &Json) -> Result<Value, ProjectError> {
        key(self.columns(), json).map_err(ProjectError)
    }
}

/// The key that a JSON value means.
pub(crate) fn key(columns: &Columns, json: &Json) -> Result<Value, String> {
    let column = columns.list().get(columns.primary_key()).ok_or("the view has no primary key")?;
    let value = column.column_type.of_json(json).map_err(|detail| format!("the key {detail}"))?;
    if value.is_null() { Err("the key is null".to_owned()) } else { Ok(value) }
}

/// The cells that a JSON object means.
pub(crate) fn cells(columns: &Columns, members: &Map<String, Json>) -> Result<Vec<(usize, Value)>, String> {
    let cell = |(name, json): (&String, &Json)| {
        let unknown = || format!("there is no column {name:?}; there are {}", columns.names().join(", "));
        let place = columns.place(name).ok_or_else(unknown)?;
        let column = columns.list().get(place).ok_or_else(unknown)?;
        let value = column.column_type.of_json(json).map_err(|detail| format!("column {name}: {detail}"))?;
        Ok((place, value))
    };
    members.iter().map(cell).collect()
}

fn object(json: Json) -> Result<Map<String, Json>, ProjectError> {
    if let Json::Object(members) = json { Ok(members) } else { Err("cells are given as an object: {column: value}".into()) }
}
