//! How does a Rust program use Factum in process?
//!
//! [`Database`] is what `http` serves and all that it calls: the same semantics in process as over the wire.

use factum_storage as storage;
pub use storage::Appended;
pub use storage::CategoryInfo;
pub use storage::Direction;
pub use storage::EventId;
pub use storage::ExpectedVersion;
pub use storage::Filter;
pub use storage::NewEvent;
pub use storage::Position;
pub use storage::QueryItem;
pub use storage::RecordedEvent;
pub use storage::Retention;
pub use storage::StreamAppend;
pub use storage::StreamInfo;
pub use storage::StreamName;
pub use storage::Timestamp;
pub use storage::TypeInfo;
pub use storage::Version;

use crate::Error;
use crate::subscription::Feed;

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; `None` keeps everything in memory.
    pub data: Option<std::path::PathBuf>,
    /// How many shards a new database gets; an existing one must have as many (`None`: as many as it has, 1 if new).
    pub shards: Option<u16>,
    /// Do not sync: for bulk loads that can be repeated and for measurements.
    pub durability: Durability,
    /// How many appends may wait for each shard before it answers [`Error::Overloaded`].
    pub queue_appends: usize,
    /// The engine's own settings.
    pub storage: storage::Options,
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledged is on disk.
    #[default]
    Strict,
    /// Acknowledged is with the operating system; a power cut may lose it.
    Relaxed,
}

/// A point in the log of all shards. With one shard it reads as the position in decimal; with several as the positions joined by `.`, shard 0 first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub(crate) Vec<Position>);

/// Where a read or a feed begins (exclusive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// Before the first event. Backward: nothing.
    Start,
    /// Behind the last committed event.
    End,
    /// Behind what this cursor has seen.
    Cursor(Cursor),
}

/// An event with the shard it is on.
#[derive(Clone, Debug)]
pub struct Event {
    /// Which shard.
    pub shard: u16,
    /// The event.
    pub record: RecordedEvent,
}

/// What an append got.
#[derive(Clone, Debug)]
pub struct AppendResult {
    /// What the engine says.
    pub appended: Appended,
    /// The shard it went to.
    pub shard: u16,
    /// A read or query that takes this sees the append.
    pub cursor: Cursor,
}

/// What is read from the log of all shards.
#[derive(Clone, Debug)]
pub struct EventsQuery {
    /// Exclusive; backward, events before it.
    pub after: After,
    /// Which way.
    pub direction: Direction,
    /// Which events.
    pub filter: Filter,
    /// At most so many.
    pub limit: usize,
    /// At most about so many bytes of records (one event at least).
    pub bytes_max: usize,
}

/// A page of the log of all shards, ordered by `recorded_at`, then shard.
#[derive(Clone, Debug)]
pub struct EventsPage {
    /// The events.
    pub events: Vec<Event>,
    /// Everything up to here has been looked at: the next page goes on after it.
    pub cursor: Cursor,
    /// The end (backward: the start) was reached.
    pub at_end: bool,
}

/// Some events of one stream.
#[derive(Clone, Debug)]
pub struct StreamPage {
    /// Its shard.
    pub shard: u16,
    /// The stream when it was read.
    pub info: StreamInfo,
    /// The events.
    pub events: Vec<RecordedEvent>,
    /// Where to go on (inclusive), if there is more.
    pub next: Option<Version>,
    /// Where the log was when it was read.
    pub cursor: Cursor,
}

/// A request to write one or more streams of one shard, all or nothing.
#[derive(Clone, Debug, Default)]
pub struct TransactionRequest {
    /// In order.
    pub appends: Vec<StreamAppend>,
    /// All must hold. The cursor's position of the transaction's shard counts.
    pub conditions: Vec<ConditionRequest>,
}

/// "No event that matches any of `query` stands after `after`" on the transaction's shard.
#[derive(Clone, Debug)]
pub struct ConditionRequest {
    /// Items are ORed; none matches every event.
    pub query: Vec<QueryItem>,
    /// Exclusive.
    pub after: After,
}

/// How one shard is.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// Its number.
    pub shard: u16,
    /// `Ok`, or why it takes no appends.
    pub appends: Result<(), storage::Error>,
    /// Its last committed position.
    pub position: Position,
    /// How many streams were written.
    pub streams: u64,
    /// Bytes of its log.
    pub log_bytes: u64,
    /// Bytes of its index.
    pub index_bytes: u64,
    /// Events that the index file is behind the log (they are in memory).
    pub index_lag_events: u64,
    /// Appends waiting.
    pub queued_appends: usize,
    /// The hash chain's newest value and the position it covers.
    pub receipt: (Position, [u8; 32]),
    /// What was found and done when it was opened.
    pub opened: storage::OpenReport,
}

/// An open database. Clones share it; the last one dropped closes it, [`Database::close`] does so and waits.
#[derive(Clone)]
pub struct Database {
    _inner: std::sync::Arc<()>,
}

#[expect(unused_variables, clippy::todo, reason = "signatures first")]
impl Database {
    /// Opens or creates a database.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] (locked, of a newer format, disk), [`Error::Invalid`] (another number of shards).
    pub async fn open(options: Options) -> Result<Self, Error> {
        todo!()
    }

    /// A new, empty database in memory.
    ///
    /// # Errors
    ///
    /// None in practice; memory has no disk to fail.
    pub async fn in_memory() -> Result<Self, Error> {
        todo!()
    }

