//! How fast does a new projection come to the end of a log of half a million events?

use std::time::Duration;
use std::time::Instant;

use bytes::BytesMut;
use factum::Database;
use factum::database::Durability;
use futures::SinkExt as _;
use futures::TryStreamExt as _;
use serde_json::Value;

use crate::data;
use crate::data::Place;
use crate::figures::figure;
use crate::figures::processor_time;
use crate::figures::spread;
use crate::is_wanted;

const TIMES: u64 = 9;
const RUNS: usize = 3;
const WAIT: Duration = Duration::from_secs(600);

type Definition = fn(Place) -> Value;

/// Handlers 150,000 events/s into an embedded view and 40,000/s into Postgres, a module a third of that.
pub(crate) async fn run() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = data::open(directory.path(), Durability::Relaxed).await;
    let events = data::load(&database, TIMES).await as f64;
    let logics: [(&str, Definition, f64); 2] = [("handlers", data::declared, 1.0), ("module", data::scripted, 1.0 / 3.0)];
    let mut number = 0;
    for place in Place::all() {
        for (logic, definition, share) in logics {
            let name = format!("catch_up/{}/{logic}", place.name());
            if !is_wanted(&name) {
                continue;
            }
            let (mut rates, mut costs) = (Vec::new(), Vec::new());
            for _ in 0..RUNS {
                number += 1;
                let (elapsed, used) = caught_up(&database, &format!("view{number}"), &definition(place)).await;
                rates.push(events / elapsed.as_secs_f64());
                costs.push(used.as_secs_f64() * 1e6 / events);
                if number % RUNS == 0 && place == Place::Postgres {
                    copy(&format!("view{number}"), events).await;
                }
                database.remove_projection(&format!("view{number}"), false).await.expect("is there");
            }
            let target = share * if place == Place::Embedded { 150_000.0 } else { 40_000.0 };
            let best = rates.iter().copied().fold(0.0, f64::max);
            let cost = costs.iter().copied().fold(f64::MAX, f64::min);
            let found = format!("{} events/s, {cost:.1} µs of processor an event", spread(&rates));
            figure(&name, &found, &format!("at least {target:.0}"), Some(best >= target));
        }
    }
    database.close().await.expect("closes");
}

async fn caught_up(database: &Database, view: &str, document: &Value) -> (Duration, Duration) {
    let end = database.end();
    let (started, before) = (Instant::now(), processor_time());
    data::define(database, view, document).await;
    database.projection_reaches(view, &end, WAIT).await.expect("comes to the end");
    (started.elapsed(), processor_time().saturating_sub(before))
}

/// What the same rows cost in a plain `COPY` into an equal table.
async fn copy(table: &str, events: f64) {
    let Ok(url) = std::env::var(data::URL_ENV) else { return };
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connects");
    let connection = tokio::spawn(connection);
    let out = client.copy_out(&format!("COPY {table} TO STDOUT (FORMAT binary)")).await.expect("copies out");
    let rows: BytesMut = out
        .try_fold(BytesMut::new(), async |mut all, part| {
            Ok({
                all.extend_from_slice(&part);
                all
            })
        })
        .await
        .expect("rows");
    client.batch_execute(&format!("CREATE TABLE copied (LIKE {table} INCLUDING ALL)")).await.expect("a table like it");
    let started = Instant::now();
    let mut sink = Box::pin(client.copy_in("COPY copied FROM STDIN (FORMAT binary)").await.expect("copies in"));
    sink.send(rows.freeze()).await.expect("sends");
    let count = sink.as_mut().finish().await.expect("is copied");
    let elapsed = started.elapsed().as_secs_f64();
    client.batch_execute("DROP TABLE copied").await.expect("goes");
    let found = format!("{:.0} rows/s, {count} rows in {elapsed:.2} s, as if {:.0} events/s", count as f64 / elapsed, events / elapsed);
    figure("catch_up/postgres: COPY of the rows that it ends with", &found, "to compare", None);
    drop(client);
    connection.await.expect("no panic").expect("ends well");
}
