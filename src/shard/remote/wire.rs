//! What do requests to another server look like, and its answers? The contract that every client has.

use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use factum_storage as storage;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use serde_json::value::RawValue;
use storage::EventId;
use storage::ExpectedVersion;
use storage::FailedCheck;
use storage::NewEvent;
use storage::Position;
use storage::RecordedEvent;
use storage::Retention;
use storage::StreamInfo;
use storage::StreamName;
use storage::Timestamp;
use storage::Transaction;
use storage::Version;
use uuid::Uuid;

/// An event as it is read.
#[derive(Deserialize)]
pub(super) struct EventWire<'a> {
    id: Uuid,
    stream: String,
    version: u64,
    #[serde(rename = "type")]
    event_type: String,
    schema_version: u16,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    metadata: &'a RawValue,
    tags: Vec<String>,
    occurred_at: String,
    recorded_at: String,
    position: u64,
}

impl EventWire<'_> {
    /// The event that it is.
    pub(super) fn event(self) -> Result<RecordedEvent, String> {
        let recorded_at = time(&self.recorded_at)?;
        let stream = StreamName::new(&self.stream).map_err(|fault| fault.to_string())?;
        let metadata = self.metadata.get();
        let event = NewEvent {
            id: EventId::from_bytes(*self.id.as_bytes()),
            id_is_fresh: false,
            event_type: self.event_type.into(),
            schema_version: self.schema_version,
            // Whoever has not said when it happened is told when it was recorded.
            occurred_at: Some(time(&self.occurred_at)?).filter(|occurred_at| *occurred_at != recorded_at),
            tags: self.tags.into_iter().map(Arc::from).collect(),
            metadata: if metadata == "{}" { Bytes::new() } else { Bytes::copy_from_slice(metadata.as_bytes()) },
            data: Bytes::copy_from_slice(self.data.get().as_bytes()),
        };
        let place = (Position::new(self.position), Version::new(self.version));
        RecordedEvent::of_another_log(place, recorded_at, &stream, &event).map_err(|error| error.to_string())
    }
}

/// A page of the log.
#[derive(Deserialize)]
pub(super) struct EventsPage<'a> {
    #[serde(borrow)]
    pub(super) events: Vec<EventWire<'a>>,
    pub(super) next: Option<String>,
    pub(super) cursor: String,
}

/// A page of a stream.
#[derive(Deserialize)]
pub(super) struct StreamPage<'a> {
    #[serde(borrow)]
    pub(super) events: Vec<EventWire<'a>>,
    pub(super) next: Option<u64>,
}

/// A line of a feed: an event, or a word about the feed.
#[derive(Deserialize)]
pub(super) struct Mark {
    #[serde(rename = "$caught_up")]
    pub(super) caught_up: Option<CaughtUp>,
    #[serde(rename = "$error")]
    pub(super) error: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct CaughtUp {
    pub(super) cursor: String,
}

/// A stream.
#[derive(Deserialize)]
pub(super) struct StreamWire {
    stream: String,
    version: u64,
    first_version: Option<u64>,
    created_at: Option<String>,
    updated_at: String,
}

impl StreamWire {
    /// What it says of the stream. Where its last event stands, and its retention, nobody asks of a shard elsewhere.
    pub(super) fn info(self) -> Result<StreamInfo, String> {
        let updated_at = time(&self.updated_at)?;
        Ok(StreamInfo {
            stream: StreamName::new(&self.stream).map_err(|fault| fault.to_string())?,
            version: Version::new(self.version),
            first_version: Version::new(self.first_version.unwrap_or(1)),
            last_position: Position::ZERO,
            created_at: self.created_at.as_deref().map_or(Ok(updated_at), time)?,
            updated_at,
            is_deleted: false,
            is_tombstoned: false,
            retention: Retention::default(),
        })
    }
}

/// A listing of streams, categories or types.
#[derive(Deserialize)]
pub(super) struct Listing<T> {
    #[serde(alias = "streams", alias = "categories", alias = "types")]
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct CategoryWire {
    pub(super) category: String,
    pub(super) streams: u64,
    pub(super) events: u64,
}

#[derive(Deserialize)]
pub(super) struct TypeWire {
    #[serde(rename = "type")]
    pub(super) event_type: String,
    pub(super) events: u64,
}

/// The shards of a server.
#[derive(Deserialize)]
pub(super) struct ShardsWire {
    pub(super) shards: Vec<ShardWire>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ShardWire {
    pub(super) log_id: String,
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) position: u64,
    pub(super) streams: u64,
    pub(super) bytes: u64,
    pub(super) index_bytes: u64,
    pub(super) queued_appends: usize,
}

/// What a transaction got.
#[derive(Deserialize)]
pub(super) struct Committed {
    pub(super) appends: Vec<CommittedAppend>,
    pub(super) position: u64,
}

#[derive(Deserialize)]
pub(super) struct CommittedAppend {
    pub(super) stream: String,
    pub(super) first_version: u64,
    pub(super) last_version: u64,
}

/// An event as it is sent.
#[derive(Serialize)]
struct NewEventWire<'a> {
    id: Uuid,
    #[serde(rename = "type")]
    event_type: &'a str,
    schema_version: u16,
    data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<String>,
}

#[derive(Serialize)]
struct AppendWire<'a> {
    stream: &'a str,
    expected_version: Value,
    events: Vec<NewEventWire<'a>>,
}

