//! What is a caller told of a definition, or of data, that is refused?

use super::definitions::described;
use super::definitions::fault;
use super::definitions::file;
use crate::Error;
use crate::definition::Key;
use crate::error::DefinitionFault;
use crate::error::SchemaFault;
use crate::schema::SchemaError;
use crate::script;
use crate::script::ScriptError;

pub(super) fn from_script(key: &Key, error: &ScriptError) -> Error {
    if error.kind == script::Kind::Busy {
        return Error::ScriptsBusy;
    }
    let ScriptError { message, line, column, .. } = error.clone();
    fault(DefinitionFault { what: file(key), detail: message, line, column, ..DefinitionFault::default() })
}

pub(super) fn from_schema(key: &Key, error: SchemaError) -> Error {
    let what = file(key);
    match error {
        SchemaError::Malformed { field, detail } => Error::Invalid { field, detail },
        SchemaError::Invalid { detail, pointer, line, column } => {
            fault(DefinitionFault { what, detail, line, column, pointer, breaks: Vec::new() })
        }
        SchemaError::Incompatible { compatibility, breaks } => {
            let breaks: Vec<_> = breaks.into_iter().map(|found| (found.pointer, found.detail)).collect();
            let first = breaks.first().map(|(pointer, detail)| format!("{pointer}: {detail}")).unwrap_or_default();
            let detail = format!("not {} compatible with the version before: {first}", compatibility.as_str());
            fault(DefinitionFault { what, detail, breaks, ..DefinitionFault::default() })
        }
        SchemaError::Exists => Error::DefinitionExists { what: described(key) },
        SchemaError::NotNext { next } => {
            let detail = format!("versions go up by one: the next is {next}");
            fault(DefinitionFault { what, detail, ..DefinitionFault::default() })
        }
        SchemaError::Script(error) => from_script(key, &error),
        other @ (SchemaError::Violation { .. } | SchemaError::UnknownVersion { .. }) => {
            violation("data".to_owned(), "schema_version".to_owned(), other)
        }
    }
}

/// The error of an event that breaks its schema, or names one that is not there.
pub(super) fn violation(data_field: String, version_field: String, error: SchemaError) -> Error {
    let text = error.to_string();
    match error {
        SchemaError::Violation { event_type, schema_version, violations } => {
            let violations: Vec<_> = violations.into_iter().map(|found| (found.pointer, found.detail)).collect();
            let detail = violations.first().map_or(text, |(pointer, detail)| {
                let place = if pointer.is_empty() { "the data" } else { pointer.as_str() };
                format!("{place}: {detail}")
            });
            Error::SchemaViolation(Box::new(SchemaFault { field: data_field, detail, event_type, schema_version, violations }))
        }
        SchemaError::UnknownVersion { event_type, schema_version, newest } => {
            let detail = format!("type {event_type} has no schema version {schema_version}; the newest is {newest}");
            Error::SchemaViolation(Box::new(SchemaFault {
                field: version_field,
                detail,
                event_type,
                schema_version,
                violations: Vec::new(),
            }))
        }
        SchemaError::Script(_) | SchemaError::Malformed { .. } | SchemaError::Invalid { .. } | SchemaError::Incompatible { .. } => {
            Error::Invalid { field: data_field, detail: text }
        }
        SchemaError::Exists | SchemaError::NotNext { .. } => Error::Invalid { field: data_field, detail: text },
    }
}
