//! Clients that read streams of 1,000 events, one a request.

use std::time::Duration;
use std::time::Instant;

use super::Plan;
use super::append::fill;
use super::connection::Connection;
use super::report::Measured;
use crate::cli::failure::Failure;

pub(super) async fn run(mut plan: Plan, seconds: u64) -> Result<Measured, Failure> {
    prepare(&plan).await?;
    // What the preparation took does not count.
    plan.ends = Instant::now() + Duration::from_secs(seconds);
    super::all(plan.clients, |client| one(plan.clone(), client)).await
}

/// Writes the streams that are read.
async fn prepare(plan: &Plan) -> Result<(), Failure> {
    let mut connection = Connection::open(&plan.target).await?;
    let (mut request, mut body) = (Vec::new(), Vec::new());
    for stream in 0..STREAMS {
        let mut version = 0;
        while version < STREAM_EVENTS {
            fill(&mut body, PREPARE_BATCH, version, plan.payload);
            plan.target.post(&format!("/v1/streams/bench-{}-read-{stream}/events", plan.run), &body, &mut request);
            connection.ask(&request).await?;
            connection.drain().await?;
            version += PREPARE_BATCH;
        }
    }
    Ok(())
}

async fn one(plan: Plan, client: u32) -> Result<Measured, Failure> {
    let mut connection = Connection::open(&plan.target).await?;
    let mut measured = Measured::new();
    let share = plan.share(client);
    let mut turn = u64::from(client);
    while measured.events < share && Instant::now() < plan.ends {
        let path = format!("/v1/streams/bench-{}-read-{}/events?limit={STREAM_EVENTS}", plan.run, turn % STREAMS);
        turn += 1;
        let request = plan.target.get(&path, "application/x-ndjson");
        let started = Instant::now();
        connection.ask(&request).await?;
        let (bytes, lines) = connection.drain().await?;
        measured.record(started.elapsed(), lines, bytes);
        if lines != STREAM_EVENTS {
            return Err(Failure::failed(format!("a stream of {STREAM_EVENTS} events answered {lines} lines")));
        }
    }
    Ok(measured)
}

const STREAMS: u64 = 16;
const STREAM_EVENTS: u64 = 1_000;
/// Small enough for any server's limits.
const PREPARE_BATCH: u64 = 100;
