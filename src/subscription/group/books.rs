//! Who has which event, and what is done? The books of one group: no I/O, and the time comes from outside.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

use factum_storage::RecordedEvent;
use factum_storage::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::lane::Item;
use super::lane::Lane;
use super::lane::LaneKey;
use super::lane::State;
use super::marks::Marks;
use super::store::Change;
use super::store::Kept;
use super::store::Progress;
use super::terms::Terms;

mod count;
mod fetch;
mod verdicts;
mod waiting;
mod worker;

pub(super) use count::Counts;
pub(super) use fetch::Wanted;
pub use verdicts::Nack;
use waiting::Waits;
use worker::Look;

/// One consumer of a group, for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConsumerId(u64);

/// When it is: for deadlines, and for people.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) time: Timestamp,
}

/// What a consumer is given.
pub(super) struct Given {
    pub(super) number: u64,
    pub(super) attempt: u32,
    pub(super) shard: u16,
    pub(super) record: RecordedEvent,
}

/// The books of one group.
pub(super) struct Books {
    terms: Arc<Terms>,
    marks: Vec<Marks>,
    lanes: HashMap<LaneKey, Lane>,
    /// Lines that anybody may take from. May hold some that are gone or taken by now.
    ready: VecDeque<LaneKey>,
    /// What is given out, by the number of its delivery.
    given: HashMap<u64, Place>,
    next_number: u64,
    seats: HashMap<ConsumerId, Seat>,
    next_consumer: u64,
    /// Who waits for something to take, by turn.
    waiting: BTreeMap<u64, ConsumerId>,
    next_turn: u64,
    timers: BTreeSet<(Instant, LaneKey)>,
    /// Events that are known from their rows alone, by shard and position: the log is not read up to them yet.
    ahead: BTreeMap<(u16, u64), Place>,
    /// Lines whose next events must be read from the log again.
    wanting: VecDeque<LaneKey>,
    /// The worker is reading them.
    is_fetching: bool,
    /// The end of the log was reached.
    has_caught_up: bool,
    /// Events that wait, with their bodies in memory.
    bodies: usize,
    body_bytes: usize,
    tracked: usize,
    kept: usize,
    parked: usize,
    /// Rows to be stored.
    rows: BTreeMap<(u16, u64), Option<Kept>>,
    /// Counts what has changed and must be stored some time.
    changes: u64,
    /// What the worker knows.
    seen: Look,
}

/// An event's line, and its version, by which it stands there.
type Place = (LaneKey, u64);

struct Seat {
    window: usize,
    in_flight: usize,
    /// Lines that it has events of. May hold some that are not its own any more.
    own: VecDeque<LaneKey>,
    lanes: BTreeSet<LaneKey>,
    waits: Waits,
    /// It also wants to know when there is nothing.
    asks: bool,
    bell: Arc<Notify>,
    /// It came for one batch: nobody is there, only its deliveries.
    is_gone: bool,
    takes_own: bool,
}

impl Books {
    /// The books as they were stored.
    pub(super) fn new(terms: Arc<Terms>, progress: Progress) -> Self {
        let mut marks: Vec<Marks> = Vec::with_capacity(progress.checkpoints.len());
        for (shard, checkpoint) in (0_u16..).zip(progress.checkpoints) {
            let done = progress.done.iter().filter(|row| row.0 == shard).map(|(_, block, bits)| (*block, bits.clone()));
            marks.push(Marks::new(checkpoint, done));
        }
        let mut books = Self {
            terms,
            marks,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            given: HashMap::new(),
            next_number: 1,
            seats: HashMap::new(),
            next_consumer: 1,
            waiting: BTreeMap::new(),
            next_turn: 1,
            timers: BTreeSet::new(),
            ahead: BTreeMap::new(),
            wanting: VecDeque::new(),
            is_fetching: false,
            has_caught_up: false,
            bodies: 0,
            body_bytes: 0,
            tracked: 0,
            kept: 0,
            parked: 0,
            rows: BTreeMap::new(),
            changes: 0,
            seen: Look::default(),
        };
        for (shard, position, row) in progress.kept {
            books.restore(shard, position, &row);
        }
        books
    }

