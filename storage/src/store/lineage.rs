//! What do other logs know of the streams of this one?
//!
//! A stream may go on in another log, and come back. Its history stays where it was written. Of all logs that had it, one
//! *decides* what the stream is: the last that took it over and has touched it since. Whoever puts several logs together tells
//! each of their stores which one that is.

use std::sync::Arc;

use crate::Error;
use crate::EventId;
use crate::Position;
use crate::RecordedEvent;
use crate::StreamHead;
use crate::StreamName;
use crate::Timestamp;
use crate::Version;
use crate::index::Change;

use super::Reader;
use super::Shared;
use super::Store;
use super::control;
use super::stage::Head;

/// What the other logs say of streams. Asked by the writer and by readers, so it must not wait for either.
pub trait Lineage: Send + Sync {
    /// Whether the stream may have lived in more than one log. Asked for every append.
    fn has_moved(&self, stream: &str) -> bool;

    /// The stream as the log that decides has it; `None` if that is the one that asks, which has touched the stream at `touched` last
    /// ([`Position::ZERO`]: never), or if no log knows it.
    ///
    /// # Errors
    ///
    /// What the other logs say.
    fn elsewhere(&self, stream: &str, touched: Position) -> Result<Option<StreamHead>, Error>;

    /// Whether another log may hide events of the stream.
    fn hides_elsewhere(&self, stream: &str) -> bool;

    /// Whether another log may hide events of any stream.
    fn hides_any_elsewhere(&self) -> bool;

    /// When an event of the stream was recorded that is in another log.
    ///
    /// # Errors
    ///
    /// What the other logs say.
    fn recorded_at(&self, stream: &str, version: Version) -> Result<Option<Timestamp>, Error>;

    /// The event with this id, if it is of this stream and in another log.
    ///
    /// # Errors
    ///
    /// What the other logs say.
    fn event_by_id(&self, stream: &str, id: EventId) -> Result<Option<RecordedEvent>, Error>;
}

impl Reader {
    /// Joins this log with others: from here on they are asked of streams that they had or have. Once; a second call changes nothing.
    pub fn join(&self, lineage: Arc<dyn Lineage>) {
        // The first one stays, as it says.
        drop(self.shared.lineage.set(lineage));
    }

    /// A stream as this log alone knows it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn own_head(&self, stream: &str) -> Result<Option<StreamHead>, Error> {
        self.shared.index()?.head(stream)
    }

    /// The same, if it hides anything: from memory.
    #[must_use]
    pub fn own_hiding_head(&self, stream: &str) -> Option<StreamHead> {
        self.shared.index.hidden().get(stream)
    }

    /// Whether any stream hides anything in this log.
    #[must_use]
    pub fn hides_any(&self) -> bool {
        !self.shared.index.hidden().is_empty()
    }

    /// When an event of a stream was recorded, if it is in this log.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn own_recorded_at(&self, stream: &str, version: Version) -> Result<Option<Timestamp>, Error> {
        let mut found = self.shared.index()?.stream_positions(stream, version, 1, false)?;
        found.retain(|(found, _)| *found == version);
        Ok(self.read_versions(stream, &found)?.pop().map(|event| event.recorded_at()))
    }

    pub(super) fn recorded_at(&self, stream: &str, version: Version) -> Result<Option<Timestamp>, Error> {
        match (self.own_recorded_at(stream, version)?, self.shared.lineage_of(stream)) {
            (None, Some(lineage)) => lineage.recorded_at(stream, version),
            (own, _) => Ok(own),
        }
    }

    /// The event with this id, hidden or not, if it is in this log.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn own_event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, Error> {
        self.shared.committed_by_id(id)
    }
}

impl Shared {
    /// A stream as the log that decides has it, and whether that is another one.
    pub(super) fn deciding_head(&self, stream: &str) -> Result<(Option<StreamHead>, bool), Error> {
        let own = self.index()?.head(stream)?;
        let Some(lineage) = self.lineage_of(stream) else { return Ok((own, false)) };
        let touched = own.map_or(Position::ZERO, |own| own.last_position);
        match lineage.elsewhere(stream, touched)? {
            Some(other) => Ok((Some(other), true)),
            None => Ok((own, false)),
        }
    }

