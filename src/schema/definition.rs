//! What does a user register for one version of an event type?

use serde_json::Map;
use serde_json::Value;

use crate::schema::error::SchemaError;

/// One version of an event type's shape, and how data of the version before gets there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SchemaDefinition {
    /// The type.
    pub(crate) event_type: String,
    /// 1, 2, 3 … without a gap.
    pub(crate) schema_version: u16,
    /// JSON Schema, draft 2020-12.
    pub(crate) schema: Value,
    /// The text of a JavaScript function `(data, event) => data` from the version before.
    pub(crate) upcast: Option<String>,
    /// What the version promises about the one before.
    pub(crate) compatibility: Compatibility,
}

/// What a version promises about the version before, in the words of [Confluent's schema registry].
///
/// With an `upcast` function the backward half holds by the function and is not looked at: old data is read through it, and what it returns
/// is checked against the newest schema at every read. The forward half stands for readers that know only the old shape, which no function
/// helps.
///
/// [Confluent's schema registry]: https://docs.confluent.io/platform/current/schema-registry/fundamentals/schema-evolution.html
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Compatibility {
    /// Data that is valid under the old version is valid under the new one.
    #[default]
    Backward,
    /// Data that is valid under the new version is valid under the old one.
    Forward,
    /// Both.
    Full,
    /// Nothing. Without `upcast`, old data is read as it is and may not match the new version.
    None,
}

impl Compatibility {
    /// As it is written in a definition.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Backward => "backward",
            Self::Forward => "forward",
            Self::Full => "full",
            Self::None => "none",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Backward, Self::Forward, Self::Full, Self::None].into_iter().find(|known| known.as_str() == text)
    }
}

impl SchemaDefinition {
    /// Reads `{"schema": {…}, "upcast"?: "(data, event) => …", "compatibility"?: "backward" | "forward" | "full" | "none"}`.
    ///
    /// # Errors
    ///
    /// [`SchemaError::Malformed`] names the field. Whether the schema itself can be used is for [`super::Registry::check`] to say.
    pub(crate) fn parse(event_type: &str, schema_version: u16, body: &[u8]) -> Result<Self, SchemaError> {
        check_type(event_type)?;
        if schema_version == 0 || schema_version > VERSIONS_MAX {
            return Err(SchemaError::malformed("schema_version", format!("must be a number from 1 to {VERSIONS_MAX}")));
        }
        if body.len() > BODY_BYTES_MAX {
            return Err(SchemaError::malformed("body", format!("has {} bytes, more than {BODY_BYTES_MAX}", body.len())));
        }
        let mut fields: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| SchemaError::malformed("body", format!("must be a JSON object: {error}")))?;
        let schema = fields.remove("schema").ok_or_else(|| SchemaError::malformed("schema", "is missing: the JSON Schema of the data"))?;
        if !schema.is_object() && !schema.is_boolean() {
            return Err(SchemaError::malformed("schema", "must be a JSON Schema: an object, true or false"));
        }
        let upcast = match fields.remove("upcast") {
            None => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => return Err(SchemaError::malformed("upcast", "must be the text of a JavaScript function: (data, event) => …")),
        };
        let compatibility = match fields.remove("compatibility") {
            None => Compatibility::default(),
            Some(value) => value
                .as_str()
                .and_then(Compatibility::parse)
                .ok_or_else(|| SchemaError::malformed("compatibility", "must be \"backward\", \"forward\", \"full\" or \"none\""))?,
        };
        if let Some(unknown) = fields.keys().next() {
            return Err(SchemaError::malformed(unknown, "is not a field of a schema definition: schema, upcast, compatibility"));
        }
        Ok(Self { event_type: event_type.to_owned(), schema_version, schema, upcast, compatibility })
    }

    /// The same for definitions that say the same, however their JSON is written.
    #[must_use]
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        push_text(&mut hasher, &self.event_type);
        hasher.update(&self.schema_version.to_le_bytes());
        push_text(&mut hasher, self.compatibility.as_str());
        hasher.update(&[u8::from(self.upcast.is_some())]);
        push_text(&mut hasher, self.upcast.as_deref().unwrap_or_default());
        push_value(&mut hasher, &self.schema);
        hasher.finalize().into()
    }

    /// The body of a request that registers it.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn to_json(&self) -> Value {
        let mut body = Map::new();
        body.insert("schema".to_owned(), self.schema.clone());
        if let Some(upcast) = &self.upcast {
            body.insert("upcast".to_owned(), Value::String(upcast.clone()));
        }
        body.insert("compatibility".to_owned(), Value::String(self.compatibility.as_str().to_owned()));
        Value::Object(body)
    }
}

