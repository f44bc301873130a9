//! What do the tests of SQL begin with?

use std::io::BufRead;
use std::io::BufReader;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::ArrayFormatter;
use arrow::util::display::FormatOptions;
use bytes::Bytes;
use factum::Database;
use factum::Error;
use factum::database::Cursor;
use factum::database::EventId;
use factum::database::ExpectedVersion;
use factum::database::NewEvent;
use factum::database::Options;
use factum::database::SqlQuery;
use factum::database::StreamAppend;
use factum::database::StreamName;
use factum::database::Timestamp;
use flate2::read::GzDecoder;
use futures::StreamExt;
use serde_json::Value as Json;

pub(crate) async fn memory(shards: u16) -> Database {
    let options = Options { shards: Some(shards), ..Options::in_memory() };
    Database::open(options).await.expect("memory opens")
}

/// Rows as text, null as `∅`.
pub(crate) type Rows = Vec<Vec<String>>;

pub(crate) async fn query(database: &Database, text: &str) -> Result<Rows, Error> {
    query_with(database, text, Vec::new()).await
}

pub(crate) async fn query_with(database: &Database, text: &str, params: Vec<Json>) -> Result<Rows, Error> {
    let answer = database.sql(SqlQuery { text: text.to_owned(), params, ..SqlQuery::default() }).await?;
    let batches: Vec<Result<RecordBatch, Error>> = answer.collect().await;
    let batches: Result<Vec<RecordBatch>, Error> = batches.into_iter().collect();
    Ok(batches?.iter().flat_map(rows).collect())
}

/// The rows of a query that must have an answer.
pub(crate) async fn rows_of(database: &Database, text: &str) -> Rows {
    query(database, text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

/// The one value of a query that has one.
pub(crate) async fn value_of(database: &Database, text: &str) -> String {
    let rows = rows_of(database, text).await;
    assert!(rows.len() == 1 && rows[0].len() == 1, "{text}: {rows:?}");
    rows[0][0].clone()
}

pub(crate) fn rows(batch: &RecordBatch) -> Rows {
    let options = FormatOptions::default().with_null("∅");
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()).collect()
}

/// What the text of a refused query says.
pub(crate) async fn refusal(database: &Database, text: &str) -> String {
    match query(database, text).await {
        Err(Error::InvalidQuery { detail, .. }) => detail,
        other => panic!("{text}: {other:?}"),
    }
}

/// An id that only this number has.
pub(crate) fn id(number: u64) -> EventId {
    EventId::from_bytes(u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes())
}

pub(crate) fn event(number: u64, event_type: &str, data: &str) -> NewEvent {
    NewEvent {
        id: id(number),
        id_is_fresh: false,
        event_type: event_type.into(),
        schema_version: 1,
        occurred_at: None,
        tags: Vec::new(),
        metadata: Bytes::new(),
        data: Bytes::copy_from_slice(data.as_bytes()),
    }
}

pub(crate) async fn append(database: &Database, stream: &str, events: Vec<NewEvent>) -> Cursor {
    let append = StreamAppend { stream: StreamName::new(stream).unwrap(), expected: ExpectedVersion::Any, events };
    database.append(append).await.unwrap().cursor
}

/// One line of the real data, as an independent reader sees it.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) stream: String,
    pub(crate) event_type: String,
    pub(crate) occurred_at: Timestamp,
    pub(crate) data: Json,
    pub(crate) tags: Vec<String>,
    pub(crate) version: u64,
    text: String,
    metadata: String,
    id: EventId,
}

/// The first events of the real data. Every seventh stream is tagged by its role, so that there are tags.
pub(crate) fn facts(count: usize) -> Vec<Fact> {
    let file = std::fs::read("tests/data/domestic-declarations.ndjson.gz").unwrap();
    let lines = BufReader::new(GzDecoder::new(&file[..])).lines().take(count);
    let mut versions = std::collections::HashMap::new();
    let read = |line: std::io::Result<String>| {
        let line: Json = serde_json::from_str(&line.unwrap()).unwrap();
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let version = versions.entry(text("stream")).and_modify(|version| *version += 1).or_insert(1_u64);
        let role = line["data"]["role"].as_str().unwrap_or("none");
        Fact {
            stream: text("stream"),
            event_type: text("type"),
            occurred_at: Timestamp::from_micros(text("occurred_at").parse::<jiff::Timestamp>().unwrap().as_microsecond()),
            data: line["data"].clone(),
            tags: if *version % 2 == 0 { vec![format!("role:{role}"), format!("v:{version}")] } else { Vec::new() },
            version: *version,
            text: line["data"].to_string(),
            metadata: line["metadata"].to_string(),
            id: EventId::from_bytes(text("id").parse::<uuid::Uuid>().unwrap().into_bytes()),
        }
    };
    lines.map(read).collect()
}

/// Appends facts in their order, several of a stream at once where they follow each other.
pub(crate) async fn record(database: &Database, facts: &[Fact]) {
    for run in facts.chunk_by(|one, other| one.stream == other.stream) {
        let events = run.iter().map(|fact| NewEvent {
            id: fact.id,
            id_is_fresh: false,
            event_type: fact.event_type.as_str().into(),
            schema_version: 1,
            occurred_at: Some(fact.occurred_at),
            tags: fact.tags.iter().map(|tag| Arc::from(tag.as_str())).collect(),
            metadata: Bytes::copy_from_slice(fact.metadata.as_bytes()),
            data: Bytes::copy_from_slice(fact.text.as_bytes()),
        });
        append(database, &run[0].stream, events.collect()).await;
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Random(u64);

impl Random {
    /// From `SEED`, which is printed.
    pub(crate) fn seeded(default: u64) -> Self {
        let seed = std::env::var("SEED").map_or(default, |seed| seed.parse().expect("SEED is a number"));
        println!("SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