    fn restore(&mut self, shard: u16, position: u64, row: &Kept) {
        let key = LaneKey::of(self.terms.ordering, shard, &row.stream, position);
        let lane = self.lanes.entry(key).or_insert_with(|| Lane::new(row.stream.as_str().into()));
        let is_parked = row.parked_at.is_some();
        let state = if is_parked { State::Parked } else { State::Waiting(None) };
        let is_ahead = self.marks.get(usize::from(shard)).is_some_and(|marks| position > marks.checkpoint());
        let item = Item { shard, position, version: row.version, attempts: row.attempts, is_kept: true, is_ahead, state };
        if let Err(at) = lane.index_of(row.version) {
            if is_ahead {
                self.ahead.insert((shard, position), (key, row.version));
            }
            lane.items.insert(at, item);
            lane.parked += usize::from(is_parked);
            self.parked += usize::from(is_parked);
            self.kept += 1;
            self.tracked += 1;
            self.list(key);
        }
    }

    /// Where the log is to be read on, by shard.
    pub(super) fn checkpoints(&self) -> Vec<u64> {
        self.marks.iter().map(Marks::checkpoint).collect()
    }

    /// A shard that has joined since begins at its start.
    fn know(&mut self, shard: u16) {
        while self.marks.len() <= usize::from(shard) {
            self.marks.push(Marks::new(0, []));
        }
    }

    /// Takes an event that the log has. Those that are done, or known already, change nothing.
    pub(super) fn offer(&mut self, shard: u16, record: RecordedEvent, now: Now) {
        let position = record.position().get();
        self.know(shard);
        let Some(marks) = self.marks.get_mut(usize::from(shard)) else { return };
        if marks.is_done(position) {
            return;
        }
        let key = LaneKey::of(self.terms.ordering, shard, record.stream(), position);
        let lane = self.lanes.entry(key).or_insert_with(|| Lane::new(record.stream().into()));
        let version = record.version().get();
        let Err(at) = lane.index_of(version) else { return };
        marks.open(position);
        self.tracked += 1;
        let failure = record.reshape_failure().map(str::to_owned);
        // What has a row may stand behind it.
        let is_held = lane.first_parked().is_some_and(|parked| parked < at);
        // Bodies are for what can be given out soon; the rest is read again when its turn comes.
        let keeps_body = !is_held && lane.retry_at.is_none() && failure.is_none() && lane.items.len() - lane.given < LANE_BODIES_MAX;
        let body = keeps_body.then(|| Box::new(record));
        if let Some(record) = &body {
            self.bodies += 1;
            self.body_bytes += record.stored_bytes();
        }
        debug_assert!(at >= lane.given, "the log was read up to what is given out");
        lane.items.insert(at, Item { shard, position, version, attempts: 0, is_kept: false, is_ahead: false, state: State::Waiting(body) });
        if let Some(why) = failure {
            self.park(key, at, why, now);
        } else if is_held {
            self.keep(key, at, String::new());
        }
        self.list(key);
    }

    /// Everything up to here was offered.
    pub(super) fn read_through(&mut self, shard: u16, position: u64) {
        self.know(shard);
        if let Some(marks) = self.marks.get_mut(usize::from(shard)) {
            marks.read_through(position);
            self.changes += 1;
        }
        while let Some(entry) = self.ahead.range((shard, 0)..=(shard, position)).next() {
            let (&place, &(key, version)) = entry;
            self.ahead.remove(&place);
            let item = self.lanes.get_mut(&key).and_then(|lane| lane.index_of(version).ok().and_then(|at| lane.items.get_mut(at)));
            if let Some(item) = item {
                item.is_ahead = false;
                self.list(key);
            }
        }
    }

    /// A new consumer, with room for so many deliveries.
    pub(super) fn join(&mut self, window: usize) -> ConsumerId {
        let id = ConsumerId(self.next_consumer);
        self.next_consumer += 1;
        let seat = Seat {
            window,
            in_flight: 0,
            own: VecDeque::new(),
            lanes: BTreeSet::new(),
            waits: Waits::No,
            asks: false,
            bell: Arc::default(),
            is_gone: false,
            takes_own: false,
        };
        self.seats.insert(id, seat);
        id
    }

    /// Gives a consumer what it has room for. If that is nothing, it is called when it should look again.
    pub(super) fn take(&mut self, id: ConsumerId, max: usize, bytes_max: usize, now: Instant) -> Vec<Given> {
        self.come(id);
        let mut out = Vec::new();
        let mut bytes = 0;
        while out.len() < max && bytes < bytes_max {
            let Some(key) = self.next_lane(id) else { break };
            let room = self.seats.get(&id).map_or(0, |seat| seat.window.saturating_sub(seat.in_flight));
            let most = room.min(max - out.len()).min(LANE_TURN);
            self.give(id, key, most, bytes_max.saturating_sub(bytes), now, &mut out);
            bytes = out.iter().map(|given: &Given| given.record.stored_bytes()).sum();
        }
        if out.is_empty() {
            self.wait(id);
        } else if !self.ready.is_empty() {
            // It may have been called for that, and have taken something else.
            self.call_next();
        }
        out
    }