    /// What decides which events of a stream are hidden; `None` if none are.
    pub(super) fn hiding_head(&self, stream: &str) -> Result<Option<StreamHead>, Error> {
        let own = self.index()?.hidden().get(stream);
        match self.lineage_of(stream) {
            Some(lineage) if own.is_some() || lineage.hides_elsewhere(stream) => {
                Ok(self.deciding_head(stream)?.0.filter(StreamHead::hides))
            }
            _ => Ok(own),
        }
    }

    /// Whether another log decides what a stream of this one is.
    pub(super) fn is_decided_elsewhere(&self, stream: &str, own: &StreamHead) -> Result<bool, Error> {
        let Some(lineage) = self.lineage_of(stream) else { return Ok(false) };
        Ok(lineage.elsewhere(stream, own.last_position)?.is_some())
    }

    fn lineage_of(&self, stream: &str) -> Option<&Arc<dyn Lineage>> {
        self.lineage.get().filter(|lineage| lineage.has_moved(stream))
    }

    /// Whether no event of any stream is hidden.
    pub(super) fn hides_nothing(&self) -> Result<bool, Error> {
        let is_empty = self.index()?.hidden().is_empty();
        Ok(is_empty && self.lineage.get().is_none_or(|lineage| !lineage.hides_any_elsewhere()))
    }
}

impl Store {
    /// Looks whether another log decides what the stream is. If so, the next thing that is staged for it adopts it first.
    pub(super) fn inherit(&mut self, stream: &StreamName) -> Result<(), Error> {
        if self.shared.lineage_of(stream.as_str()).is_none() || self.stage.heads.contains_key(stream) {
            return Ok(());
        }
        if let (Some(left), true) = self.shared.deciding_head(stream.as_str())? {
            let left = StreamHead { is_adopted: true, ..left };
            self.stage.heads.insert(stream.clone(), Head::of(&left));
            self.stage.inherited.insert(stream.clone(), left);
        }
        Ok(())
    }

    /// Stages the record by which a stream is adopted, if it is to be.
    pub(super) fn adopt(&mut self, stream: &StreamName) -> Result<(), Error> {
        let Some(left) = self.stage.inherited.remove(stream) else { return Ok(()) };
        // Times of a stream do not run backwards, and a reader that merges logs by them keeps its order.
        let after = Timestamp::from_micros(left.updated_at.as_micros().saturating_add(1));
        self.stage.recorded_at = self.stage.recorded_at.max(after);
        let change = Change::Adopted(left);
        self.stage_record(control::event(stream, change, record_id(&left, stream)), stream, change)?;
        Ok(())
    }

    /// The event with this id in another log, if the stream has lived in one.
    pub(super) fn event_elsewhere(&self, stream: &StreamName, id: EventId) -> Result<Option<RecordedEvent>, Error> {
        let Some(lineage) = self.shared.lineage_of(stream.as_str()) else { return Ok(None) };
        let is_adopted = match self.stage.heads.get(stream) {
            Some(head) => head.is_adopted,
            None => self.shared.index()?.head(stream.as_str())?.is_some_and(|head| head.is_adopted),
        };
        if is_adopted { lineage.event_by_id(stream.as_str(), id) } else { Ok(None) }
    }
}

/// The id of the record that adopts a stream: made of what it says, since the engine draws no lots.
fn record_id(left: &StreamHead, stream: &StreamName) -> EventId {
    let mut hasher = blake3::Hasher::new_derive_key("factum 2026-11-27 adopted stream");
    for number in [left.version.get(), left.last_position.get(), left.updated_at.as_micros().cast_unsigned()] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(stream.as_str().as_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    EventId::from_bytes(id)
}
