//! What does an event cost in the index's file, on real data?

use std::io::Read;

use crate::EventId;
use crate::Position;
use crate::Timestamp;
use crate::Version;
use crate::index::Entry;
use crate::index::Index;
use crate::index::Map;

use super::disk;
use super::open;

/// The travel declarations of a university, as a client would send them: stream, type, id.
fn declarations() -> Vec<(String, String, [u8; 16])> {
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

fn apply_all(index: &Index, events: &[(String, String, [u8; 16])], flush_every: usize) {
    let mut versions: Map<&str, u64> = Map::default();
    let mut at = 0;
    for part in events.chunks(flush_every) {
        let entries: Vec<Entry<'_>> = part
            .iter()
            .map(|(stream, event_type, id)| {
                let version = versions.entry(stream).or_default();
                *version += 1;
                at += 1;
                Entry {
                    position: Position::new(at),
                    stream,
                    version: Version::new(*version),
                    event_type,
                    id: EventId::from_bytes(*id),
                    tags: &[],
                    recorded_at: Timestamp::from_micros(1_700_000_000_000_000 + at.cast_signed() * 10),
                    control: None,
                }
            })
            .collect();
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
        let started = std::time::Instant::now();
        apply_all(&index, &events, flush_every);
        eprintln!("{flush_every} took {:?}", started.elapsed());
        eprintln!("file {}", index.file_bytes());
        let stats = {
            let database = index.database().unwrap();
            let transaction = database.begin_write().unwrap();
            let stats = transaction.stats().unwrap();
            for (name, def) in [("streams", super::super::rows::STREAMS)] {
                let t = redb::ReadableTableMetadata::stats(&transaction.open_table(def).unwrap()).unwrap();
                eprintln!("{name} {t:?}");
            }
            eprintln!("ids {:?}", redb::ReadableTableMetadata::stats(&transaction.open_table(super::super::rows::IDS).unwrap()).unwrap());
            eprintln!("pages {:?}", redb::ReadableTableMetadata::stats(&transaction.open_table(super::super::rows::PAGES).unwrap()).unwrap());
            transaction.abort().unwrap();
            stats
        };
        eprintln!("{stats:?}");
        drop(index);
        eprintln!("closed file {}", disk.open("index.redb").unwrap().len().unwrap());
    }
}

#[test]
#[ignore]
fn speed() {
    let base = declarations();
    let mut events = Vec::new();
    for round in 0..20u64 {
        for (stream, t, id) in &base {
            let mut id = *id;
            let mix = (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            for i in 0..8 { id[i] ^= mix[i]; id[i+8] ^= mix[7-i]; }
            events.push((format!("{stream}-{round}"), t.clone(), id));
        }
    }
    for every in [20_000, 50_000, 200_000] {
        let dir = tempfile::tempdir().unwrap();
        let disk: std::sync::Arc<dyn crate::Disk> = std::sync::Arc::new(crate::RealDisk::new(dir.path()));
        let index = super::super::Index::open(disk.clone(), super::LOG, 64 << 20).unwrap().0;
        let started = std::time::Instant::now();
        apply_all(&index, &events, every);
        let took = started.elapsed();
        eprintln!("{} events, flush every {every}: {took:?}, {:.0}/s, {} bytes {:.1}/event", events.len(), events.len() as f64 / took.as_secs_f64(), index.file_bytes(), index.file_bytes() as f64 / events.len() as f64);
        {
            let database = index.database().unwrap();
            let transaction = database.begin_write().unwrap();
            eprintln!("{:?}", transaction.stats().unwrap());
            eprintln!("ids {:?}", redb::ReadableTableMetadata::stats(&transaction.open_table(super::super::rows::IDS).unwrap()).unwrap());
            transaction.abort().unwrap();
        }
        let started = std::time::Instant::now();
        std::mem::forget(index);
        let index = super::super::Index::open_existing(disk.clone(), super::LOG, 64 << 20).unwrap();
        eprintln!("reopen unclean {:?}", started.elapsed());
        drop(index);
        eprintln!("closed {}", disk.open("index.redb").unwrap().len().unwrap());
    }
}
