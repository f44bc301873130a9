//! Can bytes from a stranger make the engine panic, loop or ask for memory without bound?
//!
//! What the fuzz targets of `storage/fuzz` call, and the test that plays their corpus on every run.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::Clock;
use crate::Direction;
use crate::EventId;
use crate::ExpectedVersion;
use crate::Filter;
use crate::NewEvent;
use crate::Options;
use crate::Position;
use crate::RecordedEvent;
use crate::Store;
use crate::StreamAppend;
use crate::StreamName;
use crate::Timestamp;
use crate::Transaction;
use crate::VerifyOptions;
use crate::disk::sim::SimDisk;
use crate::log::frame;
use crate::log::segment;
use crate::log::segment::Footer;
use crate::log::segment::Header;
use crate::verify;

/// Takes the input for each thing that is decoded: record, frame, header, footer; as it is and with a checksum that is made right.
pub fn decode(input: &[u8]) {
    decode_record(&Bytes::copy_from_slice(input));
    decode_frame(input);
    let mut frame = input.to_vec();
    if frame.len() >= frame::FRAME_BYTES_MIN {
        frame[..4].copy_from_slice(&frame::MAGIC);
        let sum = frame_checksum(SEGMENT, OFFSET, &frame);
        frame[4..8].copy_from_slice(&sum.to_le_bytes());
        decode_frame(&frame);
    }
    if let Some(bytes) = input.first_chunk() {
        _ = black_box(Header::decode(bytes));
        let mut header = *bytes;
        seal_ends(&mut header);
        _ = black_box(Header::decode(&header));
    }
    if let Some(bytes) = input.first_chunk() {
        _ = black_box(Footer::decode(bytes));
        let mut footer = *bytes;
        seal_ends(&mut footer);
        _ = black_box(Footer::decode(&footer));
    }
}

/// Takes the input as a list of changes to the files of a small store, opens it, reads all of it and asks for a proof.
///
/// Seven bytes a change: which segment, where (2 bytes), what to put there (2 bytes), how often (1 byte), and whether the checksum of the
/// frame, header or footer around it is made right afterwards, as a forger would.
///
/// # Panics
///
/// If a store that opens as whole does not go on.
pub fn recover(input: &[u8]) {
    let disk = fixture().fork();
    for change in input.chunks_exact(7).take(CHANGES_MAX) {
        apply(&disk, change);
    }
    let opened = open(&disk);
    let Ok((mut store, report)) = opened else { return };
    let reader = store.reader();
    let everything = Filter { include_system: true, ..Filter::default() };
    let mut after = Position::ZERO;
    for _ in 0..READS_MAX {
        match reader.read_events(&everything, after, Direction::Forward, 100, 1 << 16) {
            Ok(page) if !page.at_end && page.through > after => after = page.through,
            Ok(_) | Err(_) => break,
        }
    }
    for stream in ["a-1", "a-2"] {
        drop(reader.read_stream(stream, None, Direction::Backward, 100, 1 << 16));
    }
    let appended = store.stage(&append("a-1", 1_000, 10)).and_then(|_| store.commit());
    assert!(appended.is_ok() || report.damage.is_some(), "a store that opened as whole does not go on: {appended:?}");
    drop((reader, store));
    drop(verify(Arc::new(disk), Arc::new(Midnight), VerifyOptions { chain: true, deep: true }, &mut |_| {}));
}

fn decode_record(bytes: &Bytes) {
    if let Ok(event) = RecordedEvent::decode(Position::new(1), bytes) {
        let read = event.stream().len() + event.event_type().len() + event.tags().map(str::len).sum::<usize>();
        let read = read + event.metadata().len() + event.data().len() + event.data_bytes().len();
        assert!(read <= 2 * bytes.len(), "more was read than is there");
        _ = black_box((event.client_occurred_at(), event.version(), event.id()));
    }
}

fn decode_frame(bytes: &[u8]) {
    let Ok(length) = frame::peek_length(bytes, bytes.len() as u64) else { return };
    let whole = bytes.get(..length as usize).unwrap_or_default();
    if let Ok(head) = frame::decode(whole, SEGMENT, OFFSET)
        && !head.is_lost
    {
        let content = Bytes::copy_from_slice(whole);
        for offset in frame::record_offsets(whole, head.count) {
            decode_record(&content.slice(offset as usize..));
        }
        _ = black_box(frame::chain_after(&head.chain, whole));
    }
}

