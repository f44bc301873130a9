//! What of projections is measured, and under which names? Nothing is kept here: it goes to the recorder of the process, if there is one.
//!
//! The one label besides states is the projection's name, of which there are as many as definitions. Nothing is measured event by event.

use std::time::Duration;

use metrics::counter;
use metrics::gauge;
use metrics::histogram;

use super::State;

/// A batch is in the target.
pub(super) fn committed(projection: &str, took: Duration, parked: usize) {
    histogram!(BATCH_SECONDS, PROJECTION => projection.to_owned()).record(took);
    if parked > 0 {
        counter!(PARKED, PROJECTION => projection.to_owned()).increment(u64::try_from(parked).unwrap_or(u64::MAX));
    }
}

/// Some events count, whether or not they changed rows.
pub(super) fn applied(projection: &str, events: u64) {
    counter!(EVENTS, PROJECTION => projection.to_owned()).increment(events);
}

/// It could not go on for the moment.
pub(super) fn retried(projection: &str) {
    counter!(RETRIES, PROJECTION => projection.to_owned()).increment(1);
}

/// How it fares just now. The counters are there from the first time on, at 0.
pub(crate) fn fares(projection: &str, state: State, lag_events: u64, lag: Duration) {
    for (each, name) in STATES {
        gauge!(STATE, PROJECTION => projection.to_owned(), "state" => name).set(if each == state { 1.0 } else { 0.0 });
    }
    gauge!(LAG_EVENTS, PROJECTION => projection.to_owned()).set(lag_events as f64);
    gauge!(LAG_SECONDS, PROJECTION => projection.to_owned()).set(lag.as_secs_f64());
    for name in [RETRIES, EVENTS, PARKED] {
        counter!(name, PROJECTION => projection.to_owned()).increment(0);
    }
}

/// It is in no state any more. (Counters can't go back; whoever reads them leaves out those of projections that are gone.)
pub(super) fn removed(projection: &str) {
    for (_, name) in STATES {
        gauge!(STATE, PROJECTION => projection.to_owned(), "state" => name).set(0.0);
    }
    gauge!(LAG_EVENTS, PROJECTION => projection.to_owned()).set(0.0);
    gauge!(LAG_SECONDS, PROJECTION => projection.to_owned()).set(0.0);
}

/// The label with a projection's name.
const PROJECTION: &str = "projection";

const STATE: &str = "factum_projection_state";
const LAG_EVENTS: &str = "factum_projection_lag_events";
const LAG_SECONDS: &str = "factum_projection_lag_seconds";
const RETRIES: &str = "factum_projection_retries_total";
const EVENTS: &str = "factum_projection_events_total";
const PARKED: &str = "factum_projection_parked_total";
const BATCH_SECONDS: &str = "factum_projection_batch_seconds";

const STATES: [(State, &str); 5] = [
    (State::Running, "running"),
    (State::Rebuilding, "rebuilding"),
    (State::Paused, "paused"),
    (State::Retrying, "retrying"),
    (State::Failed, "failed"),
];
