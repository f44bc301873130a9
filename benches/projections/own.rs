//! Does everybody see what they have just written, and how long do they wait for it?

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use factum::Database;
use factum::database::Columns;
use factum::database::Cursor;
use factum::database::Durability;
use factum::database::Row;
use factum::database::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::data;
use crate::data::Place;
use crate::figures::Times;
use crate::figures::figure;

const PAIRS: u64 = 100_000;
const WRITERS: u64 = 64;
const STREAMS: u64 = 2_000;
const RATE: u64 = 1_000;
const SECONDS: u64 = 10;
const WAIT: Duration = Duration::from_secs(60);

/// 100,000 pairs as fast as they go, none stale; at 1,000 a second the median waits less than 5 ms.
pub(crate) async fn run() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = data::open(directory.path(), Durability::Strict).await;
    data::define(&database, "own", &data::declared(Place::Embedded)).await;
    let stale = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut writers: JoinSet<()> = (0..WRITERS).map(|writer| hurried(database.clone(), writer, Arc::clone(&stale))).collect();
    while let Some(done) = writers.join_next().await {
        done.expect("no task panics");
    }
    let rate = PAIRS as f64 / started.elapsed().as_secs_f64();
    let stale = stale.load(Ordering::Relaxed);
    figure(&format!("own: {PAIRS} pairs, {WRITERS} tasks"), &format!("{stale} stale, {rate:.0} pairs/s"), "none stale", Some(stale == 0));
    let mut writers: JoinSet<Vec<Duration>> = (0..WRITERS).map(|writer| paced(database.clone(), writer)).collect();
    let mut waits = Vec::new();
    while let Some(done) = writers.join_next().await {
        waits.extend(done.expect("no task panics"));
    }
    let waits = Times::new(waits);
    let is_met = waits.at(500) < Duration::from_millis(5);
    figure(&format!("own: extra wait at {RATE}/s"), &waits.shown(), "median under 5 ms", Some(is_met));
    database.close().await.expect("closes");
}

/// Appends and asks at once for what it has appended.
async fn hurried(database: Database, writer: u64, stale: Arc<AtomicU64>) {
    let columns = database.view_columns("own").expect("is a view");
    for number in (writer..PAIRS).step_by(usize::try_from(WRITERS).expect("a few")) {
        let stream = format!("declaration-{}", number.wrapping_mul(7_919) % STREAMS);
        let (version, cursor) = approve(&database, &stream).await;
        let key = Value::Text(stream.as_str().into());
        let (row, position) = database.view_row("own", key, Some(&cursor), WAIT).await.expect("is told in time");
        // Each event counts once, and the row is at least of the event that was just written.
        let is_fresh = row.is_some_and(|row| row.version >= version && approvals(&columns, &row) == Some(row.version));
        if !is_fresh || !position.covers(&cursor) {
            stale.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Appends at a steady pace; answers how long it took until the view was of each append.
async fn paced(database: Database, writer: u64) -> Vec<Duration> {
    let period = Duration::from_micros(1_000_000 * WRITERS / RATE);
    let start = Instant::now() + period.mul_f64(writer as f64 / WRITERS as f64);
    let mut waits = Vec::new();
    for number in 0..RATE * SECONDS / WRITERS {
        tokio::time::sleep_until(start + period.mul_f64(number as f64)).await;
        let (_, cursor) = approve(&database, &format!("declaration-{}", (writer * 31 + number) % STREAMS)).await;
        let acknowledged = Instant::now();
        database.projection_reaches("own", &cursor, WAIT).await.expect("comes that far");
        waits.push(acknowledged.elapsed());
    }
    waits
}

async fn approve(database: &Database, stream: &str) -> (u64, Cursor) {
    let event = data::event("DeclarationApproved", r#"{"by":"SUPERVISOR","role":"SUPERVISOR","resource":"STAFF MEMBER"}"#);
    let appended = database.append(data::append(stream, event)).await.expect("appends");
    let version = appended.appended.streams.first().map_or(0, |(_, _, last)| last.get());
    (version, appended.cursor)
}

fn approvals(columns: &Columns, row: &Row) -> Option<u64> {
    let Value::Integer(count) = row.values.get(columns.place("approvals")?)? else { return None };
    u64::try_from(*count).ok()
}
