//! What goes into the index and comes out of it.

use crate::EventId;
use crate::Position;
use crate::Retention;
use crate::Timestamp;
use crate::Version;

/// One committed event, as far as the index looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) position: Position,
    pub(crate) stream: &'a str,
    pub(crate) version: Version,
    pub(crate) event_type: &'a str,
    pub(crate) id: EventId,
    pub(crate) tags: &'a [&'a str],
    pub(crate) recorded_at: Timestamp,
    pub(crate) control: Option<Control<'a>>,
}

/// The event changes how another stream is seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control<'a> {
    pub(crate) stream: &'a str,
    pub(crate) change: Change,
}

/// How a stream is seen from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Hidden up to and including this version; not found at all until the next append.
    Deleted { before_version: Version },
    /// Ended for ever.
    Tombstoned,
    /// In place of the retention before.
    Retention(Retention),
    /// It lived in another log, which left it like this. That log keeps the events up to then.
    Adopted(StreamHead),
}

/// A stream as one log knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHead {
    /// The version of its last event.
    pub version: Version,
    /// Softly deleted up to here (inclusive).
    pub deleted_through: Version,
    /// Where this log has touched it last: its last event here, or the record by which it was adopted.
    pub last_position: Position,
    /// When its first event was recorded.
    pub created_at: Timestamp,
    /// When its last event was recorded.
    pub updated_at: Timestamp,
    /// Softly deleted, and nothing appended since.
    pub is_deleted: bool,
    /// Ended for ever.
    pub is_tombstoned: bool,
    /// As set last.
    pub retention: Retention,
    /// There was a retention at some time: what it hid has been seen by nobody who looked meanwhile.
    pub was_retained: bool,
    /// It lived in another log before.
    pub is_adopted: bool,
}

impl StreamHead {
    /// Nothing below is visible, by deletes and by the retention's `before_version`. Its `max_count` and `max_age_us` may hide more.
    #[must_use]
    pub fn first_version(&self) -> Version {
        self.deleted_through.next().max(self.retention.before_version.unwrap_or_default())
    }

    /// Whether anything of the stream may be invisible, or was, and can be seen again.
    #[must_use]
    pub fn hides(&self) -> bool {
        self.is_tombstoned || self.is_deleted || self.deleted_through > Version::ZERO || self.was_retained
    }
}

/// By what events are listed, besides their stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TermKind {
    Category = 1,
    Type = 2,
    Tag = 3,
}

impl TermKind {
    pub(super) const ALL: [Self; 3] = [Self::Category, Self::Type, Self::Tag];

    pub(super) fn index(self) -> usize {
        self as usize - 1
    }

    /// The key of a term in its table.
    pub(super) fn key(self, term: &str) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + term.len());
        key.push(self as u8);
        key.extend_from_slice(term.as_bytes());
        key
    }
}

/// What the index can say of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Reading the log is no more work.
    Scan,
    /// All positions that match by category, type and tag. The rest of the filter is still to be checked.
    Positions {
        /// Rising, or falling if read backward.
        positions: Vec<Position>,
        /// Complete up to here, inclusive (downwards, if read backward).
        through: Position,
        /// There is nothing more in the window that was asked for.
        at_end: bool,
    },
}

/// How often a category or an event type came up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TermInfo {
    pub(crate) term: String,
    /// All of them, also those of system streams.
    pub(crate) events: u64,
    /// Those in streams that are not the system's; none: only the system uses it.
    pub(crate) client_events: u64,
    /// Of a category: how many streams it has. Zero for types.
    pub(crate) streams: u64,
}
