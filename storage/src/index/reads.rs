//! What can be asked of the index? Each answer is of one moment, and takes in everything applied before it was asked.

use std::sync::Arc;

use redb::ReadableDatabase;

use crate::Error;
use crate::EventId;
use crate::Filter;
use crate::Position;
use crate::QueryItem;
use crate::StreamName;
use crate::Version;

use super::Index;
use super::Selection;
use super::StreamHead;
use super::TermInfo;
use super::TermKind;
use super::fault::Fault;
use super::fault::guarded;
use super::rows;
use super::rows::StreamState;
use super::select;
use super::select::Window;
use super::view::View;

/// Heads that are kept in memory; more, and all are forgotten.
const HEADS_MAX: usize = 65_536;

impl Index {
    /// Asks a view of the index. If the file fails it is opened again, once, and asked again.
    pub(super) fn read<T>(&self, ask: impl Fn(&View) -> Result<T, Fault>) -> Result<T, Error> {
        let (opened, answer) = self.try_read(&ask);
        if let Ok(answer) = answer {
            return Ok(answer);
        }
        {
            let _writing = self.writing.lock();
            if self.state.read().opened == opened {
                self.reopen()?;
            }
        }
        match self.try_read(&ask).1 {
            Ok(answer) => Ok(answer),
            Err(fault @ Fault::Disk(_)) => Err(fault.into()),
            Err(fault @ Fault::Unusable(_)) => Err(self.beyond_use(fault)),
        }
    }

    fn try_read<T>(&self, ask: impl Fn(&View) -> Result<T, Fault>) -> (u64, Result<T, Fault>) {
        let (opened, active, frozen, transaction) = {
            // Taken together, so that what leaves the deltas is in the transaction.
            let state = self.state.read();
            let transaction = match &state.database {
                Some(database) => guarded(|| Ok(database.begin_read()?)),
                None => Err(Fault::unusable("closed after a failure")),
            };
            (state.opened, Arc::clone(&state.active), state.frozen.clone(), transaction)
        };
        let answer = transaction.and_then(|transaction| guarded(|| ask(&View::new(active, frozen, transaction)?)));
        (opened, answer)
    }

    /// A stream as it stands; `None` if nothing was ever appended to it.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn head(&self, stream: &str) -> Result<Option<StreamHead>, Error> {
        Ok(self.stream_state(stream)?.map(|state| state.head()))
    }

    pub(super) fn stream_state(&self, name: &str) -> Result<Option<StreamState>, Error> {
        let durable = {
            let state = self.state.read();
            if let Some(found) = state.in_deltas(name) {
                return Ok(Some(found));
            }
            state.durable
        };
        if let Some(state) = self.heads.lock().get(name) {
            return Ok(Some(*state));
        }
        let found = self.read(|view| view.stream(name))?;
        if let Some(found) = found {
            // `state` before `heads`, everywhere.
            let state = self.state.read();
            let mut heads = self.heads.lock();
            // It must not outlive what it says: nothing was flushed since it was looked up, and nothing is about to be.
            if state.durable == durable && state.in_deltas(name).is_none() {
                if heads.len() >= HEADS_MAX {
                    heads.clear();
                }
                heads.insert(Arc::from(name), found);
            }
        }
        Ok(found)
    }

    /// Where an event with this id may stand; whether it does, its record says.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn candidates_by_id(&self, id: EventId) -> Result<Vec<Position>, Error> {
        {
            let state = self.state.read();
            if let Some(&position) = state.active.read().ids.get(id.as_bytes()) {
                return Ok(vec![Position::new(position)]);
            }
        }
        Ok(self.candidates_by_ids(&[id])?.into_iter().map(|(_, position)| position).collect())
    }

    /// The same for many ids, which costs far less each: positions with the index of their id in `ids`. Most ids have none.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn candidates_by_ids(&self, ids: &[EventId]) -> Result<Vec<(usize, Position)>, Error> {
        let found = self.read(|view| view.candidates(self.log_id, ids))?;
        Ok(found.into_iter().map(|(index, position)| (index, Position::new(position))).collect())
    }

    /// Positions of a stream from a version (inclusive) on, or downwards from it. [`Position::ZERO`] is an event that was lost.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn stream_positions(
        &self,
        stream: &str,
        from: Version,
        limit: usize,
        backward: bool,
    ) -> Result<Vec<(Version, Position)>, Error> {
        let found = self.read(|view| view.stream_positions(stream, from.get(), limit, backward))?;
        Ok(found.into_iter().map(|(version, position)| (Version::new(version), Position::new(position))).collect())
    }

    /// How many events bear a term.
    ///
    /// # Errors
    ///
    /// What the disk says.
    #[cfg(test)]
    pub(crate) fn term_events(&self, kind: TermKind, term: &str) -> Result<u64, Error> {
        self.read(|view| Ok(view.term_counts(kind, term)?.events))
    }

    /// The newest position above `after` whose event matches; an item without types and tags matches every event of clients' streams.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn last_match(&self, item: &QueryItem, after: Position) -> Result<Option<Position>, Error> {
        Ok(self.read(|view| select::last_match(view, item, after.get()))?.map(Position::new))
    }

    /// What the index knows of the positions above `after` up to and including `through` that match; `backward` begins at `through`.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn select(
        &self,
        filter: &Filter,
        after: Position,
        through: Position,
        backward: bool,
        limit: usize,
    ) -> Result<Selection, Error> {
        let window = Window { after: after.get(), through: through.get(), backward, limit };
        self.read(|view| select::select(view, filter, &window))
    }

    /// How many events match at the most, by the counts of the filter's categories, types and tags; `None` if it has none of them.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn matches_at_most(&self, filter: &Filter) -> Result<Option<u64>, Error> {
        self.read(|view| select::matches_at_most(view, filter))
    }

    /// Streams by name, after a name (exclusive), that begin with `prefix`; those that are deleted too.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn streams(&self, after: Option<&str>, prefix: &str, limit: usize) -> Result<Vec<(StreamName, StreamHead)>, Error> {
        self.read(|view| {
            let found = view.streams(after, prefix, limit)?;
            let named = found.into_iter().map(|(name, head)| match StreamName::new(&name) {
                Ok(name) => Ok((name, head)),
                Err(error) => Err(Fault::unusable(format!("a stream's name {error}"))),
            });
            named.collect()
        })
    }

    /// All categories by name.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn categories(&self) -> Result<Vec<TermInfo>, Error> {
        self.terms(TermKind::Category)
    }

    /// All event types by name.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn types(&self) -> Result<Vec<TermInfo>, Error> {
        self.terms(TermKind::Type)
    }

    fn terms(&self, kind: TermKind) -> Result<Vec<TermInfo>, Error> {
        let terms = self.read(|view| view.terms(kind))?;
        let info = |(term, counts): (String, rows::TermCounts)| TermInfo {
            term,
            events: counts.events,
            client_events: counts.client_events,
            streams: counts.streams,
        };
        Ok(terms.into_iter().map(info).collect())
    }

    /// How many streams were written, without the system's.
    ///
    /// # Errors
    ///
    /// None that is expected.
    pub(crate) fn stream_count(&self) -> Result<u64, Error> {
        Ok(self.state.read().active.read().counts.streams)
    }
}
