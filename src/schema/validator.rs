//! Does data obey a schema, and if not, where?

use jsonschema::Draft;
use jsonschema::PatternOptions;
use jsonschema::ValidationOptions;
use serde_json::Value;
use serde_json::json;

use crate::schema::document::Document;
use crate::schema::document::Node;
use crate::schema::error::SchemaError;
use crate::schema::error::VIOLATIONS_MAX;
use crate::schema::error::Violation;

/// A compiled schema.
#[derive(Debug)]
pub(in crate::schema) struct Validator(jsonschema::Validator);

impl Validator {
    /// Compiles a schema of a document that was checked.
    ///
    /// # Errors
    ///
    /// [`SchemaError::Invalid`] with the pointer of what is wrong.
    pub(in crate::schema) fn new(document: &Document<'_>) -> Result<Self, SchemaError> {
        Self::compile(document.root().value)
    }

    /// Compiles one schema of a document, whose references may lead anywhere in it.
    ///
    /// # Errors
    ///
    /// [`SchemaError::Invalid`].
    pub(in crate::schema) fn part(schema: &Node<'_>) -> Result<Self, SchemaError> {
        let mut whole = schema.document.root().value.clone();
        let Some(keywords) = whole.as_object_mut() else { return Self::compile(&whole) };
        keywords.insert("$id".to_owned(), Value::String(WHOLE.to_owned()));
        let reference = format!("{WHOLE}#{}", percent_encoded(&schema.pointer));
        Self::compile(&json!({ "$ref": reference, "$defs": { "whole": whole } }))
    }

    /// Compiles a schema as it is.
    ///
    /// # Errors
    ///
    /// [`SchemaError::Invalid`].
    pub(in crate::schema) fn compile(schema: &Value) -> Result<Self, SchemaError> {
        options().build(schema).map(Self).map_err(|error| {
            // An error of the schema as data has its place in the data; one of its compilation has only the path of the keyword.
            let instance = error.instance_path().as_str();
            let pointer = if instance.is_empty() { error.schema_path().as_str() } else { instance };
            SchemaError::at(pointer, error.to_string())
        })
    }

    /// Whether the value obeys.
    pub(in crate::schema) fn accepts(&self, value: &Value) -> bool {
        self.0.is_valid(value)
    }

    /// What is wrong with data, up to [`VIOLATIONS_MAX`]; empty if nothing is. Never tells the data itself.
    pub(in crate::schema) fn violations(&self, data: &[u8]) -> Vec<Violation> {
        // No data is stored as no bytes and read as null.
        let data = if data.is_empty() { b"null" } else { data };
        let value: Value = match serde_json::from_slice(data) {
            Ok(value) => value,
            Err(error) => {
                let detail = format!("is not JSON: {error}");
                return vec![Violation { pointer: String::new(), schema_pointer: String::new(), detail }];
            }
        };
        if self.0.is_valid(&value) {
            return Vec::new();
        }
        let errors = self.0.iter_errors(&value).take(VIOLATIONS_MAX);
        errors
            .map(|error| Violation {
                pointer: error.instance_path().as_str().to_owned(),
                schema_pointer: error.schema_path().as_str().to_owned(),
                detail: error.masked().to_string(),
            })
            .collect()
    }
}

/// A JSON Pointer as the fragment of an address.
fn percent_encoded(pointer: &str) -> String {
    let mut fragment = String::with_capacity(pointer.len());
    for byte in pointer.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~') {
            fragment.push(char::from(byte));
        } else {
            fragment.push_str(&format!("%{byte:02X}"));
        }
    }
    fragment
}

/// Draft 2020-12, formats asserted, patterns in linear time, and nothing fetched from anywhere.
fn options() -> ValidationOptions<'static> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX))
}

/// What one pattern may take of memory.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// What a document is called while one part of it is compiled.
const WHOLE: &str = "urn:factum:schema";
