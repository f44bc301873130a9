//! Clients that share events as a consumer group, and acknowledge what they are given: how much do they get done?

use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;

use super::Ordering;
use super::Plan;
use super::append::fill;
use super::connection::Connection;
use super::report::Measured;
use crate::cli::client::Client;
use crate::cli::failure::Failure;

pub(super) async fn run(client: &Client, mut plan: Plan, seconds: u64, ordering: Ordering) -> Result<Measured, Failure> {
    let events = plan.events_max.min(EVENTS_MAX);
    prepare(&plan, events).await?;
    let name = format!("bench-{}", plan.run);
    let ordering = if ordering == Ordering::Stream { "stream" } else { "none" };
    let definition = serde_json::json!({"filter": {"stream_prefix": format!("bench-{}-", plan.run)}, "ordering": ordering});
    let path = ["v1", "subscriptions", name.as_str()];
    let request = client.request(Method::PUT, &path, &[])?.header(CONTENT_TYPE, "application/json").body(definition.to_string());
    client.send(request).await?;
    // What the preparation took does not count.
    plan.ends = Instant::now() + Duration::from_secs(seconds);
    plan.events_max = events;
    let measured = super::all(plan.clients, |_| one(plan.clone(), name.clone())).await;
    client.send(client.request(Method::DELETE, &path, &[])?).await?;
    measured
}

/// Writes the streams whose events are shared.
async fn prepare(plan: &Plan, events: u64) -> Result<(), Failure> {
    let mut connection = Connection::open(&plan.target).await?;
    let (mut request, mut body) = (Vec::new(), Vec::new());
    let each = events.div_ceil(STREAMS);
    for stream in 0..STREAMS.min(events) {
        let mut version = 0;
        while version < each {
            let batch = PREPARE_BATCH.min(each - version);
            fill(&mut body, batch, version, plan.payload);
            plan.target.post(&format!("/v1/streams/bench-{}-{stream}/events", plan.run), &body, &mut request);
            connection.ask(&request).await?;
            connection.drain().await?;
            version += batch;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Delivery<'a> {
    delivery: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    acknowledged: u64,
}

/// Takes part until nothing more comes, or time is over.
async fn one(plan: Plan, name: String) -> Result<Measured, Failure> {
    let mut feed = Connection::open(&plan.target).await?;
    feed.ask(&plan.target.get(&format!("/v1/subscriptions/{name}/events"), "application/x-ndjson")).await?;
    let mut answers = Connection::open(&plan.target).await?;
    let (mut measured, mut rest, mut waiting) = (Measured::new(), Vec::new(), Vec::new());
    let mut last = Instant::now();
    let began = last;
    while Instant::now() < plan.ends {
        let part = match tokio::time::timeout_at(plan.ends.min(Instant::now() + QUIET).into(), feed.part()).await {
            Ok(part) => part?,
            Err(_) if waiting.is_empty() => break,
            Err(_) => Some(bytes::BytesMut::new()),
        };
        let Some(part) = part else { return Err(Failure::failed("the server ended the stream")) };
        let is_quiet = part.is_empty();
        rest.extend_from_slice(&part);
        let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = rest.drain(..end).collect();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"{\"$")) {
            let delivery: Delivery<'_> =
                serde_json::from_slice(line).map_err(|error| Failure::failed("a delivery cannot be read").detail(error.to_string()))?;
            waiting.push(delivery.delivery.to_owned());
        }
        while waiting.len() >= usize::try_from(plan.batch).unwrap_or(usize::MAX) || (is_quiet && !waiting.is_empty()) {
            let count = waiting.len().min(usize::try_from(plan.batch).unwrap_or(usize::MAX));
            let batch: Vec<String> = waiting.drain(..count).collect();
            acknowledge(&plan, &name, &mut answers, &batch, &mut measured).await?;
            last = Instant::now();
        }
    }
    // How long it was quiet in the end does not count.
    measured.seconds = last.duration_since(began).as_secs_f64();
    Ok(measured)
}

async fn acknowledge(plan: &Plan, name: &str, to: &mut Connection, batch: &[String], measured: &mut Measured) -> Result<(), Failure> {
    let mut request = Vec::new();
    let body = serde_json::json!({"deliveries": batch}).to_string();
    plan.target.post(&format!("/v1/subscriptions/{name}/ack"), body.as_bytes(), &mut request);
    let started = Instant::now();
    to.ask(&request).await?;
    let mut answer = Vec::new();
    while let Some(part) = to.part().await? {
        answer.extend_from_slice(&part);
    }
    let answer: Answer =
        serde_json::from_slice(&answer).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))?;
    measured.record(started.elapsed(), answer.acknowledged, body.len() as u64);
    Ok(())
}

/// What is shared unless somebody says otherwise.
const EVENTS_MAX: u64 = 1_000_000;
const STREAMS: u64 = 1_000;
/// Small enough for any server's limits.
const PREPARE_BATCH: u64 = 100;
/// Nothing for so long: all is done.
const QUIET: Duration = Duration::from_secs(3);
