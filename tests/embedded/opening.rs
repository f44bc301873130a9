//! How does a database begin and end, on real files and in memory?

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use factum::Database;
use factum::Error;
use factum::database::After;
use factum::database::Durability;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::Options;
use factum_storage as storage;

use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::fill;
use crate::fixture::log;
use crate::fixture::memory;
use crate::fixture::name;
use crate::fixture::query;
use crate::fixture::stream_events;

fn options(root: &Path, shards: Option<u16>) -> Options {
    let mut options = Options { shards, ..Options::new(root) };
    // Files of this size are not worth preparing.
    options.storage = storage::Options::small();
    options
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..4_u64 {
        let database = Database::open(options(directory.path(), Some(3))).await.unwrap();
        let events = log(&database, Filter::default()).await;
        assert_eq!(events.len() as u64, round * 60);
        for stream in 0..20 {
            let number = round * 60 + stream * 3;
            let events = (number..number + 3).map(|n| event(n, "E")).collect();
            append(&database, &format!("s-{stream}"), ExpectedVersion::Exact(factum::database::Version::new(round * 3)), events)
                .await
                .unwrap();
        }
        database.close().await.unwrap();
    }
    let meta = std::fs::read_to_string(directory.path().join("factum.meta")).unwrap();
    // With the ids of the three logs, by which a foreign one is found.
    assert!(meta.starts_with("{\"format\":1,\"shards\":3,\"logs\":[\""), "{meta}");
    let database = Database::open(options(directory.path(), None)).await.unwrap();
    assert_eq!(database.end().positions().len(), 3);
    assert!(database.status().await.unwrap().iter().all(|shard| shard.opened.index_rebuilt.is_none()));
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(options(directory.path(), None)).await.unwrap();
    let refused = Database::open(options(directory.path(), None)).await.err().unwrap();
    let Error::Storage(storage::Error::Locked { file, owner }) = refused else { panic!("{refused:?}") };
    assert!(file.ends_with("factum.lock"));
    assert!(owner.starts_with(&format!("pid {} on ", std::process::id())), "{owner}");
    database.close().await.unwrap();
    let again = Database::open(options(directory.path(), None)).await.unwrap();
    again.close().await.unwrap();
}

#[tokio::test]
async fn the_last_clone_dropped_lets_go_of_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(options(directory.path(), None)).await.unwrap();
    let clone = database.clone();
    drop(database);
    fill(&clone, "s", 1..=3).await;
    let mut feed = clone.follow(Filter::default(), After::End).unwrap();
    drop(clone);
    // The shard says so to its followers; the lock is free when its threads have ended.
    while let Ok(item) = feed.next().await {
        assert!(matches!(item, factum::subscription::FeedItem::CaughtUp(_)));
    }
    let database = loop {
        match Database::open(options(directory.path(), None)).await {
            Ok(database) => break database,
            Err(Error::Storage(storage::Error::Locked { .. })) => tokio::task::yield_now().await,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(stream_events(&database, "s").await.unwrap().len(), 3);
    database.close().await.unwrap();
}

#[tokio::test]
async fn the_number_of_shards_stays() {
    let directory = tempfile::tempdir().unwrap();
    Database::open(options(directory.path(), Some(2))).await.unwrap().close().await.unwrap();
    let refused = Database::open(options(directory.path(), Some(3))).await.err().unwrap();
    assert!(matches!(&refused, Error::Invalid { field, .. } if field == "shards"), "{refused:?}");
    let database = Database::open(options(directory.path(), None)).await.unwrap();
    assert_eq!(database.end().positions().len(), 2);
    database.close().await.unwrap();
    let none = Options { shards: Some(0), ..Options::in_memory() };
    assert!(matches!(Database::open(none).await.err(), Some(Error::Invalid { .. })));
}

#[tokio::test]
async fn a_directory_that_is_not_whole_is_not_taken_for_a_new_one() {
    let check = async |damage: &dyn Fn(&Path), expected: &str| {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(options(directory.path(), Some(2))).await.unwrap();
        fill(&database, "s", 1..=1).await;
        database.close().await.unwrap();
        damage(directory.path());
        let refused = Database::open(options(directory.path(), None)).await.err().expect(expected);
        assert!(refused.to_string().contains(expected), "{expected}: {refused}");
    };
    let write = |text: &'static str| move |root: &Path| std::fs::write(root.join("factum.meta"), text).unwrap();
    check(&|root| std::fs::remove_file(root.join("factum.meta")).unwrap(), "missing").await;
    check(&write(""), "factum.meta").await;
    check(&write("{\"format\":1}"), "factum.meta").await;
    check(&write("{\"format\":1,\"shards\":0}"), "factum.meta").await;
    check(&write("{\"format\":6,\"shards\":[1,2]}"), "format version 6").await;
    check(&write("{\"format\":2,\"shards\":2}"), "no topology").await;
}

#[tokio::test]
async fn the_only_shard_must_be_there_and_its_files_are_as_ever() {
    let directory = tempfile::tempdir().unwrap();
    Database::open(options(directory.path(), None)).await.unwrap().close().await.unwrap();
    assert_eq!(std::fs::read_to_string(directory.path().join("factum.meta")).unwrap(), "{\"format\":1,\"shards\":1}\n");
    std::fs::remove_dir_all(directory.path().join("shards/0")).unwrap();
    let refused = Database::open(options(directory.path(), None)).await.err().unwrap();
    assert!(refused.to_string().contains("shards/0/log"), "{refused}");
}

#[tokio::test]
async fn a_creation_that_was_interrupted_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("shards/0/log")).unwrap();
    std::fs::write(directory.path().join("factum.meta.tmp"), "{\"for").unwrap();
    let database = Database::open(options(directory.path(), Some(2))).await.unwrap();
    fill(&database, "s", 1..=1).await;
    database.close().await.unwrap();
}

