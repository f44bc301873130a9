//! What do answers about aggregates, definitions and schemas look like?

use serde_json::Value;
use utoipa::ToSchema;

use super::Event;

/// An aggregate's state.
#[derive(ToSchema)]
pub(crate) struct AggregateState {
    #[schema(example = "order")]
    category: String,
    #[schema(example = "42")]
    id: String,
    /// Of the last event in it.
    version: u64,
    /// Any JSON.
    state: Value,
    /// The snapshot that it was folded from.
    snapshot_version: Option<u64>,
    /// How many events were applied for this answer.
    events_replayed: u64,
}

/// A page of an aggregate's history.
#[derive(ToSchema)]
pub(crate) struct History {
    history: Vec<HistoryStep>,
    /// The `after` of the next page.
    next: Option<String>,
}

/// One version of an aggregate.
#[derive(ToSchema)]
pub(crate) struct HistoryStep {
    version: u64,
    #[schema(rename = "type", example = "OrderPaid")]
    r#type: String,
    #[schema(format = "date-time")]
    recorded_at: String,
    /// JSON Patch (RFC 6902) from the state before.
    patch: Vec<Value>,
    /// The state after it.
    state: Value,
}

/// The snapshots of an aggregate.
#[derive(ToSchema)]
pub(crate) struct SnapshotList {
    snapshots: Vec<SnapshotItem>,
}

/// A snapshot of an aggregate.
#[derive(ToSchema)]
pub(crate) struct SnapshotItem {
    version: u64,
    /// What it takes on disk.
    bytes: u64,
    /// `factum` or `client`.
    source: String,
    /// Whether the definition in force made it, so that it is used.
    current: bool,
    /// What the client put there.
    state: Option<Value>,
}

/// What a command came to.
#[derive(ToSchema)]
pub(crate) struct CommandAnswer {
    /// The aggregate's version after it.
    version: u64,
    /// Those that it made.
    events: Vec<Event>,
    /// The aggregate's state after it.
    state: Value,
    #[schema(example = "1042")]
    cursor: String,
    /// Only there, and true, when it was done before under this key.
    duplicate: Option<bool>,
}

/// A definition that merges each event's data into the state (RFC 7396).
#[derive(ToSchema)]
pub(crate) struct MergingDefinition {
    /// `merge`.
    #[schema(example = "merge")]
    evolve: String,
    /// After how many events a snapshot is kept; default 100.
    #[schema(minimum = 1, example = 100)]
    snapshot_every: Option<u64>,
}

/// What became of a category's definition.
#[derive(ToSchema)]
pub(crate) struct DefinitionAnswer {
    category: String,
    /// `created`, `changed` or `same`.
    #[schema(example = "created")]
    change: String,
    /// Only there, and true, if nothing was done.
    dry_run: Option<bool>,
    /// `javascript` or `json`.
    #[schema(example = "javascript")]
    format: String,
    commands: Option<Vec<String>>,
}

/// A page of the categories that are defined.
#[derive(ToSchema)]
pub(crate) struct DefinitionList {
    aggregates: Vec<DefinitionItem>,
    next: Option<String>,
}

/// A category that is defined.
#[derive(ToSchema)]
pub(crate) struct DefinitionItem {
    category: String,
    format: String,
    commands: Vec<String>,
    /// Of the stream `$definitions`.
    version: u64,
    #[schema(format = "date-time")]
    defined_at: String,
}

/// A category's definition.
#[derive(ToSchema)]
pub(crate) struct DefinitionDocument {
    category: String,
    format: String,
    /// As it was written.
    definition: String,
    commands: Vec<String>,
    /// Of the stream `$definitions`.
    version: u64,
    #[schema(format = "date-time")]
    defined_at: String,
}

/// One version of an event type's schema.
#[derive(ToSchema)]
pub(crate) struct SchemaDocument {
    /// JSON Schema, draft 2020-12.
    #[schema(example = json!({"type": "object", "required": ["amount"]}))]
    schema: Value,
    /// JavaScript that makes the data of this version from that of the version before.
    #[schema(example = "(data, event) => ({...data, currency: 'EUR'})")]
    upcast: Option<String>,
    /// `backward` (default), `forward`, `full` or `none`.
    #[schema(example = "backward")]
    compatibility: Option<String>,
}

/// A registered version of an event type's schema.
#[derive(ToSchema)]
pub(crate) struct RegisteredSchema {
    #[schema(rename = "type", example = "OrderPlaced")]
    r#type: String,
    schema_version: u16,
    schema: Value,
    upcast: Option<String>,
    compatibility: Option<String>,
}

/// What became of a schema.
#[derive(ToSchema)]
pub(crate) struct SchemaAnswer {
    #[schema(rename = "type", example = "OrderPlaced")]
    r#type: String,
    schema_version: u16,
    /// `created` or `same`.
    #[schema(example = "created")]
    change: String,
    /// Only there, and true, if nothing was done.
    dry_run: Option<bool>,
}

/// A page of the event types that have a schema.
#[derive(ToSchema)]
pub(crate) struct SchemaList {
    schemas: Vec<SchemaItem>,
    next: Option<String>,
}

/// An event type that has a schema.
#[derive(ToSchema)]
pub(crate) struct SchemaItem {
    #[schema(rename = "type", example = "OrderPlaced")]
    r#type: String,
    /// The newest.
    schema_version: u16,
    versions: Vec<u16>,
}

/// The versions of an event type's schema.
#[derive(ToSchema)]
pub(crate) struct SchemaVersions {
    #[schema(rename = "type", example = "OrderPlaced")]
    r#type: String,
    versions: Vec<u16>,
}