fn apply(disk: &SimDisk, change: &[u8]) {
    let &[which, low, high, value, other, times, forges] = change else { return };
    let segments: Vec<String> = disk.files().into_iter().filter(|path| path.ends_with(".seg")).collect();
    let Some(path) = segments.get(usize::from(which) % segments.len().max(1)) else { return };
    let id = segment::id_of(path.rsplit('/').next().unwrap_or_default()).unwrap_or(1);
    disk.edit(path, |bytes| {
        let at = usize::from(u16::from_le_bytes([low, high])) % bytes.len().max(1);
        for (index, byte) in bytes.iter_mut().skip(at).take(2 * usize::from(times.max(1))).enumerate() {
            *byte = if index % 2 == 0 { value } else { other };
        }
        if forges & 1 == 1 {
            forge_around(bytes, at, id);
        }
    });
}

/// Makes the checksums right of whatever stands around an offset.
fn forge_around(bytes: &mut [u8], at: usize, id: u64) {
    if at < segment::HEADER_BYTES {
        if let Some(header) = bytes.get_mut(..segment::HEADER_BYTES) {
            seal_ends(header);
        }
        return;
    }
    let footer_at = bytes.len().saturating_sub(segment::FOOTER_BYTES);
    if at >= footer_at {
        seal_ends(&mut bytes[footer_at..]);
        return;
    }
    let start = (segment::HEADER_BYTES..=at).rev().find(|start| start % 8 == 0 && bytes[*start..].starts_with(&frame::MAGIC));
    let Some(start) = start else { return };
    let length = u32::from_le_bytes(segment::field(&bytes[start..], 8)) as usize;
    if let Some(frame) = bytes.get_mut(start..start.saturating_add(length))
        && frame.len() >= frame::FRAME_BYTES_MIN
    {
        let sum = frame_checksum(id, start as u64, frame);
        frame[4..8].copy_from_slice(&sum.to_le_bytes());
    }
}

fn frame_checksum(id: u64, offset: u64, frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(&frame[8..]);
    hasher.finalize()
}

/// Makes the checksum of a header or footer right.
fn seal_ends(bytes: &mut [u8]) {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[8..12]);
    hasher.update(&bytes[16..]);
    let sum = hasher.finalize();
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
}

/// Two sealed segments, one that is written to, and no index.
fn fixture() -> &'static SimDisk {
    static FIXTURE: OnceLock<SimDisk> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let disk = SimDisk::new();
        let (mut store, _) = open(&disk).expect("an empty disk opens");
        let mut number = 0;
        while disk.files().iter().filter(|path| path.ends_with(".seg")).count() < 3 {
            number += 1;
            store.stage(&append(if number % 3 == 0 { "a-2" } else { "a-1" }, number, 250)).expect("nothing goes wrong");
            store.commit().expect("nothing goes wrong");
        }
        let maintainer = store.maintainer();
        while maintainer.step().expect("nothing goes wrong") {}
        drop((maintainer, store));
        disk.erase("index.redb");
        disk
    })
}

fn open(disk: &SimDisk) -> Result<(Store, crate::OpenReport), crate::Error> {
    let options = Options {
        segment_bytes: 4096,
        small_segment_bytes: 4096,
        prepare_segments: false,
        index_cache_bytes: 1 << 20,
        ..Options::default()
    };
    Store::open(Arc::new(disk.clone()), Arc::new(Midnight), options, &mut |_| {})
}

fn append(stream: &str, number: u64, bytes: usize) -> Transaction {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let event = NewEvent {
        id: EventId::from_bytes(id),
        id_is_fresh: false,
        event_type: "Happened".into(),
        schema_version: 1,
        occurred_at: None,
        tags: vec!["tag".into()],
        metadata: Bytes::new(),
        data: vec![b'x'; bytes].into(),
    };
    let stream = StreamName::new(stream).expect("a constant that keeps the rule");
    Transaction { appends: vec![StreamAppend { stream, expected: ExpectedVersion::Any, events: vec![event] }], conditions: Vec::new() }
}

/// A clock that stands still.
struct Midnight;

impl Clock for Midnight {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
}

const SEGMENT: u64 = 1;
const OFFSET: u64 = 128;
const CHANGES_MAX: usize = 64;
const READS_MAX: usize = 1000;
