//! How do the events of one share come off the log, as batches?

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use factum_storage::Direction;
use factum_storage::EventId;
use factum_storage::Filter;
use factum_storage::Position;
use factum_storage::RecordedEvent;
use factum_storage::StreamName;
use factum_storage::Version;

use super::super::columns::CategoryColumns;
use super::super::rows::BatchBuilder;
use super::super::rows::Wanted;
use super::demand::Demand;
use super::pieces::Share;
use super::pieces::Work;
use crate::Error;
use crate::shard::Handle;
use crate::shard::Router;
use crate::subscription::Event;
use crate::subscription::Reshape;

/// What all readers of a table have in common.
pub(super) struct Shared {
    pub(super) router: Arc<Router>,
    pub(super) reshape: Arc<dyn Reshape>,
    pub(super) columns: Arc<CategoryColumns>,
    pub(super) demand: Demand,
    pub(super) filter: Arc<Filter>,
}

/// Reads one share. What is read ahead is one portion of the log.
pub(super) struct Source {
    shared: Arc<Shared>,
    shard: Handle,
    direction: Direction,
    end: Position,
    work: VecDeque<Next>,
    builder: BatchBuilder,
    is_told_by_filter: bool,
    /// How many events the reader may still want at most.
    room: usize,
    batch_rows: usize,
    /// How many the next batch is to have: few at first, as that may be all that is wanted.
    portion: usize,
}

/// What is to be read next.
enum Next {
    Piece(Position, Position),
    Stream(StreamName, Option<Version>),
    Id(EventId),
}

impl Source {
    /// A reader of a share that gives so many rows at a time, and no more than `fetch` of them in all.
    pub(super) fn new(
        shared: Arc<Shared>,
        share: &Share,
        wanted: &[Wanted],
        direction: Direction,
        (batch_rows, fetch): (usize, Option<usize>),
    ) -> Self {
        let versions = shared.demand.versions;
        let from = match direction {
            Direction::Forward => Some(versions.first).filter(|first| *first > 0),
            Direction::Backward => Some(versions.last).filter(|last| *last < i64::MAX),
        };
        // Below the first version there is none.
        let from = from.map(|from| Version::new(u64::try_from(from).unwrap_or(0)));
        let mut work: VecDeque<Next> = match &share.work {
            Work::Pieces(pieces) => pieces.iter().map(|(after, through)| Next::Piece(*after, *through)).collect(),
            Work::Streams(streams) => streams.iter().map(|stream| Next::Stream(stream.clone(), from)).collect(),
            Work::Ids(ids) => ids.iter().copied().map(Next::Id).collect(),
        };
        if direction == Direction::Backward {
            work.make_contiguous().reverse();
        }
        let room = fetch.unwrap_or(usize::MAX);
        Self {
            shard: shared.router.shard(share.shard).clone(),
            direction,
            end: share.end,
            work,
            builder: BatchBuilder::new(wanted, &shared.columns, room.min(batch_rows)),
            // A stream is read as a whole: the filter, and where the piece ends, are not asked.
            is_told_by_filter: shared.demand.is_told_by_filter() && matches!(&share.work, Work::Pieces(_)),
            room,
            batch_rows,
            portion: PORTION_FIRST.min(batch_rows),
            shared,
        }
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    ///
    /// What the shard says.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        while self.room > 0 && self.builder.rows() < self.portion && self.builder.bytes() < BATCH_BYTES {
            let Some(next) = self.work.pop_front() else { break };
            let events = self.read(next).await?;
            let events = self.shaped(events).await?;
            for event in events {
                self.builder.push(&event);
                self.room -= 1;
            }
        }
        if self.builder.rows() == 0 {
            return Ok(None);
        }
        self.portion = (self.portion * 4).min(self.batch_rows);
        let batch = self.builder.finish().map_err(|error| Error::Unavailable { shard: self.shard.number(), detail: error.to_string() })?;
        Ok(Some(batch))
    }

    /// Reads on at a place, and notes where it goes on.
    async fn read(&mut self, next: Next) -> Result<Vec<RecordedEvent>, Error> {
        let limit = (self.portion - self.builder.rows()).min(self.room).max(1);
        let mut events = match next {
            Next::Piece(after, through) => {
                let filter = Arc::clone(&self.shared.filter);
                let slice = self.shard.read_piece(filter, (after, through), self.direction, limit, PORTION_BYTES).await?;
                match self.direction {
                    _ if slice.at_end => {}
                    Direction::Forward => self.work.push_front(Next::Piece(slice.through, through)),
                    Direction::Backward => {
                        self.work.push_front(Next::Piece(after, Position::new(slice.through.get().saturating_sub(1))));
                    }
                }
                slice.events
            }
            Next::Stream(stream, from) => {
                let slice = self.shard.read_stream(stream.clone(), from, self.direction, limit, PORTION_BYTES).await;
                let Some(slice) = self.decided(slice)? else { return Ok(Vec::new()) };
                if let Some(next) = slice.next {
                    self.work.push_front(Next::Stream(stream, Some(next)));
                }
                slice.events
            }
            Next::Id(id) => {
                let event = self.shard.event_by_id(id).await;
                self.decided(event)?.into_iter().collect()
            }
        };
        let (shard, demand, end) = (self.shard.number(), &self.shared.demand, self.end);
        if !self.is_told_by_filter {
            events.retain(|event| event.position() <= end && demand.matches(shard, event));
        }
        Ok(events)
    }

    /// What was found; nothing if only a shard that is left out knows whether it is hidden.
    fn decided<T>(&self, found: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
        match found {
            Err(Error::Storage(factum_storage::Error::LogMissing(_))) if !self.shared.demand.left_out.is_empty() => Ok(None),
            found => found,
        }
    }

    /// The events in their newest shape.
    async fn shaped(&self, events: Vec<RecordedEvent>) -> Result<Vec<Event>, Error> {
        let number = self.shard.number();
        if events.is_empty() || !self.shared.reshape.is_needed() {
            return Ok(events.into_iter().map(|record| Event { shard: number, record }).collect());
        }
        let events = events.into_iter().map(|record| (number, record)).collect();
        let shaped = self.shared.reshape.reshape(events).await?;
        Ok(shaped.into_iter().map(|(shard, record)| Event { shard, record }).collect())
    }
}

/// What a batch holds at most, about.
const BATCH_BYTES: usize = 4 << 20;
/// What is read of the log at once, about.
const PORTION_FIRST: usize = 256;
const PORTION_BYTES: usize = 2 << 20;
