//! What do subscriptions look like on the wire?

use serde_json::Value;
use utoipa::ToSchema;

use super::Event;

/// A consumer group's definition. Everything may be left out.
#[derive(ToSchema)]
pub(crate) struct SubscriptionDefinition {
    /// Which events; those of all streams that are not the system's without it.
    filter: Option<SubscriptionFilter>,
    /// Where it begins: `0` (the start), `end`, or a cursor. Resolved once, when it is made.
    #[schema(default = "0", example = "end")]
    after: Option<String>,
    /// How many deliveries one consumer may have at once without an acknowledgement.
    #[schema(default = 1000, minimum = 1, maximum = 100_000)]
    max_in_flight: Option<u64>,
    /// How long a consumer may take; with an order, from when the events of the stream before it are done.
    #[schema(default = 30_000, minimum = 100, maximum = 86_400_000)]
    ack_timeout_ms: Option<u64>,
    /// How often an event is tried before it is parked.
    #[schema(default = 10, minimum = 1, maximum = 1000)]
    max_attempts: Option<u64>,
    /// `stream`: one stream's events go to one consumer at a time, in order. `none`: any event goes to anybody.
    #[schema(default = "stream", example = "stream")]
    ordering: Option<String>,
}

/// Which events. What is given must all hold; the values of one list are ORed.
#[derive(ToSchema)]
pub(crate) struct SubscriptionFilter {
    #[schema(example = json!(["order"]))]
    categories: Option<Vec<String>>,
    types: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    stream_prefix: Option<String>,
}

/// What a definition changed.
#[derive(ToSchema)]
pub(crate) struct SubscriptionAnswer {
    #[schema(example = "mail")]
    name: String,
    /// `created`, `changed` or `same`.
    change: String,
    dry_run: Option<bool>,
    /// `json` or `toml`.
    format: String,
}

/// How a subscription is, and what its definition says.
#[derive(ToSchema)]
pub(crate) struct Subscription {
    #[schema(example = "mail")]
    name: String,
    /// `active` (it has consumers), `idle`, `blocked` (so many events are parked, held back or out that nothing more is read) or `failed`.
    state: String,
    /// What is wrong, if it has failed.
    error: Option<String>,
    /// Everything up to here is done, parked, held back or to be tried again; null if that can't be read.
    checkpoint: Option<String>,
    /// Where the log ends.
    head: String,
    /// Events between the two, over all shards; an upper bound, as those count that the filter leaves out.
    lag: u64,
    /// Given out, and not acknowledged.
    in_flight: u64,
    parked: u64,
    /// To be tried again.
    retrying: u64,
    /// Held back by a parked one of their stream.
    held_back: u64,
    /// Connected.
    consumers: u64,
    filter: SubscriptionFilter,
    after: String,
    max_in_flight: u64,
    ack_timeout_ms: u64,
    max_attempts: u64,
    ordering: String,
}

/// A page of subscriptions.
#[derive(ToSchema)]
pub(crate) struct SubscriptionList {
    subscriptions: Vec<Subscription>,
    next: Option<String>,
}

/// An event that was given to this consumer; a line of the stream, or the data of an SSE event `delivery`.
#[derive(ToSchema)]
pub(crate) struct Delivery {
    /// What to acknowledge.
    #[schema(example = "8f14e45fceea167a-42")]
    delivery: String,
    /// How often the event was given out, with this time.
    #[schema(minimum = 1)]
    attempt: u32,
    event: Event,
}

/// A batch that was pulled.
#[derive(ToSchema)]
pub(crate) struct Deliveries {
    deliveries: Vec<Delivery>,
}

/// Deliveries that are done.
#[derive(ToSchema)]
pub(crate) struct AckRequest {
    #[schema(max_items = 10_000, example = json!(["8f14e45fceea167a-42"]))]
    deliveries: Vec<String>,
}

/// Deliveries that did not get done.
#[derive(ToSchema)]
pub(crate) struct NackRequest {
    #[schema(max_items = 10_000, example = json!(["8f14e45fceea167a-42"]))]
    deliveries: Vec<String>,
    /// `retry`: again after a pause that grows; `park`: aside, for somebody to look at; `skip`: counts as done.
    #[schema(example = "retry")]
    action: String,
    /// For who looks at parked events; at most 4 KiB.
    reason: Option<String>,
}

/// What became of them.
#[derive(ToSchema)]
pub(crate) struct AckAnswer {
    /// So many were out, and are settled.
    acknowledged: u64,
    /// These were settled before, or their time was over and they were given to somebody else.
    unknown: Vec<String>,
}

/// A page of parked events, in the order of the log.
#[derive(ToSchema)]
pub(crate) struct ParkedList {
    parked: Vec<ParkedItem>,
    next: Option<String>,
}

/// An event that was put aside.
#[derive(ToSchema)]
pub(crate) struct ParkedItem {
    /// Shard and position.
    #[schema(example = "0-1042")]
    id: String,
    shard: u16,
    position: u64,
    stream: String,
    version: u64,
    /// Null, as the event, if that is hidden or deleted by now.
    #[schema(rename = "type")]
    r#type: Option<String>,
    attempts: u32,
    /// What was said of it last.
    reason: String,
    #[schema(format = "date-time")]
    parked_at: String,
    event: Option<Event>,
}

/// Which parked events; all without it.
#[derive(ToSchema)]
pub(crate) struct ParkedRequest {
    /// Ids of parked events; a number is a position of shard 0.
    #[schema(max_items = 10_000, example = json!(["0-1042"]))]
    events: Option<Vec<Value>>,
}

/// How many are given out again.
#[derive(ToSchema)]
pub(crate) struct ReplayAnswer {
    replayed: u64,
}

/// How many count as done.
#[derive(ToSchema)]
pub(crate) struct SkipAnswer {
    skipped: u64,
}
