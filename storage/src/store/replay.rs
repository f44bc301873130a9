//! How does the index catch up with the log?

use std::sync::atomic::Ordering;

use crate::Error;
use crate::EventId;
use crate::Position;
use crate::QueryItem;
use crate::RecordedEvent;
use crate::Timestamp;
use crate::index::Control;
use crate::index::Entry;

use super::Progress;
use super::Shared;
use super::control;

impl Shared {
    /// Reads what the index has not seen and applies it. Returns how many events that were. With `flush`, the index is flushed on the way
    /// whenever it has gathered much, and once more if that was a rebuild.
    pub(super) fn replay(&self, flush: bool, progress: &mut dyn FnMut(Progress)) -> Result<u64, Error> {
        let start = self.index.applied().get();
        let total = self.log.committed().saturating_sub(start);
        let mut next = start + 1;
        loop {
            let committed = self.log.committed();
            if next > committed {
                break;
            }
            let (events, through) = match self.log.read_range(next, committed, READ_BYTES) {
                Ok(read) => read,
                // A damaged log is served as far as it can be read; what is damaged is known.
                Err(Error::Corrupt(damage)) if !self.log.damages().is_empty() => {
                    next = damage.last.get().max(next).saturating_add(1);
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.apply(&events)?;
            self.index.skip_to(Position::new(through));
            next = through + 1;
            progress(Progress { what: "events read for the index", done: (next - 1 - start).min(total), total });
            if flush && self.index.pending_events() >= self.options.index_flush_events {
                match self.index.flush() {
                    // A full disk keeps nobody from opening: what could not be flushed waits in memory.
                    Ok(()) | Err(Error::StorageFull) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(total)
    }

    /// Empties the index and fills it from the log, beside the writer.
    pub(super) fn rebuild(&self) -> Result<(), Error> {
        self.index_is_broken.store(true, Ordering::Release);
        self.index.clear()?;
        self.replay(true, &mut |_| {})?;
        self.index_is_broken.store(false, Ordering::Release);
        Ok(())
    }

    fn apply(&self, events: &[RecordedEvent]) -> Result<(), Error> {
        let tags: Vec<Vec<&str>> = events.iter().map(|event| event.tags().collect()).collect();
        let entries: Vec<Entry<'_>> = events
            .iter()
            .zip(&tags)
            .map(|(event, tags)| Entry {
                position: event.position(),
                stream: event.stream(),
                version: event.version(),
                event_type: event.event_type(),
                id: event.id(),
                tags,
                recorded_at: event.recorded_at(),
                control: event.is_control().then(|| control::parse(event)).flatten().map(|(stream, change)| Control { stream, change }),
            })
            .collect();
        self.index.apply(&entries)
    }

    /// When the log's last event was recorded.
    pub(super) fn last_recorded_at(&self) -> Result<Timestamp, Error> {
        let mut position = self.log.committed();
        // The last positions may have been given up.
        while position > 0 {
            match self.event_at(Position::new(position)) {
                Ok(Some(event)) => return Ok(event.recorded_at()),
                Ok(None) => position -= 1,
                Err(Error::Corrupt(_)) => return Ok(Timestamp::default()),
                Err(error) => return Err(error),
            }
        }
        Ok(Timestamp::default())
    }

    /// The committed event with this id, hidden or not.
    pub(super) fn committed_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, Error> {
        self.first_with_id(id, &self.index()?.candidates_by_id(id)?)
    }

    /// The first of these that bears the id.
    pub(super) fn first_with_id(&self, id: EventId, candidates: &[Position]) -> Result<Option<RecordedEvent>, Error> {
        for position in candidates {
            if let Some(event) = self.event_at(*position)?
                && event.id() == id
            {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The newest committed event of clients' streams that matches any item (none: every event) and stands after a position.
    pub(super) fn last_match(&self, query: &[QueryItem], after: Position) -> Result<Option<(Position, EventId)>, Error> {
        let index = self.index()?;
        let everything = [QueryItem::default()];
        let items = if query.is_empty() { &everything } else { query };
        let mut newest = None;
        for item in items {
            newest = newest.max(index.last_match(item, after)?);
        }
        let Some(position) = newest else { return Ok(None) };
        // The event may have been trimmed since; that it was there still counts.
        let id = self.event_at(position)?.map_or(EventId::from_bytes([0; 16]), |event| event.id());
        Ok(Some((position, id)))
    }
}

const READ_BYTES: usize = 4 << 20;
