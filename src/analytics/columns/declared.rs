//! Which members does a JSON Schema promise, and of which types?

use serde_json::Value;

use super::CategoryColumns;
use super::FieldType;
use crate::schema::Registry;

impl CategoryColumns {
    /// Takes what the newest schemas of the category's types say now.
    pub(crate) fn declare_by(&mut self, schemas: &Registry) {
        let newest = |event_type: &str| schemas.get(event_type, schemas.newest(event_type)?);
        let said: Vec<_> = self.types().filter_map(newest).flat_map(|definition| declared(&definition.schema)).collect();
        self.declare(said);
    }
}

/// The members that the schema of an event type describes, by name, as far as it says of which type they are.
pub(super) fn declared(schema: &Value) -> Vec<(String, FieldType)> {
    let mut found = Vec::new();
    collect(schema, schema, 0, &mut found);
    found
}

fn collect(root: &Value, schema: &Value, depth: usize, found: &mut Vec<(String, FieldType)>) {
    let Some(schema) = resolved(root, schema).filter(|_| depth < DEPTH_MAX) else { return };
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    found.extend(properties.filter_map(|(name, schema)| Some((name.clone(), type_of(root, schema, 0)?))));
    for keyword in ["allOf", "anyOf", "oneOf"] {
        for part in schema.get(keyword).and_then(Value::as_array).into_iter().flatten() {
            collect(root, part, depth + 1, found);
        }
    }
}

/// What a value under this schema fits; none if the schema leaves that open.
fn type_of(root: &Value, schema: &Value, depth: usize) -> Option<FieldType> {
    let schema = resolved(root, schema).filter(|_| depth < DEPTH_MAX)?;
    let is_time = schema.get("format").and_then(Value::as_str) == Some("date-time");
    let named = |name: &str| match name {
        "null" => FieldType::Null,
        "boolean" => FieldType::Boolean,
        "integer" => FieldType::Bigint,
        "number" => FieldType::Double,
        "string" if is_time => FieldType::Timestamp,
        _ => FieldType::Text,
    };
    match schema.get("type") {
        Some(Value::String(name)) => return Some(named(name)),
        Some(Value::Array(names)) => {
            return names.iter().filter_map(Value::as_str).map(named).reduce(FieldType::widened);
        }
        _ => {}
    }
    let values = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice).or(schema.get("const").map(std::slice::from_ref));
    if let Some(values) = values {
        let kinds = values.iter().map(|value| match FieldType::Null.widened_by(&value.to_string()) {
            FieldType::Timestamp => FieldType::Text,
            kind => kind,
        });
        return kinds.reduce(FieldType::widened);
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(parts) = schema.get(keyword).and_then(Value::as_array) {
            // One that is open opens all.
            let kinds: Option<Vec<FieldType>> = parts.iter().map(|part| type_of(root, part, depth + 1)).collect();
            return kinds?.into_iter().reduce(FieldType::widened);
        }
    }
    // All must hold, so any of them that says something is right.
    schema.get("allOf").and_then(Value::as_array)?.iter().find_map(|part| type_of(root, part, depth + 1))
}

/// The schema that a reference leads to, or the schema itself.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    let mut schema = schema;
    for _step in 0..DEPTH_MAX {
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return Some(schema) };
        // Names by `$anchor` are rare; what they name is inferred.
        schema = root.pointer(reference.strip_prefix('#')?)?;
    }
    None
}

/// References and alternatives are followed so far: a schema may refer to itself.
const DEPTH_MAX: usize = 16;
