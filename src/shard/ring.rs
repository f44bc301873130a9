//! Which of the newest events are still in memory, for readers near the live end?

use std::collections::HashMap;
use std::collections::VecDeque;

use factum_storage::Position;
use factum_storage::RecordedEvent;

/// The newest committed events of a shard, without a gap and within a bound of bytes.
///
/// It covers the positions behind `start` up to `end`. A position without an event in that range was hidden already when it was read.
/// What retention has hidden since is still given: it was visible when it was committed. What a delete has hidden is not.
pub(crate) struct Ring {
    start: Position,
    end: Position,
    events: VecDeque<RecordedEvent>,
    bytes: usize,
    bytes_max: usize,
}

/// What the ring has for a reader.
#[derive(Debug)]
pub(crate) struct RingSlice {
    pub(crate) events: Vec<RecordedEvent>,
    /// Everything up to here has been looked at.
    pub(crate) through: Position,
    /// The end of the ring was reached.
    pub(crate) at_end: bool,
}

impl Ring {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { start: Position::ZERO, end: Position::ZERO, events: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// Forgets everything and goes on behind `position`.
    pub(crate) fn reset(&mut self, position: Position) {
        self.events = VecDeque::new();
        self.bytes = 0;
        self.start = position;
        self.end = position;
    }

    /// Adds what was read behind `after` up to `through`, and forgets the oldest events beyond the bound.
    /// Does nothing if the ring does not end at `after` any more.
    pub(crate) fn extend(&mut self, after: Position, events: Vec<RecordedEvent>, through: Position) {
        if self.end != after || through <= after {
            return;
        }
        self.forget_deleted(&events);
        self.end = through;
        self.bytes += events.iter().map(RecordedEvent::stored_bytes).sum::<usize>();
        self.events.extend(events);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.stored_bytes();
            self.start = oldest.position();
        }
    }

    /// The events behind `after` that are `wanted`, at most so many events and about so many bytes.
    /// `None` if the ring does not reach back that far.
    pub(crate) fn read(
        &self,
        after: Position,
        wanted: impl Fn(&RecordedEvent) -> bool,
        events_max: usize,
        bytes_max: usize,
    ) -> Option<RingSlice> {
        if after < self.start {
            return None;
        }
        let from = self.events.partition_point(|event| event.position() <= after);
        let mut slice = RingSlice { events: Vec::new(), through: after, at_end: false };
        let mut bytes = 0;
        for event in self.events.range(from..).take(LOOKED_MAX) {
            slice.through = event.position();
            if wanted(event) {
                bytes += event.stored_bytes();
                slice.events.push(event.clone());
                if slice.events.len() >= events_max || bytes >= bytes_max {
                    break;
                }
            }
        }
        // Positions behind the last event can be hidden ones; a reader is never told to look at them again.
        if self.events.back().is_none_or(|newest| newest.position() <= slice.through) {
            slice.through = self.end.max(after);
            slice.at_end = true;
        }
        Some(slice)
    }

    /// What these events delete must not be given any more.
    fn forget_deleted(&mut self, events: &[RecordedEvent]) {
        let deleted: HashMap<&str, Position> = events.iter().filter_map(|event| Some((deleted_stream(event)?, event.position()))).collect();
        if deleted.is_empty() {
            return;
        }
        let mut freed = 0;
        self.events.retain(|event| {
            let is_deleted = deleted.get(event.stream()).is_some_and(|position| event.position() < *position);
            freed += if is_deleted { event.stored_bytes() } else { 0 };
            !is_deleted
        });
        self.bytes -= freed;
    }
}

/// The stream that an event deletes, softly or for ever.
fn deleted_stream(event: &RecordedEvent) -> Option<&str> {
    if !event.is_control() || !matches!(event.event_type(), "$deleted" | "$tombstoned") {
        return None;
    }
    // The first tag of a control record is the name of the stream that it is about.
    event.tags().next()
}

/// Whether an event ends a stream for ever.
pub(crate) fn ends(event: &RecordedEvent, stream: &str) -> bool {
    event.is_control() && event.event_type() == "$tombstoned" && deleted_stream(event) == Some(stream)
}

/// At most so many events are looked at under one lock.
const LOOKED_MAX: usize = 4_096;
