//! What do tests of those above begin with? Events as a log has them.

use std::sync::Arc;

use factum_storage as storage;
use storage::Direction;
use storage::EventId;
use storage::ExpectedVersion;
use storage::Filter;
use storage::MemDisk;
use storage::NewEvent;
use storage::Position;
use storage::RecordedEvent;
use storage::Store;
use storage::StreamAppend;
use storage::StreamName;
use storage::SystemClock;
use storage::Transaction;

/// An empty store in memory.
pub(super) fn store() -> Store {
    let opened = Store::open(Arc::new(MemDisk::new()), Arc::new(SystemClock), storage::Options::small(), &mut |_| {});
    opened.expect("memory opens").0
}

/// Appends one event. It is there after the next commit.
pub(super) fn stage(store: &mut Store, number: u64, stream: &str, event_type: &str, tags: &[&str]) {
    let event = NewEvent {
        id: EventId::from_bytes(u128::from(number).to_be_bytes()),
        id_is_fresh: true,
        event_type: event_type.into(),
        schema_version: 1,
        occurred_at: None,
        tags: tags.iter().map(|tag| Arc::from(*tag)).collect(),
        metadata: bytes::Bytes::new(),
        data: "{}".into(),
    };
    let append = StreamAppend { stream: StreamName::new(stream).unwrap(), expected: ExpectedVersion::Any, events: vec![event] };
    store.stage(&Transaction { appends: vec![append], conditions: Vec::new() }).unwrap();
}

/// A shard's log with one event each of these streams, in this order.
pub(crate) fn log<'a>(streams: impl IntoIterator<Item = &'a str>) -> Vec<RecordedEvent> {
    let mut store = store();
    for (number, stream) in (1..).zip(streams) {
        stage(&mut store, number, stream, "Happened", &[]);
    }
    store.commit().unwrap();
    store.reader().read_events(&Filter::default(), Position::ZERO, Direction::Forward, usize::MAX, usize::MAX).unwrap().events
}

/// Numbers that look random, from a seed that is printed when a test fails and taken from `SEED` when it is set.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(test: &str) -> Self {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x00FA_C701);
        println!("{test}: replay with SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u16) -> u16 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u16::try_from((mixed ^ (mixed >> 31)) % u64::from(bound)).expect("a remainder of a u16 fits into one")
    }
}
