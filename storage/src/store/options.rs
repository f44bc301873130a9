//! What goes into a store's opening and comes out of its calls?

use crate::Damage;
use crate::NewEvent;
use crate::Position;
use crate::RecordedEvent;
use crate::StreamInfo;
use crate::StreamName;
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

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            small_segment_bytes: 4 << 20,
            prepare_segments: true,
            index_flush_events: 100_000,
            index_cache_bytes: 64 << 20,
            new_log_id: [0; 16],
            same_content,
        }
    }
}

impl Options {
    /// Small and quick to open: for memory and for tests.
    #[must_use]
    pub fn small() -> Self {
        Self {
            segment_bytes: 1 << 20,
            small_segment_bytes: 64 << 10,
            prepare_segments: false,
            index_cache_bytes: 8 << 20,
            ..Self::default()
        }
    }
}

/// Byte for byte, as far as the client sent it.
fn same_content(there: &RecordedEvent, again: &NewEvent) -> bool {
    there.event_type() == &*again.event_type
        && there.data() == &*again.data
        && (again.metadata.is_empty() || there.metadata() == &*again.metadata)
        && (again.tags.is_empty() || there.tags().eq(again.tags.iter().map(|tag| &**tag)))
        && (again.occurred_at.is_none() || there.client_occurred_at() == again.occurred_at)
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
    /// A line for each append of the transaction, in its order: stream, first and last version. Without events both are the stream's
    /// version.
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
