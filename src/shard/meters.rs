//! What of a shard is measured while it works? A few numbers for each batch; what can be asked at any time is not counted here.
//!
//! The handles are made once, when the shard is opened: the writer only adds to numbers that it holds already.

use std::time::Duration;

use factum_storage as storage;
use metrics::Counter;
use metrics::Histogram;
use metrics::counter;
use metrics::histogram;
use storage::Error;
use storage::FailedCheck;

/// Where the measurements of one shard go.
pub(super) struct Meters {
    calls: [Counter; OUTCOMES.len()],
    events: Counter,
    bytes: Counter,
    queue_seconds: Histogram,
    commit_seconds: Histogram,
    commit_calls: Histogram,
    pub(super) memory_hits: Counter,
    pub(super) memory_misses: Counter,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Appended,
    /// All of it was there already.
    Duplicate,
    VersionConflict,
    ConditionFailed,
    IdReused,
    /// It breaks a rule, or the shard takes nothing.
    Refused,
    /// It was not even queued: too many wait.
    Overloaded,
    /// The write or its sync failed.
    Failed,
}

/// How many calls of a batch came to what.
#[derive(Debug, Default)]
pub(super) struct Outcomes([u64; OUTCOMES.len()]);

impl Outcome {
    /// What an error means for the call.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::Conflict(failed) if failed.iter().any(|check| matches!(check, FailedCheck::Version { .. })) => Self::VersionConflict,
            Error::Conflict(_) => Self::ConditionFailed,
            Error::EventIdReused { .. } => Self::IdReused,
            Error::StorageFull | Error::OutcomeUnknown(_) | Error::Io { .. } | Error::Corrupt(_) => Self::Failed,
            Error::StreamDeleted(_)
            | Error::StreamNotFound(_)
            | Error::TooLarge { .. }
            | Error::Poisoned(_)
            | Error::ReadOnly(_)
            | Error::UnknownFormat { .. }
            | Error::LogMissing(_)
            | Error::Locked { .. } => Self::Refused,
        }
    }
}

impl Outcomes {
    pub(super) fn of(outcomes: impl Iterator<Item = Outcome>) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            if let Some(count) = counts.0.get_mut(outcome as usize) {
                *count += 1;
            }
        }
        counts
    }
}

impl Meters {
    pub(super) fn new(shard: u16) -> Self {
        let shard = shard.to_string();
        let cache = |name: &'static str| counter!(name, "cache" => "newest_events");
        Self {
            calls: OUTCOMES.map(|outcome| counter!(APPEND_CALLS, SHARD => shard.clone(), "outcome" => outcome)),
            events: counter!(APPEND_EVENTS, SHARD => shard.clone()),
            bytes: counter!(APPEND_BYTES, SHARD => shard.clone()),
            queue_seconds: histogram!(QUEUE_SECONDS, SHARD => shard.clone()),
            commit_seconds: histogram!(COMMIT_SECONDS, SHARD => shard.clone()),
            commit_calls: histogram!(COMMIT_CALLS, SHARD => shard),
            memory_hits: cache("factum_cache_hits_total"),
            memory_misses: cache("factum_cache_misses_total"),
        }
    }

    /// A batch was committed, or has failed.
    pub(super) fn committed(&self, (events, bytes): (u64, u64), took: Duration, waited: Duration) {
        self.events.increment(events);
        self.bytes.increment(bytes);
        self.commit_seconds.record(took);
        self.queue_seconds.record(waited);
    }

    /// The calls of a batch are being answered.
    pub(super) fn answered(&self, outcomes: &Outcomes) {
        self.commit_calls.record(outcomes.0.iter().sum::<u64>() as f64);
        for (counter, count) in self.calls.iter().zip(outcomes.0).filter(|(_, count)| *count > 0) {
            counter.increment(count);
        }
    }

    /// A call found no place in the queue.
    pub(super) fn overloaded(&self) {
        if let Some(counter) = self.calls.get(Outcome::Overloaded as usize) {
            counter.increment(1);
        }
    }
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadKind {
    /// One stream.
    Stream,
    /// A page of the log of all shards.
    Log,
    /// A listing of streams, categories or types.
    Listing,
    /// One table of events in a query.
    #[cfg(feature = "analytics")]
    Sql,
}

/// How many shards reads reach.
pub(super) struct ReadMeters([Histogram; READS.len()]);

impl ReadMeters {
    pub(super) fn new() -> Self {
        Self(READS.map(|kind| histogram!(READ_SHARDS, "read" => kind)))
    }

    pub(super) fn reached(&self, kind: ReadKind, shards: usize) {
        if let Some(histogram) = self.0.get(kind as usize) {
            histogram.record(shards as f64);
        }
    }
}

/// In the order of [`ReadKind`].
const READS: [&str; 4] = ["stream", "log", "listing", "sql"];

/// In the order of [`Outcome`].
const OUTCOMES: [&str; 8] =
    ["appended", "duplicate", "version_conflict", "condition_failed", "id_reused", "refused", "overloaded", "failed"];

const SHARD: &str = "shard";
const APPEND_CALLS: &str = "factum_append_calls_total";
const APPEND_EVENTS: &str = "factum_append_events_total";
const APPEND_BYTES: &str = "factum_append_bytes_total";
const QUEUE_SECONDS: &str = "factum_append_queue_seconds";
const COMMIT_SECONDS: &str = "factum_commit_seconds";
const COMMIT_CALLS: &str = "factum_commit_calls";
const READ_SHARDS: &str = "factum_read_shards";
