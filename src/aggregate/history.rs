//! How did a state come to be? The state after each version, with what has changed since the one before.

use bytes::Bytes;
use factum_storage::StreamName;
use factum_storage::Timestamp;
use factum_storage::Version;
use serde_json::Value;

use super::Aggregates;
use super::evolver::Running;
use super::load::Failed;
use super::load::LOAD_TRIES;
use super::load::check_gapless;
use super::load::read;
use crate::Error;

/// One version of an aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The event's version.
    pub version: Version,
    /// The event's type.
    pub event_type: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// What it changed: a JSON Patch (RFC 6902) from the state before.
    pub patch: Bytes,
    /// The state after it, as JSON.
    pub state: Bytes,
}

impl Aggregates {
    /// The versions of an aggregate from one on (inclusive; `None`: the first), at most `limit` or as many as take `bytes_max`, and the
    /// version that comes next, if any.
    ///
    /// # Errors
    ///
    /// As [`Aggregates::state`].
    pub(crate) async fn history(
        &self,
        stream: &StreamName,
        from: Option<Version>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<(Vec<Step>, Option<Version>), Error> {
        for _try in 1..LOAD_TRIES {
            match self.try_history(stream, from, limit, bytes_max).await {
                Err(Failed::Moved) => {}
                Err(Failed::Error(error)) => return Err(error),
                Ok(history) => return Ok(history),
            }
        }
        Err(Error::Unavailable { shard: 0, detail: format!("stream {stream} changes faster than it can be read") })
    }

    async fn try_history(
        &self,
        stream: &StreamName,
        from: Option<Version>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<(Vec<Step>, Option<Version>), Failed> {
        let source = self.source(stream).await?;
        let mut next = from.unwrap_or(source.info.first_version).max(source.info.first_version);
        let (mut history, mut bytes) = (Vec::new(), 0);
        if next > source.info.version {
            return Ok((history, None));
        }
        let before = if next == source.info.first_version {
            source.evolver.finish(&self.sandbox, Running::Initial).await?
        } else {
            self.load(&source, Version::new(next.get() - 1)).await?.state
        };
        let mut value: Value = parse(&before)?;
        let mut running = if next == source.info.first_version { Some(Running::Initial) } else { source.evolver.resume(&before) };
        while next <= source.info.version && history.len() < limit && bytes < bytes_max {
            let mut events = read(&source, next, STEPS_AT_ONCE.min(limit - history.len())).await?;
            events.retain(|event| event.version() <= source.info.version);
            let Some(last) = events.last() else { return Err(Failed::Moved) };
            check_gapless(&source, next, &events)?;
            next = last.version().next();
            let mut states = Vec::with_capacity(events.len());
            let begin = running.take().unwrap_or(Running::Initial);
            running = Some(self.apply(&source, begin, events.clone(), Some(&mut states)).await?);
            for (event, state) in events.iter().zip(states) {
                if bytes >= bytes_max {
                    next = event.version();
                    break;
                }
                let after = parse(&state)?;
                let patch: Bytes = serde_json::to_vec(&json_patch::diff(&value, &after)).expect("a patch is JSON").into();
                value = after;
                bytes += state.len() + patch.len() + event.event_type().len() + STEP_BYTES;
                let event_type = event.event_type().to_owned();
                history.push(Step { version: event.version(), event_type, recorded_at: event.recorded_at(), patch, state });
            }
        }
        Ok((history, (next <= source.info.version).then_some(next)))
    }
}

fn parse(state: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(state).map_err(|error| Error::Unavailable { shard: 0, detail: format!("a state is not JSON: {error}") })
}

/// States are kept for each of them until they are told.
const STEPS_AT_ONCE: usize = 100;
/// About what a step takes beside its texts.
const STEP_BYTES: usize = 120;
