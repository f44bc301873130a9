//! What do answers look like? The shapes that the OpenAPI document shows; answers themselves are written by hand.
#![expect(dead_code, reason = "these types exist for the OpenAPI document that is made from them")]

mod aggregates;
#[cfg(feature = "analytics")]
mod exports;
mod identity;
mod projections;
#[cfg(feature = "analytics")]
mod sql;
mod subscriptions;
mod views;

use serde_json::Value;
use utoipa::ToSchema;

pub(crate) use aggregates::*;
#[cfg(feature = "analytics")]
pub(crate) use exports::*;
pub(crate) use identity::*;
pub(crate) use projections::*;
#[cfg(feature = "analytics")]
pub(crate) use sql::*;
pub(crate) use subscriptions::*;
pub(crate) use views::*;

/// An event as it is read.
#[derive(ToSchema)]
pub(crate) struct Event {
    /// Its identity.
    #[schema(format = "uuid")]
    id: String,
    #[schema(example = "order-42")]
    stream: String,
    /// Its number in its stream, from 1.
    #[schema(minimum = 1)]
    version: u64,
    #[schema(rename = "type", example = "OrderPaid")]
    r#type: String,
    schema_version: u16,
    /// Any JSON, as it was sent.
    data: Value,
    #[schema(value_type = Object)]
    metadata: Value,
    tags: Vec<String>,
    /// When it happened: what the client said, else when it was recorded.
    #[schema(format = "date-time")]
    occurred_at: String,
    #[schema(format = "date-time", example = "2026-11-22T18:41:54.123456Z")]
    recorded_at: String,
    shard: u16,
    /// Its number in its shard's log, from 1.
    #[schema(minimum = 1)]
    position: u64,
    /// Only there if the event could not be brought to its newest shape; its `data` is null then.
    error: Option<ShapeError>,
}

/// Why an event could not be brought to its newest shape.
#[derive(ToSchema)]
pub(crate) struct ShapeError {
    #[schema(rename = "type", example = "urn:factum:problem:upcast-failed")]
    r#type: String,
    detail: String,
}

/// A page of one stream.
#[derive(ToSchema)]
pub(crate) struct StreamPage {
    stream: String,
    /// Of the stream's last event.
    version: u64,
    events: Vec<Event>,
    /// The `from` of the next page.
    next: Option<u64>,
}

/// A page of the log of all streams.
#[derive(ToSchema)]
pub(crate) struct EventsPage {
    events: Vec<Event>,
    /// The `after` of the next page; null at the end.
    next: Option<String>,
    /// Everything up to here has been looked at.
    cursor: String,
    /// With `allow_partial=true`: the shards that it has nothing of.
    missing_shards: Option<Vec<u16>>,
}

/// What an append got.
#[derive(ToSchema)]
pub(crate) struct AppendAnswer {
    #[schema(example = "order-42")]
    stream: String,
    first_version: u64,
    last_version: u64,
    position: u64,
    /// A read that takes this as `Factum-Min-Position` sees the append.
    #[schema(example = "1042")]
    cursor: String,
    /// Every id was there already.
    duplicate: bool,
}

/// What a transaction got.
#[derive(ToSchema)]
pub(crate) struct TransactionAnswer {
    appends: Vec<TransactionPart>,
    position: u64,
    cursor: String,
}

/// One stream of a transaction.
#[derive(ToSchema)]
pub(crate) struct TransactionPart {
    stream: String,
    first_version: u64,
    last_version: u64,
}

/// A line of an import's answer. The last has `done`, or is `{"$error": problem}` with the `line`.
#[derive(ToSchema)]
pub(crate) struct ImportProgress {
    imported: u64,
    duplicates: u64,
    /// Read from the body, after decompression.
    bytes: u64,
    cursor: String,
    done: Option<bool>,
}

/// What there is to know of a stream.
#[derive(ToSchema)]
pub(crate) struct Stream {
    stream: String,
    category: String,
    version: u64,
    /// The first version that a reader sees.
    first_version: u64,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    updated_at: String,
    shard: u16,
}

/// What hides a stream's old events; null does not limit.
#[derive(ToSchema)]
pub(crate) struct Retention {
    stream: String,
    max_count: Option<u64>,
    #[schema(example = "30d")]
    max_age: Option<String>,
    before_version: Option<u64>,
}

/// A page of streams.
#[derive(ToSchema)]
pub(crate) struct StreamList {
    streams: Vec<StreamItem>,
    next: Option<String>,
    /// With `allow_partial=true`: the shards that it has nothing of.
    missing_shards: Option<Vec<u16>>,
}

/// A stream in a listing.
#[derive(ToSchema)]
pub(crate) struct StreamItem {
    stream: String,
    category: String,
    version: u64,
    #[schema(format = "date-time")]
    updated_at: String,
}

/// A page of categories.
#[derive(ToSchema)]
pub(crate) struct CategoryList {
    categories: Vec<CategoryItem>,
    next: Option<String>,
    /// With `allow_partial=true`: the shards that it has nothing of.
    missing_shards: Option<Vec<u16>>,
}

/// A category with its counts.
#[derive(ToSchema)]
pub(crate) struct CategoryItem {
    category: String,
    streams: u64,
    events: u64,
}

/// A page of event types.
#[derive(ToSchema)]
pub(crate) struct TypeList {
    types: Vec<TypeItem>,
    next: Option<String>,
    /// With `allow_partial=true`: the shards that it has nothing of.
    missing_shards: Option<Vec<u16>>,
}

/// An event type with its count.
#[derive(ToSchema)]
pub(crate) struct TypeItem {
    #[schema(rename = "type")]
    r#type: String,
    events: u64,
}

/// A CloudEvent 1.0 in JSON; further attributes are kept in the metadata under `cloudevents`.
#[derive(ToSchema)]
pub(crate) struct CloudEvent {
    #[schema(example = "1.0")]
    specversion: String,
    id: String,
    source: String,
    #[schema(rename = "type")]
    r#type: String,
    #[schema(format = "date-time")]
    time: Option<String>,
    data: Option<Value>,
    data_base64: Option<String>,
}

/// RFC 9457. `docs/errors.md` lists every `type`.
#[derive(ToSchema)]
pub(crate) struct ProblemDocument {
    #[schema(rename = "type", example = "urn:factum:problem:malformed-request")]
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    /// The field, parameter or header that it is about.
    #[schema(example = "events[2].type")]
    field: Option<String>,
}

/// The problem of a failed expectation.
#[derive(ToSchema)]
pub(crate) struct ConflictDocument {
    #[schema(rename = "type", example = "urn:factum:problem:wrong-expected-version")]
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    stream: String,
    /// A version, or `"exists"`.
    expected_version: Value,
    actual_version: u64,
    /// Up to 100 that came after what the client knew.
    conflicting_events: Vec<Event>,
}

/// The problem of a transaction's failed checks.
#[derive(ToSchema)]
pub(crate) struct FailedDocument {
    #[schema(rename = "type", example = "urn:factum:problem:condition-failed")]
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    failed: Vec<FailedCheck>,
}

/// A check that did not hold; `kind` is `version` or `condition`.
#[derive(ToSchema)]
pub(crate) struct FailedCheck {
    kind: String,
    stream: Option<String>,
    expected_version: Option<Value>,
    actual_version: Option<u64>,
    index: Option<u64>,
    position: Option<u64>,
    #[schema(format = "uuid")]
    event_id: Option<String>,
}
