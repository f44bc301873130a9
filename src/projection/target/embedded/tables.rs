//! What stands in the file of a generation? See `docs/format.md`, "Views".

use factum_storage::Position;
use factum_storage::Timestamp;
use redb::ReadableTable;
use redb::TableDefinition;

use super::super::super::spec::ColumnType;
use super::super::super::spec::Columns;
use super::super::Parked;
use super::encoding::Input;
use super::encoding::push_bytes;
use super::encoding::push_varint;
use super::fault::Trouble;
use super::sortable;
use crate::subscription::Cursor;

/// The primary key, sortable → the row.
pub(crate) const ROWS: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("rows");
/// The place of a column (2 bytes, big endian), its value, sortable, the primary key, sortable → nothing.
pub(crate) const INDEXES: TableDefinition<'static, &'static [u8], ()> = TableDefinition::new("indexes");
/// Shard (2 bytes, big endian), position (8 bytes, big endian) → the event that was parked.
pub(super) const PARKED: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("parked");
/// A name → see below.
pub(crate) const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta");

/// [`FORMAT`], 4 bytes, little endian.
pub(super) const META_FORMAT: &str = "format";
/// The hash of the definition.
pub(super) const META_HASH: &str = "hash";
/// The definition's text.
pub(super) const META_DEFINITION: &str = "definition";
/// [`fingerprint`] of the columns.
pub(super) const META_COLUMNS: &str = "columns";
/// What tells the database from every other: 16 bytes.
pub(super) const META_DATABASE: &str = "database";
/// How many shards the database has: 2 bytes, little endian.
pub(super) const META_SHARDS: &str = "shards";
/// How many promotions there have been, with the one that made it live; 0: it is not live. 8 bytes, little endian.
pub(super) const META_PROMOTION: &str = "promotion";
/// A position for each shard, 8 bytes each, little endian; not there: nothing was written yet.
pub(super) const META_CHECKPOINT: &str = "checkpoint";
/// How many rows there are: 8 bytes, little endian.
pub(super) const META_ROWS: &str = "rows";

/// Another format is rebuilt.
pub(super) const FORMAT: u32 = 1;

/// What of the columns decides how rows, keys and indexes are written.
pub(super) fn fingerprint(columns: &Columns) -> [u8; 32] {
    let mut text = format!("{}", columns.primary_key());
    for column in columns.list() {
        text.push_str(&format!("\n{} {:?} {}", column.name, column.column_type, column.is_indexed));
    }
    *blake3::hash(text.as_bytes()).as_bytes()
}

pub(super) fn checkpoint_bytes(cursor: &Cursor) -> Vec<u8> {
    cursor.positions().iter().flat_map(|position| position.get().to_le_bytes()).collect()
}

/// The checkpoint as it stands in a table.
pub(crate) fn read_checkpoint(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Option<Cursor>, Trouble> {
    let Some(bytes) = meta.get(META_CHECKPOINT)? else { return Ok(None) };
    let (positions, rest) = bytes.value().as_chunks::<8>();
    if positions.is_empty() || !rest.is_empty() {
        return Err(Trouble::unusable("the checkpoint cannot be read"));
    }
    Ok(Some(Cursor::new(positions.iter().map(|position| Position::new(u64::from_le_bytes(*position))).collect())))
}

/// How many rows there are, as it stands in a table.
pub(crate) fn read_row_count(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<u64, Trouble> {
    read_number(meta, META_ROWS)
}

pub(super) fn read_number(meta: &impl ReadableTable<&'static str, &'static [u8]>, name: &str) -> Result<u64, Trouble> {
    let bytes = meta.get(name)?.and_then(|bytes| bytes.value().try_into().ok());
    bytes.map(u64::from_le_bytes).ok_or_else(|| Trouble::unusable(format!("{name} cannot be read")))
}

/// How the entries of one column begin in [`INDEXES`].
pub(crate) fn index_prefix(place: usize) -> [u8; 2] {
    u16::try_from(place).unwrap_or(u16::MAX).to_be_bytes()
}

/// The primary key in an entry of [`INDEXES`], sortable: what stands behind the value of a column of this type.
pub(crate) fn key_of_entry(entry: &[u8], column_type: ColumnType) -> Option<&[u8]> {
    let value = entry.get(2..)?;
    value.get(sortable::length(value, column_type)?..)
}

pub(super) fn parked_key(shard: u16, position: u64) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&shard.to_be_bytes());
    key[2..].copy_from_slice(&position.to_be_bytes());
    key
}

pub(super) fn push_parked(out: &mut Vec<u8>, parked: &Parked) {
    out.push(PARKED_FORMAT);
    push_varint(out, parked.version);
    out.extend_from_slice(&parked.parked_at.as_micros().to_le_bytes());
    push_bytes(out, parked.stream.as_bytes());
    push_bytes(out, parked.event_type.as_bytes());
    push_bytes(out, parked.reason.as_bytes());
}

pub(super) fn parked(key: &[u8], bytes: &[u8]) -> Result<Parked, Trouble> {
    let read = || {
        let (shard, position) = key.split_at_checked(2)?;
        let mut input = Input(bytes);
        if input.byte()? != PARKED_FORMAT {
            return None;
        }
        Some(Parked {
            shard: u16::from_be_bytes(shard.try_into().ok()?),
            position: u64::from_be_bytes(position.try_into().ok()?),
            version: input.varint()?,
            parked_at: Timestamp::from_micros(i64::from_le_bytes(input.take(8)?.try_into().ok()?)),
            stream: input.text()?.to_owned(),
            event_type: input.text()?.to_owned(),
            reason: input.text()?.to_owned(),
        })
    };
    read().ok_or_else(|| Trouble::unusable("a parked event cannot be read"))
}

const PARKED_FORMAT: u8 = 1;
