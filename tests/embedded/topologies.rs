//! By what are streams spread over shards, is that kept, and does what must stay in a region stay there?

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;

use factum::Database;
use factum::Error;
use factum::database::After;
use factum::database::EventId;
use factum::database::EventsQuery;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::NewEvent;
use factum::database::Options;
use factum::database::Reason;
use factum::database::RecordedEvent;
use factum::database::Region;
use factum::database::Strategy;
use factum::database::TransactionRequest;
use factum::subscription::FeedItem;
use factum_storage as storage;

use crate::fixture::Random;
use crate::fixture::append;
use crate::fixture::copy;
use crate::fixture::event;
use crate::fixture::log;
use crate::fixture::name;
use crate::fixture::pages;
use crate::fixture::query;
use crate::fixture::stream_events;
use crate::fixture::to;

fn options(root: &Path, shards: Option<u16>, strategy: Option<Strategy>) -> Options {
    Options { shards, strategy, storage: storage::Options::small(), ..Options::new(root) }
}

fn named(name: &str) -> Strategy {
    Strategy::named(name).unwrap()
}

fn range() -> Strategy {
    Strategy::Range { splits: vec!["n".to_owned(), "o-150".to_owned()] }
}

fn geo(default: Option<&str>) -> Strategy {
    let region =
        |name: &str, shards: &[u16], key: &str| Region { name: name.to_owned(), shards: shards.to_vec(), keys: vec![key.to_owned()] };
    let regions = vec![region("eu", &[0, 2], "eu-*"), region("us", &[1], "us-*")];
    Strategy::Geo { regions, default_region: default.map(str::to_owned) }
}

/// Streams that each of the strategies spreads over several shards.
fn streams() -> Vec<String> {
    (100..200).flat_map(|n| [format!("eu-{n}"), format!("us-{n}"), format!("o-{n}"), format!("z-{{n-{n}}}-1")]).collect()
}

#[tokio::test]
async fn the_choice_is_kept_and_streams_are_found_again() {
    for strategy in [Strategy::Hash, Strategy::Ring { weights: vec![3, 1, 2] }, range(), geo(Some("us"))] {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(options(directory.path(), Some(3), Some(strategy.clone()))).await.unwrap();
        let mut used = BTreeSet::new();
        for (number, stream) in (1..).zip(streams()) {
            used.insert(append(&database, &stream, ExpectedVersion::Any, vec![event(number, "E")]).await.unwrap().shard);
        }
        assert_eq!(used.len(), 3, "{strategy:?}");
        let before = log(&database, Filter::default()).await;
        database.close().await.unwrap();
        let database = Database::open(options(directory.path(), None, None)).await.unwrap();
        assert_eq!(database.strategy(), (strategy.clone(), 1));
        assert_eq!(log(&database, Filter::default()).await, before);
        for stream in streams() {
            assert_eq!(stream_events(&database, &stream).await.unwrap().len(), 1, "{stream}");
            let placement = database.locate(&name(&stream));
            assert_eq!(placement.shard, database.stream(&name(&stream)).await.unwrap().0);
        }
        database.close().await.unwrap();
        Database::open(options(directory.path(), Some(3), Some(strategy))).await.unwrap().close().await.unwrap();
    }
}

#[tokio::test]
async fn another_choice_is_refused_and_nothing_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    Database::open(options(directory.path(), Some(3), Some(named("ring")))).await.unwrap().close().await.unwrap();
    let meta = std::fs::read(directory.path().join("factum.meta")).unwrap();
    for (strategy, shards, expected) in [
        (Some(named("hash")), None, "shards.strategy"),
        (Some(geo(None)), None, "shards.strategy"),
        (Some(Strategy::Ring { weights: vec![1, 1, 2] }), None, "shards.weights"),
        (Some(named("ring")), Some(4), "shards"),
    ] {
        let refused = Database::open(options(directory.path(), shards, strategy)).await.err().unwrap();
        assert!(matches!(&refused, Error::Invalid { field, .. } if field == expected), "{refused:?}");
    }
    assert_eq!(std::fs::read(directory.path().join("factum.meta")).unwrap(), meta);
    Database::open(options(directory.path(), None, Some(named("ring")))).await.unwrap().close().await.unwrap();
    // A new directory needs all that its strategy does.
    let new = tempfile::tempdir().unwrap();
    let refused = Database::open(options(new.path(), Some(2), Some(named("range")))).await.err().unwrap();
    assert!(matches!(&refused, Error::Invalid { field, .. } if field == "shards"), "{refused:?}");
    let refused = Database::open(options(new.path(), None, Some(named("geo")))).await.err().unwrap();
    assert!(matches!(&refused, Error::Invalid { field, .. } if field == "shards.regions"), "{refused:?}");
    assert!(!new.path().join("factum.meta").exists());
}

