//! How is one event laid out, so that it can be read and proven in place? See `docs/format.md`, "Record".

use std::sync::Arc;

use bincode::config::Configuration;
use bincode::config::Fixint;
use bincode::config::Limit;
use bincode::config::LittleEndian;
use bytes::BufMut;
use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;

use crate::EventId;
use crate::NewEvent;
use crate::Position;
use crate::Timestamp;
use crate::Version;
use crate::plant;
use crate::plant::Plant;

mod another_log;

/// An event of the log. Holds a slice of a shared buffer: cheap to clone, nothing is decoded until asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    position: Position,
    fixed: Fixed,
    bytes: Bytes,
    /// What stands in for the stored data, for readers that want another shape of it.
    reshaped: Option<Arc<Reshaped>>,
}

/// The data of an event in another shape than it was stored in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reshaped {
    /// In the shape of this schema version.
    Data {
        /// Which shape.
        schema_version: u16,
        /// The data as JSON.
        data: Bytes,
    },
    /// It should have been reshaped and could not be: there is no data that a reader could trust. Says why.
    Failed(Arc<str>),
}

impl RecordedEvent {
    /// Reads the record at the start of `bytes` and proves that it is whole and stands at `position`.
    ///
    /// # Errors
    ///
    /// [`BadRecord`] if it is not.
    pub fn decode(position: Position, bytes: &Bytes) -> Result<Self, BadRecord> {
        let fixed = Fixed::decode(bytes)?;
        let length = fixed.record_bytes();
        let record = bytes.get(..length).ok_or(BadRecord("shorter than it says"))?;
        if checksum(position, record) != fixed.checksum {
            return Err(BadRecord("record checksum"));
        }
        fixed.check_text(record)?;
        Ok(Self { position, fixed, bytes: bytes.slice(..length), reshaped: None })
    }

    /// Where it stands in its shard's log.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Its number in its stream.
    #[must_use]
    pub fn version(&self) -> Version {
        Version::new(self.fixed.version)
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId::from_bytes(self.fixed.id.to_le_bytes())
    }

    /// The same event with its data in another shape. Only [`RecordedEvent::data`], [`RecordedEvent::data_bytes`] and
    /// [`RecordedEvent::schema_version`] answer otherwise.
    #[must_use]
    pub fn reshaped(mut self, shape: Reshaped) -> Self {
        self.reshaped = Some(Arc::new(shape));
        self
    }

