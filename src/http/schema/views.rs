//! What do answers about views look like?

use serde_json::Value;
use utoipa::ToSchema;

/// A page of the views that are read here.
#[derive(ToSchema)]
pub(crate) struct ViewList {
    views: Vec<ViewItem>,
    next: Option<String>,
}

/// A view.
#[derive(ToSchema)]
pub(crate) struct ViewItem {
    #[schema(example = "declarations")]
    view: String,
    columns: Vec<ViewColumn>,
    /// How many rows there are; null while the view is only being made.
    rows: Option<u64>,
    /// Everything up to this cursor is in them.
    position: String,
}

/// A column of a view.
#[derive(ToSchema)]
pub(crate) struct ViewColumn {
    #[schema(example = "amount")]
    name: String,
    /// As in the definition.
    #[schema(rename = "type", example = "decimal(12,2)")]
    r#type: String,
    primary_key: bool,
    /// Rows are found and sorted by it without looking at all of them.
    index: bool,
}

/// A page of a view's rows.
#[derive(ToSchema)]
pub(crate) struct ViewPage {
    rows: Vec<ViewRow>,
    /// The `after` of the next page.
    next: Option<String>,
    /// All rows that match, on all pages; only there with `count=true`.
    count: Option<u64>,
    /// With `allow_partial=true`: the shards that can't be used. What they have behind the view's position is in no row yet.
    missing_shards: Option<Vec<u16>>,
}

/// A row: every column by its name, in the order of the definition, and what it comes from. A decimal is a JSON number with all the digits
/// of
/// its column.
#[derive(ToSchema)]
pub(crate) struct ViewRow {
    /// Of the event that changed the row last, in its stream.
    _version: u64,
    /// Of that event, in its shard's log.
    _position: u64,
    #[schema(additional_properties, value_type = Object)]
    #[serde(flatten)]
    columns: Value,
}
