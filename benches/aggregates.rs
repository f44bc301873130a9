//! What do states, commands and schemas cost? `cargo bench --bench aggregates -- fold` picks a group: fold, state, command, schema.
//!
//! Expected numbers are for the 2-core machine of `docs/performance.md`. Figures compare only within one run.

use std::future::Future;
use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use factum::Database;
use factum::database::At;
use factum::database::CommandRequest;
use factum::database::Durability;
use factum::database::EventId;
use factum::database::ExpectedVersion;
use factum::database::Format;
use factum::database::Kind;
use factum::database::NewEvent;
use factum::database::Options;
use factum::database::StreamAppend;
use factum::database::StreamName;
use factum::database::Version;
use serde_json::Value;
use tokio::runtime::Runtime;

const MODULE: &str = r#"
export const initial = { status: "new", amount: 0, rejections: 0 };
export const snapshotEvery = EVERY;
export const evolve = {
  Submitted: (state, event) => ({ ...state, status: "submitted", amount: event.data.amount ?? state.amount }),
  Rejected:  (state, event) => ({ ...state, status: "rejected", rejections: state.rejections + 1 }),
  Paid:      (state, event) => ({ ...state, status: "paid", paid_at: event.occurred_at }),
};
export const decide = {
  reject: (state, command) => {
    if (state.amount < 0) throw new Rejection("negative", "it is negative");
    return [{ type: "Rejected", data: { by: command.by } }];
  },
  look: (state, command) => [],
};
"#;

type Group = fn(&Runtime) -> Vec<String>;

#[expect(clippy::print_stdout, reason = "the figures")]
fn main() {
    // Cargo adds flags of its own.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let groups: [(&str, Group); 4] = [("fold", fold), ("state", state), ("command", command), ("schema", schema)];
    for (name, run) in groups {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            for line in run(&runtime) {
                println!("{name}: {line}");
            }
        }
    }
}

/// 100,000 events from the first to the last, without a snapshot: merge patch 1 M events/s, JavaScript 200,000 events/s.
fn fold(runtime: &Runtime) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = runtime.block_on(open(directory.path(), Durability::Relaxed));
    let mut lines = Vec::new();
    runtime.block_on(async {
        define(&database, "merged", Format::Json, r#"{"evolve":"merge","snapshot_every":1000000}"#).await;
        define(&database, "scripted", Format::Javascript, &MODULE.replace("EVERY", "1000000")).await;
        for category in ["merged", "scripted"] {
            fill(&database, &format!("{category}-1"), EVENTS).await;
            for _ in 0..5 {
                let started = Instant::now();
                // Not the head, whose state would be at hand the next time.
                let (state, _) = database.aggregate(category, "1", At::Version(Version::new(EVENTS - 1))).await.expect("folds");
                assert_eq!(state.events_replayed, EVENTS - 1);
                let rate = EVENTS as f64 / started.elapsed().as_secs_f64();
                lines.push(format!("{category}: {rate:.0} events/s"));
            }
        }
        database.close().await.expect("closes");
    });
    lines
}

/// An aggregate with 100,000 events and snapshots every 100: warm p99 0.1 ms, first after opening 1 ms.
fn state(runtime: &Runtime) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    runtime.block_on(async {
        let database = open(directory.path(), Durability::Relaxed).await;
        define(&database, "scripted", Format::Javascript, &MODULE.replace("EVERY", "100")).await;
        fill(&database, "scripted-1", EVENTS).await;
        let newest = || async {
            let listed = database.aggregate_snapshots("scripted", "1").await.expect("lists");
            listed.last().is_some_and(|snapshot| snapshot.version.get() == EVENTS)
        };
        while !newest().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut lines = Vec::new();
        let asked = async |at| black_box(database.aggregate("scripted", "1", at).await.expect("is there"));
        lines.push(format!("at hand: {}", latencies(5_000, || asked(At::Head)).await));
        let mut number = EVENTS;
        let mut after_append = Vec::new();
        for _ in 0..2_000 {
            number += 1;
            append(&database, "scripted-1", vec![event(number)]).await;
            let started = Instant::now();
            asked(At::Head).await;
            after_append.push(started.elapsed());
        }
        lines.push(format!("after an append: {}", percentiles(after_append)));
        let mut turn = 0;
        let past = latencies(1_000, || {
            turn = (turn + 7919) % EVENTS;
            asked(At::Version(Version::new(turn + 1)))
        });
        lines.push(format!("any version: {}", past.await));
        database.close().await.expect("closes");
        let mut cold = Vec::new();
        for _ in 0..50 {
            let database = open(directory.path(), Durability::Relaxed).await;
            let started = Instant::now();
            let (state, _) = database.aggregate("scripted", "1", At::Head).await.expect("is there");
            cold.push(started.elapsed());
            assert!(state.events_replayed < 100);
            database.close().await.expect("closes");
        }
        lines.push(format!("first after opening: {}", percentiles(cold)));
        lines
    })
}

