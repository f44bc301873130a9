//! What of queries is measured? How many there were and what came of them, how long they took, and how many rows they gave.

use std::time::Duration;

use metrics::Counter;
use metrics::Histogram;
use metrics::counter;
use metrics::histogram;

use crate::Error;

/// Where the measurements go. The handles are made once.
pub(super) struct Meters {
    outcomes: [Counter; OUTCOMES.len()],
    rows: Counter,
    seconds: Histogram,
}

/// What came of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    /// Nobody read its answer to the end.
    Abandoned,
    /// Its text can't be answered.
    Invalid,
    /// It needed more than it may have.
    Limited,
    /// Too many ran and waited.
    Busy,
    Failed,
}

impl Outcome {
    pub(super) fn as_str(self) -> &'static str {
        OUTCOMES.get(self as usize).copied().unwrap_or_default()
    }

    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::InvalidQuery { .. } | Error::Invalid { .. } => Self::Invalid,
            Error::QueryLimit { .. } => Self::Limited,
            Error::SqlBusy => Self::Busy,
            _ => Self::Failed,
        }
    }
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            outcomes: OUTCOMES.map(|outcome| counter!("factum_sql_queries_total", "outcome" => outcome)),
            rows: counter!("factum_sql_rows_total"),
            seconds: histogram!("factum_sql_query_seconds"),
        }
    }

    /// A query ended before it had a turn.
    pub(super) fn refused(&self, error: &Error) {
        self.count(Outcome::of(error));
    }

    pub(super) fn rows(&self, rows: usize) {
        self.rows.increment(u64::try_from(rows).unwrap_or(u64::MAX));
    }

    /// A query that has had its turn is over.
    pub(super) fn ended(&self, outcome: Outcome, took: Duration) {
        self.count(outcome);
        self.seconds.record(took);
    }

    fn count(&self, outcome: Outcome) {
        if let Some(counter) = self.outcomes.get(outcome as usize) {
            counter.increment(1);
        }
    }
}

/// In the order of [`Outcome`].
const OUTCOMES: [&str; 6] = ["answered", "abandoned", "invalid", "limited", "busy", "failed"];