    /// The same event in memory of its own: it keeps nothing of the buffer that it was read into.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.bytes = Bytes::copy_from_slice(&self.bytes);
        self
    }

    /// Why its data could not be brought into the shape that the reader wants. Its data then is empty.
    #[must_use]
    pub fn reshape_failure(&self) -> Option<&str> {
        match self.reshaped.as_deref() {
            Some(Reshaped::Failed(why)) => Some(why),
            Some(Reshaped::Data { .. }) | None => None,
        }
    }

    /// Which shape its data has.
    #[must_use]
    pub fn schema_version(&self) -> u16 {
        match self.reshaped.as_deref() {
            Some(Reshaped::Data { schema_version, .. }) => *schema_version,
            Some(Reshaped::Failed(_)) | None => self.fixed.schema_version,
        }
    }

    /// When it was recorded. Never runs backwards within a log.
    #[must_use]
    pub fn recorded_at(&self) -> Timestamp {
        Timestamp::from_micros(self.fixed.recorded_at)
    }

    /// When the client says it happened, if it said so.
    #[must_use]
    pub fn client_occurred_at(&self) -> Option<Timestamp> {
        let bytes = self.bytes.get(FIXED_BYTES..FIXED_BYTES + 8)?;
        let micros = i64::from_le_bytes(bytes.try_into().ok()?);
        (self.fixed.flags & HAS_OCCURRED_AT != 0).then_some(Timestamp::from_micros(micros))
    }

    /// When it happened: what the client said, else when it was recorded.
    #[must_use]
    pub fn occurred_at(&self) -> Timestamp {
        self.client_occurred_at().unwrap_or_else(|| self.recorded_at())
    }

    /// The name of its stream.
    #[must_use]
    pub fn stream(&self) -> &str {
        self.text(self.fixed.stream_at(), usize::from(self.fixed.stream_bytes))
    }

    /// Its type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.text(self.fixed.type_at(), usize::from(self.fixed.type_bytes))
    }

    /// Its tags, in the client's order.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let at = self.fixed.tags_at();
        split_tags(self.slice(at, usize::from(self.fixed.tags_bytes))).map(|tag| std::str::from_utf8(tag).unwrap_or_default())
    }

    /// Whether it has any tag.
    #[must_use]
    pub fn has_tags(&self) -> bool {
        self.fixed.tags_bytes > 0
    }

    /// Its metadata as the client's bytes; empty if there is none.
    #[must_use]
    pub fn metadata(&self) -> &[u8] {
        self.slice(self.fixed.metadata_at(), self.fixed.metadata_bytes as usize)
    }

    /// Its data as the client's bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        match self.reshaped.as_deref() {
            Some(Reshaped::Data { data, .. }) => data,
            Some(Reshaped::Failed(_)) => &[],
            None => self.slice(self.fixed.data_at(), self.fixed.data_bytes as usize),
        }
    }

    /// Its data as a slice of the shared buffer.
    #[must_use]
    pub fn data_bytes(&self) -> Bytes {
        if let Some(shape) = &self.reshaped {
            return match &**shape {
                Reshaped::Data { data, .. } => data.clone(),
                Reshaped::Failed(_) => Bytes::new(),
            };
        }
        let at = self.fixed.data_at();
        self.bytes.slice(at..at + self.fixed.data_bytes as usize)
    }

    /// It changes how another stream is seen (see "control record" in the format).
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.fixed.flags & IS_CONTROL != 0
    }

    /// How many bytes it takes in the log, without its share of the frame.
    #[must_use]
    pub fn stored_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The record as it lies in the log.
    pub(crate) fn stored(&self) -> &[u8] {
        &self.bytes
    }

    fn slice(&self, at: usize, length: usize) -> &[u8] {
        self.bytes.get(at..at + length).unwrap_or_default()
    }

    fn text(&self, at: usize, length: usize) -> &str {
        // Checked when it was decoded.
        std::str::from_utf8(self.slice(at, length)).unwrap_or_default()
    }
}

/// The bytes are not a record that stands at this position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad record: {0}")]
pub struct BadRecord(pub &'static str);

/// Where a record goes: all that the writer adds to what the client sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) position: Position,
    pub(crate) version: Version,
    pub(crate) recorded_at: Timestamp,
    pub(crate) stream: &'a str,
    pub(crate) is_control: bool,
}

/// How many bytes [`encode`] will write. Sizes are checked against the limits of [`crate::types`] before.
pub(crate) fn encoded_bytes(stream: &str, event: &NewEvent) -> usize {
    let tags: usize = event.tags.iter().map(|tag| 1 + tag.len()).sum();
    let occurred_at = if event.occurred_at.is_some() { 8 } else { 0 };
    FIXED_BYTES + occurred_at + stream.len() + event.event_type.len() + tags + event.metadata.len() + event.data.len()
}

/// Appends the record to `out`.
#[expect(clippy::cast_possible_truncation, reason = "the store checks every length against limits below these widths before it encodes")]
pub(crate) fn encode(place: &Place<'_>, event: &NewEvent, out: &mut Vec<u8>) {
    let start = out.len();
    let flags = if event.occurred_at.is_some() { HAS_OCCURRED_AT } else { 0 } | if place.is_control { IS_CONTROL } else { 0 };
    let fixed = Fixed {
        checksum: 0,
        format: RECORD_FORMAT,
        flags,
        stream_bytes: place.stream.len() as u8,
        type_bytes: event.event_type.len() as u8,
        tags_bytes: event.tags.iter().map(|tag| 1 + tag.len()).sum::<usize>() as u16,
        schema_version: event.schema_version,
        metadata_bytes: event.metadata.len() as u32,
        data_bytes: event.data.len() as u32,
        version: place.version.get(),
        recorded_at: place.recorded_at.as_micros(),
        id: u128::from_le_bytes(*event.id.as_bytes()),
    };
    let mut head = [0; FIXED_BYTES];
    bincode::serde::encode_into_slice(fixed, &mut head, BINCODE).expect("the fixed part has a fixed size");
    out.put_slice(&head);
    if let Some(occurred_at) = event.occurred_at {
        out.put_i64_le(occurred_at.as_micros());
    }
    out.put_slice(place.stream.as_bytes());
    out.put_slice(event.event_type.as_bytes());
    for tag in &event.tags {
        out.put_u8(tag.len() as u8);
        out.put_slice(tag.as_bytes());
    }
    out.put_slice(&event.metadata);
    out.put_slice(&event.data);
    let record = out.get(start..).unwrap_or_default();
    let sum = checksum(place.position, record).to_le_bytes();
    if let Some(slot) = out.get_mut(start..start + 4) {
        slot.copy_from_slice(&sum);
    }
}

