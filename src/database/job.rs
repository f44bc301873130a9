//! How far is a change of the shards?

use std::time::Duration;

use factum_storage::Timestamp;

use crate::shard::SLOTS;

/// A change of the shards, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub id: String,
    /// `add`, `drain` or `rebalance`.
    pub kind: &'static str,
    /// The shard that joins or is drained.
    pub shard: Option<u16>,
    /// How it is.
    pub state: JobState,
    /// What it counts: `slots`, or `ranges` with the strategy `range`.
    pub unit: &'static str,
    /// How many of them have moved.
    pub done: u32,
    /// How many have to.
    pub total: u32,
    /// How many streams are in what it moves; `None` until they are counted, beside the moves.
    pub moved_streams: Option<u64>,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// How long it has been at work since the process goes on with it, and how many of its unit have moved since.
    pub worked: (Duration, u32),
    /// Why the database began it by itself; `None` if somebody has asked for it.
    pub why: Option<String>,
    /// Why it stands still, if it has failed.
    pub error: Option<String>,
}

/// How a change of the shards is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Something moves.
    Running,
    /// Nothing moves until it is resumed.
    Paused,
    /// It stands still because something went wrong; it can be resumed.
    Failed,
    /// All has moved.
    Done,
    /// It was given up. What has moved stays where it is.
    Cancelled,
}

impl Job {
    /// How much of all slots have moved; `None` if it moves ranges, which are not alike.
    #[must_use]
    pub fn moved_fraction(&self) -> Option<f64> {
        (self.unit == SLOTS_UNIT).then(|| f64::from(self.done) / f64::from(SLOTS))
    }

    /// How long it may take yet, at the pace that it has.
    #[must_use]
    pub fn eta(&self) -> Option<Duration> {
        let (time, moved) = self.worked;
        let left = self.total.saturating_sub(self.done);
        (self.state == JobState::Running && moved > 0).then(|| time * left / moved)
    }

    /// Whether nothing will come of it any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, JobState::Done | JobState::Cancelled)
    }
}

impl JobState {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What jobs count that move slots.
pub(super) const SLOTS_UNIT: &str = "slots";
/// What jobs count that move ranges.
pub(super) const RANGES_UNIT: &str = "ranges";
