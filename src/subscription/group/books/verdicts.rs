//! What becomes of an event that was given out? Done, tried again, or parked; and what that means for those behind it.

use std::time::Duration;

use tokio::time::Instant;

use super::Books;
use super::ConsumerId;
use super::Now;
use super::Place;
use super::Seat;
use crate::subscription::group::lane::LaneKey;
use crate::subscription::group::lane::State;
use crate::subscription::group::store::Kept;

/// What a consumer says of a delivery that it did not get done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nack {
    /// Try it again later.
    Retry,
    /// Put it aside for somebody to look at.
    Park,
    /// Count it as done.
    Skip,
}

impl Books {
    /// A delivery is done. Says whether it was still out.
    pub(in super::super) fn ack(&mut self, number: u64, now: Instant) -> bool {
        let Some((key, at)) = self.take_back(number) else { return false };
        self.done(key, at);
        self.settle(key, at == 0, now);
        true
    }

    /// A delivery did not get done. Says whether it was still out.
    pub(in super::super) fn nack(&mut self, number: u64, action: &Nack, reason: &str, now: Now) -> bool {
        if *action == Nack::Skip {
            return self.ack(number, now.instant);
        }
        let Some((key, at)) = self.take_back(number) else { return false };
        match action {
            Nack::Retry => self.fail(key, at, reason.to_owned(), Delay::Pause, now),
            Nack::Park | Nack::Skip => {
                self.count_failure(key, at);
                self.park(key, at, reason.to_owned(), now);
            }
        }
        self.settle(key, true, now.instant);
        true
    }

    /// Does what is due by now.
    pub(super) fn expire(&mut self, now: Now) {
        while let Some((_, key)) = self.timers.first().copied().filter(|(due, _)| *due <= now.instant) {
            let Some(lane) = self.lanes.get_mut(&key) else {
                self.timers.pop_first();
                continue;
            };
            if lane.retry_at.is_some_and(|due| due <= now.instant) {
                lane.retry_at = None;
            }
            if lane.deadline.is_some_and(|due| due <= now.instant) {
                lane.deadline = None;
                let ms = self.terms.ack_timeout.as_millis();
                self.fail_first(key, format!("not acknowledged within {ms} ms"), now);
            }
            self.set_timer(key);
            self.list(key);
        }
    }

    /// A consumer is gone, and what it has not acknowledged goes to others. It may have died of the first event of each line: that one
    /// counts as tried. Those behind it can't have been its end, so they don't.
    pub(in super::super) fn leave(&mut self, id: ConsumerId, now: Now) {
        self.stop_waiting(id);
        let Some(seat) = self.seats.get_mut(&id) else { return };
        seat.is_gone = true;
        for key in std::mem::take(&mut seat.lanes) {
            self.fail_first(key, "its consumer went away".to_owned(), now);
        }
        self.seats.remove(&id);
    }

