//! Why was a schema refused, or data that should obey one?

use crate::schema::definition::Compatibility;
use crate::script::ScriptError;

/// What the registry of schemas says no to. One variant for each thing that a caller does differently.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    /// The definition is not laid out as one.
    #[error("{field}: {detail}")]
    Malformed {
        /// Which part, as a path.
        field: String,
        /// What is wrong with it, and what would be right.
        detail: String,
    },
    /// The definition reads well and cannot be used.
    #[error("{detail}")]
    Invalid {
        /// What is wrong.
        detail: String,
        /// JSON Pointer into the schema.
        pointer: Option<String>,
        /// Where in the upcaster.
        line: Option<u32>,
        /// Where in that line.
        column: Option<u32>,
    },
    /// The version breaks the promise that its `compatibility` makes about the version before.
    #[error("it is not {} compatible with the version before: {}", .compatibility.as_str(), list(.breaks.iter().map(|broken| (&*broken.pointer, &*broken.detail))))]
    Incompatible {
        /// The promise.
        compatibility: Compatibility,
        /// Everything that breaks it.
        breaks: Vec<Break>,
    },
    /// This version is registered with other content.
    #[error("this schema version is registered with other content; a registered version never changes")]
    Exists,
    /// Versions are numbered without a gap.
    #[error("schema versions of a type are numbered without a gap; the next one is {next}")]
    NotNext {
        /// The version that may be registered.
        next: u16,
    },
    /// The data does not obey the schema.
    #[error("data does not match schema {event_type} version {schema_version}: {}", list(.violations.iter().map(|violation| (&*violation.pointer, &*violation.detail))))]
    Violation {
        /// The type.
        event_type: String,
        /// The version that the data claims to have.
        schema_version: u16,
        /// What is wrong, up to [`VIOLATIONS_MAX`].
        violations: Vec<Violation>,
    },
    /// The type has schemas, and none with this version.
    #[error("schema version {schema_version} of {event_type} is not registered; the newest is {newest}")]
    UnknownVersion {
        /// The type.
        event_type: String,
        /// The version that was asked for.
        schema_version: u16,
        /// The newest that is registered.
        newest: u16,
    },
    /// The sandbox could not say whether an upcaster compiles.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

impl SchemaError {
    /// A schema that cannot be used, because of what stands at `pointer`.
    pub(in crate::schema) fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid { detail: detail.into(), pointer: Some(pointer.into()), line: None, column: None }
    }

    pub(in crate::schema) fn malformed(field: &str, detail: impl Into<String>) -> Self {
        Self::Malformed { field: field.to_owned(), detail: detail.into() }
    }
}

/// One reason why two versions are not compatible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Break {
    /// JSON Pointer into the new version's schema.
    pub(crate) pointer: String,
    /// The reason in words.
    pub(crate) detail: String,
}

/// One rule that data breaks. Never holds the data itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// JSON Pointer into the data.
    pub(crate) pointer: String,
    /// JSON Pointer into the schema.
    pub(crate) schema_pointer: String,
    /// The rule in words.
    pub(crate) detail: String,
}

/// How many violations one answer names.
pub(in crate::schema) const VIOLATIONS_MAX: usize = 20;

/// "where: what; where: what".
fn list<'a>(items: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let items: Vec<String> =
        items.map(|(pointer, detail)| if pointer.is_empty() { detail.to_owned() } else { format!("{pointer}: {detail}") }).collect();
    items.join("; ")
}
