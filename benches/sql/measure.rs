//! What is measured, and how.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use factum::Database;
use factum::database::Durability;
use factum::database::EventId;
use factum::database::ExpectedVersion;
use factum::database::Format;
use factum::database::Kind;
use factum::database::NewEvent;
use factum::database::Options;
use factum::database::SqlQuery;
use factum::database::StreamAppend;
use factum::database::StreamName;
use factum::database::Timestamp;
use factum::database::TransactionRequest;
use flate2::read::GzDecoder;
use futures::StreamExt;
use serde_json::Value as Json;

pub(crate) fn main() {
    // Asked for by `cargo test --benches`, which only wants to know that it runs.
    let is_trial = std::env::args().any(|argument| argument == "--test");
    let events =
        std::env::var("EVENTS").map_or(if is_trial { 2_000 } else { 1_000_000 }, |events| events.parse().expect("EVENTS is a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure(events));
}

async fn measure(events: usize) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut options = Options::new(folder.path());
    options.durability = Durability::Relaxed;
    options.sql.time = Duration::from_mins(10);
    let database = Database::open(options).await.expect("opens");
    let began = Instant::now();
    fill(&database, events).await;
    println!("{events} events appended in {:?}", began.elapsed());
    let log = [
        ("three columns", "select type, count(*), max(version), min(recorded_at) from events group by type"),
        ("one column", "select count(distinct type) from events"),
        ("no column", "select count(*) from events"),
        ("a typed column", "select type, sum(amount), count(*) from declaration group by type"),
        ("a typed column, again", "select type, sum(amount), count(*) from declaration group by type"),
        ("a JSON function", "select sum(json_get_float(data, 'amount')) from events"),
        ("a rare type", "select count(*) from events where type = 'DeclarationSavedByEmployee'"),
        ("a fifth of the time", "select count(*) from events where position between 100 and 100 + (select max(position) from events) / 5"),
    ];
    println!("\nthe log alone");
    report(&database, events, &log).await;
    latency(&database).await;
    export(&database, folder.path()).await;
    println!("\nParquet, and the log behind it");
    report(&database, events, &log).await;
    latency(&database).await;
    database.close().await.expect("closes");
}

async fn report(database: &Database, events: usize, queries: &[(&str, &str)]) {
    for (what, text) in queries {
        let mut best = Duration::MAX;
        for _round in 0..5 {
            let began = Instant::now();
            run(database, text).await;
            best = best.min(began.elapsed());
        }
        println!("{what:24} {:9.1} ms {:12.0} events/s", best.as_secs_f64() * 1e3, events as f64 / best.as_secs_f64());
    }
}

/// Short questions, warm.
async fn latency(database: &Database) {
    let stream = run(database, "select min(stream) from events").await;
    for (what, text) in [
        ("one stream", format!("select * from events where stream = '{stream}' order by version")),
        ("one stream, typed", format!("select version, amount from declaration where stream = '{stream}'")),
        ("the newest twenty", "select * from events order by position desc limit 20".to_owned()),
        ("any ten", "select * from events limit 10".to_owned()),
    ] {
        let mut times = Vec::new();
        for _round in 0..200 {
            let began = Instant::now();
            run(database, &text).await;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        println!("{what:24} p50 {:7.2} ms   p99 {:7.2} ms", times[100].as_secs_f64() * 1e3, times[197].as_secs_f64() * 1e3);
    }
}

/// Reads an answer to its end; gives its first value.
async fn run(database: &Database, text: &str) -> String {
    let mut answer = database.sql(SqlQuery { text: text.to_owned(), ..SqlQuery::default() }).await.expect("an answer");
    let mut first = String::new();
    while let Some(batch) = answer.next().await {
        let batch = batch.expect("rows");
        if first.is_empty() && batch.num_columns() > 0 {
            first = arrow::util::display::array_value_to_string(batch.column(0), 0).expect("a value");
        }
    }
    first
}

async fn export(database: &Database, folder: &Path) {
    let document = serde_json::json!({ "flush_seconds": 3600 }).to_string();
    database.define(Kind::Export, "lake", Format::Json, &document, false).await.expect("a definition");
    let began = Instant::now();
    let (is_done, status) = database.flush_export("lake", Duration::from_mins(30)).await.expect("it is published");
    let (rows, bytes) = status.files.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "\nexported {rows} events in {seconds:.1} s ({:.0} events/s, {:.1} bytes each, {} files, done: {is_done}) below {}",
        rows as f64 / seconds,
        bytes as f64 / rows.max(1) as f64,
        status.files.len(),
        folder.display()
    );
}

/// Appends the real data again and again, each time as other streams with other ids, in large transactions.
async fn fill(database: &Database, events: usize) {
    let file = std::fs::read("tests/data/domestic-declarations.ndjson.gz").expect("the data is there");
    let lines: Vec<(String, NewEvent)> =
        BufReader::new(GzDecoder::new(&file[..])).lines().map(|line| event(&line.expect("text"))).collect();
    let mut left = events;
    let mut round = 0_u128;
    while left > 0 {
        for portion in lines[..left.min(lines.len())].chunks(5_000) {
            let mut appends: Vec<StreamAppend> = Vec::new();
            for run in portion.chunk_by(|one, other| one.0 == other.0) {
                let stream = StreamName::new(&format!("{}r{round}", run[0].0)).expect("a name");
                let shifted = |event: &NewEvent| {
                    let id = u128::from_be_bytes(*event.id.as_bytes()).wrapping_add(round << 64);
                    NewEvent { id: EventId::from_bytes(id.to_be_bytes()), ..event.clone() }
                };
                let events = run.iter().map(|(_, event)| shifted(event)).collect();
                appends.push(StreamAppend { stream, expected: ExpectedVersion::Any, events });
            }
            let mut seen = std::collections::HashSet::new();
            // A transaction names each stream once.
            while !appends.is_empty() {
                seen.clear();
                let split = appends.iter().position(|append| !seen.insert(append.stream.clone())).unwrap_or(appends.len());
                let later = appends.split_off(split);
                let transaction = TransactionRequest { appends, ..TransactionRequest::default() };
                database.transact(transaction).await.expect("appends");
                appends = later;
            }
        }
        left -= left.min(lines.len());
        round += 1;
    }
}

fn event(line: &str) -> (String, NewEvent) {
    let line: Json = serde_json::from_str(line).expect("JSON");
    let text = |name: &str| line[name].as_str().expect("text");
    let occurred_at: jiff::Timestamp = text("occurred_at").parse().expect("a time");
    let id: uuid::Uuid = text("id").parse().expect("an id");
    let event = NewEvent {
        id: EventId::from_bytes(id.into_bytes()),
        id_is_fresh: false,
        event_type: text("type").into(),
        schema_version: 1,
        occurred_at: Some(Timestamp::from_micros(occurred_at.as_microsecond())),
        tags: Vec::new(),
        metadata: Bytes::from(line["metadata"].to_string()),
        data: Bytes::from(line["data"].to_string()),
    };
    (text("stream").to_owned(), event)
}
