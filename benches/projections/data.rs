//! What is projected: the declarations of `tests/data`, several times over, and two definitions that make the same rows of them.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use factum::Database;
use factum::database::Durability;
use factum::database::EventId;
use factum::database::ExpectedVersion;
use factum::database::Format;
use factum::database::Kind;
use factum::database::NewEvent;
use factum::database::Options;
use factum::database::StreamAppend;
use factum::database::StreamName;
use factum::database::Timestamp;
use factum::database::TransactionRequest;
use serde_json::Value;
use serde_json::json;

/// Where the URL of Postgres stands, if there is one.
pub(crate) const URL_ENV: &str = "FACTUM_POSTGRES_URL";

/// Where rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Embedded,
    Postgres,
}

impl Place {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Postgres => "postgres",
        }
    }

    /// Those that there are here.
    pub(crate) fn all() -> Vec<Self> {
        let postgres = std::env::var_os(URL_ENV).map(|_| Self::Postgres);
        [Self::Embedded].into_iter().chain(postgres).collect()
    }
}

const COLUMNS: &[(&str, &str)] = &[
    ("declaration", "text primary key"),
    ("status", "text index"),
    ("amount", "decimal(12,2)"),
    ("submitted_at", "timestamp"),
    ("paid_at", "timestamp"),
    ("approvals", "bigint default 0"),
    ("rejections", "bigint default 0"),
    ("budget", "text"),
];

/// What handlers say of declarations.
pub(crate) fn declared(place: Place) -> Value {
    let changed = |status: &str| json!({"key": "$.stream", "set": {"status": format!("'{status}'")}});
    let mut document = document(place);
    document["on"] = json!({
        "DeclarationSubmitted": {"key": "$.stream", "set": {
            "status": "'submitted'", "amount": "$.data.amount", "submitted_at": "$.occurred_at", "budget": "$.data.budget_number"}},
        "DeclarationSaved": changed("saved"),
        "DeclarationApproved": {"key": "$.stream", "set": {"status": "'approved'"}, "add": {"approvals": 1}},
        "DeclarationFinalApproved": {"key": "$.stream", "set": {"status": "'final'"}, "add": {"approvals": 1}},
        "DeclarationRejected": {"key": "$.stream", "set": {"status": "'rejected'"}, "add": {"rejections": 1}},
        "PaymentRequested": changed("requested"),
        "PaymentHandled": {"key": "$.stream", "set": {"status": "'paid'", "paid_at": "$.occurred_at"}},
    });
    document
}

/// The same as a module.
pub(crate) fn scripted(place: Place) -> Value {
    let mut document = document(place);
    document["script"] = Value::from(SCRIPT);
    document
}

const SCRIPT: &str = r#"
const add = (rows, key, column, status) => rows.upsert(key, { status, [column]: (rows.get(key)?.[column] ?? 0) + 1 });
export function project(event, rows) {
  const key = event.stream;
  switch (event.type) {
    case "DeclarationSubmitted":
      return rows.upsert(key, {
        status: "submitted", amount: event.data.amount ?? null, submitted_at: event.occurred_at, budget: event.data.budget_number ?? null });
    case "DeclarationSaved": return rows.upsert(key, { status: "saved" });
    case "DeclarationApproved": return add(rows, key, "approvals", "approved");
    case "DeclarationFinalApproved": return add(rows, key, "approvals", "final");
    case "DeclarationRejected": return add(rows, key, "rejections", "rejected");
    case "PaymentRequested": return rows.upsert(key, { status: "requested" });
    case "PaymentHandled": return rows.upsert(key, { status: "paid", paid_at: event.occurred_at });
  }
}
"#;

fn document(place: Place) -> Value {
    let columns: serde_json::Map<String, Value> = COLUMNS.iter().map(|(name, text)| ((*name).to_owned(), Value::from(*text))).collect();
    let target = match place {
        Place::Embedded => json!({"kind": "embedded"}),
        Place::Postgres => json!({"kind": "postgres", "url_env": URL_ENV}),
    };
    json!({"source": {"categories": ["declaration"]}, "target": target, "columns": columns})
}

pub(crate) async fn define(database: &Database, name: &str, document: &Value) {
    database.define(Kind::Projection, name, Format::Json, &document.to_string(), false).await.expect("is a definition");
}

pub(crate) async fn open(directory: &Path, durability: Durability) -> Database {
    Database::open(Options { durability, ..Options::new(directory) }).await.expect("opens")
}

/// The events of the file, in its order.
pub(crate) fn real() -> Vec<(String, NewEvent)> {
    let mut text = String::new();
    let packed: &[u8] = include_bytes!("../../tests/data/domestic-declarations.ndjson.gz");
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("the data unpacks");
    let event = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        let occurred_at: jiff::Timestamp = line["occurred_at"].as_str().and_then(|text| text.parse().ok()).expect("a time");
        let event = NewEvent {
            occurred_at: Some(Timestamp::from_micros(occurred_at.as_microsecond())),
            metadata: Bytes::from(line["metadata"].to_string()),
            data: Bytes::from(line["data"].to_string()),
            ..event(line["type"].as_str().unwrap_or_default(), "")
        };
        (line["stream"].as_str().unwrap_or_default().replace("declaration-", ""), event)
    };
    text.lines().map(event).collect()
}

/// Writes the file so many times, each to streams of its own. Answers how many events that makes.
pub(crate) async fn load(database: &Database, times: u64) -> u64 {
    let events = real();
    let mut count = 0;
    for time in 0..times {
        for chunk in events.chunks(1_000) {
            let append = |(stream, event): &(String, NewEvent)| StreamAppend {
                stream: name(&format!("declaration-{time}-{stream}")),
                expected: ExpectedVersion::Any,
                events: vec![NewEvent { id: id(), ..event.clone() }],
            };
            let appends = chunk.iter().map(append).collect();
            database.transact(TransactionRequest { appends, conditions: Vec::new() }).await.expect("appends");
            count += chunk.len() as u64;
        }
    }
    count
}

/// A new event.
pub(crate) fn event(event_type: &str, data: &'static str) -> NewEvent {
    NewEvent {
        id: id(),
        id_is_fresh: true,
        event_type: Arc::from(event_type),
        schema_version: 1,
        occurred_at: None,
        tags: Vec::new(),
        metadata: Bytes::new(),
        data: Bytes::from_static(data.as_bytes()),
    }
}

/// A new append of one event.
pub(crate) fn append(stream: &str, event: NewEvent) -> StreamAppend {
    StreamAppend { stream: name(stream), expected: ExpectedVersion::Any, events: vec![event] }
}

pub(crate) fn name(stream: &str) -> StreamName {
    StreamName::new(stream).expect("a name")
}

fn id() -> EventId {
    EventId::from_bytes(*uuid::Uuid::now_v7().as_bytes())
}