/// The part of a record that is always there, in the order of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fixed {
    checksum: u32,
    format: u8,
    flags: u8,
    stream_bytes: u8,
    type_bytes: u8,
    tags_bytes: u16,
    schema_version: u16,
    metadata_bytes: u32,
    data_bytes: u32,
    version: u64,
    recorded_at: i64,
    /// The id's 16 bytes. As one number they are read at once; as an array serde reads them one by one, a tenth of what a read costs.
    id: u128,
}

impl Fixed {
    fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let head = bytes.get(..FIXED_BYTES).ok_or(BadRecord("shorter than its fixed part"))?;
        let (fixed, _) = bincode::serde::decode_from_slice::<Self, _>(head, BINCODE).map_err(|_| BadRecord("fixed part"))?;
        if fixed.format != RECORD_FORMAT {
            return Err(BadRecord("unknown record format"));
        }
        Ok(fixed)
    }

    fn stream_at(&self) -> usize {
        FIXED_BYTES + if self.flags & HAS_OCCURRED_AT != 0 { 8 } else { 0 }
    }

    fn type_at(&self) -> usize {
        self.stream_at() + usize::from(self.stream_bytes)
    }

    fn tags_at(&self) -> usize {
        self.type_at() + usize::from(self.type_bytes)
    }

    fn metadata_at(&self) -> usize {
        self.tags_at() + usize::from(self.tags_bytes)
    }

    fn data_at(&self) -> usize {
        self.metadata_at() + self.metadata_bytes as usize
    }

    fn record_bytes(&self) -> usize {
        self.data_at() + self.data_bytes as usize
    }

    /// The texts are read as text ever after, so they are proven here, once.
    fn check_text(&self, record: &[u8]) -> Result<(), BadRecord> {
        let names = record.get(self.stream_at()..self.tags_at()).ok_or(BadRecord("names"))?;
        if !names.is_ascii() {
            let (stream, event_type) = names.split_at_checked(usize::from(self.stream_bytes)).ok_or(BadRecord("names"))?;
            std::str::from_utf8(stream).map_err(|_| BadRecord("stream name is not UTF-8"))?;
            std::str::from_utf8(event_type).map_err(|_| BadRecord("event type is not UTF-8"))?;
        }
        if self.tags_bytes > 0 {
            let tags = record.get(self.tags_at()..self.metadata_at()).ok_or(BadRecord("tags"))?;
            let mut read = 0;
            for tag in split_tags(tags) {
                std::str::from_utf8(tag).map_err(|_| BadRecord("tag is not UTF-8"))?;
                read += 1 + tag.len();
            }
            if read != tags.len() {
                return Err(BadRecord("tags"));
            }
        }
        Ok(())
    }
}

fn split_tags(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first()?;
        let (tag, rest) = rest.split_at_checked(usize::from(*length))?;
        bytes = rest;
        Some(tag)
    })
}

/// The position is part of it, so a record that stands in another's place is found out.
fn checksum(position: Position, record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    if !plant::active(Plant::RecordWithoutPositionInCrc) {
        hasher.update(&position.get().to_le_bytes());
    }
    hasher.update(record.get(4..).unwrap_or_default());
    hasher.finalize()
}

/// Pinned: these bytes are on disks. The limit keeps a hostile length from being allocated.
const BINCODE: Configuration<LittleEndian, Fixint, Limit<FIXED_BYTES>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<FIXED_BYTES>();
/// Bytes of [`Fixed`].
pub(crate) const FIXED_BYTES: usize = 52;
const RECORD_FORMAT: u8 = 1;
const HAS_OCCURRED_AT: u8 = 1;
const IS_CONTROL: u8 = 2;