fn check_type(event_type: &str) -> Result<(), SchemaError> {
    factum_storage::check_name(event_type).map_err(|error| SchemaError::malformed("type", error.to_string()))?;
    if event_type.starts_with('$') {
        return Err(SchemaError::malformed("type", "types that begin with $ belong to the system"));
    }
    Ok(())
}

fn push_text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

/// One byte for the kind, lengths before contents, members by name: no two different values make the same bytes.
fn push_value(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::Object(members) => {
            hasher.update(b"{");
            hasher.update(&(members.len() as u64).to_le_bytes());
            let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            for (name, member) in sorted {
                push_text(hasher, name);
                push_value(hasher, member);
            }
        }
        Value::Array(items) => {
            hasher.update(b"[");
            hasher.update(&(items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| push_value(hasher, item));
        }
        Value::String(text) => {
            hasher.update(b"\"");
            push_text(hasher, text);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            hasher.update(b"=");
            push_text(hasher, &value.to_string());
        }
    }
}

/// The highest version of a type.
const VERSIONS_MAX: u16 = 1_000;
/// A schema of the largest size, written with much white space, and an upcaster.
const BODY_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> (String, String) {
        match SchemaDefinition::parse("OrderPaid", 1, body.as_bytes()) {
            Err(SchemaError::Malformed { field, detail }) => (field, detail),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_definition_is_read_whole() {
        let body = br#"{"schema": {"type": "object"}, "upcast": "(data) => data", "compatibility": "full"}"#;
        let definition = SchemaDefinition::parse("OrderPaid", 2, body).unwrap();
        assert_eq!(definition.upcast.as_deref(), Some("(data) => data"));
        assert_eq!(definition.compatibility, Compatibility::Full);
        let again = SchemaDefinition::parse("OrderPaid", 2, definition.to_json().to_string().as_bytes()).unwrap();
        assert_eq!(again, definition);
        assert_eq!(again.hash(), definition.hash());
    }

    #[test]
    fn a_wrong_field_is_named() {
        assert_eq!(refused("[]").0, "body");
        assert_eq!(refused("{}").0, "schema");
        assert_eq!(refused(r#"{"schema": 7}"#).0, "schema");
        assert_eq!(refused(r#"{"schema": {}, "upcast": null}"#).0, "upcast");
        assert_eq!(refused(r#"{"schema": {}, "compatibility": "both"}"#).0, "compatibility");
        assert_eq!(refused(r#"{"schema": {}, "upcaster": ""}"#).0, "upcaster");
    }

    #[test]
    fn a_wrong_name_or_version_is_refused() {
        let parse = |name: &str, version: u16| SchemaDefinition::parse(name, version, br#"{"schema": {}}"#).is_ok();
        assert!(parse("A", 1) && parse("A", VERSIONS_MAX));
        assert!(!parse("", 1) && !parse("$deleted", 1) && !parse("a\n", 1));
        assert!(!parse("A", 0) && !parse("A", VERSIONS_MAX + 1));
    }

    #[test]
    fn the_hash_knows_content_and_not_layout() {
        let hash = |body: &str| SchemaDefinition::parse("A", 1, body.as_bytes()).unwrap().hash();
        let one = hash(r#"{"schema": {"a": 1, "b": [2, {"c": 3, "d": 4}]}}"#);
        assert_eq!(one, hash(r#"{ "compatibility": "backward", "schema": {"b":[2,{"d":4,"c":3}],"a":1} }"#));
        for other in [
            r#"{"schema": {"a": 1, "b": [{"c": 3, "d": 4}, 2]}}"#,
            r#"{"schema": {"a": "1", "b": [2, {"c": 3, "d": 4}]}}"#,
            r#"{"schema": {"a": 1, "b": [2, {"c": 3, "d": 4}]}, "upcast": ""}"#,
            r#"{"schema": {"a": 1, "b": [2, {"c": 3, "d": 4}]}, "compatibility": "none"}"#,
        ] {
            assert_ne!(one, hash(other), "{other}");
        }
    }
}
