//! The face of one shard's log and index: one [`Store`] that writes, any number of [`Reader`]s, one [`Maintainer`].

use std::sync::Arc;

use crate::Clock;
use crate::Damage;
use crate::Disk;
use crate::Error;
use crate::EventId;
use crate::Filter;
use crate::NewEvent;
use crate::Position;
use crate::RecordedEvent;
use crate::Retention;
use crate::StreamInfo;
use crate::StreamName;
use crate::Transaction;
use crate::Version;

/// How a store is laid out and bounded. The defaults are for production.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of a segment that is zeroed ahead of need.
    pub segment_bytes: u64,
    /// Bytes of a segment that is made at once, when none is ready: at open, or when the writer outruns the background.
    pub small_segment_bytes: u64,
    /// Zero the next segment ahead of need. Off in memory, where it gains nothing.
    pub prepare_segments: bool,
    /// Flush the index when it is so many events behind the log.
    pub index_flush_events: u64,
    /// Bytes of redb's page cache.
    pub index_cache_bytes: usize,
    /// The log id if the directory is new: random, so that a file of another log is noticed.
    pub new_log_id: [u8; 16],
    /// Whether a stored event is what a client sends again under the same id.
    pub same_content: fn(&RecordedEvent, &NewEvent) -> bool,
}

/// What was found and done at open.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// The last position in the log.
    pub committed: Position,
    /// Bytes of a torn tail that were cut: appends that were never acknowledged.
    pub cut_bytes: u64,
    /// Why the index was rebuilt, if it was.
    pub index_rebuilt: Option<String>,
    /// Events that the index was behind and that were read again.
    pub replayed_events: u64,
    /// Set if the store is read-only.
    pub damage: Option<Damage>,
}

/// How far long work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, in a few words.
    pub what: &'static str,
    /// Units done (events or bytes, as `what` says).
    pub done: u64,
    /// Units in all.
    pub total: u64,
}

/// What one transaction got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// A line for each append of the transaction, in its order: stream, first and last version. Without events both are the stream's version.
    pub streams: Vec<(StreamName, Version, Version)>,
    /// The position of its last event; of the log's last if it had none.
    pub position: Position,
    /// Everything was there already, under the same ids.
    pub duplicate: bool,
}

/// Which way to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

/// Events of one stream.
#[derive(Clone, Debug)]
pub struct StreamSlice {
    /// The stream when it was read.
    pub info: StreamInfo,
    /// In the direction asked for.
    pub events: Vec<RecordedEvent>,
    /// Where to go on (inclusive), if there is more.
    pub next: Option<Version>,
}

/// Events of the whole log.
#[derive(Clone, Debug, Default)]
pub struct EventSlice {
    /// In the direction asked for.
    pub events: Vec<RecordedEvent>,
    /// Everything up to here (inclusive; downwards when backward) has been looked at: the next read goes on `after` it.
    pub through: Position,
    /// The end was reached: forward, what was committed; backward, the start.
    pub at_end: bool,
}

/// The one writer of a shard.
pub struct Store {
    _disk: Arc<dyn Disk>,
}

impl Store {
    /// Opens or creates the store on `disk`: reads the newest segments, cuts a torn tail, brings the index up to date.
    ///
    /// A damaged log opens read-only (see [`OpenReport::damage`]).
    ///
    /// # Errors
    ///
    /// [`Error::UnknownFormat`], [`Error::StorageFull`], [`Error::Io`].
    pub fn open(
        _disk: Arc<dyn Disk>,
        _clock: Arc<dyn Clock>,
        _options: Options,
        _progress: &mut dyn FnMut(Progress),
    ) -> Result<(Self, OpenReport), Error> {
        todo!()
    }

    /// Checks a transaction against the log and what was staged before, and adds it to the next commit.
    /// What it returns is true only once [`Store::commit`] has answered. A duplicate (all ids there with the same content) stages nothing.
    ///
    /// # Errors
    ///
    /// Whatever refuses this transaction alone; those staged before stay: [`Error::Conflict`], [`Error::StreamDeleted`], [`Error::EventIdReused`],
    /// [`Error::TooLarge`], [`Error::StorageFull`], [`Error::Poisoned`], [`Error::ReadOnly`].
    pub fn stage(&mut self, _transaction: &Transaction) -> Result<Appended, Error> {
        todo!()
    }

    /// Stages a soft delete: reads answer "not found" until the next append, which goes on at the next version.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`], [`Error::StreamDeleted`], and those of [`Store::stage`].
    pub fn stage_delete(&mut self, _stream: &StreamName) -> Result<Appended, Error> {
        todo!()
    }

    /// Stages the end of a stream: nothing of it is read or appended ever after. Ending it again is a duplicate.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`], and those of [`Store::stage`].
    pub fn stage_tombstone(&mut self, _stream: &StreamName) -> Result<Appended, Error> {
        todo!()
    }

    /// Stages a stream's retention, in place of the one before.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`], [`Error::StreamDeleted`], and those of [`Store::stage`].
    pub fn stage_retention(&mut self, _stream: &StreamName, _retention: Retention) -> Result<Appended, Error> {
        todo!()
    }

