//! How many are where? For who looks after a group.

use super::Books;
use crate::subscription::group::lane::State;

/// How a group is, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Counts {
    pub(in super::super) checkpoints: Vec<u64>,
    pub(in super::super) in_flight: u64,
    pub(in super::super) parked: u64,
    pub(in super::super) retrying: u64,
    pub(in super::super) held_back: u64,
    pub(in super::super) consumers: u64,
    pub(in super::super) is_blocked: bool,
}

impl Books {
    /// Counts.
    pub(in super::super) fn counts(&self) -> Counts {
        let mut counts = Counts {
            checkpoints: self.checkpoints(),
            in_flight: self.given.len() as u64,
            parked: self.parked as u64,
            consumers: self.seats.values().filter(|seat| !seat.is_gone).count() as u64,
            is_blocked: self.is_blocked(),
            ..Counts::default()
        };
        if self.kept > 0 {
            for lane in self.lanes.values() {
                let first_parked = lane.first_parked().unwrap_or(usize::MAX);
                for (at, item) in lane.items.iter().enumerate() {
                    if matches!(item.state, State::Parked) {
                        continue;
                    }
                    counts.held_back += u64::from(at > first_parked);
                    counts.retrying += u64::from(at < first_parked && item.attempts > 0);
                }
            }
        }
        counts
    }

    /// Nobody is there, and nothing is out.
    pub(in super::super) fn is_idle(&self) -> bool {
        self.given.is_empty() && self.seats.values().all(|seat| seat.is_gone)
    }

    /// How many deliveries are out that nobody is connected for.
    pub(in super::super) fn detached(&self) -> usize {
        self.seats.values().filter(|seat| seat.is_gone).map(|seat| seat.in_flight).sum()
    }
}
