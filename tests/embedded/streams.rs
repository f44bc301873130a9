//! What is seen of a stream, and what ends it?

use factum::Error;
use factum::database::Direction;
use factum::database::ExpectedVersion;
use factum::database::Retention;
use factum::database::StreamsQuery;
use factum::database::Version;
use factum_storage as storage;

use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::everything;
use crate::fixture::fill;
use crate::fixture::id;
use crate::fixture::log;
use crate::fixture::memory;
use crate::fixture::name;
use crate::fixture::sharded;
use crate::fixture::stream_events;
use crate::fixture::version;

fn is_ended(error: &Error) -> bool {
    matches!(error, Error::Storage(storage::Error::StreamDeleted(_)))
}

#[tokio::test]
async fn a_stream_is_read_in_pages_both_ways() {
    let database = memory().await;
    fill(&database, "s", 1..=25).await;
    for (direction, from, expected) in [
        (Direction::Forward, None, (1..=25).collect::<Vec<u64>>()),
        (Direction::Forward, Some(20), (20..=25).collect()),
        (Direction::Forward, Some(26), Vec::new()),
        (Direction::Backward, None, (1..=25).rev().collect()),
        (Direction::Backward, Some(7), (1..=7).rev().collect()),
        (Direction::Backward, Some(99), (1..=25).rev().collect()),
    ] {
        let mut versions = Vec::new();
        let mut from = from.map(Version::new);
        loop {
            let page = database.read_stream(&name("s"), from, direction, 4, usize::MAX).await.unwrap();
            assert!(page.events.len() <= 4);
            assert_eq!(page.info.version.get(), 25);
            versions.extend(page.events.iter().map(|event| event.version().get()));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(versions, expected, "{direction:?}");
    }
    let page = database.read_stream(&name("s"), None, Direction::Forward, 100, 1).await.unwrap();
    assert_eq!((page.events.len(), page.next), (1, Some(Version::new(2))), "one event always fits");
}

#[tokio::test]
async fn what_is_told_of_a_stream() {
    let database = memory().await;
    assert!(matches!(database.stream(&name("s")).await, Err(Error::StreamNotFound { .. })));
    assert!(matches!(stream_events(&database, "s").await, Err(Error::StreamNotFound { .. })));
    fill(&database, "s", 1..=3).await;
    fill(&database, "t", 4..=4).await;
    let (shard, info, cursor) = database.stream(&name("s")).await.unwrap();
    assert_eq!((shard, info.version.get(), info.first_version.get(), info.last_position.get()), (0, 3, 1, 3));
    assert_eq!(cursor, database.end());
    assert!(info.created_at <= info.updated_at);
}

#[tokio::test]
async fn a_deleted_stream_is_gone_until_the_next_append() {
    let database = memory().await;
    fill(&database, "s", 1..=3).await;
    fill(&database, "t", 4..=4).await;
    database.delete_stream(name("s"), false).await.unwrap();
    assert!(matches!(stream_events(&database, "s").await, Err(Error::StreamNotFound { .. })));
    assert!(matches!(database.stream(&name("s")).await, Err(Error::StreamNotFound { .. })));
    assert!(matches!(database.event_by_id(id(1)).await, Err(Error::EventNotFound { .. })));
    assert!(matches!(database.delete_stream(name("s"), false).await, Err(Error::StreamNotFound { .. })));
    assert_eq!(log(&database, Default::default()).await.len(), 1);
    append(&database, "s", ExpectedVersion::Exists, vec![event(5, "E")]).await.unwrap_err();
    append(&database, "s", version(3), vec![event(6, "E")]).await.unwrap();
    assert_eq!(stream_events(&database, "s").await.unwrap(), [(4, id(6))]);
    assert_eq!(log(&database, Default::default()).await.len(), 2);
    let (_, info, _) = database.stream(&name("s")).await.unwrap();
    assert_eq!((info.version.get(), info.first_version.get()), (4, 4));
}

#[tokio::test]
async fn a_tombstoned_stream_is_gone_for_ever() {
    let database = memory().await;
    assert!(matches!(database.delete_stream(name("s"), true).await, Err(Error::StreamNotFound { .. })));
    fill(&database, "s", 1..=3).await;
    database.delete_stream(name("s"), true).await.unwrap();
    assert!(is_ended(&stream_events(&database, "s").await.unwrap_err()));
    assert!(is_ended(&database.stream(&name("s")).await.unwrap_err()));
    assert!(is_ended(&append(&database, "s", ExpectedVersion::Any, vec![event(9, "E")]).await.unwrap_err()));
    assert!(is_ended(&database.delete_stream(name("s"), false).await.unwrap_err()));
    assert!(is_ended(&database.set_retention(name("s"), Retention::default()).await.unwrap_err()));
    assert!(database.delete_stream(name("s"), true).await.unwrap().appended.duplicate);
    assert!(database.follow_stream(&name("s"), Version::ZERO).is_err_and(|error| is_ended(&error)));
    assert!(log(&database, Default::default()).await.is_empty());
    let control = log(&database, everything()).await;
    assert_eq!(control.iter().map(|(_, event)| event.event_type()).collect::<Vec<_>>(), ["$tombstoned"]);
}

#[tokio::test]
async fn retention_hides_old_events() {
    let database = memory().await;
    assert!(matches!(database.set_retention(name("s"), Retention::default()).await, Err(Error::StreamNotFound { .. })));
    fill(&database, "s", 1..=10).await;
    let visible = async || stream_events(&database, "s").await.unwrap().iter().map(|(version, _)| *version).collect::<Vec<_>>();
    database.set_retention(name("s"), Retention { max_count: Some(3), ..Retention::default() }).await.unwrap();
    assert_eq!(visible().await, [8, 9, 10]);
    fill(&database, "s", 11..=11).await;
    assert_eq!(visible().await, [9, 10, 11]);
    assert_eq!(log(&database, Default::default()).await.len(), 3);
    database.set_retention(name("s"), Retention { before_version: Some(Version::new(6)), ..Retention::default() }).await.unwrap();
    assert_eq!(visible().await, [6, 7, 8, 9, 10, 11]);
    assert_eq!(database.stream(&name("s")).await.unwrap().1.first_version.get(), 6);
    for system in ["$streams", "$x"] {
        assert!(matches!(database.set_retention(name(system), Retention::default()).await, Err(Error::SystemStream { .. })));
        assert!(matches!(database.delete_stream(name(system), true).await, Err(Error::SystemStream { .. })));
    }
}

#[tokio::test]
async fn an_event_is_found_by_its_id_on_any_shard() {
    let database = sharded(3).await;
    for number in 0..30 {
        fill(&database, &format!("s-{number}"), [number]).await;
    }
    for number in 0..30 {
        let found = database.event_by_id(id(number)).await.unwrap();
        assert_eq!(found.record.stream(), format!("s-{number}"));
        assert_eq!(found.shard, database.shard_of(&format!("s-{number}")));
    }
    assert!(matches!(database.event_by_id(id(99)).await, Err(Error::EventNotFound { .. })));
}

#[tokio::test]
async fn listings_are_those_of_all_shards() {
    let database = sharded(3).await;
    for number in 0..20 {
        let category = if number % 2 == 0 { "even" } else { "odd" };
        let stream = format!("{category}-{number:02}");
        append(&database, &stream, ExpectedVersion::Any, vec![event(number, "Made"), event(100 + number, category)]).await.unwrap();
    }
    database.delete_stream(name("odd-19"), false).await.unwrap();
    let list = async |query: StreamsQuery| {
        let listed = database.streams(query).await.unwrap();
        assert!(listed.iter().all(|(shard, info)| *shard == database.shard_of(info.stream.as_str()) || info.stream.is_system()));
        listed.into_iter().map(|(_, info)| info.stream.to_string()).collect::<Vec<_>>()
    };
    let evens: Vec<String> = (0..20).step_by(2).map(|n| format!("even-{n:02}")).collect();
    let all = list(StreamsQuery { limit: 100, ..StreamsQuery::default() }).await;
    assert_eq!(all.len(), 19);
    assert!(all.is_sorted());
    assert_eq!(list(StreamsQuery { category: Some("even".to_owned()), limit: 100, ..StreamsQuery::default() }).await, evens);
    assert_eq!(list(StreamsQuery { prefix: "odd-0".to_owned(), limit: 100, ..StreamsQuery::default() }).await.len(), 5);
    // Page by page is the same as at once.
    let mut paged = Vec::new();
    loop {
        let after = paged.last().cloned();
        let page = list(StreamsQuery { after, limit: 4, ..StreamsQuery::default() }).await;
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let categories = database.categories(false).await.unwrap();
    assert_eq!(categories.iter().map(|info| (info.category.as_str(), info.streams, info.events)).collect::<Vec<_>>(), [
        ("even", 10, 20),
        ("odd", 10, 20)
    ]);
    let types = database.types(false).await.unwrap();
    assert_eq!(types.iter().map(|info| (info.event_type.as_str(), info.events)).collect::<Vec<_>>(), [
        ("Made", 20),
        ("even", 10),
        ("odd", 10)
    ]);
    assert!(list(StreamsQuery { include_system: true, limit: 100, ..StreamsQuery::default() }).await.contains(&"$streams".to_owned()));
}

#[tokio::test]
async fn status_tells_how_each_shard_is() {
    let database = sharded(2).await;
    fill(&database, "s", 1..=5).await;
    let status = database.status().await.unwrap();
    assert_eq!(status.iter().map(|shard| shard.shard).collect::<Vec<_>>(), [0, 1]);
    let home = &status[usize::from(database.shard_of("s"))];
    assert!(home.appends.is_ok());
    assert_eq!((home.position.get(), home.streams, home.queued_appends), (5, 1, 0));
    assert_eq!(home.receipt.0.get(), 5);
}
