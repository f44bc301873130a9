//! How far is read ahead, and what must be read from the log again? Bodies in memory are bounded; what is dropped is read anew.

use factum_storage::RecordedEvent;

use super::Books;
use super::Now;
use crate::subscription::group::lane::LaneKey;
use crate::subscription::group::lane::State;

/// An event whose body is to be read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Wanted {
    pub(in super::super) shard: u16,
    pub(in super::super) position: u64,
    version: u64,
    key: LaneKey,
}

impl Books {
    /// Whether more of the log is wanted now.
    pub(super) fn wants_more(&self) -> bool {
        let is_hungry = !self.waiting.is_empty();
        let has_room = is_hungry || self.seats.values().any(|seat| !seat.is_gone && seat.in_flight < seat.window);
        has_room && !self.is_blocked() && (is_hungry || (self.bodies < AHEAD_EVENTS && self.body_bytes < AHEAD_BYTES))
    }

    /// As many events wait as may: nothing more is read before some are done. What was read before a restart is read again.
    pub(in super::super) fn is_blocked(&self) -> bool {
        self.tracked >= TRACKED_MAX && self.ahead.is_empty()
    }

    /// Drops the bodies of what waits for others, if a consumer has room and nothing in memory is for it.
    pub(super) fn shed_for_hungry(&mut self) {
        if self.waiting.is_empty() || (self.bodies < SHED_EVENTS && self.body_bytes < SHED_BYTES) {
            return;
        }
        for lane in self.lanes.values_mut() {
            for item in lane.items.range_mut(lane.given..) {
                if let State::Waiting(body) = &mut item.state {
                    *body = None;
                }
            }
        }
        (self.bodies, self.body_bytes) = (0, 0);
    }

    /// Events whose bodies are to be read, in the order of the log.
    pub(in super::super) fn wanted(&mut self) -> Vec<Wanted> {
        let mut out = Vec::new();
        while out.len() < FETCH_EVENTS
            && let Some(key) = self.wanting.pop_front()
        {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.is_wanting = false;
            if lane.next().is_none() {
                continue;
            }
            let waiting = lane.items.range(lane.given..).take(FETCH_LANE_EVENTS);
            let bare = waiting.take_while(|item| item.is_waiting());
            let bare = bare.filter(|item| matches!(item.state, State::Waiting(None)));
            out.extend(bare.map(|item| Wanted { shard: item.shard, position: item.position, version: item.version, key }));
        }
        out.sort_unstable();
        self.is_fetching = !out.is_empty();
        out
    }

    /// Takes a body that was asked for; without one, the event is hidden by now and there is nothing left to do for anybody.
    pub(in super::super) fn fill(&mut self, wanted: Wanted, record: Option<RecordedEvent>, now: Now) {
        let key = wanted.key;
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let Ok(at) = lane.index_of(wanted.version) else { return };
        let Some(item) = lane.items.get_mut(at) else { return };
        if !matches!(item.state, State::Waiting(None)) {
            return;
        }
        match record {
            None => self.done(key, at),
            Some(record) => match record.reshape_failure().map(str::to_owned) {
                Some(why) => self.park(key, at, why, now),
                None => {
                    self.bodies += 1;
                    self.body_bytes += record.stored_bytes();
                    item.state = State::Waiting(Some(Box::new(record)));
                }
            },
        }
        self.list(key);
    }
}

/// So many bodies are in memory before reading on stops,
const AHEAD_EVENTS: usize = 512;
const AHEAD_BYTES: usize = 4 << 20;
/// and so many before those are dropped that a hungry consumer can't have.
const SHED_EVENTS: usize = 1_536;
const SHED_BYTES: usize = 8 << 20;
/// So many events wait, are given out, held back or parked before nothing more is read.
const TRACKED_MAX: usize = 100_000;
const FETCH_EVENTS: usize = 512;
const FETCH_LANE_EVENTS: usize = 256;