    /// The next line that a consumer may take from, if it has room. Its own and the others take turns, so that none starves.
    fn next_lane(&mut self, id: ConsumerId) -> Option<LaneKey> {
        loop {
            let seat = self.seats.get_mut(&id).filter(|seat| seat.in_flight < seat.window)?;
            seat.takes_own = !seat.takes_own;
            let key = if seat.takes_own {
                seat.own.pop_front().or_else(|| self.ready.pop_front())
            } else {
                self.ready.pop_front().or_else(|| seat.own.pop_front())
            }?;
            let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.owner.is_none_or(|owner| owner == id)) else { continue };
            lane.is_listed = false;
            match lane.next().map(|item| &item.state) {
                Some(State::Waiting(Some(_))) => return Some(key),
                Some(State::Waiting(None)) if !lane.is_wanting => {
                    lane.is_wanting = true;
                    self.wanting.push_back(key);
                }
                Some(State::Waiting(None) | State::Given(_) | State::Parked) | None => {}
            }
        }
    }

    /// Whether a delivery is with its consumer.
    pub(super) fn is_out(&self, number: u64) -> bool {
        self.given.contains_key(&number)
    }

    #[expect(clippy::too_many_arguments, reason = "one consumer's share, within its bounds")]
    fn give(&mut self, id: ConsumerId, key: LaneKey, max: usize, bytes_max: usize, now: Instant, out: &mut Vec<Given>) {
        let (Some(lane), Some(seat)) = (self.lanes.get_mut(&key), self.seats.get_mut(&id)) else { return };
        let mut bytes = 0;
        for _ in 0..max {
            let given = lane.given;
            let Some(item) = lane.items.get_mut(given) else { break };
            if bytes > bytes_max || !matches!(item.state, State::Waiting(Some(_))) {
                break;
            }
            let number = self.next_number;
            let State::Waiting(Some(record)) = std::mem::replace(&mut item.state, State::Given(number)) else { break };
            self.next_number += 1;
            self.bodies -= 1;
            self.body_bytes = self.body_bytes.saturating_sub(record.stored_bytes());
            bytes += record.stored_bytes();
            self.given.insert(number, (key, item.version));
            lane.given += 1;
            seat.in_flight += 1;
            out.push(Given { number, attempt: item.attempts + 1, shard: item.shard, record: *record });
        }
        if lane.given > 0 && lane.owner.is_none() {
            lane.owner = Some(id);
            seat.lanes.insert(key);
        }
        if lane.given > 0 && lane.deadline.is_none() {
            lane.deadline = Some(now + self.terms.ack_timeout);
        }
        self.set_timer(key);
        self.list(key);
    }

    /// Puts a line where it is found by who may take from it, and calls one of them.
    fn list(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(&key).filter(|lane| !lane.is_listed && lane.next().is_some()) else { return };
        lane.is_listed = true;
        match lane.owner.and_then(|owner| Some((owner, self.seats.get_mut(&owner)?))) {
            Some((owner, seat)) => {
                seat.own.push_back(key);
                self.call(owner);
            }
            None => {
                self.ready.push_back(key);
                self.call_next();
            }
        }
    }

    fn set_timer(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let next = [lane.deadline, lane.retry_at].into_iter().flatten().min();
        if next != lane.timer {
            if let Some(old) = std::mem::replace(&mut lane.timer, next) {
                self.timers.remove(&(old, key));
            }
            if let Some(next) = next {
                self.timers.insert((next, key));
            }
        }
    }

    /// Whether there is something to be stored.
    pub(super) fn has_changes(&self) -> bool {
        !self.rows.is_empty() || self.marks.iter().any(Marks::has_changes)
    }

    /// What is to be stored, all of it at once, and the number of the change up to which that reaches.
    pub(super) fn changes(&mut self) -> (u64, Vec<Change>) {
        let rows = std::mem::take(&mut self.rows);
        let mut out: Vec<Change> = rows.into_iter().map(|((shard, position), row)| Change::Kept { shard, position, row }).collect();
        for (shard, marks) in (0_u16..).zip(&mut self.marks) {
            marks.changes(shard, &mut out);
        }
        (self.changes, out)
    }

    /// The number of the last change.
    pub(super) fn last_change(&self) -> u64 {
        self.changes
    }
}

/// One line gives so many in a row, then others have their turn.
const LANE_TURN: usize = 64;
/// More events of one line are not held in memory.
const LANE_BODIES_MAX: usize = 1_024;

#[cfg(test)]
mod tests;
