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
