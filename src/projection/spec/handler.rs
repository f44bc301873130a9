//! What does an event of one type do to rows, in a definition's words?

use serde_json::Value as Json;

use super::super::row::Change;
use super::super::source_event::SourceEvent;
use super::super::value::Value;
use super::Columns;
use super::Found;
use super::Path;
use super::document;

/// What to do at an event of one type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Handler {
    rows: Rows,
    set: Vec<(usize, Expression)>,
    add: Vec<(usize, Expression)>,
    deletes: bool,
}

/// Which rows.
#[derive(Clone, Debug, PartialEq)]
enum Rows {
    Key(Expression),
    Matching(Vec<(usize, Expression)>),
}

#[derive(Clone, Debug, PartialEq)]
enum Expression {
    Literal(Value),
    Path(Path),
}

/// What is wrong with a handler: JSON Pointer below it, and why.
pub(super) type Wrong = (String, String);

impl Handler {
    pub(super) fn read(columns: &Columns, document: &document::Handler) -> Result<Self, Wrong> {
        if let Some(name) = document.unknown.first() {
            let detail = "a handler has `key` (or `where`, a table), the tables `set` and `add`, and `delete = true`";
            return Err((format!("/{name}"), detail.to_owned()));
        }
        let rows = match (&document.key, &document.matching) {
            (Some(key), None) => Rows::Key(expression(columns, columns.primary_key(), key).map_err(|detail| ("/key".to_owned(), detail))?),
            (None, Some(matching)) if matching.is_empty() => {
                return Err(("/where".to_owned(), "names no column; it would change every row".to_owned()));
            }
            (None, Some(matching)) => Rows::Matching(cells(columns, "/where", &matching.0)?),
            (Some(_), Some(_)) => return Err(("/where".to_owned(), "there is a `key` already; a handler has one of the two".to_owned())),
            (None, None) => return Err((String::new(), "has neither `key` nor `where`, so it is about no row".to_owned())),
        };
        let (set, add) = (cells(columns, "/set", &document.set.0)?, cells(columns, "/add", &document.add.0)?);
        if document.delete && !(set.is_empty() && add.is_empty()) {
            return Err(("/delete".to_owned(), "a row that goes needs no `set` and no `add`".to_owned()));
        }
        if !document.delete && matches!(rows, Rows::Matching(_)) && set.is_empty() && add.is_empty() {
            return Err((String::new(), "changes nothing: it has no `set`, no `add` and no `delete`".to_owned()));
        }
        let name = |place: usize| columns.list().get(place).map(|column| column.name.clone()).unwrap_or_default();
        for (place, _) in &set {
            if *place == columns.primary_key() {
                return Err((format!("/set/{}", name(*place)), "is the primary key, which `key` says".to_owned()));
            }
        }
        for (place, _) in &add {
            let column = columns.list().get(*place);
            if *place == columns.primary_key() || column.is_none_or(|column| column.column_type.zero().is_none()) {
                return Err((format!("/add/{}", name(*place)), "only numbers can be added to, and no primary key".to_owned()));
            }
            if set.iter().any(|(other, _)| other == place) {
                return Err((format!("/add/{}", name(*place)), "is in `set` too".to_owned()));
            }
        }
        Ok(Self { rows, set, add, deletes: document.delete })
    }

    /// The paths that it follows.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let rows: Vec<&Expression> = match &self.rows {
            Rows::Key(key) => vec![key],
            Rows::Matching(cells) => cells.iter().map(|(_, expression)| expression).collect(),
        };
        let cells = self.set.iter().chain(&self.add).map(|(_, expression)| expression);
        rows.into_iter().chain(cells).filter_map(|expression| match expression {
            Expression::Path(path) => Some(path),
            Expression::Literal(_) => None,
        })
    }

    /// What an event does.
    ///
    /// # Errors
    ///
    /// Why it can't be digested.
    pub(crate) fn change(&self, columns: &Columns, event: &SourceEvent<'_>) -> Result<Option<Change>, String> {
        let matching = match &self.rows {
            Rows::Key(key) => {
                let key = evaluate(columns, columns.primary_key(), key, event)?;
                if key.is_null() {
                    return Err("the key finds nothing in it".to_owned());
                }
                if self.deletes {
                    return Ok(Some(Change::Delete { key }));
                }
                return Ok(Some(Change::Upsert { key, set: evaluated(columns, &self.set, event)?, add: self.added(columns, event)? }));
            }
            Rows::Matching(cells) => evaluated(columns, cells, event)?,
        };
        // As in SQL, nothing equals null.
        if matching.iter().any(|(_, value)| value.is_null()) {
            return Ok(None);
        }
        Ok(Some(if self.deletes {
            Change::DeleteMatching { matching }
        } else {
            Change::Update { matching, set: evaluated(columns, &self.set, event)?, add: self.added(columns, event)? }
        }))
    }

    fn added(&self, columns: &Columns, event: &SourceEvent<'_>) -> Result<Vec<(usize, Value)>, String> {
        let mut added = evaluated(columns, &self.add, event)?;
        for (place, value) in &mut added {
            if value.is_null() {
                let zero = columns.list().get(*place).and_then(|column| column.column_type.zero());
                *value = zero.unwrap_or(Value::Null);
            }
        }
        Ok(added)
    }
}

fn evaluated(columns: &Columns, cells: &[(usize, Expression)], event: &SourceEvent<'_>) -> Result<Vec<(usize, Value)>, String> {
    cells.iter().map(|(place, expression)| Ok((*place, evaluate(columns, *place, expression, event)?))).collect()
}

fn evaluate(columns: &Columns, place: usize, expression: &Expression, event: &SourceEvent<'_>) -> Result<Value, String> {
    let path = match expression {
        Expression::Literal(value) => return Ok(value.clone()),
        Expression::Path(path) => path,
    };
    let Some(column) = columns.list().get(place) else { return Ok(Value::Null) };
    let found: Found<'_> = path.find(event)?;
    column.column_type.value(&found).map_err(|detail| format!("column {}: {path} {detail}", column.name))
}

fn cells(columns: &Columns, below: &str, entries: &[(String, Json)]) -> Result<Vec<(usize, Expression)>, Wrong> {
    let cell = |(name, value): &(String, Json)| {
        let wrong = |detail: String| (format!("{below}/{name}"), detail);
        let place = columns.place(name).ok_or_else(|| wrong(format!("is no column; there are {}", columns.names().join(", "))))?;
        Ok((place, expression(columns, place, value).map_err(wrong)?))
    };
    entries.iter().map(cell).collect()
}

/// `'text'` is a text, `$…` a path; numbers and booleans are what they are, `null` is nothing.
fn expression(columns: &Columns, place: usize, value: &Json) -> Result<Expression, String> {
    let Some(column) = columns.list().get(place) else { return Err("is no column".to_owned()) };
    let literal = match value {
        Json::String(text) if text.starts_with('$') => return Ok(Expression::Path(Path::parse(text)?)),
        Json::String(text) if text == "null" => Json::Null,
        Json::String(text) => {
            let inside = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
            Json::from(
                inside
                    .ok_or_else(|| format!("write {text:?} as \"'{text}'\" if it is a text, or as a path that begins with $"))?
                    .replace("''", "'"),
            )
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => value.clone(),
        Json::Array(_) | Json::Object(_) => return Err("must be a path, a text in quotes, a number, true, false or null".to_owned()),
    };
    let value = column.column_type.of_json(&literal);
    value.map(Expression::Literal).map_err(|detail| format!("{detail} in column {}", column.name))
}
