//! The real data, repeated as often as it takes.

use std::collections::HashSet;
use std::io::BufRead;
use std::io::BufReader;

use bytes::Bytes;
use factum::Database;
use factum::database::EventId;
use factum::database::ExpectedVersion;
use factum::database::NewEvent;
use factum::database::StreamAppend;
use factum::database::StreamName;
use factum::database::Timestamp;
use factum::database::TransactionRequest;
use flate2::read::GzDecoder;
use serde_json::Value as Json;

/// Stream, event and length of each line of the real data.
pub(crate) fn real_data() -> Vec<(String, NewEvent, usize)> {
    let file = std::fs::read("tests/data/domestic-declarations.ndjson.gz").expect("the data is there");
    let lines = BufReader::new(GzDecoder::new(&file[..])).lines();
    lines
        .map(|line| {
            let line = line.expect("text");
            let (stream, event) = event(&line);
            (stream, event, line.len() + 1)
        })
        .collect()
}

/// Appends the real data again and again, each time as other streams with other ids, in large transactions.
pub(crate) async fn fill(database: &Database, lines: &[(String, NewEvent, usize)], events: usize) {
    let mut left = events;
    let mut round = u128::from(database.end().positions()[0].get());
    while left > 0 {
        for portion in lines[..left.min(lines.len())].chunks(5_000) {
            let mut appends: Vec<StreamAppend> = Vec::new();
            for run in portion.chunk_by(|one, other| one.0 == other.0) {
                let stream = StreamName::new(&format!("{}r{round}", run[0].0)).expect("a name");
                let shifted = |event: &NewEvent| {
                    let id = u128::from_be_bytes(*event.id.as_bytes()).wrapping_add(round << 64);
                    NewEvent { id: EventId::from_bytes(id.to_be_bytes()), ..event.clone() }
                };
                let events = run.iter().map(|(_, event, _)| shifted(event)).collect();
                appends.push(StreamAppend { stream, expected: ExpectedVersion::Any, events });
            }
            // A transaction names each stream once.
            while !appends.is_empty() {
                let mut seen = HashSet::new();
                let split = appends.iter().position(|append| !seen.insert(append.stream.clone())).unwrap_or(appends.len());
                let later = appends.split_off(split);
                database.transact(TransactionRequest { appends, conditions: Vec::new() }).await.expect("appends");
                appends = later;
            }
        }
        left -= left.min(lines.len());
        round += 1;
    }
}

fn event(line: &str) -> (String, NewEvent) {
    let json: Json = serde_json::from_str(line).expect("JSON");
    let text = |name: &str| json[name].as_str().expect("a text").to_owned();
    let id: uuid::Uuid = text("id").parse().expect("a UUID");
    let occurred_at: jiff::Timestamp = text("occurred_at").parse().expect("a time");
    let bytes = |name: &str| Bytes::from(json[name].to_string());
    let event = NewEvent {
        id: EventId::from_bytes(*id.as_bytes()),
        id_is_fresh: false,
        event_type: text("type").into(),
        schema_version: 1,
        occurred_at: Some(Timestamp::from_micros(occurred_at.as_microsecond())),
        tags: Vec::new(),
        metadata: bytes("metadata"),
        data: bytes("data"),
    };
    (text("stream"), event)
}
