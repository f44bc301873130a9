//! What stands in the tables of `index.redb`? See `docs/format.md`, "Index".

use bincode::config::Configuration;
use bincode::config::Limit;
use bincode::config::LittleEndian;
use bincode::config::Varint;
use redb::TableDefinition;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Position;
use crate::Retention;
use crate::Timestamp;
use crate::Version;

use super::StreamHead;
use super::fault::Fault;
use super::postings;

/// Raised whenever a table changes; an index of another format is rebuilt.
pub(super) const INDEX_FORMAT: u32 = 2;

pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const STREAMS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("streams");
pub(super) const HIDDEN: TableDefinition<'_, &str, ()> = TableDefinition::new("hidden");
pub(super) const TERMS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("terms");
pub(super) const PAGES: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("pages");
pub(super) const IDS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("ids");
pub(super) const ID_RUNS: TableDefinition<'_, u64, (u64, u64, u64)> = TableDefinition::new("id_runs");
pub(super) const SNAPSHOTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("snapshots");

/// The keys of `meta`.
pub(super) const META_FORMAT: &str = "format";
pub(super) const META_LOG_ID: &str = "log_id";
pub(super) const META_STATE: &str = "state";

/// How far the index has come, and its counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// Everything up to here is in the tables.
    pub(super) through: u64,
    /// The next list that gets pages gets this number; 0 stands for a list without pages.
    pub(super) next_list: u64,
    pub(super) counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// All events that were applied.
    pub(super) events: u64,
    /// Streams that were written, without the system's.
    pub(super) streams: u64,
    /// The newest event that is not of a system stream.
    pub(super) last_client: u64,
}

/// All that a stream's row says besides its positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamState {
    pub(super) version: u64,
    pub(super) last_position: u64,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    /// Softly deleted up to this version, inclusive.
    pub(super) deleted_through: u64,
    pub(super) is_deleted: bool,
    pub(super) is_tombstoned: bool,
    pub(super) retention: Retention,
    /// There was a retention at some time: what it hid has been seen by nobody who looked meanwhile.
    pub(super) was_retained: bool,
    /// It lived in another log before.
    pub(super) is_adopted: bool,
    /// So many versions are in no list: all of them are in another log. A multiple of [`PAGE`].
    pub(super) unlisted: u64,
}

impl StreamState {
    pub(super) fn head(&self) -> StreamHead {
        StreamHead {
            version: Version::new(self.version),
            deleted_through: Version::new(self.deleted_through),
            last_position: Position::new(self.last_position),
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
            is_deleted: self.is_deleted,
            is_tombstoned: self.is_tombstoned,
            retention: self.retention,
            was_retained: self.was_retained,
            is_adopted: self.is_adopted,
        }
    }

    /// Goes on from what another log left, known here by the record at `position`.
    pub(super) fn adopt(&mut self, left: &StreamHead, position: u64) {
        *self = Self {
            version: left.version.get(),
            last_position: position,
            created_at: left.created_at.as_micros(),
            updated_at: left.updated_at.as_micros(),
            deleted_through: left.deleted_through.get(),
            is_deleted: left.is_deleted,
            is_tombstoned: left.is_tombstoned,
            retention: left.retention,
            was_retained: self.was_retained || left.was_retained,
            is_adopted: true,
            unlisted: self.unlisted,
        };
    }

    /// Whether anything of the stream may be invisible, or was, and can be seen again.
    pub(super) fn hides(&self) -> bool {
        self.head().hides()
    }
}

/// A list of positions as its row holds it: the number under which its pages stand, and what does not fill a page yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    /// 0 if it has no pages.
    pub(super) number: u64,
    pub(super) tail: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamRow {
    pub(super) state: StreamState,
    pub(super) list: List,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TermRow {
    pub(super) counts: TermCounts,
    pub(super) list: List,
}

/// How often a term came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TermCounts {
    pub(super) events: u64,
    /// Of these, in streams that are not the system's.
    pub(super) client_events: u64,
    /// Of a category: how many streams it has.
    pub(super) streams: u64,
}

/// The fixed part of a stream's row; the tail follows. Most of it is one byte each for most streams.
#[derive(Serialize, Deserialize)]
struct StreamFixed {
    list: u64,
    version: u64,
    /// Zero if the tail ends with it. It does not if the stream was adopted and nothing appended since.
    last_position: u64,
    created_at: i64,
    /// After `created_at`.
    updated_after: i64,
    deleted_through: u64,
    flags: u8,
    retention: Option<(Option<u64>, Option<u64>, Option<u64>)>,
}

