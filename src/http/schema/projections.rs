//! What do answers about projections look like?

use serde_json::Value;
use utoipa::ToSchema;

/// A projection's definition in JSON; see the guide for what may stand in it.
#[derive(ToSchema)]
pub(crate) struct ProjectionDefinition {
    /// Which events: `categories`, `types`, `tags`, `stream_prefix`; none of them: all.
    source: Option<Value>,
    /// Where the rows go: `{"kind": "embedded"}` or `{"kind": "postgres", "url_env", "schema", "table"}`.
    target: Option<Value>,
    /// The columns: name to declaration, such as `"decimal(12,2) index"`.
    columns: Value,
    /// What events do: type to handler.
    on: Option<Value>,
    /// `fail` or `park`.
    on_error: Option<String>,
    /// The text of a JavaScript module that exports `project(event, rows)`, in place of `on`.
    script: Option<String>,
}

/// What a definition changed.
#[derive(ToSchema)]
pub(crate) struct ProjectionAnswer {
    #[schema(example = "declarations")]
    name: String,
    /// `created`, `changed` or `same`.
    change: String,
    /// Only there, and true, if nothing was put in force.
    dry_run: Option<bool>,
    /// With `dry_run`, if it would change something: what the definition makes of the first events of the log, beside what is in force.
    sample: Option<ProjectionSample>,
}

/// The rows of a trial, beside those that the definition in force makes of the same events.
#[derive(ToSchema)]
pub(crate) struct ProjectionSample {
    /// How many events were taken.
    events: u64,
    /// How many rows they make.
    rows: u64,
    same: u64,
    changed: u64,
    /// Rows that the new definition no longer makes.
    only_before: u64,
    /// Rows that only the new definition makes.
    only_after: u64,
    /// Events that the definition can't digest and steps over, as it says `on_error = "park"`.
    parked: u64,
    /// Why the trial ended early: an event that the definition can't digest.
    poison: Option<String>,
    /// Some rows that differ: `key`, and the columns that differ in `before` and `after`.
    examples: Vec<Value>,
}

/// A page of projections.
#[derive(ToSchema)]
pub(crate) struct ProjectionList {
    projections: Vec<ProjectionState>,
    next: Option<String>,
}

/// How a projection fares.
#[derive(ToSchema)]
pub(crate) struct ProjectionState {
    name: String,
    /// `running`, `rebuilding`, `paused`, `retrying` or `failed`.
    state: String,
    /// Everything up to here is in the rows that readers see.
    #[schema(example = "1042")]
    checkpoint: String,
    /// Where the log ends.
    head: String,
    /// How many events lie between the two, those included that the projection leaves out.
    lag_events: u64,
    /// How long ago the last applied event was recorded, if there are others behind it.
    lag_ms: u64,
    events_per_second: f64,
    error: Option<ProjectionError>,
    rebuild: Option<ProjectionRebuild>,
    /// `fail` or `park`.
    on_error: String,
    #[schema(example = "embedded")]
    target: String,
}

/// Why a projection does not go on.
#[derive(ToSchema)]
pub(crate) struct ProjectionError {
    reason: String,
    attempts: u32,
    shard: Option<u16>,
    /// Of the event that it stands on.
    position: Option<u64>,
    stream: Option<String>,
    version: Option<u64>,
    #[schema(rename = "type")]
    r#type: Option<String>,
}

/// How far a rebuild is.
#[derive(ToSchema)]
pub(crate) struct ProjectionRebuild {
    checkpoint: String,
    done: u64,
    total: u64,
    events_per_second: f64,
    eta_seconds: Option<f64>,
}

/// A definition as it was written.
#[derive(ToSchema)]
pub(crate) struct ProjectionDocument {
    name: String,
    /// `toml` or `json`.
    format: String,
    definition: String,
    /// The version of `$definitions` that put it in force.
    version: u64,
    #[schema(format = "date-time")]
    defined_at: String,
}

/// A page of parked events.
#[derive(ToSchema)]
pub(crate) struct ProjectionParkedList {
    parked: Vec<ProjectionParked>,
    next: Option<String>,
}

/// An event that a projection has stepped over.
#[derive(ToSchema)]
pub(crate) struct ProjectionParked {
    shard: u16,
    position: u64,
    stream: String,
    version: u64,
    #[schema(rename = "type")]
    r#type: String,
    reason: String,
    #[schema(format = "date-time")]
    parked_at: String,
}
