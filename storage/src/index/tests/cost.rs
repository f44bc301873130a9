//! What does an event cost in the index's file, on real data?

use std::io::Read;

use crate::EventId;
use crate::Position;
use crate::Timestamp;
use crate::Version;
use crate::index::Entry;
use crate::index::INDEX_FILE;
use crate::index::Index;
use crate::index::Map;

use super::disk;
use super::open;

/// Stream, type and id of an event.
type Declared = (String, String, [u8; 16]);

/// The travel declarations of a university, as a client would send them.
fn declarations() -> Vec<Declared> {
    let packed = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/domestic-declarations.ndjson.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    let field = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("\"{name}\":\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    text.lines()
        .map(|line| {
            let id = u128::from_str_radix(&field(line, "id").replace('-', ""), 16).unwrap();
            (field(line, "stream"), field(line, "type"), id.to_be_bytes())
        })
        .collect()
}

fn apply_all(index: &Index, events: &[Declared], flush_every: usize) {
    let mut versions: Map<&str, u64> = Map::default();
    let mut at = 0;
    for part in events.chunks(flush_every) {
        let mut entries = Vec::with_capacity(part.len());
        for (stream, event_type, id) in part {
            let version = versions.entry(stream).or_default();
            *version += 1;
            at += 1;
            entries.push(Entry {
                position: Position::new(at),
                stream,
                version: Version::new(*version),
                event_type,
                id: EventId::from_bytes(*id),
                tags: &[],
                recorded_at: Timestamp::from_micros(1_700_000_000_000_000 + at.cast_signed() * 10),
                control: None,
            });
        }
        index.apply(&entries).unwrap();
        index.flush().unwrap();
    }
}

#[test]
fn real_data_takes_few_bytes_an_event() {
    let events = declarations();
    assert_eq!(events.len(), 55_628);
    for flush_every in [events.len(), 10_000] {
        let disk = disk();
        let index = open(&disk);
        apply_all(&index, &events, flush_every);
        assert_eq!(index.stream_count().unwrap(), 10_357);
        let transaction = index.database().unwrap().begin_write().unwrap();
        let stats = transaction.stats().unwrap();
        transaction.abort().unwrap();
        let used = (stats.stored_bytes() + stats.metadata_bytes()) as f64 / events.len() as f64;
        drop(index);
        let file = disk.open(INDEX_FILE).unwrap().len().unwrap() as f64 / events.len() as f64;
        eprintln!("flushed every {flush_every}: {used:.1} bytes an event, {file:.1} with free space");
        assert!(used < 30.0, "{used:.1} bytes an event");
        assert!(file < 45.0, "{file:.1} bytes an event with free space");
    }
}
