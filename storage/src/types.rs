//! The engine's vocabulary: ids, ordinals, what goes in. Everything is checked when it is made and never again.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::QueryItem;

/// The 1-based, gapless number of an event in its shard's log. Zero stands before the first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

/// The 1-based, gapless number of an event in its stream, and so the number of its events. Zero is the empty stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

macro_rules! ordinal {
    ($name:ident) => {
        impl $name {
            /// Before the first.
            pub const ZERO: Self = Self(0);

            /// Wraps a number.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

ordinal!(Position);
ordinal!(Version);

/// A point in time: microseconds since 1970-01-01T00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Wraps microseconds since 1970 UTC.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970 UTC.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }
}

/// A client-chosen or server-drawn UUID of an event: identity, never order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId([u8; 16]);

impl EventId {
    /// Wraps the 16 bytes of a UUID.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes of the UUID.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The name of a stream: 1 to 255 bytes of UTF-8 without control characters. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] if it is empty, over 255 bytes, or holds a control character.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check_name(name)?;
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first `-`; the whole name if there is none.
    #[must_use]
    pub fn category(&self) -> &str {
        category(&self.0)
    }

    /// Names that begin with `$` belong to the system.
    #[must_use]
    pub fn is_system(&self) -> bool {
        is_system(&self.0)
    }
}

impl Borrow<str> for StreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands before the first `-` of a stream's name.
#[must_use]
pub fn category(stream: &str) -> &str {
    stream.split_once('-').map_or(stream, |(category, _)| category)
}

/// Whether a stream's name belongs to the system.
#[must_use]
pub fn is_system(stream: &str) -> bool {
    stream.starts_with('$')
}

/// Checks the rule that stream names, event types and tags share: 1 to 255 bytes of UTF-8 without control characters.
///
/// # Errors
///
/// [`InvalidName`] says which part of the rule is broken.
pub fn check_name(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(InvalidName::TooLong { bytes: name.len() });
    }
    if name.chars().any(char::is_control) {
        return Err(InvalidName::ControlCharacter);
    }
    Ok(())
}

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// No character at all.
    #[error("must not be empty")]
    Empty,
    /// More than [`NAME_BYTES_MAX`] bytes.
    #[error("has {bytes} bytes, at most 255 are allowed")]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// A control character, such as NUL or a line feed.
    #[error("must not contain control characters")]
    ControlCharacter,
}

/// What the writer believes about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedVersion {
    /// No belief: append wherever it ends.
    Any,
    /// The stream has at least one visible event.
    Exists,
    /// The stream is at exactly this version; `Exact(0)` is "nothing there yet".
    Exact(Version),
}

/// A fact proposed for a stream.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Its identity.
    pub id: EventId,
    /// The id was drawn just now and can't be in the log, so nobody needs to look for it.
    pub id_is_fresh: bool,
    /// 1 to 255 bytes, the rule of [`check_name`].
    pub event_type: Arc<str>,
    /// Which shape `data` has. The engine stores it as it is; to the database, 0 means the newest that its type has, and 1 if it has no
    /// schema.
    pub schema_version: u16,
    /// When it happened, if that is not when it is recorded.
    pub occurred_at: Option<Timestamp>,
    /// Up to [`TAGS_MAX`], each under the rule of [`check_name`].
    pub tags: Vec<Arc<str>>,
    /// Opaque bytes; empty when the client sent none.
    pub metadata: Bytes,
    /// Opaque bytes.
    pub data: Bytes,
}

/// Events for one stream, with what the writer believes of it. No events: the belief alone is checked.
#[derive(Clone, Debug)]
pub struct StreamAppend {
    /// Where to.
    pub stream: StreamName,
    /// Checked against the stream as earlier appends of the same transaction leave it.
    pub expected: ExpectedVersion,
    /// In order.
    pub events: Vec<NewEvent>,
}

/// "No event that matches any of `query` stands after `after`."
#[derive(Clone, Debug)]
pub struct Condition {
    /// Items are ORed; none matches every event of clients' streams.
    pub query: Vec<QueryItem>,
    /// Exclusive.
    pub after: Position,
}

/// All of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// In order; a stream may come several times.
    pub appends: Vec<StreamAppend>,
    /// All must hold.
    pub conditions: Vec<Condition>,
}

/// What hides a stream's old events. `None` does not limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The newest so many stay visible.
    pub max_count: Option<u64>,
    /// Events recorded longer ago than this many microseconds are hidden.
    pub max_age_us: Option<u64>,
    /// Events below this version are hidden.
    pub before_version: Option<Version>,
}

/// What there is to know of a stream without reading its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub stream: StreamName,
    /// The version of its last event.
    pub version: Version,
    /// The first version that a reader sees; one more than `version` when none is visible.
    pub first_version: Version,
    /// The position of its last event.
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
}

/// A category with its counts. Hidden events count until their segment is trimmed and the index rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CategoryInfo {
    /// Its name.
    pub category: String,
    /// How many streams it has had.
    pub streams: u64,
    /// How many events it has had.
    pub events: u64,
}

/// An event type with its count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeInfo {
    /// Its name.
    pub event_type: String,
    /// How many events of it were appended.
    pub events: u64,
}

/// The longest stream name, event type or tag.
pub const NAME_BYTES_MAX: usize = 255;
/// The most tags of one event.
pub const TAGS_MAX: usize = 64;
/// The most metadata of one event.
pub const METADATA_BYTES_MAX: usize = 1 << 20;
/// The most data of one event; servers set a lower limit of their own.
pub const DATA_BYTES_MAX: usize = 16 << 20;
/// The most that one transaction takes on disk.
pub const TRANSACTION_BYTES_MAX: usize = 32 << 20;
/// The most events of one transaction.
pub const TRANSACTION_EVENTS_MAX: usize = 100_000;
/// The system stream that keeps deletes and retention.
pub const STREAMS_STREAM: &str = "$streams";
