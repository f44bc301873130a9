//! What is measured, and how.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use factum::Database;
use factum::database::Durability;
use factum::database::EventId;
use factum::database::ExpectedVersion;
use factum::database::ExportStatus;
use factum::database::Format;
use factum::database::Kind;
use factum::database::NewEvent;
use factum::database::Options;
use factum::database::SqlQuery;
use factum::database::StreamAppend;
use factum::database::StreamName;
use futures::StreamExt;

use crate::data::fill;
use crate::data::real_data;

pub(crate) fn main() {
    // Asked for by `cargo test --benches`, which only wants to know that it runs.
    let is_trial = std::env::args().any(|argument| argument == "--test");
    let events =
        std::env::var("EVENTS").map_or(if is_trial { 2_000 } else { 1_000_000 }, |events| events.parse().expect("EVENTS is a number"));
    let seconds = if is_trial { 1 } else { 10 };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure(events, Duration::from_secs(seconds)));
}

async fn measure(events: usize, time: Duration) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let options = Options { durability: Durability::Relaxed, ..Options::new(folder.path()) };
    let database = Database::open(options).await.expect("opens");
    let lines = real_data();
    let raw_bytes: usize = lines.iter().map(|(_, _, line_bytes)| line_bytes).sum();
    fill(&database, &lines, lines.len().min(events)).await;
    let status = export(&database, "once").await;
    told("the real data once", &status, Duration::ZERO);
    println!("raw JSON: {:.1} bytes an event", raw_bytes as f64 / lines.len() as f64);
    database.remove_export("once", true).await.expect("ends");
    fill(&database, &lines, events).await;
    let began = Instant::now();
    let status = export(&database, "all").await;
    told("from the beginning", &status, began.elapsed());
    for round in 1..=ROUNDS {
        let alone = appends(&database, time).await;
        println!("round {round}: appends of 64 tasks, nothing else: {alone:.0} events/s");
        let over = Arc::new(AtomicBool::new(false));
        let exporting = tokio::spawn(again_and_again(database.clone(), Arc::clone(&over)));
        let beside = appends(&database, time).await;
        let querying = tokio::spawn(query_again_and_again(database.clone(), Arc::clone(&over)));
        let beside_both = appends(&database, time).await;
        over.store(true, Ordering::SeqCst);
        let (exports, queries) = (exporting.await.expect("exports"), querying.await.expect("queries"));
        let part = |rate: f64| 100.0 * rate / alone;
        println!("round {round}: beside exports ({exports} from the beginning): {beside:.0} events/s, {:.0} %", part(beside));
        println!("round {round}: beside exports and heavy queries ({queries}): {beside_both:.0} events/s, {:.0} %", part(beside_both));
    }
    database.close().await.expect("closes");
}

/// Sorts, groups and looks into the JSON of all events, until it is over.
async fn query_again_and_again(database: Database, over: Arc<AtomicBool>) -> usize {
    let text = "select stream, count(*), sum(length(data)), max(data->>'amount') from events group by stream order by 3 desc, 1 limit 10";
    let mut queries = 0;
    while !over.load(Ordering::SeqCst) {
        let answer = database.sql(SqlQuery { text: text.to_owned(), ..SqlQuery::default() }).await.expect("a query");
        answer.for_each(|batch| async move { drop(batch.expect("rows")) }).await;
        queries += 1;
    }
    queries
}

/// Defines an export, and waits until everything is in its files.
async fn export(database: &Database, name: &str) -> ExportStatus {
    let document = serde_json::json!({ "flush_seconds": 3600 }).to_string();
    database.define(Kind::Export, name, Format::Json, &document, false).await.expect("a definition");
    let (is_done, status) = database.flush_export(name, Duration::from_mins(60)).await.expect("the lake answers");
    assert!(is_done, "not within an hour");
    status
}

async fn again_and_again(database: Database, over: Arc<AtomicBool>) -> usize {
    let mut rounds = 0;
    while !over.load(Ordering::SeqCst) {
        let name = format!("beside-{rounds}");
        export(&database, &name).await;
        database.remove_export(&name, true).await.expect("ends");
        rounds += 1;
    }
    rounds
}

fn told(what: &str, status: &ExportStatus, took: Duration) {
    let (rows, bytes) = status.files.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
    let pace = if took.is_zero() { String::new() } else { format!(", {:.0} events/s", rows as f64 / took.as_secs_f64()) };
    println!("{what}: {rows} events in {} files, {:.2} bytes an event{pace}", status.files.len(), bytes as f64 / rows.max(1) as f64);
}

/// Events a second of 64 tasks that append one event after the other, each to a stream of its own.
async fn appends(database: &Database, time: Duration) -> f64 {
    let began = Instant::now();
    let tasks: Vec<_> = (0..64_u128)
        .map(|task| {
            let database = database.clone();
            tokio::spawn(async move {
                let stream = StreamName::new(&format!("load-{task}")).expect("a name");
                let mut appended = 0_u128;
                while began.elapsed() < time {
                    let id = (1 << 127) | ((began.elapsed().as_nanos() & u128::from(u64::MAX)) << 32) | (task << 16) | (appended & 0xFFFF);
                    let event = NewEvent {
                        id: EventId::from_bytes(id.to_be_bytes()),
                        id_is_fresh: true,
                        event_type: "Loaded".into(),
                        schema_version: 1,
                        occurred_at: None,
                        tags: Vec::new(),
                        metadata: Bytes::new(),
                        data: Bytes::from_static(br#"{"amount":26.85,"by":"EMPLOYEE"}"#),
                    };
                    let append = StreamAppend { stream: stream.clone(), expected: ExpectedVersion::Any, events: vec![event] };
                    database.append(append).await.expect("appends");
                    appended += 1;
                }
                appended
            })
        })
        .collect();
    let mut total = 0;
    for task in tasks {
        total += task.await.expect("a task");
    }
    total as f64 / began.elapsed().as_secs_f64()
}

/// Alone and beside others, in turn: the machine is not the same from minute to minute.
const ROUNDS: usize = 3;
