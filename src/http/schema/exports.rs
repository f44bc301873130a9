//! What do answers about exports look like?

use serde_json::Value;
use utoipa::ToSchema;

/// An export's definition.
#[derive(ToSchema)]
pub(crate) struct ExportDefinition {
    /// `file:///folder` or `s3://bucket/prefix`, as the server's setting `exports.allow` allows; default: below the data directory.
    #[schema(example = "s3://bucket/lake")]
    url: Option<String>,
    /// Folders by `category`, by `date` (the day of `recorded_at`), by both (default) or none (`[]`).
    #[schema(example = json!(["category", "date"]))]
    partition_by: Option<Vec<String>>,
    /// Which events: `categories`, `types`, `tags`, `stream_prefix`; default: all.
    filter: Option<Value>,
    /// How large files are to become; default: 134217728.
    target_file_bytes: Option<u64>,
    /// How long an event may wait before it is in a file; default: 60.
    flush_seconds: Option<u64>,
    /// For S3, the names of the server's environment variables that hold `endpoint_env`, `region_env`, `access_key_id_env`,
    /// `secret_access_key_env`, `session_token_env`; what is left out comes from AWS's own variables.
    s3: Option<Value>,
}

/// What a definition changed.
#[derive(ToSchema)]
pub(crate) struct ExportAnswer {
    #[schema(example = "lake")]
    name: String,
    /// `created`, `changed` or `same`.
    change: String,
    /// Only there, and true, if nothing was put in force.
    dry_run: Option<bool>,
}

/// A page of exports; `files` are left out.
#[derive(ToSchema)]
pub(crate) struct ExportList {
    exports: Vec<ExportStatus>,
    next: Option<String>,
}

/// How an export fares.
#[derive(ToSchema)]
pub(crate) struct ExportStatus {
    name: String,
    /// `running`, `retrying` or `failed`.
    state: String,
    /// Where its lake lies.
    url: String,
    /// All events up to here that its filter wants are in the files.
    #[schema(example = "1042")]
    checkpoint: String,
    /// Where the log ends.
    head: String,
    /// How many events lie between the two, those included that the filter leaves out.
    lag_events: u64,
    /// How long ago the newest event in the files was recorded, if there are others behind it.
    lag_ms: u64,
    /// Over the last minute.
    events_per_second: f64,
    error: Option<ExportError>,
    file_count: u64,
    /// Of all files.
    rows: u64,
    bytes: u64,
    /// The cursor of the files below: they hold all wanted events up to it, and none behind.
    published: String,
    files: Vec<ExportFile>,
}

/// Why an export does not go on, or what is wrong although it does.
#[derive(ToSchema)]
pub(crate) struct ExportError {
    reason: String,
    attempts: u32,
}

/// A Parquet file.
#[derive(ToSchema)]
pub(crate) struct ExportFile {
    #[schema(example = "s3://bucket/lake/category=order/date=2026-11-27/factum-000000000042.parquet")]
    url: String,
    rows: u64,
    bytes: u64,
}

/// A definition as it was written.
#[derive(ToSchema)]
pub(crate) struct ExportDocument {
    name: String,
    /// `toml` or `json`.
    format: String,
    definition: String,
    /// The version of `$definitions` that put it in force.
    version: u64,
    #[schema(format = "date-time")]
    defined_at: String,
}