    /// Appends to one stream, all or nothing, and returns once it is on disk.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`], [`Error::Invalid`], [`Error::SystemStream`], [`Error::Overloaded`], [`Error::Unavailable`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future does not withdraw the append. Retry with the same event ids.
    pub async fn append(&self, append: StreamAppend) -> Result<AppendResult, Error> {
        todo!()
    }

    /// Appends to several streams of one shard under conditions, all or nothing, and returns once it is on disk.
    ///
    /// # Errors
    ///
    /// As [`Database::append`], and [`Error::CrossShard`].
    ///
    /// # Cancellation
    ///
    /// As [`Database::append`].
    pub async fn transact(&self, request: TransactionRequest) -> Result<AppendResult, Error> {
        todo!()
    }

    /// Appends one event, or says `false` if its id is there already with the same content. Order per stream is that of the calls' starts;
    /// many may be under way at once: they share syncs.
    ///
    /// # Errors
    ///
    /// As [`Database::append`].
    pub async fn import(&self, stream: StreamName, events: Vec<NewEvent>) -> Result<ImportResult, Error> {
        todo!()
    }

    /// Deletes a stream softly, or for ever (`permanent`).
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`], and as [`Database::append`].
    pub async fn delete_stream(&self, stream: StreamName, permanent: bool) -> Result<AppendResult, Error> {
        todo!()
    }

    /// Sets what hides a stream's old events, in place of what was set before.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`], and as [`Database::append`].
    pub async fn set_retention(&self, stream: StreamName, retention: Retention) -> Result<AppendResult, Error> {
        todo!()
    }

    /// What there is to know of a stream, with its shard.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`] if it was never written or is softly deleted; `Storage(StreamDeleted)` if it is ended for ever.
    pub async fn stream(&self, stream: &StreamName) -> Result<(u16, StreamInfo, Cursor), Error> {
        todo!()
    }

    /// Events of one stream from a version (inclusive; `None`: the first, backward the last).
    ///
    /// # Errors
    ///
    /// As [`Database::stream`].
    pub async fn read_stream(
        &self,
        stream: &StreamName,
        from: Option<Version>,
        direction: Direction,
        limit: usize,
        bytes_max: usize,
    ) -> Result<StreamPage, Error> {
        todo!()
    }

    /// A page of the log of all shards.
    ///
    /// # Errors
    ///
    /// [`Error::BadCursor`], [`Error::Storage`].
    pub async fn read_events(&self, query: EventsQuery) -> Result<EventsPage, Error> {
        todo!()
    }

    /// The event with this id.
    ///
    /// # Errors
    ///
    /// [`Error::EventNotFound`], [`Error::Storage`].
    pub async fn event_by_id(&self, id: EventId) -> Result<Event, Error> {
        todo!()
    }

    /// Streams of all shards by name, after a name (exclusive).
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn streams(&self, query: StreamsQuery) -> Result<Vec<(u16, StreamInfo)>, Error> {
        todo!()
    }

    /// Categories of all shards by name.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn categories(&self, include_system: bool) -> Result<Vec<CategoryInfo>, Error> {
        todo!()
    }

    /// Event types of all shards by name.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn types(&self, include_system: bool) -> Result<Vec<TypeInfo>, Error> {
        todo!()
    }

    /// A feed of what matches, history first, then live, without a gap or a repeat.
    ///
    /// # Errors
    ///
    /// [`Error::BadCursor`].
    pub fn follow(&self, filter: Filter, after: After) -> Result<Feed, Error> {
        todo!()
    }

    /// A feed of one stream's visible events, from a version (inclusive), then live.
    ///
    /// # Errors
    ///
    /// As [`Database::stream`] for a tombstoned stream; a stream that is not there yet is waited for.
    pub fn follow_stream(&self, stream: &StreamName, from: Version) -> Result<Feed, Error> {
        todo!()
    }

    /// Where the log of all shards ends now.
    #[must_use]
    pub fn end(&self) -> Cursor {
        todo!()
    }

    /// Reads a cursor and checks that it is of this database and not from the future.
    ///
    /// # Errors
    ///
    /// [`Error::BadCursor`].
    pub fn parse_cursor(&self, text: &str) -> Result<Cursor, Error> {
        todo!()
    }

    /// Which shard a stream is on.
    #[must_use]
    pub fn shard_of(&self, stream: &str) -> u16 {
        todo!()
    }

    /// How each shard is.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn status(&self) -> Result<Vec<ShardStatus>, Error> {
        todo!()
    }

    /// Flushes and closes. Appends under way are finished; later calls answer [`Error::Unavailable`].
    ///
    /// # Errors
    ///
    /// What the last flush says; nothing acknowledged is lost by it.
    pub async fn close(&self) -> Result<(), Error> {
        todo!()
    }
}

/// What [`Database::import`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportResult {
    /// How many events were appended.
    pub imported: u64,
    /// How many were there already.
    pub duplicates: u64,
    /// The last position written, or the log's last.
    pub position: Position,
}

/// Which streams to list.
#[derive(Clone, Debug, Default)]
pub struct StreamsQuery {
    /// Exclusive.
    pub after: Option<String>,
    /// How names begin.
    pub prefix: String,
    /// In this category only.
    pub category: Option<String>,
    /// `$` streams too.
    pub include_system: bool,
    /// At most so many.
    pub limit: usize,
}
