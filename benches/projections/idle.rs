//! What do a hundred projections cost those who append?

use std::time::Duration;

use factum::Database;
use factum::database::Durability;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::data;
use crate::data::Place;
use crate::figures::Times;
use crate::figures::figure;
use crate::figures::median;
use crate::figures::processor_time;

const PROJECTIONS: usize = 100;
/// The first is for warming up.
const ROUNDS: usize = 10;
const WRITERS: u64 = 64;
const APPENDS: u64 = 60_000;
const RATE: u64 = 500;
const SECONDS: u64 = 5;

struct Candidate {
    what: &'static str,
    database: Database,
    _directory: tempfile::TempDir,
    rates: Vec<f64>,
    costs: Vec<f64>,
}

/// Less than 5 % of the appends that a database without projections does.
pub(crate) async fn run() {
    let mut candidates = Vec::new();
    for (what, source) in
        [("none", None), ("100 that nothing matches", Some("nothing")), ("100 that everything matches", Some("declaration"))]
    {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let database = data::open(directory.path(), Durability::Strict).await;
        for number in 0..source.map_or(0, |_| PROJECTIONS) {
            let mut document = data::declared(Place::Embedded);
            document["source"] = json!({"categories": [source]});
            data::define(&database, &format!("idle{number}"), &document).await;
        }
        candidates.push(Candidate { what, database, _directory: directory, rates: Vec::new(), costs: Vec::new() });
    }
    // In turns, so that what else the machine does meets all of them.
    for _ in 0..ROUNDS {
        for candidate in &mut candidates {
            let (started, before) = (Instant::now(), processor_time());
            together(&candidate.database).await;
            candidate.rates.push(APPENDS as f64 / started.elapsed().as_secs_f64());
            candidate.costs.push(processor_time().saturating_sub(before).as_secs_f64() * 1e6 / APPENDS as f64);
            settled(&candidate.database).await;
        }
    }
    let without = candidates.first().map_or_else(Vec::new, |none| none.rates.clone());
    for Candidate { what, database, rates, costs, .. } in candidates {
        // Round by round: what lasts longer than a round does not count.
        let lost = (1.0 - median(rates.iter().zip(&without).skip(1).map(|(with, without)| with / without).collect())) * 100.0;
        let (rate, cost) = (median(rates), median(costs));
        let found = format!("{rate:.0} appends/s ({lost:.1} % less in turns), {cost:.1} µs of processor an append");
        figure(&format!("idle: {what}, {WRITERS} tasks"), &found, "under 5 % less", (what != "none").then_some(lost < 5.0));
        let times = Times::new(paced(&database).await);
        figure(&format!("idle: {what}, {RATE} appends/s"), &times.shown(), "to compare", None);
        settled(&database).await;
        database.close().await.expect("closes");
    }
}

/// Waits until all projections are at the end.
async fn settled(database: &Database) {
    let end = database.end();
    for projection in database.projections() {
        database.projection_reaches(&projection.name, &end, Duration::from_secs(600)).await.expect("comes to the end");
    }
}

/// Appends as fast as it goes, each task to streams of its own.
async fn together(database: &Database) {
    let mut writers: JoinSet<()> = (0..WRITERS)
        .map(|writer| {
            let database = database.clone();
            async move {
                for number in 0..APPENDS / WRITERS {
                    append(&database, writer * 100 + number % 100).await;
                }
            }
        })
        .collect();
    while let Some(done) = writers.join_next().await {
        done.expect("no task panics");
    }
}

async fn append(database: &Database, stream: u64) {
    let event = data::event("DeclarationApproved", r#"{"by":"SUPERVISOR","role":"SUPERVISOR","resource":"STAFF MEMBER"}"#);
    database.append(data::append(&format!("declaration-{stream}"), event)).await.expect("appends");
}

/// How long appends take where there is room.
async fn paced(database: &Database) -> Vec<Duration> {
    let start = Instant::now();
    let mut times = Vec::new();
    for number in 0..RATE * SECONDS {
        tokio::time::sleep_until(start + Duration::from_micros(1_000_000 / RATE) * u32::try_from(number).unwrap_or(u32::MAX)).await;
        let started = Instant::now();
        append(database, number % 1_000).await;
        times.push(started.elapsed());
    }
    times
}
