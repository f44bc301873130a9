//! How fast is the database in process? Expected numbers are for the 2-core machine of `docs/performance.md`, where a sync takes 0.1 ms.
//!
//! `cargo bench --bench embedded -- append` picks a group. Figures compare only within one run.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use criterion::BenchmarkGroup;
use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;
use criterion::measurement::WallTime;
use factum::Database;
use factum::database::After;
use factum::database::Direction;
use factum::database::Durability;
use factum::database::EventId;
use factum::database::EventsQuery;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::NewEvent;
use factum::database::Options;
use factum::database::StreamAppend;
use factum::database::StreamName;
use factum::database::Version;
use tokio::runtime::Runtime;

/// One event a sync: about the time of one sync, 0.1 ms. 100 and 1,000: the sync is shared, 0.15 ms and 0.4 ms (2.5 M events/s).
fn append(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("append");
    quick(&mut group);
    for (sync, durability) in [("on", Durability::Strict), ("off", Durability::Relaxed)] {
        for events in [1_u64, 100, 1_000] {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let database = runtime.block_on(open(directory.path(), durability));
            let stream = name(&format!("bench-{events}"));
            let mut version = 0;
            group.throughput(Throughput::Elements(events));
            group.bench_function(format!("events={events}/sync={sync}"), |bencher| {
                bencher.iter(|| {
                    let append = batch(&stream, version, events);
                    version += events;
                    runtime.block_on(database.append(append)).expect("appends")
                });
            });
            close(&runtime, &database);
        }
    }
    group.finish();
}

/// 64 tasks, one event each, natural group commit: 80,000 events/s.
fn group_commit(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("append");
    quick(&mut group);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = runtime.block_on(open(directory.path(), Durability::Strict));
    group.throughput(Throughput::Elements(1));
    group.bench_function("tasks=64/events=1/sync=on", |bencher| {
        bencher.iter_custom(|rounds| runtime.block_on(together(&database, rounds)));
    });
    close(&runtime, &database);
    group.finish();
}

/// Does `rounds` appends with 64 tasks, each to a stream of its own.
async fn together(database: &Database, rounds: u64) -> Duration {
    const TASKS: u64 = 64;
    const EVERY: usize = 64;
    let started = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let database = database.clone();
            tokio::spawn(async move {
                let stream = name(&format!("task-{task}"));
                for _ in (task..rounds).step_by(EVERY) {
                    let append = StreamAppend { expected: ExpectedVersion::Any, ..batch(&stream, 0, 1) };
                    database.append(append).await.expect("appends");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no task panics");
    }
    started.elapsed()
}

/// A stream of 1,000 events of 256 bytes: 0.2 ms (5 M events/s). The log in pages of 1,000: 3 M events/s.
fn read(criterion: &mut Criterion) {
    const EVENTS: u64 = 100_000;
    let runtime = runtime();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = runtime.block_on(open(directory.path(), Durability::Relaxed));
    let stream = |number: u64| name(&format!("read-{number}"));
    for number in 0..EVENTS / 1_000 {
        runtime.block_on(database.append(batch(&stream(number), 0, 1_000))).expect("appends");
    }
    let mut group = criterion.benchmark_group("read");
    quick(&mut group);
    group.throughput(Throughput::Elements(1_000));
    let mut turn = 0;
    group.bench_function("stream/events=1000", |bencher| {
        bencher.iter(|| {
            turn = (turn + 7) % (EVENTS / 1_000);
            let page = runtime.block_on(database.read_stream(&stream(turn), None, Direction::Forward, 1_000, usize::MAX)).expect("reads");
            assert_eq!(black_box(page.events.len()), 1_000);
        });
    });
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function(format!("log/events={EVENTS}"), |bencher| {
        bencher.iter(|| assert_eq!(runtime.block_on(read_all(&database)), EVENTS));
    });
    group.finish();
    close(&runtime, &database);
}

async fn read_all(database: &Database) -> u64 {
    let mut after = After::Start;
    let mut events = 0;
    loop {
        let query = EventsQuery { after, direction: Direction::Forward, filter: Filter::default(), limit: 1_000, bytes_max: 8 << 20 };
        let page = database.read_events(query).await.expect("reads");
        events += page.events.len() as u64;
        if page.at_end {
            return events;
        }
        after = After::Cursor(page.cursor);
    }
}

/// Clean, 100,000 events: 5 ms, whatever the log holds.
fn reopen(criterion: &mut Criterion) {
    let runtime = runtime();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = runtime.block_on(open(directory.path(), Durability::Relaxed));
    for number in 0..100 {
        runtime.block_on(database.append(batch(&name(&format!("open-{number}")), 0, 1_000))).expect("appends");
    }
    close(&runtime, &database);
    drop(database);
    let mut group = criterion.benchmark_group("open");
    quick(&mut group);
    group.bench_function("clean/events=100000", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let started = Instant::now();
                let database = runtime.block_on(open(directory.path(), Durability::Strict));
                spent += started.elapsed();
                close(&runtime, &database);
            }
            spent
        });
    });
    group.finish();
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

/// Short enough to be run in passing; `--measurement-time` asks for more.
fn quick(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
}

async fn open(data: &Path, durability: Durability) -> Database {
    let mut options = Options::new(data);
    options.durability = durability;
    Database::open(options).await.expect("opens")
}

fn close(runtime: &Runtime, database: &Database) {
    runtime.block_on(database.close()).expect("closes");
}

fn name(text: &str) -> StreamName {
    StreamName::new(text).expect("a valid name")
}

/// `events` events of 256 bytes for a stream at `version`.
fn batch(stream: &StreamName, version: u64, events: u64) -> StreamAppend {
    static DATA: [u8; 256] = [b'1'; 256];
    let event_type: Arc<str> = "Measured".into();
    let event = || NewEvent {
        id: EventId::from_bytes(*uuid::Uuid::now_v7().as_bytes()),
        id_is_fresh: true,
        event_type: Arc::clone(&event_type),
        schema_version: 1,
        occurred_at: None,
        tags: Vec::new(),
        metadata: bytes::Bytes::new(),
        data: bytes::Bytes::from_static(&DATA),
    };
    StreamAppend {
        stream: stream.clone(),
        expected: ExpectedVersion::Exact(Version::new(version)),
        events: (0..events).map(|_| event()).collect(),
    }
}

criterion_group!(benches, append, group_commit, read, reopen);
criterion_main!(benches);
