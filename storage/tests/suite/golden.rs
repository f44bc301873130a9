//! Do today's bytes stay readable for ever, and does nobody change them unawares?
//!
//! `storage/tests/fixtures/v1/` was written once by version 1 of the format. `WRITE_FIXTURES=1` writes it again, which is right only
//! before the first release or for a new version's folder.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use factum_storage::Error;
use factum_storage::ExpectedVersion;
use factum_storage::NewEvent;
use factum_storage::Position;
use factum_storage::RecordedEvent;
use factum_storage::Retention;
use factum_storage::Store;
use factum_storage::StreamAppend;
use factum_storage::Timestamp;
use factum_storage::Transaction;
use factum_storage::Version;
use factum_storage::disk::sim::SimDisk;

use crate::damage::FOOTER_BYTES;
use crate::damage::Fixture;
use crate::damage::HEADER_BYTES;
use crate::damage::all;
use crate::damage::frames;
use crate::damage::segment;
use crate::world::TestClock;
use crate::world::fill;
use crate::world::id;
use crate::world::name;
use crate::world::options;
use crate::world::plain;
use crate::world::transaction;

/// A bit of everything: tags, metadata, times, several streams in a frame, controls, a sealed segment and one that is written to.
fn write(store: &mut Store) -> Result<(), Error> {
    let event = |n: u64, event_type: &str, data: &'static str| NewEvent {
        id: id(n),
        id_is_fresh: false,
        event_type: event_type.into(),
        schema_version: 3,
        occurred_at: Some(Timestamp::from_micros(1_600_000_000_123_456)),
        tags: vec!["customer:7".into(), "größe".into()],
        metadata: Bytes::from_static(br#"{"correlation_id":"c-1"}"#),
        data: Bytes::from_static(data.as_bytes()),
    };
    let append = |stream: &str, events| StreamAppend { stream: name(stream), expected: ExpectedVersion::Any, events };
    let appends = vec![
        append("order-42", vec![event(1, "OrderPlaced", r#"{"amount":12}"#), event(2, "OrderPaid", "{}")]),
        append("zählung-1", vec![event(3, "Gezählt", "")]),
    ];
    store.stage(&Transaction { appends, conditions: Vec::new() })?;
    store.commit()?;
    store.stage(&transaction("user-1", ExpectedVersion::Any, vec![plain(4, b"first"), plain(5, b"second")]))?;
    store.stage_delete(&name("zählung-1"), id(6))?;
    store.commit()?;
    let retention = Retention { max_count: Some(5), max_age_us: None, before_version: Some(Version::new(1)) };
    store.stage_retention(&name("user-1"), retention, id(7))?;
    store.commit()?;
    fill(store, "order-42", 10, 12, 300)?;
    while store.maintainer().step()? {}
    Ok(())
}

fn build() -> Fixture {
    Fixture::with(options(), write).expect("a fixture")
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

/// What is compared byte by byte: the whole directory's log, and its parts one by one, so that a difference is named.
fn pieces(fixture: &Fixture) -> Vec<(String, Vec<u8>)> {
    let sealed = fixture.contents(&segment(1));
    let frame = frames(&sealed)[0];
    let record = |n: usize| {
        usize::try_from(u32::from_le_bytes(sealed[frame.offset + 72 + n * 4..][..4].try_into().expect("4 bytes"))).expect("small")
    };
    let mut pieces = vec![
        ("record.bin".to_owned(), sealed[frame.offset + record(0)..frame.offset + record(1)].to_vec()),
        ("frame.bin".to_owned(), sealed[frame.offset..frame.end()].to_vec()),
        ("header.bin".to_owned(), sealed[..HEADER_BYTES].to_vec()),
        ("footer.bin".to_owned(), sealed[sealed.len() - FOOTER_BYTES..].to_vec()),
        ("events.txt".to_owned(), listing(&fixture.events).into_bytes()),
    ];
    pieces.extend(fixture.segment_paths().into_iter().map(|path| (format!("shard/{path}"), fixture.contents(&path))));
    pieces
}

/// The visible events, in words.
fn listing(events: &[RecordedEvent]) -> String {
    let mut out = String::new();
    for event in events {
        let tags: Vec<&str> = event.tags().collect();
        let (data, metadata) = (String::from_utf8_lossy(event.data()), String::from_utf8_lossy(event.metadata()));
        writeln!(
            out,
            "{} {} {} {} v{} {:?} at {} (client: {:?}) {tags:?} {metadata} {}",
            event.position(),
            event.stream(),
            event.version(),
            event.event_type(),
            event.schema_version(),
            event.id(),
            event.recorded_at().as_micros(),
            event.client_occurred_at().map(Timestamp::as_micros),
            if data.is_ascii() { data.into_owned() } else { blake3::hash(event.data()).to_hex().to_string() },
        )
        .expect("writes to memory");
    }
    out
}

fn stored() -> Fixture {
    let disk = SimDisk::new();
    factum_storage::Disk::create_dir(&disk, "log").expect("makes a directory");
    for id in 1..=2 {
        disk.put(&segment(id), &fs::read(folder().join("shard").join(segment(id))).expect("the fixture is there"));
    }
    Fixture { disk, clock: TestClock::new(), options: options(), events: Vec::new() }
}

#[test]
fn the_bytes_of_version_1_do_not_change() {
    let fixture = build();
    assert_eq!(fixture.segment_paths().len(), 2);
    for (path, bytes) in pieces(&fixture) {
        let path = folder().join(path);
        if std::env::var_os("WRITE_FIXTURES").is_some() {
            fs::create_dir_all(path.parent().expect("a folder")).expect("makes the folder");
            fs::write(&path, &bytes).expect("writes");
        }
        let stored = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let difference = stored.iter().zip(&bytes).position(|(stored, now)| stored != now);
        assert!(stored == bytes, "{} is another from byte {difference:?} on: the format has changed", path.display());
    }
}

#[test]
fn l20_files_of_version_1_open_are_proven_and_go_on() {
    let fixture = stored();
    assert_eq!(fixture.verify().expect("reads").damages, []);
    let (mut store, report) = fixture.open().expect("opens");
    assert_eq!(report.damage, None);
    let expected = fs::read_to_string(folder().join("events.txt")).expect("the fixture is there");
    let events = all(&store.reader()).expect("reads");
    assert_eq!(listing(&events), expected);
    assert_eq!(
        store.reader().read_stream("zählung-1", None, factum_storage::Direction::Forward, 1, 1).expect("reads").map(|slice| slice.info),
        None
    );
    let end = store.reader().committed();
    fill(&mut store, "order-42", 100, 20, 300).expect("appends");
    assert_eq!(store.reader().committed(), Position::new(end.get() + 20));
    drop(store);
    assert_eq!(fixture.damages(), []);
}

#[test]
fn l20_record_of_version_1_reads_as_what_was_written() {
    let bytes = Bytes::from(fs::read(folder().join("record.bin")).expect("the fixture is there"));
    let event = RecordedEvent::decode(Position::new(1), &bytes).expect("decodes");
    assert_eq!((event.stream(), event.version(), event.event_type()), ("order-42", Version::new(1), "OrderPlaced"));
    assert_eq!(event.data(), br#"{"amount":12}"#);
    assert_eq!(event.tags().collect::<Vec<_>>(), ["customer:7", "größe"]);
    assert!(RecordedEvent::decode(Position::new(2), &bytes).is_err(), "it does not stand at another position");
    for byte in 0..event.stored_bytes() {
        let mut flipped = bytes.to_vec();
        flipped[byte] ^= 1 << (byte % 8);
        assert!(RecordedEvent::decode(Position::new(1), &Bytes::from(flipped)).is_err(), "byte {byte}");
    }
}