/// S3: whatever spreads the streams, who goes on from a cursor is given what was appended since, each event once and each stream in order.
#[tokio::test]
async fn s3_every_strategy_gives_what_a_model_says_behind_every_cursor() {
    let mut random = Random::new("s3_every_strategy_gives_what_a_model_says_behind_every_cursor");
    for strategy in [Strategy::Hash, Strategy::Ring { weights: vec![1, 2, 3] }, range(), geo(Some("eu"))] {
        let directory = tempfile::tempdir().unwrap();
        let mut database = Database::open(options(directory.path(), Some(3), Some(strategy.clone()))).await.unwrap();
        let names: Vec<String> = streams().into_iter().step_by(9).collect();
        let mut model: Vec<(String, EventId)> = Vec::new();
        // Cursors, and how many events were there.
        let mut marks: Vec<(String, usize)> = Vec::new();
        for number in 0..400_u64 {
            match random.below(20) {
                0 => marks.push((database.end().to_string(), model.len())),
                1 if number % 3 == 0 => {
                    database.close().await.unwrap();
                    database = Database::open(options(directory.path(), None, None)).await.unwrap();
                }
                _ => {
                    let stream = &names[random.below(names.len() as u64) as usize];
                    let events: Vec<NewEvent> = (0..1 + random.below(3)).map(|n| event(number * 10 + n, "E")).collect();
                    model.extend(events.iter().map(|event| (stream.clone(), event.id)));
                    let done = append(&database, stream, ExpectedVersion::Any, events).await.unwrap();
                    if random.below(10) == 0 {
                        marks.push((done.cursor.to_string(), model.len()));
                    }
                }
            }
        }
        for (cursor, before) in &marks {
            let limit = 1 + random.below(60) as usize;
            let after = After::Cursor(database.parse_cursor(cursor).unwrap());
            let read = pages(&database, EventsQuery { limit, ..query(after.clone()) }).await;
            let read: Vec<_> = read.iter().flat_map(|page| &page.events).map(|event| named_id(&event.record)).collect();
            check_equals(&read, &model[*before..], &strategy);
            let mut feed = database.follow(Filter::default(), after).unwrap();
            let mut given = Vec::new();
            while let FeedItem::Events(events) = feed.next().await.unwrap() {
                given.extend(events.iter().map(|(event, _)| named_id(&event.record)));
            }
            assert_eq!(given, read, "{strategy:?}: a feed gives what pages have");
        }
        assert!(marks.len() > 10, "{strategy:?}");
        database.close().await.unwrap();
    }
}

fn named_id(record: &RecordedEvent) -> (String, EventId) {
    (record.stream().to_owned(), record.id())
}

/// The same events, those of each stream in the same order.
fn check_equals(read: &[(String, EventId)], model: &[(String, EventId)], strategy: &Strategy) {
    let by_stream = |events: &[(String, EventId)]| {
        let mut streams: BTreeMap<String, Vec<EventId>> = BTreeMap::new();
        for (stream, id) in events {
            streams.entry(stream.clone()).or_default().push(*id);
        }
        streams
    };
    assert_eq!(by_stream(read), by_stream(model), "{strategy:?}");
}

/// S6: a cursor of what a restored copy does not have yet is refused: it would pass over what is appended until then.
#[tokio::test]
async fn s6_a_cursor_from_the_future_of_an_older_copy_is_refused() {
    let (place, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = async |root: &Path| Database::open(options(root, Some(3), Some(named("ring")))).await.unwrap();
    let database = open(place.path()).await;
    append(&database, "s-1", ExpectedVersion::Any, vec![event(1, "E")]).await.unwrap();
    let known = database.end().to_string();
    database.close().await.unwrap();
    copy(place.path(), older.path());
    let database = open(place.path()).await;
    let done = append(&database, "s-1", ExpectedVersion::Any, vec![event(2, "E")]).await.unwrap();
    database.close().await.unwrap();
    let restored = open(older.path()).await;
    assert_eq!(restored.parse_cursor(&known).unwrap(), restored.end());
    // One position behind the end may be where a backward read goes on; a feed does not begin there.
    let ahead = restored.parse_cursor(&done.cursor.to_string()).unwrap();
    assert!(matches!(restored.follow(Filter::default(), After::Cursor(ahead)), Err(Error::BadCursor { .. })));
    restored.close().await.unwrap();
}

fn residing(number: u64, region: &str) -> NewEvent {
    NewEvent { metadata: format!("{{\"residency\":\"{region}\"}}").into(), ..event(number, "E") }
}

fn check_residency<T: std::fmt::Debug>(answer: Result<T, Error>, expected: &str) {
    assert!(matches!(&answer, Err(Error::Residency { field, .. }) if field == expected), "{expected}: {answer:?}");
}

#[tokio::test]
async fn what_must_stay_in_a_region_is_written_nowhere_else() {
    let database = Database::open(Options { strategy: Some(geo(None)), ..Options::in_memory() }).await.unwrap();
    let any = ExpectedVersion::Any;
    append(&database, "eu-1", any, vec![residing(1, "eu"), event(2, "E")]).await.unwrap();
    check_residency(append(&database, "eu-1", any, vec![event(3, "E"), residing(4, "us")]).await, "events[1].metadata.residency");
    check_residency(append(&database, "order-1", any, vec![event(5, "E")]).await, "stream");
    check_residency(database.import(name("us-1"), vec![residing(6, "eu")]).await, "events[0].metadata.residency");
    check_residency(database.import(name("order-1"), vec![event(7, "E")]).await, "stream");
    let appends = vec![to("us-1", any, vec![event(8, "E")]), to("us-2", any, vec![residing(9, "eu")])];
    let request = TransactionRequest { appends, conditions: Vec::new() };
    check_residency(database.transact(request).await, "appends[1].events[0].metadata.residency");
    let no_text = NewEvent { metadata: "{\"residency\":7}".into(), ..event(10, "E") };
    check_residency(append(&database, "eu-1", any, vec![no_text]).await, "events[0].metadata.residency");
    // Nothing of what was refused is there, and the definitions of the system have a home all the same.
    assert_eq!(log(&database, Filter::default()).await.len(), 2);
    assert_eq!(database.locate(&name("$definitions")).reason, Reason::System);
    database.close().await.unwrap();
    // Where there are no regions, the word means nothing.
    let plain = Database::in_memory().await.unwrap();
    append(&plain, "order-1", any, vec![residing(1, "eu")]).await.unwrap();
    plain.close().await.unwrap();
}