#[derive(Serialize)]
struct TransactionWire<'a> {
    appends: Vec<AppendWire<'a>>,
    conditions: Vec<Value>,
}

/// The body of a transaction.
pub(super) fn transaction(transaction: &Transaction) -> Result<Vec<u8>, String> {
    let mut appends = Vec::with_capacity(transaction.appends.len());
    for append in &transaction.appends {
        let expected_version = match append.expected {
            ExpectedVersion::Any => json!("any"),
            ExpectedVersion::Exists => json!("exists"),
            ExpectedVersion::Exact(version) => json!(version.get()),
        };
        let events = append.events.iter().map(new_event).collect::<Result<_, _>>()?;
        appends.push(AppendWire { stream: append.stream.as_str(), expected_version, events });
    }
    let conditions = transaction.conditions.iter().map(|condition| {
        let items: Vec<Value> =
            condition.query.iter().map(|item| json!({ "types": texts(&item.types), "tags": texts(&item.tags) })).collect();
        json!({ "query": items, "after": condition.after.get().to_string() })
    });
    serde_json::to_vec(&TransactionWire { appends, conditions: conditions.collect() }).map_err(|error| error.to_string())
}

/// The body of a stream's retention.
pub(super) fn retention(retention: Retention) -> Value {
    json!({
        "max_count": retention.max_count,
        "max_age": retention.max_age_us.map(|age| format!("{age}us")),
        "before_version": retention.before_version.map(Version::get),
    })
}

fn texts(texts: &[Arc<str>]) -> Vec<&str> {
    texts.iter().map(|text| &**text).collect()
}

fn new_event(event: &NewEvent) -> Result<NewEventWire<'_>, String> {
    Ok(NewEventWire {
        id: Uuid::from_bytes(*event.id.as_bytes()),
        event_type: &event.event_type,
        schema_version: event.schema_version,
        data: raw(&event.data)?,
        metadata: if event.metadata.is_empty() { None } else { Some(raw(&event.metadata)?) },
        tags: texts(&event.tags),
        occurred_at: event.occurred_at.map(text_of_time).transpose()?,
    })
}

/// JSON as it lies.
fn raw(json: &[u8]) -> Result<&RawValue, String> {
    serde_json::from_slice(json).map_err(|error| format!("what is to be sent is no JSON: {error}"))
}

fn time(text: &str) -> Result<Timestamp, String> {
    let time = jiff::Timestamp::from_str(text).map_err(|error| error.to_string())?;
    Ok(Timestamp::from_micros(time.as_microsecond()))
}

/// A time as requests have it.
pub(super) fn text_of_time(time: Timestamp) -> Result<String, String> {
    jiff::Timestamp::from_microsecond(time.as_micros()).map(|time| time.to_string()).map_err(|error| error.to_string())
}

/// A cursor of a server with one shard.
pub(super) fn position(cursor: &str) -> Result<Position, String> {
    cursor.parse().map(Position::new).map_err(|_| format!("{cursor:?} is no position"))
}

/// The stream that a refusal is about.
pub(super) fn stream(members: &Map<String, Value>) -> Option<StreamName> {
    StreamName::new(members.get("stream")?.as_str()?).ok()
}

/// Where the id is that was used before.
pub(super) fn reused(members: &Map<String, Value>) -> Option<storage::Error> {
    let position = Position::new(members.get("position")?.as_u64()?);
    Some(storage::Error::EventIdReused { id: id(members, "event_id")?, position })
}

/// The checks that did not hold.
pub(super) fn failed_checks(members: &Map<String, Value>) -> Option<Arc<[FailedCheck]>> {
    members.get("failed")?.as_array()?.iter().map(|failed| failed_check(failed.as_object()?)).collect()
}

fn failed_check(failed: &Map<String, Value>) -> Option<FailedCheck> {
    let number = |name: &str| failed.get(name)?.as_u64();
    match failed.get("kind")?.as_str()? {
        "version" => Some(FailedCheck::Version {
            stream: stream(failed)?,
            expected: match failed.get("expected_version")?.as_str() {
                Some("exists") => ExpectedVersion::Exists,
                Some(_) => ExpectedVersion::Any,
                None => ExpectedVersion::Exact(Version::new(number("expected_version")?)),
            },
            actual: Version::new(number("actual_version")?),
        }),
        "condition" => Some(FailedCheck::Condition {
            index: usize::try_from(number("index")?).ok()?,
            position: Position::new(number("position")?),
            event_id: id(failed, "event_id")?,
        }),
        _ => None,
    }
}

fn id(members: &Map<String, Value>, name: &str) -> Option<EventId> {
    let id: Uuid = members.get(name)?.as_str()?.parse().ok()?;
    Some(EventId::from_bytes(*id.as_bytes()))
}
