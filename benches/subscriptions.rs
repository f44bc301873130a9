//! How much work does a consumer group hand out, and what do those cost who only wait?
//!
//! `cargo bench --bench subscriptions` prints all of it, `-- consume` or `-- idle` a part. Figures compare only within one run; expected
//! numbers are for the 2-core machine of `docs/performance.md`.

#![expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "a bench prints what it has measured")]

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use factum::Database;
use factum::database::After;
use factum::database::ConsumerOptions;
use factum::database::EventId;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::Format;
use factum::database::Kind;
use factum::database::NewEvent;
use factum::database::Options;
use factum::database::StreamAppend;
use factum::database::StreamName;
use futures::future::BoxFuture;
use futures::future::try_join_all;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| name.contains(wanted.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if is_wanted("consume") {
        consume(&runtime);
    }
    if is_wanted("idle") {
        idle(&runtime);
    }
}

/// The real events, shared by 4 consumers that acknowledge what they were given at once: 20,000 deliveries/s. Every acknowledgement is
/// synced, and those of all consumers share the syncs.
fn consume(runtime: &Runtime) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = runtime.block_on(open(directory.path()));
    let events = runtime.block_on(import(&database));
    for round in 0..3 {
        for ordering in ["stream", "none"] {
            for (batch, calls) in [(1, 1), (10, 1), (100, 1), (1, 64)] {
                let group = format!("{ordering}-{batch}-{calls}-{round}");
                runtime.block_on(define(&database, &group, &format!(r#"{{"ordering": "{ordering}"}}"#)));
                let taken = runtime.block_on(share(&database, &group, batch, calls, events));
                let rate = events as f64 / taken.as_secs_f64();
                println!("consume/ordering={ordering}/consumers=4/batch={batch}/calls={calls}: {rate:.0} deliveries/s acknowledged");
            }
        }
    }
    runtime.block_on(database.close()).expect("closes");
}

/// How long 4 consumers take for all events of a group, each with so many calls at once that acknowledge so many deliveries.
async fn share(database: &Database, group: &str, batch: usize, calls: usize, events: u64) -> Duration {
    let left = Arc::new(AtomicU64::new(events));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let (database, group, left) = (database.clone(), group.to_owned(), Arc::clone(&left));
        tasks.spawn(async move {
            let mut consumer = database.consume(&group, ConsumerOptions::default()).await.expect("the group works");
            while left.load(Ordering::Relaxed) > 0 {
                // Who gets nothing looks again whether all is done.
                let Ok(given) = tokio::time::timeout(Duration::from_millis(20), consumer.next_batch(batch * calls)).await else { continue };
                let ids: Vec<_> = given.expect("the group works").iter().map(|delivery| delivery.id).collect();
                let answers = try_join_all(ids.chunks(batch).map(|ids| database.acknowledge(&group, ids))).await.expect("stored");
                left.fetch_sub(answers.iter().map(|answer| answer.acknowledged).sum(), Ordering::Relaxed);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no task panics");
    }
    started.elapsed()
}

/// Appends with 64 tasks, beside nobody and beside 1,000 who wait for what does not come: under 5 % less. Round by round in turn, so that
/// whatever else the machine does falls on both. One who waits makes the newest events be kept in memory; the other 999 should add nothing.
fn idle(runtime: &Runtime) {
    type Begin = fn(&Database, usize) -> BoxFuture<'_, JoinSet<()>>;
    let cases: [(usize, &str, Begin); 5] = [
        (1_000, "subscriptions that are defined", |database, count| Box::pin(defined(database, count))),
        (1, "follower of the log", |database, count| Box::pin(following(database, count))),
        (1_000, "followers of the log", |database, count| Box::pin(following(database, count))),
        (1_000, "consumers, each of a subscription of its own", |database, count| Box::pin(connected(database, count, count))),
        (1_000, "consumers of one subscription", |database, count| Box::pin(connected(database, count, 1))),
    ];
    for (count, what, begin) in cases {
        let directories = [tempfile::tempdir().expect("a temporary directory"), tempfile::tempdir().expect("a temporary directory")];
        let [alone, beside] = directories.each_ref().map(|directory| runtime.block_on(open(directory.path())));
        let memory = resident_bytes();
        let waiting = runtime.block_on(begin(&beside, count));
        let memory = (resident_bytes() - memory) / count as f64 / 1024.0;
        let mut without = Vec::new();
        let mut with = Vec::new();
        for round in 0..ROUNDS * 2 {
            // One after the other, then the other first.
            let (database, measured) = if round % 4 == 0 || round % 4 == 3 { (&alone, &mut without) } else { (&beside, &mut with) };
            measured.push(runtime.block_on(append_for(database, ROUND)));
        }
        // Of each pair in turn: what lasts longer than a round does not count.
        let change = |of: fn(&(f64, f64)) -> f64| {
            let pairs = without.iter().zip(&with);
            (median(pairs.map(|(without, with)| of(with) / of(without)).collect()) - 1.0) * 100.0
        };
        let typical = |measured: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| median(measured.iter().map(of).collect());
        println!(
            "idle/{count} {what}: {:.0} appends/s without, {:.0} with, {:+.1} % in pairs; {:.1} µs of processor each without, {:.1} with, \
             {:+.1} % in pairs; {memory:.0} KiB of memory for each",
            typical(&without, |one| one.0),
            typical(&with, |one| one.0),
            change(|one| one.0),
            typical(&without, |one| one.1),
            typical(&with, |one| one.1),
            change(|one| one.1),
        );
        drop(waiting);
        for database in [alone, beside] {
            runtime.block_on(database.close()).expect("closes");
        }
    }
}

async fn defined(database: &Database, count: usize) -> JoinSet<()> {
    for number in 0..count {
        define(database, &format!("g-{number}"), ELSEWHERE).await;
    }
    JoinSet::new()
}

/// So many consumers of so many subscriptions, all of them at the end.
async fn connected(database: &Database, count: usize, groups: usize) -> JoinSet<()> {
    defined(database, groups).await;
    let mut waiting = JoinSet::new();
    for number in 0..count {
        let group = format!("g-{}", number % groups);
        let mut consumer = database.consume(&group, ConsumerOptions::default()).await.expect("the group works");
        waiting.spawn(async move { assert!(consumer.next().await.is_err(), "something came") });
    }
    waiting
}

async fn following(database: &Database, count: usize) -> JoinSet<()> {
    let mut waiting = JoinSet::new();
    for _ in 0..count {
        let filter = Filter { categories: vec!["elsewhere".to_owned()], ..Filter::default() };
        let mut feed = database.follow(filter, After::End).expect("follows");
        waiting.spawn(async move { while feed.next().await.is_ok() {} });
    }
    waiting
}

/// Events a second of 64 tasks that append one event each time, and microseconds of the processor for each.
async fn append_for(database: &Database, time: Duration) -> (f64, f64) {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let (started, processor) = (Instant::now(), processor_seconds());
    for task in 0..64 {
        let (database, is_over) = (database.clone(), Arc::clone(&is_over));
        tasks.spawn(async move {
            let stream = name(&format!("task-{task}"));
            let mut count = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                append(&database, stream.clone(), vec![event("Happened", r#"{"amount":26.85,"role":"EMPLOYEE"}"#.into())]).await;
                count += 1;
            }
            count
        });
    }
    tokio::time::sleep(time).await;
    is_over.store(true, Ordering::Relaxed);
    let count = tasks.join_all().await.iter().sum::<u64>() as f64;
    (count / started.elapsed().as_secs_f64(), (processor_seconds() - processor) / count * 1e6)
}

/// What this process has used so far: on a machine that has other work too, it says more than the rate. 0 where it can't be told.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything: user and system time are the 12th and 13th, in hundredths of a second.
    let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// What of this process is in memory; 0 where it can't be told.
fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() * 1024.0
}

/// The real events in their streams.
async fn import(database: &Database) -> u64 {
    let mut text = String::new();
    let packed: &[u8] = include_bytes!("../tests/data/domestic-declarations.ndjson.gz");
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("the data unpacks");
    let events: Vec<(StreamName, NewEvent)> = text
        .lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).expect("a line is JSON");
            let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
            (name(text("stream")), event(text("type"), value.get("data").map(Value::to_string).unwrap_or_default()))
        })
        .collect();
    let count = events.len() as u64;
    let mut tasks = JoinSet::new();
    // Interleaved as they are in the data; what order two events of a stream get within a part does not matter here.
    for part in events.chunks(1_000) {
        for (stream, event) in part.iter().cloned() {
            let database = database.clone();
            tasks.spawn(async move { append(&database, stream, vec![event]).await });
        }
        while tasks.join_next().await.is_some() {}
    }
    count
}

async fn open(directory: &Path) -> Database {
    Database::open(Options::new(directory)).await.expect("opens")
}

async fn define(database: &Database, group: &str, json: &str) {
    database.define(Kind::Subscription, group, Format::Json, json, false).await.expect("is a definition");
}

async fn append(database: &Database, stream: StreamName, events: Vec<NewEvent>) {
    database.append(StreamAppend { stream, expected: ExpectedVersion::Any, events }).await.expect("appends");
}

fn name(stream: &str) -> StreamName {
    StreamName::new(stream).expect("a name")
}

fn event(event_type: &str, data: String) -> NewEvent {
    NewEvent {
        id: EventId::from_bytes(*uuid::Uuid::now_v7().as_bytes()),
        id_is_fresh: true,
        event_type: event_type.into(),
        schema_version: 0,
        occurred_at: None,
        tags: Vec::new(),
        metadata: bytes::Bytes::new(),
        data: data.into(),
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// Of each of the two that are compared.
const ROUNDS: usize = 40;
const ROUND: Duration = Duration::from_millis(500);
const ELSEWHERE: &str = r#"{"filter": {"categories": ["elsewhere"]}}"#;
