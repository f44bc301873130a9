//! How do rows and changes cross the border to JavaScript?

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::Map;
use serde_json::Value as Json;
use serde_json::json;

use super::super::native::cells;
use super::super::native::key;
use super::super::query::json::push_cells;
use super::super::row::Change;
use super::super::row::Row;
use super::super::spec::ColumnType;
use super::super::spec::Columns;
use super::super::value::Value;
use super::super::working::Working;
use crate::subscription::json_text::push_string;

/// What the view is like, as [`crate::script::Projecting`] wants it.
pub(super) fn view(columns: &Columns) -> Bytes {
    let kinds: Map<String, Json> = columns.list().iter().map(|column| (column.name.clone(), kind(column.column_type))).collect();
    let name = columns.list().get(columns.primary_key()).map(|column| column.name.as_str());
    let mut text = json!({ "key": name, "kinds": kinds }).to_string().into_bytes();
    text.pop();
    text.extend_from_slice(b",\"blank\":");
    push_cells(&mut text, &Row::blank(columns, Value::Null), columns);
    text.push(b'}');
    Bytes::from(text)
}

/// Known rows by the JSON texts of their keys: the row, null where there is none, or why there can be none.
pub(super) struct Told<'a> {
    columns: &'a Columns,
    text: Vec<u8>,
}

impl<'a> Told<'a> {
    pub(super) fn new(columns: &'a Columns) -> Self {
        Self { columns, text: vec![b'{'] }
    }

    pub(super) fn push(&mut self, key: &str, row: Result<Option<&Row>, &str>) {
        if self.text.len() > 1 {
            self.text.push(b',');
        }
        push_string(&mut self.text, key);
        self.text.push(b':');
        match row {
            Ok(Some(row)) => push_cells(&mut self.text, row, self.columns),
            Ok(None) => self.text.extend_from_slice(b"null"),
            Err(reason) => push_string(&mut self.text, reason),
        }
    }

    /// The rows of these keys that are at hand.
    pub(super) fn push_own<'k>(&mut self, working: &Working, keys: impl Iterator<Item = &'k Value>) {
        let keys: HashSet<&Value> = keys.collect();
        for (key, row) in keys.into_iter().filter_map(|key| Some((key, working.get(key)?))) {
            self.push(&key.to_json().to_string(), Ok(row));
        }
    }

    pub(super) fn into_text(mut self) -> Bytes {
        self.text.push(b'}');
        Bytes::from(self.text)
    }
}

fn kind(column_type: ColumnType) -> Json {
    Json::from(match column_type {
        ColumnType::Text => "text",
        ColumnType::Bigint | ColumnType::Integer => "integer",
        ColumnType::Double => "double",
        ColumnType::Decimal { scale, .. } => return Json::from(scale),
        ColumnType::Boolean => "boolean",
        ColumnType::Timestamp => "timestamp",
        ColumnType::Date => "date",
        ColumnType::Uuid => "uuid",
        ColumnType::Json => "other",
    })
}

/// The changes that a list of operations means.
pub(super) fn changes(columns: &Columns, operations: &[u8]) -> Result<Vec<Change>, String> {
    let operations: Vec<Json> = serde_json::from_slice(operations).map_err(|error| format!("what project does can't be read: {error}"))?;
    operations.iter().filter_map(|operation| change(columns, operation).transpose()).collect()
}

/// The change that an operation means; none where no row can be meant.
fn change(columns: &Columns, operation: &Json) -> Result<Option<Change>, String> {
    let change = match operation.as_array().map_or(&[][..], Vec::as_slice) {
        [Json::String(name), given, Json::Object(row)] if name == "upsert" => {
            let key = key(columns, given).map_err(|detail| format!("rows.upsert: {detail}"))?;
            let mut set = cells(columns, row).map_err(|detail| format!("rows.upsert: {detail}"))?;
            if set.iter().any(|(place, value)| *place == columns.primary_key() && *value != key) {
                return Err("rows.upsert: the row's primary key is another than its key".to_owned());
            }
            set.retain(|(place, _)| *place != columns.primary_key());
            Change::Upsert { key, set, add: Vec::new() }
        }
        [Json::String(name), Json::Object(matching), Json::Object(changes)] if name == "update" => {
            let matching = cells(columns, matching).map_err(|detail| format!("rows.update: {detail}"))?;
            let set = cells(columns, changes).map_err(|detail| format!("rows.update: {detail}"))?;
            // Null is equal to nothing.
            if matching.iter().any(|(_, value)| value.is_null()) {
                return Ok(None);
            }
            Change::Update { matching, set, add: Vec::new() }
        }
        [Json::String(name), given] if name == "delete" => {
            Change::Delete { key: key(columns, given).map_err(|detail| format!("rows.delete: {detail}"))? }
        }
        _ => return Err(format!("the operation {operation} is none that is known")),
    };
    Ok(Some(change))
}
