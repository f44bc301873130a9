//! In which order do the events of several shards come, and where does a reader go on?
//!
//! By `recorded_at`, then shard; backward the other way round. Within a shard that is the order of its log. Each shard
//! keeps its own place, so a cursor says exactly what was given of each, whatever the order between them was.

use std::collections::VecDeque;

use factum_storage::Direction;
use factum_storage::Position;
use factum_storage::RecordedEvent;

use super::Cursor;
use super::Event;
use crate::shard::Router;
use crate::shard::Topology;

/// What a reader has of one shard: its place, and events read ahead.
pub(super) struct Lane {
    shard: u16,
    direction: Direction,
    /// What was given to the reader, up to here; exclusive to go on from.
    at: Position,
    /// What was looked at, up to here. The same as `at` once nothing is read ahead.
    through: Position,
    ahead: VecDeque<RecordedEvent>,
    at_end: bool,
    /// Its shard can't be read: its place stays where it is.
    is_left_out: bool,
}

impl Lane {
    pub(super) fn new(shard: u16, direction: Direction, after: Position) -> Self {
        Self { shard, direction, at: after, through: after, ahead: VecDeque::new(), at_end: false, is_left_out: false }
    }

    /// Where to read on.
    pub(super) fn after(&self) -> Position {
        self.through
    }

    pub(super) fn shard(&self) -> u16 {
        self.shard
    }

    /// Nothing is read ahead.
    pub(super) fn is_empty(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Nothing is read ahead, and when it was read there was nothing more.
    pub(super) fn is_done(&self) -> bool {
        self.ahead.is_empty() && self.at_end
    }

    /// Takes what was read behind [`Lane::after`].
    pub(super) fn accept(&mut self, events: Vec<RecordedEvent>, through: Position, at_end: bool) {
        // Below the first event there is nothing, and zero says so in every direction.
        self.through = if at_end && self.direction == Direction::Backward { Position::ZERO } else { through };
        self.at_end = at_end;
        self.ahead.extend(events);
        if self.ahead.is_empty() {
            self.at = self.through;
        }
    }

    /// There may be more behind the end that was seen.
    pub(super) fn reopen(&mut self) {
        self.at_end = self.is_left_out;
    }

    /// Goes on without what its shard has: whoever comes back with the cursor finds it.
    pub(super) fn leave_out(&mut self) {
        (self.at_end, self.is_left_out) = (true, true);
    }

    pub(super) fn is_left_out(&self) -> bool {
        self.is_left_out
    }

    /// Whether everything up to here was given.
    fn has_passed(&self, position: Position) -> bool {
        self.ahead.front().map_or(self.through >= position, |front| front.position() > position)
    }

    fn pop(&mut self) -> Option<Event> {
        let record = self.ahead.pop_front()?;
        self.at = if self.ahead.is_empty() { self.through } else { record.position() };
        Some(Event { shard: self.shard, record })
    }
}

/// Slots went from one shard to another: what the other has of them comes behind what the first one had.
#[derive(Clone, Copy)]
struct Barrier {
    from: u16,
    from_position: Position,
    to: u16,
    to_position: Position,
}

/// What has to be kept in order between lanes, beyond their clocks. Forward alone: backward, each stream's own times do.
#[derive(Default)]
pub(super) struct Barriers {
    list: Vec<Barrier>,
    /// So many moves of the topology were looked at.
    seen: usize,
}

impl Barriers {
    /// Those of a topology that readers at these lanes have not passed.
    pub(super) fn new(topology: &Topology, lanes: &[Lane]) -> Self {
        let mut barriers = Self::default();
        barriers.take_up(topology, lanes);
        barriers
    }

    /// Adds those of a newer topology.
    pub(super) fn take_up(&mut self, topology: &Topology, lanes: &[Lane]) {
        let moves = topology.moves();
        let barriers = moves.iter().skip(self.seen).map(|moved| Barrier {
            from: moved.from,
            from_position: Position::new(moved.from_position),
            to: moved.to,
            to_position: Position::new(moved.to_position),
        });
        self.list.extend(barriers);
        self.seen = moves.len();
        self.forget_passed(lanes);
    }

    /// Whether all of them were passed.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn forget_passed(&mut self, lanes: &[Lane]) {
        self.list.retain(|barrier| lane_of(lanes, barrier.from).is_some_and(|lane| !lane.has_passed(barrier.from_position)));
    }

    /// Lets nobody wait for a shard that is left out.
    pub(super) fn forget_left_out(&mut self, lanes: &[Lane]) {
        self.list.retain(|barrier| lane_of(lanes, barrier.from).is_some_and(|lane| !lane.is_left_out));
    }

    /// The lane that a lane has to wait for.
    fn before(&self, lane: &Lane, lanes: &[Lane]) -> Option<u16> {
        let front = lane.ahead.front()?.position();
        let holds = |barrier: &&Barrier| barrier.to == lane.shard && front > barrier.to_position;
        let waits = |barrier: &&Barrier| lane_of(lanes, barrier.from).is_some_and(|from| !from.has_passed(barrier.from_position));
        self.list.iter().filter(holds).find(waits).map(|barrier| barrier.from)
    }
}

fn lane_of(lanes: &[Lane], shard: u16) -> Option<&Lane> {
    lanes.iter().find(|lane| lane.shard == shard)
}

/// What comes next.
pub(super) enum Next {
    Event(Event),
    /// A lane without events must be read on first: its next event may be the next of all.
    ReadOn,
    /// All lanes are at their end.
    Done,
}

/// Takes the next event of all lanes.
pub(super) fn next(lanes: &mut [Lane], barriers: &mut Barriers) -> Next {
    if lanes.iter().any(|lane| lane.is_empty() && !lane.at_end) {
        return Next::ReadOn;
    }
    let held: Vec<(u16, u16)> = if barriers.is_empty() {
        Vec::new()
    } else {
        barriers.forget_passed(lanes);
        lanes.iter().filter_map(|lane| Some((lane.shard, barriers.before(lane, lanes)?))).collect()
    };
    let order = |lane: &Lane| lane.ahead.front().map(|event| (event.recorded_at(), lane.shard));
    let free = lanes.iter_mut().filter(|lane| !lane.is_empty() && !held.iter().any(|(shard, _)| *shard == lane.shard));
    let first = match free.reduce(|best, lane| if comes_before(order(lane), order(best), lane.direction) { lane } else { best }) {
        Some(lane) => lane.pop(),
        None => None,
    };
    match first {
        Some(event) => Next::Event(event),
        None if held.is_empty() => Next::Done,
        None => {
            // Their ends were seen before the slots went on; there is more behind them by now.
            lanes.iter_mut().filter(|lane| held.iter().any(|(_, from)| *from == lane.shard)).for_each(Lane::reopen);
            Next::ReadOn
        }
    }
}

fn comes_before<T: PartialOrd>(one: T, other: T, direction: Direction) -> bool {
    match direction {
        Direction::Forward => one < other,
        Direction::Backward => one > other,
    }
}

/// Where all lanes stand: behind it comes what [`next`] gives next.
pub(super) fn cursor(router: &Router, lanes: &[Lane]) -> Cursor {
    Cursor::of(router, lanes.iter().map(|lane| lane.at).collect())
}
