//! What is asked of a database, and what does it answer?

use factum_storage as storage;
use storage::Appended;
use storage::Direction;
use storage::Filter;
use storage::Position;
use storage::QueryItem;
use storage::RecordedEvent;
use storage::StreamAppend;
use storage::StreamInfo;
use storage::Version;

use crate::shard::KeyRange;
use crate::subscription::After;
use crate::subscription::Cursor;
use crate::subscription::Event;

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
    /// On which shard each of them is: that of the stream, unless it lived on another one then.
    pub shards: Vec<u16>,
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

/// What a shard has of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// How many slots, with `geo` of its region's; `None` with `range`.
    pub slots: Option<usize>,
    /// With `range`: which keys, in order.
    pub ranges: Option<Vec<KeyRange>>,
    /// With `geo`: in which region it is.
    pub region: Option<String>,
    /// It is to own nothing any more.
    pub is_drained: bool,
}

/// How one shard is.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// Its number.
    pub shard: u16,
    /// Its files are missing, not its own, or can't be opened: it takes no reads either, and nothing below is known of it.
    pub is_absent: bool,
    /// The address of the server that has it; `None`: this process has.
    pub location: Option<String>,
    /// What tells its log from every other; zeros if that was never known.
    pub log_id: [u8; 16],
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
    /// Bytes that can still be written where it has its files; `None` if the disk does not say.
    pub available_bytes: Option<u64>,
    /// Who follows its log.
    pub feeds: usize,
    /// How often a page of the index was at hand, and how often it had to be read.
    pub index_cache: (u64, u64),
    /// The hash chain's newest value and the position it covers.
    pub receipt: (Position, [u8; 32]),
    /// What was found and done when it was opened.
    pub opened: storage::OpenReport,
}

/// What [`crate::Database::import`] did.
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
