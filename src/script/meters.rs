//! What of scripts is measured? How long each call takes, by what was called and whether it went well.

use std::time::Duration;

use metrics::Histogram;
use metrics::histogram;

use super::job::Work;

/// Where the measurements go. The handles are made once.
pub(super) struct Meters {
    done: [Histogram; CALLS.len()],
    failed: [Histogram; CALLS.len()],
}

impl Meters {
    pub(super) fn new() -> Self {
        let seconds =
            |call: &'static str, outcome: &'static str| histogram!("factum_script_call_seconds", "call" => call, "outcome" => outcome);
        Self { done: CALLS.map(|call| seconds(call, "done")), failed: CALLS.map(|call| seconds(call, "failed")) }
    }

    /// A call came to its end, or was given up.
    pub(super) fn called(&self, kind: usize, took: Duration, is_done: bool) {
        let histograms = if is_done { &self.done } else { &self.failed };
        if let Some(histogram) = histograms.get(kind) {
            histogram.record(took);
        }
    }
}

/// Where the kind of a call stands among those that are told apart.
pub(super) fn kind(work: &Work) -> usize {
    match work {
        Work::Inspect => 0,
        Work::Fold { .. } => 1,
        Work::Decide { .. } => 2,
        Work::Map { .. } => 3,
        Work::Project(_) => 4,
        #[cfg(test)]
        Work::Panic | Work::Hang(_) => 0,
    }
}

/// As people know them: a schema's upcaster maps, an aggregate folds.
const CALLS: [&str; 5] = ["inspect", "evolve", "decide", "upcast", "project"];
