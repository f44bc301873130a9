//! How do rows and changes cross the border to JavaScript?

use serde_json::Map;
use serde_json::Value as Json;
use serde_json::json;

use super::super::convert::row_json;
use super::super::native::cells;
use super::super::native::key;
use super::super::row::Change;
use super::super::row::Row;
use super::super::spec::ColumnType;
use super::super::spec::Columns;
use super::super::value::Value;

/// What the view is like, as [`crate::script::Projecting`] wants it.
pub(super) fn view(columns: &Columns) -> Json {
    let kinds: Map<String, Json> = columns.list().iter().map(|column| (column.name.clone(), kind(column.column_type))).collect();
    let name = columns.list().get(columns.primary_key()).map(|column| column.name.as_str());
    json!({ "key": name, "blank": row_json(columns, &Row::blank(columns, Value::Null)), "kinds": kinds })
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