/// One client waits for a sync each time; a command that makes no event shows what the script and the way to it take: 20 µs.
fn command(runtime: &Runtime) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    runtime.block_on(async {
        let database = open(directory.path(), Durability::Strict).await;
        define(&database, "scripted", Format::Javascript, &MODULE.replace("EVERY", "100")).await;
        fill(&database, "scripted-0", 10).await;
        let ask = |id: u64, command: &str| CommandRequest {
            category: "scripted".to_owned(),
            id: id.to_string(),
            command: command.to_owned(),
            input: Bytes::from_static(b"{\"by\":\"somebody\"}"),
            ..CommandRequest::default()
        };
        let look = latencies(5_000, || async { black_box(database.command(ask(0, "look")).await.expect("is decided")) }).await;
        let reject = latencies(2_000, || async { black_box(database.command(ask(0, "reject")).await.expect("is decided")) }).await;
        let mut lines = vec![format!("no event: {look}"), format!("one event, 1 task: {reject}")];
        let (tasks, each) = (64_u64, 400_u64);
        let started = Instant::now();
        let mut running = tokio::task::JoinSet::new();
        for task in 0..tasks {
            let (database, requests) =
                (database.clone(), (0..each).map(|number| ask(task * 10 + number % 10, "reject")).collect::<Vec<_>>());
            running.spawn(async move {
                for request in requests {
                    database.command(request).await.expect("is decided");
                }
            });
        }
        while let Some(done) = running.join_next().await {
            done.expect("no task panics");
        }
        lines.push(format!("one event, {tasks} tasks: {:.0} commands/s", (tasks * each) as f64 / started.elapsed().as_secs_f64()));
        database.close().await.expect("closes");
        lines
    })
}

/// Appends of the real data in batches of 100, with and without a schema for each type: under 10 % between the two.
fn schema(runtime: &Runtime) -> Vec<String> {
    let mut text = String::new();
    let packed: &[u8] = include_bytes!("../tests/data/domestic-declarations.ndjson.gz");
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("the data unpacks");
    let events: Vec<NewEvent> = text.lines().map(real_event).collect();
    let mut types: Vec<String> = events.iter().map(|event| event.event_type.to_string()).collect();
    types.sort();
    types.dedup();
    let mut lines = Vec::new();
    for durability in [Durability::Relaxed, Durability::Strict] {
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..5 {
            for (with_schemas, rates) in rates.iter_mut().enumerate() {
                let directory = tempfile::tempdir().expect("a temporary directory");
                rates.push(runtime.block_on(async {
                    let database = open(directory.path(), durability).await;
                    for event_type in types.iter().filter(|_| with_schemas == 1) {
                        let name = format!("{event_type}/1");
                        database.define(Kind::Schema, &name, Format::Json, REAL_SCHEMA, false).await.expect("is a schema");
                    }
                    let started = Instant::now();
                    for batch in events.chunks(100) {
                        append(&database, "real-1", batch.to_vec()).await;
                    }
                    let rate = events.len() as f64 / started.elapsed().as_secs_f64();
                    database.close().await.expect("closes");
                    rate
                }));
            }
        }
        let [without, with] = rates.map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            rates.get(rates.len() / 2).copied().unwrap_or_default()
        });
        lines.push(format!(
            "{durability:?}: {without:.0} events/s without, {with:.0} with schemas ({:+.1} %)",
            (with / without - 1.0) * 100.0
        ));
    }
    lines
}

const REAL_SCHEMA: &str = r#"{"schema": {
    "type": "object",
    "properties": {
        "amount": {"type": "number", "minimum": 0},
        "resource": {"type": "string", "minLength": 1},
        "role": {"type": "string", "maxLength": 100}
    }
}}"#;

fn real_event(line: &str) -> NewEvent {
    let value: Value = serde_json::from_str(line).expect("a line is JSON");
    NewEvent {
        id: EventId::from_bytes(*uuid::Uuid::now_v7().as_bytes()),
        id_is_fresh: true,
        event_type: value["type"].as_str().unwrap_or_default().into(),
        schema_version: 0,
        occurred_at: None,
        tags: Vec::new(),
        metadata: Bytes::new(),
        data: value["data"].to_string().into(),
    }
}

fn event(number: u64) -> NewEvent {
    let (event_type, data) = match number % 3 {
        0 => ("Paid", r#"{"method":"transfer","resource":"SYSTEM","role":"UNDEFINED"}"#.to_owned()),
        1 => ("Submitted", format!(r#"{{"amount":{number}.25,"resource":"STAFF MEMBER","role":"EMPLOYEE","budget":"budget 86566"}}"#)),
        _ => ("Rejected", r#"{"by":"STAFF MEMBER","reason":"a receipt is missing","role":"ADMINISTRATION"}"#.to_owned()),
    };
    NewEvent {
        id: EventId::from_bytes(*uuid::Uuid::now_v7().as_bytes()),
        id_is_fresh: true,
        event_type: event_type.into(),
        schema_version: 0,
        occurred_at: None,
        tags: Vec::new(),
        metadata: Bytes::new(),
        data: data.into(),
    }
}

async fn open(directory: &Path, durability: Durability) -> Database {
    Database::open(Options { durability, ..Options::new(directory) }).await.expect("opens")
}

async fn define(database: &Database, category: &str, format: Format, text: &str) {
    database.define(Kind::Aggregate, category, format, text, false).await.expect("is a definition");
}

async fn append(database: &Database, stream: &str, events: Vec<NewEvent>) {
    let stream = StreamName::new(stream).expect("a name");
    database.append(StreamAppend { stream, expected: ExpectedVersion::Any, events }).await.expect("appends");
}

async fn fill(database: &Database, stream: &str, count: u64) {
    for start in (1..=count).step_by(1_000) {
        append(database, stream, (start..start + 1_000.min(count)).map(event).collect()).await;
    }
}

async fn latencies<T, F: Future<Output = T>>(times: usize, mut work: impl FnMut() -> F) -> String {
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let started = Instant::now();
        black_box(work().await);
        taken.push(started.elapsed());
    }
    percentiles(taken)
}

fn percentiles(mut taken: Vec<Duration>) -> String {
    taken.sort();
    let at = |part: usize| taken.get(taken.len() * part / 100).or(taken.last()).copied().unwrap_or_default().as_secs_f64() * 1e6;
    format!("p50 {:.0} µs, p99 {:.0} µs, max {:.0} µs", at(50), at(99), at(100))
}

const EVENTS: u64 = 100_000;