#[tokio::test]
async fn closing_finishes_what_is_under_way_and_refuses_what_comes_later() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(options(directory.path(), None)).await.unwrap();
    let mut appends = Vec::new();
    for number in 0..200 {
        // Polled once, so that it is queued before the database closes.
        let mut appending = Box::pin(append_one(database.clone(), number));
        if futures::poll!(&mut appending).is_pending() {
            appends.push(appending);
        }
    }
    let closing = database.clone();
    let (closed, again) = tokio::join!(database.close(), closing.close());
    closed.unwrap();
    again.unwrap();
    for appended in futures::future::join_all(appends).await {
        appended.unwrap();
    }
    let refused = append_one(database.clone(), 999).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }));
    assert!(matches!(database.read_events(query(After::Start)).await, Err(Error::Unavailable { .. })));
    assert!(matches!(database.stream(&name("s-1")).await, Err(Error::Unavailable { .. })));
    assert!(matches!(database.status().await, Err(Error::Unavailable { .. })));
    assert!(matches!(database.follow(Filter::default(), After::Start).unwrap().next().await, Err(Error::Unavailable { .. })));
    database.close().await.unwrap();
    let database = Database::open(options(directory.path(), None)).await.unwrap();
    assert_eq!(log(&database, Filter::default()).await.len(), 200);
    database.close().await.unwrap();
}

async fn append_one(database: Database, number: u64) -> Result<factum::database::AppendResult, Error> {
    append(&database, &format!("s-{}", number % 7), ExpectedVersion::Any, vec![event(number, "E")]).await
}

#[tokio::test]
async fn relaxed_durability_keeps_the_same_semantics() {
    let directory = tempfile::tempdir().unwrap();
    let relaxed = Options { durability: Durability::Relaxed, ..options(directory.path(), None) };
    let database = Database::open(relaxed).await.unwrap();
    fill(&database, "s", 1..=50).await;
    database.close().await.unwrap();
    let database = Database::open(options(directory.path(), None)).await.unwrap();
    assert_eq!(stream_events(&database, "s").await.unwrap().len(), 50);
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_database_in_memory_opens_at_once() {
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..21 {
        let began = Instant::now();
        let database = memory().await;
        times.push(began.elapsed());
        database.close().await.unwrap();
    }
    times.sort();
    println!("in memory: fastest {:?}, median {:?}", times[0], times[times.len() / 2]);
    // The fastest of many: the machine may be busy, but it is not busy all the time.
    assert!(times[0] < Duration::from_millis(5), "{times:?}");
}