const IS_DELETED: u8 = 1;
const IS_TOMBSTONED: u8 = 2;
const WAS_RETAINED: u8 = 4;
/// `unlisted` stands behind the fixed part then.
const IS_ADOPTED: u8 = 8;

impl StreamRow {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let state = &self.state;
        let retention = &state.retention;
        let fixed = StreamFixed {
            list: self.list.number,
            version: state.version,
            last_position: if self.list.tail.last() == Some(&state.last_position) { 0 } else { state.last_position },
            created_at: state.created_at,
            updated_after: state.updated_at.wrapping_sub(state.created_at),
            deleted_through: state.deleted_through,
            flags: if state.is_deleted { IS_DELETED } else { 0 }
                | if state.is_tombstoned { IS_TOMBSTONED } else { 0 }
                | if state.was_retained { WAS_RETAINED } else { 0 }
                | if state.is_adopted { IS_ADOPTED } else { 0 },
            retention: (*retention != Retention::default()).then_some((
                retention.max_count,
                retention.max_age_us,
                retention.before_version.map(Version::get),
            )),
        };
        if state.is_adopted {
            return encode_with_tail(&(fixed, state.unlisted), &self.list.tail, out);
        }
        encode_with_tail(&fixed, &self.list.tail, out)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let (fixed, rest) = decode_fixed::<StreamFixed>(bytes)?;
        let is_adopted = fixed.flags & IS_ADOPTED != 0;
        let (unlisted, rest) = if is_adopted { decode_fixed(rest)? } else { (0, rest) };
        let tail = decode_tail(rest)?;
        let was_retained = fixed.flags & WAS_RETAINED != 0 || fixed.retention.is_some();
        let (max_count, max_age_us, before_version) = fixed.retention.unwrap_or_default();
        if (tail.len() as u64).saturating_add(unlisted) > fixed.version {
            return Err(Fault::unusable("a stream's tail is longer than the stream"));
        }
        let state = StreamState {
            version: fixed.version,
            last_position: if fixed.last_position > 0 { fixed.last_position } else { tail.last().copied().unwrap_or_default() },
            created_at: fixed.created_at,
            updated_at: fixed.created_at.wrapping_add(fixed.updated_after),
            deleted_through: fixed.deleted_through,
            is_deleted: fixed.flags & IS_DELETED != 0,
            is_tombstoned: fixed.flags & IS_TOMBSTONED != 0,
            retention: Retention { max_count, max_age_us, before_version: before_version.map(Version::new) },
            was_retained,
            is_adopted,
            unlisted,
        };
        Ok(Self { state, list: List { number: fixed.list, tail } })
    }
}

impl TermRow {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Fault> {
        encode_with_tail(&(self.list.number, self.counts), &self.list.tail, out)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let ((number, counts), tail) = decode_with_tail(bytes)?;
        Ok(Self { counts, list: List { number, tail } })
    }
}

pub(super) fn encode_meta(meta: &Meta) -> Result<Vec<u8>, Fault> {
    bincode::serde::encode_to_vec(meta, BINCODE).map_err(|error| Fault::unusable(error.to_string()))
}

pub(super) fn decode_meta(bytes: &[u8]) -> Result<Meta, Fault> {
    decode_with_tail(bytes).map(|(meta, _)| meta)
}

fn encode_with_tail(fixed: &impl Serialize, tail: &[u64], out: &mut Vec<u8>) -> Result<(), Fault> {
    bincode::serde::encode_into_std_write(fixed, out, BINCODE).map_err(|error| Fault::unusable(error.to_string()))?;
    postings::encode(tail, out);
    Ok(())
}

fn decode_with_tail<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, Vec<u64>), Fault> {
    let (fixed, rest) = decode_fixed(bytes)?;
    Ok((fixed, decode_tail(rest)?))
}

fn decode_fixed<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), Fault> {
    let (fixed, read) = bincode::serde::decode_from_slice(bytes, BINCODE).map_err(|error| Fault::unusable(error.to_string()))?;
    Ok((fixed, bytes.get(read..).unwrap_or_default()))
}

fn decode_tail(bytes: &[u8]) -> Result<Vec<u64>, Fault> {
    postings::decode(bytes).ok_or_else(|| Fault::unusable("a tail is not a list of positions"))
}

/// A position in 6 bytes; a log with more than 2^48 events does not fit on any disk.
pub(super) fn pack(position: u64) -> [u8; 6] {
    let [a, b, c, d, e, f, _, _] = position.to_le_bytes();
    [a, b, c, d, e, f]
}

pub(super) fn unpack([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

/// Pinned: these bytes are on disks. The limit keeps a hostile length from being allocated.
const BINCODE: Configuration<LittleEndian, Varint, Limit<4096>> = bincode::config::standard().with_limit::<4096>();
