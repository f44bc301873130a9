//! Clients that append as fast as they are answered, each to its own streams, with expected versions.

use std::time::Instant;

use super::Plan;
use super::connection::Connection;
use super::report::Measured;
use crate::cli::failure::Failure;

pub(super) async fn run(plan: Plan) -> Result<Measured, Failure> {
    super::all(plan.clients, |client| one(plan.clone(), client)).await
}

async fn one(plan: Plan, client: u32) -> Result<Measured, Failure> {
    let mut connection = Connection::open(&plan.target).await?;
    let mut measured = Measured::new();
    let (mut request, mut body) = (Vec::new(), Vec::new());
    let share = plan.share(client);
    let mut versions = vec![0_u64; STREAMS];
    let mut turn = 0;
    while measured.events < share && Instant::now() < plan.ends {
        let batch = u64::from(plan.batch).min(share - measured.events);
        // Another stream each time: the usual load has more streams than any cache line.
        let stream = turn % STREAMS;
        turn += 1;
        let Some(version) = versions.get_mut(stream) else { break };
        let path = format!("/v1/streams/bench-{}-{client}-{stream}/events", plan.run);
        fill(&mut body, batch, *version, plan.payload);
        plan.target.post(&path, &body, &mut request);
        let started = Instant::now();
        connection.ask(&request).await?;
        connection.drain().await?;
        measured.record(started.elapsed(), batch, batch * plan.payload as u64);
        *version += batch;
    }
    Ok(measured)
}

/// The body of an append of `batch` events with `payload` bytes of data each to a stream at `version`.
pub(super) fn fill(body: &mut Vec<u8>, batch: u64, version: u64, payload: usize) {
    body.clear();
    body.extend_from_slice(format!("{{\"expected_version\":{version},\"events\":[").as_bytes());
    for index in 0..batch {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(b"{\"type\":\"Measured\",\"data\":{\"fill\":\"");
        body.resize(body.len() + payload.saturating_sub(ENVELOPE_BYTES), b'x');
        body.extend_from_slice(b"\"}}");
    }
    body.extend_from_slice(b"]}");
}

/// What `{"fill":""}` takes of the payload.
const ENVELOPE_BYTES: usize = 11;
/// Streams of each client.
const STREAMS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_json_with_the_payload_asked_for() {
        let mut body = Vec::new();
        fill(&mut body, 2, 7, 256);
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value.pointer("/expected_version"), Some(&7.into()));
        let data = value.pointer("/events/1/data").unwrap();
        assert_eq!(data.to_string().len(), 256);
    }
}
