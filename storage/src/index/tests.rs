//! Does the index answer like a plain model of it, also after flushes, reopens and failures?

mod cost;
mod failures;
mod ids;
mod model;
mod opening;
mod paging;
mod searching;
mod snapshots;
mod together;

use std::sync::Arc;

use crate::Disk;
use crate::EventId;
use crate::MemDisk;
use crate::Position;
use crate::Timestamp;
use crate::Version;

use super::Control;
use super::Entry;
use super::Index;

const LOG: [u8; 16] = *b"the log's own id";
const CACHE: usize = 4 << 20;

/// An event, owned.
#[derive(Clone, Debug)]
struct Event {
    position: u64,
    stream: String,
    version: u64,
    event_type: String,
    id: [u8; 16],
    tags: Vec<String>,
    control: Option<(String, super::Change)>,
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(MemDisk::new())
}

fn open(disk: &Arc<dyn Disk>) -> Index {
    Index::open(Arc::clone(disk), LOG, CACHE).unwrap().0
}

/// An id that shares nothing with its neighbours.
fn spread_id(number: u64) -> [u8; 16] {
    let number = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    number.to_be_bytes()
}

fn event(position: u64, stream: &str, version: u64) -> Event {
    Event {
        position,
        stream: stream.to_owned(),
        version,
        event_type: "Happened".to_owned(),
        id: spread_id(position),
        tags: Vec::new(),
        control: None,
    }
}

fn apply(index: &Index, events: &[Event]) {
    let tags: Vec<Vec<&str>> = events.iter().map(|event| event.tags.iter().map(String::as_str).collect()).collect();
    let entries: Vec<Entry<'_>> = events
        .iter()
        .zip(&tags)
        .map(|(event, tags)| Entry {
            position: Position::new(event.position),
            stream: &event.stream,
            version: Version::new(event.version),
            event_type: &event.event_type,
            id: EventId::from_bytes(event.id),
            tags,
            recorded_at: recorded_at(event.position),
            control: event.control.as_ref().map(|(stream, change)| Control { stream, change: *change }),
        })
        .collect();
    index.apply(&entries).unwrap();
}

fn recorded_at(position: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + i64::try_from(position).unwrap() * 7)
}

/// A small generator whose whole state is the seed.
struct Random(u64);

impl Random {
    /// Seeded from `SEED`, else from `default`; says which.
    fn from_env(default: u64) -> Self {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(default);
        eprintln!("SEED={seed}");
        Self(seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}
