//! What do the tests of the embedded face begin with?

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use factum::Database;
use factum::Error;
use factum::database::After;
use factum::database::AppendResult;
use factum::database::Cursor;
use factum::database::Direction;
use factum::database::EventId;
use factum::database::EventsPage;
use factum::database::EventsQuery;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::NewEvent;
use factum::database::Options;
use factum::database::RecordedEvent;
use factum::database::StreamAppend;
use factum::database::StreamName;
use factum::database::Version;

pub(crate) async fn memory() -> Database {
    Database::in_memory().await.expect("memory opens")
}

pub(crate) async fn sharded(shards: u16) -> Database {
    let options = Options { shards: Some(shards), ..Options::in_memory() };
    Database::open(options).await.expect("memory opens")
}

pub(crate) fn name(stream: &str) -> StreamName {
    StreamName::new(stream).expect("a name that keeps the rules")
}

pub(crate) fn version(version: u64) -> ExpectedVersion {
    ExpectedVersion::Exact(Version::new(version))
}

/// An id that only this number has.
pub(crate) fn id(number: u64) -> EventId {
    let mut bytes = [0xAB; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    EventId::from_bytes(bytes)
}

/// An event without anything that it can do without.
pub(crate) fn event(number: u64, event_type: &str) -> NewEvent {
    NewEvent {
        id: id(number),
        id_is_fresh: false,
        event_type: event_type.into(),
        schema_version: 1,
        occurred_at: None,
        tags: Vec::new(),
        metadata: Bytes::new(),
        data: Bytes::from(format!(r#"{{"n":{number}}}"#)),
    }
}

pub(crate) fn tagged(number: u64, event_type: &str, tags: &[&str]) -> NewEvent {
    NewEvent { tags: tags.iter().map(|tag| Arc::from(*tag)).collect(), ..event(number, event_type) }
}

pub(crate) fn to(stream: &str, expected: ExpectedVersion, events: Vec<NewEvent>) -> StreamAppend {
    StreamAppend { stream: name(stream), expected, events }
}

pub(crate) async fn append(
    database: &Database,
    stream: &str,
    expected: ExpectedVersion,
    events: Vec<NewEvent>,
) -> Result<AppendResult, Error> {
    database.append(to(stream, expected, events)).await
}

/// Appends events with these numbers, one request each.
pub(crate) async fn fill(database: &Database, stream: &str, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        append(database, stream, ExpectedVersion::Any, vec![event(number, "Happened")]).await.expect("appends");
    }
}

/// Versions and ids of a stream's visible events.
pub(crate) async fn stream_events(database: &Database, stream: &str) -> Result<Vec<(u64, EventId)>, Error> {
    let page = database.read_stream(&name(stream), None, Direction::Forward, 10_000, usize::MAX).await?;
    assert_eq!(page.next, None);
    Ok(page.events.iter().map(|event| (event.version().get(), event.id())).collect())
}

pub(crate) fn query(after: After) -> EventsQuery {
    EventsQuery { after, direction: Direction::Forward, filter: Filter::default(), limit: 10_000, bytes_max: usize::MAX }
}

pub(crate) fn everything() -> Filter {
    Filter { include_system: true, ..Filter::default() }
}

/// The whole log in one page.
pub(crate) async fn log(database: &Database, filter: Filter) -> Vec<(u16, RecordedEvent)> {
    let page = database.read_events(EventsQuery { filter, ..query(After::Start) }).await.expect("reads");
    assert!(page.at_end, "the log of a test fits into a page");
    page.events.into_iter().map(|event| (event.shard, event.record)).collect()
}

/// All pages from a point on, in one direction.
pub(crate) async fn pages(database: &Database, asked: EventsQuery) -> Vec<EventsPage> {
    let mut pages = Vec::new();
    let mut after = asked.after.clone();
    loop {
        let page = database.read_events(EventsQuery { after, ..asked.clone() }).await.expect("reads");
        after = After::Cursor(through_text(database, &page.cursor));
        let at_end = page.at_end;
        pages.push(page);
        if at_end {
            return pages;
        }
        assert!(pages.len() < 100_000, "the pages don't come to an end");
    }
}

/// A cursor as a client gives it back.
pub(crate) fn through_text(database: &Database, cursor: &Cursor) -> Cursor {
    let read = database.parse_cursor(&cursor.to_string()).expect("a cursor of this database");
    assert_eq!(read, *cursor);
    read
}

/// A folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Numbers that look random, from a seed that is printed when a test fails and taken from `SEED` when it is set.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(test: &str) -> Self {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x00FA_C701);
        println!("{test}: replay with SEED={seed}");
        Self(seed)
    }

    /// The numbers that another one's number leads to.
    pub(crate) fn from(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
