//! What of aggregates is measured? Whether states are at hand, what it takes to work them out, and how snapshots are kept.

use std::time::Duration;

use metrics::Counter;
use metrics::Histogram;
use metrics::counter;
use metrics::histogram;

/// Where the measurements go. The handles are made once.
pub(super) struct Meters {
    hits: Counter,
    misses: Counter,
    replayed: Counter,
    kept: Counter,
    failed: Counter,
    write_seconds: Histogram,
}

impl Meters {
    pub(super) fn new() -> Self {
        let cache = |name: &'static str| counter!(name, "cache" => "aggregate_states");
        let snapshots = |outcome: &'static str| counter!("factum_snapshots_total", "outcome" => outcome);
        Self {
            hits: cache("factum_cache_hits_total"),
            misses: cache("factum_cache_misses_total"),
            replayed: counter!("factum_aggregate_replayed_events_total"),
            kept: snapshots("kept"),
            failed: snapshots("failed"),
            write_seconds: histogram!("factum_snapshot_write_seconds"),
        }
    }

    /// A state was asked for.
    pub(super) fn asked(&self, is_at_hand: bool) {
        if is_at_hand { &self.hits } else { &self.misses }.increment(1);
    }

    /// Events were applied.
    pub(super) fn replayed(&self, events: u64) {
        self.replayed.increment(events);
    }

    /// Snapshots were put into the store, or not.
    pub(super) fn put(&self, snapshots: usize, took: Duration, is_kept: bool) {
        let counter = if is_kept { &self.kept } else { &self.failed };
        counter.increment(u64::try_from(snapshots).unwrap_or(u64::MAX));
        self.write_seconds.record(took);
    }
}
