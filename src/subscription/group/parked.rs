//! What was put aside, and what is to become of it?

use std::sync::Arc;

use factum_storage::Direction;
use factum_storage::Filter;
use factum_storage::Position;
use factum_storage::RecordedEvent;
use factum_storage::Timestamp;

use super::Groups;
use super::books::Books;
use super::store::Shards;
use crate::Error;

/// An event that was put aside.
#[derive(Clone, Debug)]
pub struct ParkedEvent {
    /// Which shard it is on.
    pub shard: u16,
    /// Where it stands in that shard's log.
    pub position: Position,
    /// Its stream.
    pub stream: String,
    /// Its version in the stream.
    pub version: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// What was said of it last.
    pub reason: String,
    /// Since when.
    pub parked_at: Timestamp,
    /// The event itself; none if it is hidden or deleted by now.
    pub event: Option<RecordedEvent>,
}

/// A page of what was put aside.
#[derive(Clone, Debug, Default)]
pub struct ParkedPage {
    /// In the order of shards and positions.
    pub parked: Vec<ParkedEvent>,
    /// The last one's place, if there are more.
    pub next: Option<(u16, u64)>,
}

impl Groups {
    /// What was put aside, behind a place (shard and position).
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`], [`Error::SubscriptionFailed`], and those of reading the log.
    pub(crate) async fn parked(&self, name: &str, after: Option<(u16, u64)>, limit: usize) -> Result<ParkedPage, Error> {
        let group = self.group(name)?;
        let session = group.slot.lock().await.clone();
        if let Some(session) = session {
            session.durable(&self.shared.writer).await?;
        }
        let (owned, shards) = (name.to_owned(), Shards::of(&self.shared.router));
        let progress = self.shared.in_store(name, move |store| store.load(&owned, shards)).await?;
        let behind = |place: (u16, u64)| after.is_none_or(|after| place > after);
        let rows = progress.kept.into_iter().filter_map(|(shard, position, row)| Some((shard, position, row.parked_at?, row)));
        let mut rows: Vec<_> = rows.filter(|(shard, position, ..)| behind((*shard, *position))).take(limit + 1).collect();
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(|(shard, position, ..)| (*shard, *position));
        let mut parked = Vec::with_capacity(rows.len());
        for (shard, position, parked_at, row) in rows {
            let event = self.event(shard, position).await?;
            parked.push(ParkedEvent {
                shard,
                position: Position::new(position),
                stream: row.stream,
                version: row.version,
                attempts: row.attempts,
                reason: row.reason,
                parked_at: Timestamp::from_micros(parked_at),
                event,
            });
        }
        Ok(ParkedPage { parked, next })
    }

    /// Has parked events (all, if none are named) given out again, in order and as if for the first time; that is on disk when this
    /// returns. Says how many there were.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`], [`Error::SubscriptionFailed`].
    pub(crate) async fn replay_parked(&self, name: &str, events: Option<&[(u16, u64)]>) -> Result<u64, Error> {
        self.change_parked(name, |books| books.replay(events)).await
    }

    /// Counts parked events (all, if none are named) as done; that is on disk when this returns. Says how many there were.
    ///
    /// # Errors
    ///
    /// As [`Groups::replay_parked`].
    pub(crate) async fn skip_parked(&self, name: &str, events: Option<&[(u16, u64)]>) -> Result<u64, Error> {
        self.change_parked(name, |books| books.skip_parked(events)).await
    }

    async fn change_parked(&self, name: &str, change: impl Fn(&mut Books) -> u64) -> Result<u64, Error> {
        let group = self.group(name)?;
        loop {
            let session = self.shared.session(&group).await?;
            if let Some(count) = session.with(|books, _| change(books)) {
                session.durable(&self.shared.writer).await?;
                return Ok(count);
            }
        }
    }

    async fn event(&self, shard: u16, position: u64) -> Result<Option<RecordedEvent>, Error> {
        let Some(after) = position.checked_sub(1).map(Position::new) else { return Ok(None) };
        let everything = Arc::new(Filter::default());
        let slice = self.shared.router.shard(shard).read_events(everything, after, Direction::Forward, 1, usize::MAX).await?;
        let Some(record) = slice.events.into_iter().next().filter(|record| record.position().get() == position) else { return Ok(None) };
        match &self.shared.reshape {
            Some(reshape) if reshape.is_needed() => {
                let shaped = reshape.reshape(vec![(shard, record)]).await?;
                Ok(shaped.into_iter().next().map(|(_, record)| record))
            }
            Some(_) | None => Ok(Some(record)),
        }
    }
}