    /// Writes and syncs everything staged, then makes it visible. One write, one sync. Nothing staged: does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`]: nothing of it is there, and nothing was harmed.
    /// [`Error::OutcomeUnknown`]: a write or sync failed; the store is poisoned from here on.
    pub fn commit(&mut self) -> Result<Position, Error> {
        todo!()
    }

    /// How many bytes are staged for the next commit.
    #[must_use]
    pub fn staged_bytes(&self) -> usize {
        todo!()
    }

    /// A reader beside this writer; clone it freely.
    #[must_use]
    pub fn reader(&self) -> Reader {
        todo!()
    }

    /// The background work of this store; run by one thread.
    #[must_use]
    pub fn maintainer(&self) -> Maintainer {
        todo!()
    }

    /// Flushes the index and lets go of the files. Staged transactions are dropped.
    ///
    /// # Errors
    ///
    /// What the index's last flush says; the log is whole all the same, and the next open reads again what was not flushed.
    pub fn close(self) -> Result<(), Error> {
        todo!()
    }
}

/// Reads what is committed, beside the writer and never in its way.
#[derive(Clone)]
pub struct Reader {
    _disk: Arc<dyn Disk>,
}

impl Reader {
    /// The last committed position.
    #[must_use]
    pub fn committed(&self) -> Position {
        todo!()
    }

    /// Why the store takes no appends, if so.
    #[must_use]
    pub fn refuses_appends(&self) -> Option<Error> {
        todo!()
    }

    /// Bytes of all segment files and of the index file, `(log, index)`.
    #[must_use]
    pub fn disk_bytes(&self) -> (u64, u64) {
        todo!()
    }

    /// How many events the index file is behind the log.
    #[must_use]
    pub fn index_lag_events(&self) -> u64 {
        todo!()
    }

    /// The newest value of the hash chain, and the position it covers: a receipt for everything up to there.
    #[must_use]
    pub fn receipt(&self) -> (Position, [u8; 32]) {
        todo!()
    }

    /// What there is to know of a stream, also if it is deleted; `None` if nothing was ever appended.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn stream(&self, _stream: &str) -> Result<Option<StreamInfo>, Error> {
        todo!()
    }

    /// Visible events of a stream from version `from` (inclusive; `None`: the first, backward the last) on, at most `limit`
    /// events and about `bytes_max` bytes (always one event at least). `None` if the stream was never written, is deleted or tombstoned
    /// (see [`Reader::stream`]).
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn read_stream(
        &self,
        _stream: &str,
        _from: Option<Version>,
        _direction: Direction,
        _limit: usize,
        _bytes_max: usize,
    ) -> Result<Option<StreamSlice>, Error> {
        todo!()
    }

    /// Visible events that match, after a position (exclusive; downwards from it, exclusive, when backward), at most `limit`
    /// events and about `bytes_max` bytes. Served by the index when the filter is selective, else by reading the log.
    /// Looks at a bounded part of the log: an empty answer that is not `at_end` is to be continued from `through`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn read_events(
        &self,
        _filter: &Filter,
        _after: Position,
        _direction: Direction,
        _limit: usize,
        _bytes_max: usize,
    ) -> Result<EventSlice, Error> {
        todo!()
    }

    /// The visible event with this id.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn event_by_id(&self, _id: EventId) -> Result<Option<RecordedEvent>, Error> {
        todo!()
    }

    /// Streams in the order of their names, after a name (exclusive), that begin with `prefix` and are in `category`, without deleted and tombstoned ones.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn streams(
        &self,
        _after: Option<&str>,
        _prefix: &str,
        _category: Option<&str>,
        _include_system: bool,
        _limit: usize,
    ) -> Result<Vec<StreamInfo>, Error> {
        todo!()
    }

    /// All categories in the order of their names.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn categories(&self, _include_system: bool) -> Result<Vec<crate::CategoryInfo>, Error> {
        todo!()
    }

    /// All event types in the order of their names. Types that only system streams use are left out unless asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn types(&self, _include_system: bool) -> Result<Vec<crate::TypeInfo>, Error> {
        todo!()
    }

    /// How many streams have been written, without the system's.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn stream_count(&self) -> Result<u64, Error> {
        todo!()
    }
}

/// What a background thread does for a store: zeroing the next segment, sealing full ones, flushing the index, trimming.
/// Each call does one piece of work and returns; the thread decides when.
pub struct Maintainer {
    _disk: Arc<dyn Disk>,
}

impl Maintainer {
    /// Does the most urgent piece of work; `false` if there was none.
    ///
    /// # Errors
    ///
    /// What the disk says. Nothing is lost by it; call again later.
    pub fn step(&self) -> Result<bool, Error> {
        todo!()
    }

    /// Flushes the index whatever it is behind.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn flush_index(&self) -> Result<(), Error> {
        todo!()
    }

    /// Gives back the disk of sealed segments in which no event is visible any more. Returns the bytes that came back.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn trim(&self) -> Result<u64, Error> {
        todo!()
    }
}