    /// A consumer that came for one batch has it: its deliveries stay out until they are acknowledged or their time is over.
    pub(in super::super) fn detach(&mut self, id: ConsumerId) {
        self.stop_waiting(id);
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.is_gone = true;
            if seat.in_flight == 0 {
                self.seats.remove(&id);
            }
        }
    }

    /// Parked events, or all of them, are given out again, in order and as if for the first time. Says how many there were.
    pub(in super::super) fn replay(&mut self, events: Option<&[(u16, u64)]>) -> u64 {
        let found = self.parked_among(events);
        for &(key, version) in &found {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            let Ok(at) = lane.index_of(version) else { continue };
            if let Some(item) = lane.items.get_mut(at) {
                (item.state, item.attempts) = (State::Waiting(None), 0);
                lane.parked -= 1;
                self.parked -= 1;
            }
            self.write_row(key, at, String::new(), None);
            self.list(key);
        }
        found.len() as u64
    }

    /// Parked events, or all of them, count as done. Says how many there were.
    pub(in super::super) fn skip_parked(&mut self, events: Option<&[(u16, u64)]>) -> u64 {
        let found = self.parked_among(events);
        for &(key, version) in &found {
            if let Some(at) = self.lanes.get(&key).and_then(|lane| lane.index_of(version).ok()) {
                self.done(key, at);
                self.list(key);
            }
        }
        found.len() as u64
    }

    fn parked_among(&self, events: Option<&[(u16, u64)]>) -> Vec<Place> {
        let lanes = self.lanes.iter().filter(|(_, lane)| lane.parked > 0);
        let parked = lanes.flat_map(|(key, lane)| {
            let items = lane.items.iter().filter(|item| matches!(item.state, State::Parked));
            items.filter(|item| events.is_none_or(|events| events.contains(&(item.shard, item.position)))).map(|item| (*key, item.version))
        });
        parked.collect()
    }

    /// The line and place of a delivery, which counts as out no more.
    fn take_back(&mut self, number: u64) -> Option<(LaneKey, usize)> {
        let (key, version) = self.given.remove(&number)?;
        let lane = self.lanes.get_mut(&key)?;
        let at = lane.index_of(version).ok()?;
        lane.items.get_mut(at)?.state = State::Waiting(None);
        lane.given -= 1;
        self.give_room(key, 1);
        Some((key, at))
    }

    /// Sees to the owner and the time of a line after one of its deliveries came back.
    fn settle(&mut self, key: LaneKey, restarts: bool, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if lane.given == 0 {
            lane.deadline = None;
            self.release(key);
        } else if restarts {
            // The next one could not be worked on before.
            lane.deadline = Some(now + self.terms.ack_timeout);
        }
        self.set_timer(key);
        self.list(key);
    }

    fn release(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.is_listed = false;
        if let Some(owner) = lane.owner.take()
            && let Some(seat) = self.seats.get_mut(&owner)
        {
            seat.lanes.remove(&key);
            if Seat::is_over(seat) {
                self.seats.remove(&owner);
            }
        }
    }

    /// The first event of a line that is out has failed, by nobody's word.
    fn fail_first(&mut self, key: LaneKey, reason: String, now: Now) {
        let number = self.lanes.get(&key).and_then(|lane| lane.items.front()).and_then(|item| match item.state {
            State::Given(number) => Some(number),
            State::Waiting(_) | State::Parked => None,
        });
        if let Some((key, at)) = number.and_then(|number| self.take_back(number)) {
            self.fail(key, at, reason, Delay::None, now);
            self.settle(key, true, now.instant);
        }
    }

    /// An event is to be tried again, after those before it and before those behind it; or is parked if it was tried enough.
    fn fail(&mut self, key: LaneKey, at: usize, reason: String, delay: Delay, now: Now) {
        let attempts = self.count_failure(key, at);
        if attempts >= self.terms.max_attempts {
            self.park(key, at, reason, now);
            return;
        }
        self.keep(key, at, reason);
        self.revoke(key, at);
        if let (Delay::Pause, Some(lane)) = (delay, self.lanes.get_mut(&key)) {
            lane.retry_at = Some(now.instant + back_off(attempts, self.next_number));
        }
    }

    fn count_failure(&mut self, key: LaneKey, at: usize) -> u32 {
        let item = self.lanes.get_mut(&key).and_then(|lane| lane.items.get_mut(at));
        item.map_or(0, |item| {
            item.attempts += 1;
            item.attempts
        })
    }

    /// Puts an event aside. With an order, what stands behind it is held back.
    pub(super) fn park(&mut self, key: LaneKey, at: usize, reason: String, now: Now) {
        self.keep(key, at, reason.clone());
        self.write_row(key, at, reason, Some(now.time.as_micros()));
        self.revoke(key, at + 1);
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if let Some(item) = lane.items.get_mut(at) {
            if let State::Waiting(Some(record)) = std::mem::replace(&mut item.state, State::Parked) {
                self.bodies -= 1;
                self.body_bytes = self.body_bytes.saturating_sub(record.stored_bytes());
            }
            lane.parked += 1;
            self.parked += 1;
        }
        // The checkpoint need not wait for what is held back: each has its row from now on.
        for behind in at + 1..lane.items.len() {
            self.drop_body(key, behind);
            if self.lanes.get(&key).and_then(|lane| lane.items.get(behind)).is_some_and(|item| !item.is_kept) {
                self.keep(key, behind, String::new());
            }
        }
    }

    fn drop_body(&mut self, key: LaneKey, at: usize) {
        if let Some(State::Waiting(body)) = self.lanes.get_mut(&key).and_then(|lane| lane.items.get_mut(at)).map(|item| &mut item.state)
            && let Some(record) = body.take()
        {
            self.bodies -= 1;
            self.body_bytes = self.body_bytes.saturating_sub(record.stored_bytes());
        }
    }

    /// What is out from a place of the line on is out no more; it will come again in order.
    fn revoke(&mut self, key: LaneKey, from: usize) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let mut count = 0;
        for item in lane.items.range_mut(from.min(lane.items.len())..) {
            if let State::Given(number) = item.state {
                self.given.remove(&number);
                item.state = State::Waiting(None);
                count += 1;
            }
        }
        lane.given -= count;
        self.give_room(key, count);
    }

    /// So many deliveries of a line are with its owner no more.
    fn give_room(&mut self, key: LaneKey, count: usize) {
        if let Some(owner) = self.lanes.get(&key).and_then(|lane| lane.owner)
            && let Some(seat) = self.seats.get_mut(&owner)
        {
            seat.in_flight -= count;
            if count > 0 {
                self.call_for_room(owner);
            }
        }
    }

    /// Gives an event a row of its own, so that the checkpoint may pass it.
    pub(super) fn keep(&mut self, key: LaneKey, at: usize, reason: String) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let Some(item) = lane.items.get_mut(at) else { return };
        if !item.is_kept {
            item.is_kept = true;
            self.kept += 1;
            if let Some(marks) = self.marks.get_mut(usize::from(item.shard)) {
                marks.close(item.position);
            }
        }
        self.write_row(key, at, reason, None);
    }

    fn write_row(&mut self, key: LaneKey, at: usize, reason: String, parked_at: Option<i64>) {
        let Some(lane) = self.lanes.get(&key) else { return };
        let Some(item) = lane.items.get(at) else { return };
        let row = Kept { stream: lane.stream.as_ref().to_owned(), version: item.version, attempts: item.attempts, parked_at, reason };
        self.rows.insert((item.shard, item.position), Some(row));
        self.changes += 1;
    }

    /// An event is done, and its line goes on.
    pub(super) fn done(&mut self, key: LaneKey, at: usize) {
        self.drop_body(key, at);
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let Some(item) = lane.items.remove(at) else { return };
        self.tracked -= 1;
        self.changes += 1;
        if matches!(item.state, State::Parked) {
            lane.parked -= 1;
            self.parked -= 1;
        }
        if item.is_kept {
            self.kept -= 1;
            self.rows.insert((item.shard, item.position), None);
        } else if let Some(marks) = self.marks.get_mut(usize::from(item.shard)) {
            marks.close(item.position);
        }
        if lane.items.is_empty() {
            lane.deadline = None;
            lane.retry_at = None;
            self.release(key);
            self.set_timer(key);
            self.lanes.remove(&key);
        }
    }
}

impl Seat {
    fn is_over(&self) -> bool {
        self.is_gone && self.in_flight == 0
    }
}

#[derive(Clone, Copy)]
enum Delay {
    None,
    Pause,
}

/// Twice as long each time, up to a limit, and half of it by chance: those that failed together do not come back together.
fn back_off(attempts: u32, chance: u64) -> Duration {
    let whole = BACK_OFF_MS.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(BACK_OFF_MS_MAX);
    let jitter = xxhash_rust::xxh3::xxh3_64(&chance.to_le_bytes()) % (whole / 2 + 1);
    Duration::from_millis(whole / 2 + jitter)
}

const BACK_OFF_MS: u64 = 100;
const BACK_OFF_MS_MAX: u64 = 30_000;
