//! How long after an event is acknowledged is it in a view, while 5,000 are written a second?

use std::time::Duration;

use factum::Database;
use factum::database::Durability;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::data;
use crate::data::Place;
use crate::figures::Times;
use crate::figures::figure;
use crate::is_wanted;

const RATE: u64 = 5_000;
/// Each writes every so many events one.
const WRITERS: u64 = 50;
const SECONDS: u64 = 10;
/// One of so many events is waited for.
const SAMPLED: u64 = 10;
const WAIT: Duration = Duration::from_secs(60);

/// p99 under 50 ms into an embedded view, under 100 ms into Postgres.
pub(crate) async fn run() {
    for place in Place::all() {
        let name = format!("live/{}", place.name());
        if !is_wanted(&name) {
            continue;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let database = data::open(directory.path(), Durability::Strict).await;
        data::define(&database, "live", &data::declared(place)).await;
        let started = Instant::now();
        let mut writers: JoinSet<Vec<Duration>> = (0..WRITERS).map(|writer| written(database.clone(), writer)).collect();
        let mut lags = Vec::new();
        while let Some(done) = writers.join_next().await {
            lags.extend(done.expect("no task panics"));
        }
        let rate = (RATE * SECONDS) as f64 / started.elapsed().as_secs_f64();
        database.remove_projection("live", false).await.expect("is there");
        database.close().await.expect("closes");
        let (lags, limit) = (Times::new(lags), Duration::from_millis(if place == Place::Embedded { 50 } else { 100 }));
        // A rate that was not reached makes the lag mean nothing.
        let is_met = lags.at(990) < limit && rate > RATE as f64 * 0.97;
        let found = format!("{} at {rate:.0} events/s", lags.shown());
        figure(&format!("{name}: lag behind the acknowledgement"), &found, &format!("p99 under {limit:?}"), Some(is_met));
    }
}

/// Writes at a steady pace, whatever an append takes; answers how long some of them were not in the view yet.
async fn written(database: Database, writer: u64) -> Vec<Duration> {
    let period = Duration::from_micros(1_000_000 * WRITERS / RATE);
    let start = Instant::now() + period.mul_f64(writer as f64 / WRITERS as f64);
    let mut waiting = JoinSet::new();
    let mut lags = Vec::new();
    for number in 0..RATE * SECONDS / WRITERS {
        tokio::time::sleep_until(start + period.mul_f64(number as f64)).await;
        let stream = format!("declaration-{}", (writer * 7_919 + number) % 5_000);
        let event = data::event("DeclarationApproved", r#"{"by":"SUPERVISOR","role":"SUPERVISOR","resource":"STAFF MEMBER"}"#);
        let appended = database.append(data::append(&stream, event)).await.expect("appends");
        let acknowledged = Instant::now();
        if (writer + number).is_multiple_of(SAMPLED) {
            let database = database.clone();
            waiting.spawn(async move {
                database.projection_reaches("live", &appended.cursor, WAIT).await.expect("comes that far");
                acknowledged.elapsed()
            });
        }
        while let Some(done) = waiting.try_join_next() {
            lags.push(done.expect("no task panics"));
        }
    }
    while let Some(done) = waiting.join_next().await {
        lags.push(done.expect("no task panics"));
    }
    lags
}
