//! Which events of the whole log match, by the index when that is quicker and by reading the log when it is not?

use crate::Error;
use crate::Filter;
use crate::Position;
use crate::RecordedEvent;
use crate::Timestamp;
use crate::index::Selection;

use super::Direction;
use super::EventSlice;
use super::Reader;

/// What a read still has to look at, both ends inclusive, and what it may still give.
struct Walk<'a> {
    filter: &'a Filter,
    first: u64,
    last: u64,
    is_backward: bool,
    limit: usize,
    bytes_max: usize,
    slice: EventSlice,
    bytes: usize,
}

impl Reader {
    /// Visible events that match, after a position (exclusive; downwards from it, exclusive, when backward), at most `limit`
    /// events and about `bytes_max` bytes. Served by the index when the filter is selective, else by reading the log.
    /// Looks at a bounded part of the log: an empty answer that is not `at_end` is to be continued from `through`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn read_events(
        &self,
        filter: &Filter,
        after: Position,
        direction: Direction,
        limit: usize,
        bytes_max: usize,
    ) -> Result<EventSlice, Error> {
        let committed = self.committed().get();
        let is_backward = direction == Direction::Backward;
        let (mut first, mut last) =
            if is_backward { (1, after.get().saturating_sub(1).min(committed)) } else { (after.get() + 1, committed) };
        if let Some(recorded_after) = filter.recorded_after {
            first = first.max(self.first_recorded(committed, |time| time > recorded_after)?);
        }
        if let Some(recorded_before) = filter.recorded_before {
            last = last.min(self.first_recorded(committed, |time| time >= recorded_before)? - 1);
        }
        let slice = EventSlice::default();
        let mut walk = Walk { filter, first, last, is_backward, limit, bytes_max, slice, bytes: 0 };
        self.walk(&mut walk)?;
        let mut slice = walk.slice;
        if slice.at_end {
            // What lies beyond the time limits has been looked at too; what is committed later has not.
            slice.through = if is_backward { Position::new(1) } else { Position::new(committed.max(after.get())) };
        }
        Ok(slice)
    }

    /// The same for one piece of the log, `after` (exclusive) to `through` (inclusive), forward or backward: `at_end` is then the end of
    /// the piece. A filter's time limits are looked at event by event; [`Reader::position_at`] says which piece they leave.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn read_piece(
        &self,
        filter: &Filter,
        (after, through): (Position, Position),
        direction: Direction,
        limit: usize,
        bytes_max: usize,
    ) -> Result<EventSlice, Error> {
        let (first, last) = (after.get() + 1, through.get().min(self.committed().get()));
        let is_backward = direction == Direction::Backward;
        let mut walk = Walk { filter, first, last, is_backward, limit, bytes_max, slice: EventSlice::default(), bytes: 0 };
        self.walk(&mut walk)?;
        let mut slice = walk.slice;
        if slice.at_end {
            slice.through = Position::new(if is_backward { first } else { last.max(after.get()) });
        }
        Ok(slice)
    }

    /// The last position whose event was recorded before a time: what was recorded at that time or later stands behind it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn position_at(&self, time: Timestamp) -> Result<Position, Error> {
        let committed = self.committed().get();
        Ok(Position::new(self.first_recorded(committed, |recorded| recorded >= time)? - 1))
    }

    /// How many events match at the most, as far as the index tells without looking at them; `None` if it does not. Hidden events count.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn matches_at_most(&self, filter: &Filter) -> Result<Option<u64>, Error> {
        if filter.is_everything() { Ok(None) } else { self.shared.index()?.matches_at_most(filter) }
    }

    fn walk(&self, walk: &mut Walk<'_>) -> Result<(), Error> {
        let mut looked_at = 0;
        while walk.first <= walk.last && walk.last > 0 {
            if walk.slice.events.len() >= walk.limit || walk.bytes >= walk.bytes_max.max(1) || looked_at >= LOOK_EVENTS_MAX {
                return Ok(());
            }
            looked_at += self.advance(walk)?;
        }
        walk.slice.at_end = true;
        Ok(())
    }

    /// Takes the next piece of the range. Returns how many events it looked at.
    fn advance(&self, walk: &mut Walk<'_>) -> Result<u64, Error> {
        let wanted = walk.limit - walk.slice.events.len();
        let after = Position::new(if walk.is_backward { walk.last + 1 } else { walk.first - 1 });
        let (low, high) = (Position::new(walk.first - 1), Position::new(walk.last));
        let selection = if walk.filter.is_everything() {
            Selection::Scan
        } else {
            self.shared.index()?.select(walk.filter, low, high, walk.is_backward, wanted.min(SELECT_EVENTS))?
        };
        let (events, through) = match selection {
            Selection::Scan => self.scan(walk, wanted)?,
            Selection::Positions { positions, through, at_end } => {
                let mut positions: Vec<u64> = positions.iter().map(|position| position.get()).collect();
                if walk.is_backward {
                    positions.reverse();
                }
                let mut events = self.shared.log.read(&positions)?;
                if walk.is_backward {
                    events.reverse();
                }
                let end = if walk.is_backward { walk.first } else { walk.last };
                (events, if at_end { end } else { through.get() })
            }
        };
        let looked_at = through.abs_diff(after.get()).min(events.len() as u64 + 1);
        self.take(walk, events, through)?;
        Ok(looked_at)
    }

    fn scan(&self, walk: &Walk<'_>, wanted: usize) -> Result<(Vec<RecordedEvent>, u64), Error> {
        // Without a filter every event counts, so no more are read than are wanted.
        let count = if walk.filter.is_everything() { wanted.max(64) } else { SCAN_EVENTS };
        let span = u64::try_from(count.min(SCAN_EVENTS)).unwrap_or(u64::MAX) - 1;
        let bytes = SCAN_BYTES.min(walk.bytes_max.saturating_sub(walk.bytes).max(1));
        if walk.is_backward {
            let first = walk.last.saturating_sub(span).max(walk.first);
            self.shared.log.read_range_backward(first, walk.last, bytes)
        } else {
            self.shared.log.read_range(walk.first, walk.last.min(walk.first.saturating_add(span)), bytes)
        }
    }

    /// Keeps what matches and may be seen, up to the limits; notes how far everything has been looked at.
    fn take(&self, walk: &mut Walk<'_>, events: Vec<RecordedEvent>, through: u64) -> Result<(), Error> {
        let hides_nothing = self.shared.hides_nothing()?;
        let mut reached = through;
        for event in events {
            let is_full = walk.slice.events.len() >= walk.limit || (walk.bytes > 0 && walk.bytes + event.stored_bytes() > walk.bytes_max);
            if !walk.filter.matches(&event) || !(hides_nothing || self.may_be_seen(&event, walk.filter)?) {
                continue;
            }
            if is_full {
                let position = event.position().get();
                reached = if walk.is_backward { position + 1 } else { position - 1 };
                walk.bytes = walk.bytes_max.max(1);
                break;
            }
            walk.bytes += event.stored_bytes();
            walk.slice.events.push(event);
        }
        walk.slice.through = Position::new(reached);
        if walk.is_backward {
            walk.last = reached.saturating_sub(1);
        } else {
            walk.first = reached + 1;
        }
        Ok(())
    }

    fn may_be_seen(&self, event: &RecordedEvent, filter: &Filter) -> Result<bool, Error> {
        match self.is_visible(event) {
            Err(Error::LogMissing(_)) if filter.leave_out_undecided => Ok(false),
            visible => visible,
        }
    }

    /// The first position whose time `is_later`, by bisection; one more than the last if there is none.
    fn first_recorded(&self, committed: u64, is_later: impl Fn(Timestamp) -> bool) -> Result<u64, Error> {
        let (mut low, mut high) = (1, committed + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            // Trimmed and given-up positions have no time: the next one that is there decides for them.
            let event = self.next_event(middle, high)?;
            match event {
                Some(event) if !is_later(event.recorded_at()) => low = event.position().get() + 1,
                Some(_) | None => high = middle,
            }
        }
        Ok(low)
    }

    fn next_event(&self, from: u64, before: u64) -> Result<Option<RecordedEvent>, Error> {
        let mut next = from;
        while next < before {
            let (events, through) = self.shared.log.read_range(next, (before - 1).min(next + 63), SCAN_BYTES)?;
            if let Some(event) = events.into_iter().next() {
                return Ok(Some(event));
            }
            next = through + 1;
        }
        Ok(None)
    }
}

/// One call looks at no more than about so many events, so that nobody waits long for nothing.
const LOOK_EVENTS_MAX: u64 = 200_000;
const SELECT_EVENTS: usize = 4096;
const SCAN_EVENTS: usize = 16_384;
const SCAN_BYTES: usize = 2 << 20;
