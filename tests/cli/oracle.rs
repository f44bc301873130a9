//! What must be in the log after a crash? Every acknowledged event, each unknown append whole or not at all, and nothing else.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;
use uuid::Uuid;

use crate::http::Answer;
use crate::http::Api;

/// One append as its writer knows it.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) stream: String,
    /// The version before it.
    pub(crate) expected: u64,
    pub(crate) ids: Vec<Uuid>,
    pub(crate) acknowledged: bool,
}

/// The log as it was seen so far; grows with each [`Oracle::check`].
#[derive(Default)]
pub(crate) struct Oracle {
    seen: Vec<Value>,
    ids: BTreeSet<Uuid>,
    versions: BTreeMap<String, u64>,
    /// The last of each shard.
    positions: BTreeMap<u64, u64>,
    cursor: Option<String>,
    /// The server appends records of its own between the events of clients.
    pub(crate) has_gaps: bool,
}

impl Oracle {
    /// The version of a stream when it was last looked at.
    pub(crate) fn version(&self, stream: &str) -> u64 {
        self.versions.get(stream).copied().unwrap_or(0)
    }

    /// Reads what is new and holds it against what the writers know. `context` stands in every message.
    pub(crate) async fn check(&mut self, api: &Api, attempts: &[Attempt], context: &str) {
        let (events, cursor) = api.events_after(self.cursor.as_deref().unwrap_or("0")).await;
        let mut found: BTreeMap<Uuid, (String, u64)> = BTreeMap::new();
        for event in events {
            let position = event["position"].as_u64().expect("a position");
            let last = self.positions.entry(event["shard"].as_u64().expect("a shard")).or_default();
            let follows = if self.has_gaps { position > *last } else { position == *last + 1 };
            assert!(follows, "{context}: positions have no gap and no repeat: {position} behind {last}");
            *last = position;
            let stream = event["stream"].as_str().expect("a stream").to_owned();
            let version = event["version"].as_u64().expect("a version");
            assert_eq!(version, self.version(&stream) + 1, "{context}: versions of {stream} have no gap and no repeat");
            let id: Uuid = event["id"].as_str().expect("an id").parse().expect("a UUID");
            assert!(self.ids.insert(id), "{context}: {id} is there twice");
            self.versions.insert(stream.clone(), version);
            found.insert(id, (stream, version));
            self.seen.push(event);
        }
        self.cursor = Some(cursor);
        for attempt in attempts {
            let places: Vec<_> = attempt.ids.iter().map(|id| found.remove(id)).collect();
            let whole = (attempt.expected + 1..).zip(&places).all(|(version, place)| *place == Some((attempt.stream.clone(), version)));
            let absent = places.iter().all(Option::is_none);
            assert!(whole || (absent && !attempt.acknowledged), "{context}: {attempt:?} is found as {places:?}");
        }
        assert!(found.is_empty(), "{context}: nobody appended {found:?}");
    }

    /// Reads everything again: what a reader has seen never vanishes or changes.
    pub(crate) async fn check_all_again(&self, api: &Api, context: &str) {
        let (events, _) = api.events_after("0").await;
        assert_eq!(events.len(), self.seen.len(), "{context}: as many events as were seen before");
        for (now, before) in events.iter().zip(&self.seen) {
            assert_eq!(now, before, "{context}: what was seen stays as it was");
        }
    }

    pub(crate) fn events(&self) -> usize {
        self.seen.len()
    }
}

/// Appends to one stream until it is not answered any more, with expected versions; what it knows of each append.
/// `acknowledged` is told of each acknowledgement.
pub(crate) async fn write_until_refused(
    api: Api,
    stream: String,
    mut version: u64,
    acknowledged: tokio::sync::mpsc::UnboundedSender<()>,
) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    loop {
        // Batches of different sizes: each must be there whole or not at all.
        let ids: Vec<Uuid> = (0..1 + version % 4).map(|_| Uuid::now_v7()).collect();
        let answer = api.append(&stream, version, &ids, "some content that is not short").await;
        let mut attempt = Attempt { stream: stream.clone(), expected: version, ids, acknowledged: false };
        match answer {
            Answer::Acknowledged(value) => {
                attempt.acknowledged = true;
                version += attempt.ids.len() as u64;
                assert_eq!(value["last_version"].as_u64(), Some(version), "{value}");
                attempts.push(attempt);
                // Whoever counts may have enough.
                let _nobody_counts = acknowledged.send(());
            }
            Answer::Refused(status, problem) => {
                assert!(matches!(status, 503 | 507), "{status}: {problem}");
                return attempts;
            }
            Answer::Unknown => {
                attempts.push(attempt);
                return attempts;
            }
        }
    }
}
