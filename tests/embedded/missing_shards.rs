//! R6: what if the files of one shard are missing, foreign, there twice or broken? The others serve, and nothing is lost or repeated.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use factum::Database;
use factum::Error;
use factum::database::After;
use factum::database::ConsumerOptions;
use factum::database::Direction;
use factum::database::EventsQuery;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::Format;
use factum::database::Kind;
use factum::database::LeftOut;
use factum::database::Options;
use factum::database::Position;
use factum::database::Row;
use factum::database::State;
use factum::database::StreamsQuery;
use factum::database::Value;
use factum::database::Version;
use factum::database::ViewQuery;
use factum_storage as storage;

use crate::fixture::append;
use crate::fixture::copy;
use crate::fixture::event;
use crate::fixture::fill;
use crate::fixture::log;
use crate::fixture::name;
use crate::fixture::query;
use crate::fixture::stream_events;

const COUNTS: &str = r#"
[source]
categories = ["s"]

[columns]
stream = "text primary key"
events = "bigint default 0"

[on.Happened]
key = "$.stream"
add = { events = 1 }
"#;

async fn open(root: &Path) -> Result<Database, Error> {
    Database::open(Options { shards: Some(3), storage: storage::Options::small(), ..Options::new(root) }).await
}

/// A stream on each shard, none of them the one that has the definitions.
fn homes(database: &Database) -> Vec<String> {
    (0..3).map(|shard| (0..).map(|n| format!("s-{n}")).find(|name| database.shard_of(name) == shard).unwrap()).collect()
}

fn check_failed<T: std::fmt::Debug>(answer: Result<T, Error>, shard: u16) {
    assert!(matches!(&answer, Err(Error::ShardFailed { shard: found, .. }) if *found == shard), "{answer:?}");
}

/// What a database without one of its shards does.
async fn check_serves_without(database: &Database, missing: u16, homes: &[String], number: u64) {
    let any = ExpectedVersion::Any;
    for (shard, home) in (0_u16..).zip(homes) {
        if shard == missing {
            check_failed(append(database, home, any, vec![event(number, "E")]).await, shard);
            check_failed(stream_events(database, home).await, shard);
            check_failed(database.stream(&name(home)).await, shard);
            assert!(database.follow_stream(&name(home), Version::new(1)).is_err());
        } else {
            let done = append(database, home, any, vec![event(number + u64::from(shard), "E")]).await.unwrap();
            // The cursor of the append is one that can be given back.
            assert_eq!(database.parse_cursor(&done.cursor.to_string()).unwrap(), done.cursor);
            assert!(stream_events(database, home).await.unwrap().len() > 1);
        }
    }
    // What is about all shards says that it can't be told, rather than leaving a part out.
    check_failed(database.read_events(query(After::Start)).await, missing);
    check_failed(database.read_events(EventsQuery { direction: Direction::Backward, ..query(After::End) }).await, missing);
    check_failed(database.streams(StreamsQuery { limit: 10, ..StreamsQuery::default() }).await, missing);
    check_failed(database.categories(false).await, missing);
    check_failed(database.types(false).await, missing);
    #[cfg(feature = "analytics")]
    for text in ["select count(*) from events", "select count(*) from s"] {
        let query = factum::database::SqlQuery { text: text.to_owned(), ..factum::database::SqlQuery::default() };
        check_failed(database.sql(query).await.map(drop), missing);
    }
    check_gives_a_part(database, missing, homes).await;
    check_failed(database.follow(Filter::default(), After::Start).unwrap().next().await, missing);
    let status = database.status().await.unwrap();
    assert_eq!(status.iter().map(|shard| shard.is_absent).collect::<Vec<_>>(), [missing == 0, missing == 1, missing == 2]);
    assert!(status.iter().all(|shard| shard.appends.is_err() == shard.is_absent));
    let troubles = database.overview().await.unwrap().troubles;
    let told: Vec<&str> =
        troubles.iter().filter(|trouble| trouble.problem.contains("can't be used")).map(|trouble| trouble.name.as_str()).collect();
    assert_eq!(told, [missing.to_string()]);
    database.measure().await.unwrap();
}

/// Whoever rather has a part is given all of the others, and told which shard is missing.
async fn check_gives_a_part(database: &Database, missing: u16, homes: &[String]) {
    let there: Vec<&str> = (0..).zip(homes).filter(|(shard, _)| *shard != missing).map(|(_, home)| home.as_str()).collect();
    let part = || {
        let left_out = LeftOut::default();
        (database.leaving_out(&left_out), left_out)
    };
    for (direction, after) in [(Direction::Forward, After::Start), (Direction::Backward, After::End)] {
        let (database, left_out) = part();
        let page = database.read_events(EventsQuery { direction, ..query(after) }).await.unwrap();
        let streams: BTreeSet<&str> = page.events.iter().map(|event| event.record.stream()).collect();
        assert_eq!((page.events.len(), streams), (12, there.iter().copied().collect()), "{direction:?}");
        assert!(page.at_end);
        assert_eq!(left_out.shards(), [missing]);
        // Whoever goes on from there misses nothing of it.
        assert_eq!(page.cursor.positions()[usize::from(missing)], Position::new(u64::from(direction == Direction::Backward)));
    }
    let (database, left_out) = part();
    let listed = database.streams(StreamsQuery { limit: 10, ..StreamsQuery::default() }).await.unwrap();
    let mut names: Vec<&str> = listed.iter().map(|(_, info)| info.stream.as_str()).collect();
    names.sort_by_key(|name| there.iter().position(|there| there == name));
    assert_eq!((names, left_out.shards()), (there, vec![missing]));
    assert_eq!(database.categories(false).await.unwrap().iter().map(|info| (info.streams, info.events)).collect::<Vec<_>>(), [(2, 12)]);
    assert_eq!(database.types(false).await.unwrap().iter().map(|info| info.events).sum::<u64>(), 12);
    #[cfg(feature = "analytics")]
    {
        let by_stream = format!("select 1 from events where stream = '{}'", homes[usize::from(missing)]);
        for (text, expected) in [("select 1 from events", 12), ("select 1 from s", 12), (by_stream.as_str(), 0)] {
            let (database, left_out) = part();
            let query = factum::database::SqlQuery { text: text.to_owned(), ..factum::database::SqlQuery::default() };
            let batches: Vec<_> = futures::StreamExt::collect(database.sql(query).await.unwrap()).await;
            let rows: usize = batches.into_iter().map(|batch| batch.unwrap().num_rows()).sum();
            assert_eq!((rows, left_out.shards()), (expected, vec![missing]), "{text}");
        }
    }
}

/// Breaks the files of one shard, looks how the database is without it, mends them, and finds everything.
async fn check(missing: u16, break_it: &dyn Fn(&Path, &Path), expected: &str) {
    let (place, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = open(place.path()).await.unwrap();
    let homes = homes(&database);
    for (number, home) in (0..).zip(&homes) {
        fill(&database, home, number * 10..number * 10 + 5).await;
    }
    database.close().await.unwrap();
    let folder = place.path().join("shards").join(missing.to_string());
    copy(&folder, aside.path());
    break_it(place.path(), &folder);
    let database = open(place.path()).await.expect(expected);
    let told = database.status().await.unwrap()[usize::from(missing)].appends.as_ref().unwrap_err().to_string();
    assert!(told.contains(expected), "{told}");
    check_serves_without(&database, missing, &homes, 1_000).await;
    database.close().await.unwrap();
    std::fs::remove_dir_all(&folder).or_else(|error| if folder.exists() { Err(error) } else { Ok(()) }).unwrap();
    copy(aside.path(), &folder);
    let database = open(place.path()).await.unwrap();
    assert_eq!(log(&database, Filter::default()).await.len(), 15 + 2, "{expected}");
    assert_eq!(stream_events(&database, &homes[usize::from(missing)]).await.unwrap().len(), 5);
    database.close().await.unwrap();
}

#[tokio::test]
async fn r6_a_shard_without_its_folder_leaves_the_others_serving() {
    for missing in 0..3 {
        check(missing, &|_, folder| std::fs::remove_dir_all(folder).unwrap(), "folder is missing").await;
    }
}

#[tokio::test]
async fn r6_a_shard_whose_folder_was_emptied_is_not_begun_anew() {
    let empty = |_: &Path, folder: &Path| {
        std::fs::remove_dir_all(folder.join("log")).unwrap();
        std::fs::create_dir(folder.join("log")).unwrap();
    };
    check(1, &empty, "its log is gone").await;
}

#[tokio::test]
async fn r6_the_log_of_another_shard_is_not_taken_for_its_own() {
    let twice = |root: &Path, folder: &Path| {
        std::fs::remove_dir_all(folder).unwrap();
        copy(&root.join("shards/0"), folder);
    };
    check(2, &twice, "holds the log of shard 0").await;
}

#[tokio::test]
async fn r6_the_log_of_another_database_is_not_taken_for_its_own() {
    let other = tempfile::tempdir().unwrap();
    open(other.path()).await.unwrap().close().await.unwrap();
    let foreign = |_: &Path, folder: &Path| {
        std::fs::remove_dir_all(folder).unwrap();
        copy(&other.path().join("shards/1"), folder);
    };
    check(1, &foreign, "log of another database").await;
}

#[tokio::test]
async fn r6_two_folders_that_changed_places_are_both_told() {
    let place = tempfile::tempdir().unwrap();
    let database = open(place.path()).await.unwrap();
    let homes = homes(&database);
    database.close().await.unwrap();
    let folder = |name: &str| place.path().join("shards").join(name);
    std::fs::rename(folder("1"), folder("x")).unwrap();
    std::fs::rename(folder("2"), folder("1")).unwrap();
    std::fs::rename(folder("x"), folder("2")).unwrap();
    let database = open(place.path()).await.unwrap();
    assert_eq!(database.status().await.unwrap().iter().map(|shard| shard.is_absent).collect::<Vec<_>>(), [false, true, true]);
    fill(&database, &homes[0], [1]).await;
    check_failed(append(&database, &homes[1], ExpectedVersion::Any, vec![event(2, "E")]).await, 1);
    database.close().await.unwrap();
}

#[tokio::test]
async fn r6_without_any_of_its_shards_a_database_does_not_open() {
    let place = tempfile::tempdir().unwrap();
    open(place.path()).await.unwrap().close().await.unwrap();
    std::fs::remove_dir_all(place.path().join("shards")).unwrap();
    let refused = open(place.path()).await.err().unwrap();
    assert!(matches!(refused, Error::ShardFailed { shard: 0, .. }), "{refused:?}");
}

#[tokio::test]
async fn r6_a_copy_is_told_before_the_ids_of_the_logs_are_known() {
    let place = tempfile::tempdir().unwrap();
    open(place.path()).await.unwrap().close().await.unwrap();
    std::fs::remove_dir_all(place.path().join("shards/2")).unwrap();
    copy(&place.path().join("shards/1"), &place.path().join("shards/2"));
    // As an earlier version has left it.
    std::fs::write(place.path().join("factum.meta"), "{\"format\":1,\"shards\":3}\n").unwrap();
    let refused = open(place.path()).await.err().unwrap();
    assert!(refused.to_string().contains("shards/2/log") && refused.to_string().contains("copy"), "{refused}");
}

/// Who follows the log waits for the shard, and goes on where it was: nothing twice, nothing left out.
#[tokio::test]
async fn r6_views_and_groups_go_on_when_the_shard_is_back() {
    let (place, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = open(place.path()).await.unwrap();
    let homes = homes(&database);
    // The definitions must stay readable.
    let missing = (0..3).find(|shard| *shard != database.shard_of("$definitions") && *shard != 0).unwrap();
    database.define(Kind::Subscription, "mail", Format::Toml, "filter.categories = [\"s\"]", false).await.unwrap();
    database.define(Kind::Projection, "counts", Format::Toml, COUNTS, false).await.unwrap();
    for (number, home) in (0..).zip(&homes) {
        fill(&database, home, number * 10..number * 10 + 5).await;
    }
    assert_eq!(counted(&database).await, 15);
    let mut seen = consume(&database, 15).await;
    database.close().await.unwrap();
    let folder = place.path().join("shards").join(missing.to_string());
    copy(&folder, aside.path());
    std::fs::remove_dir_all(&folder).unwrap();
    let database = open(place.path()).await.unwrap();
    let other = homes.iter().find(|home| database.shard_of(home) != missing).unwrap();
    fill(&database, other, 100..105).await;
    let mut consumer = database.consume("mail", ConsumerOptions::default()).await.unwrap();
    check_failed(consumer.next().await.map(drop), missing);
    while database.projection("counts").unwrap().state != State::Retrying {
        tokio::task::yield_now().await;
    }
    // Where an absent shard ends nobody knows, so nothing begins there.
    let at_end = database.define(Kind::Subscription, "late", Format::Toml, "after = \"end\"", false).await;
    check_failed(at_end.map(drop), missing);
    database.close().await.unwrap();
    copy(aside.path(), &folder);
    let database = open(place.path()).await.unwrap();
    fill(&database, &homes[usize::from(missing)], 200..205).await;
    seen.extend(consume(&database, 10).await);
    seen.sort_unstable();
    let mut expected: Vec<u64> = (0..3).flat_map(|n| n * 10..n * 10 + 5).chain(100..105).chain(200..205).collect();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    assert_eq!(counted(&database).await, 25);
    database.close().await.unwrap();
}

/// What the view has counted when it has seen all that there is.
async fn counted(database: &Database) -> i64 {
    let page = database.query_view("counts", ViewQuery::default(), Some(&database.end()), Duration::from_secs(60)).await.unwrap();
    let count = |row: &Row| if let Some(Value::Integer(count)) = row.values.last() { *count } else { panic!("{row:?}") };
    page.rows.iter().map(count).sum()
}

/// Takes so many deliveries and says that they are done; the numbers in their events.
async fn consume(database: &Database, count: usize) -> Vec<u64> {
    let mut consumer = database.consume("mail", ConsumerOptions::default()).await.unwrap();
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let delivery = consumer.next().await.unwrap();
        let data: serde_json::Value = serde_json::from_slice(delivery.event.record.data()).unwrap();
        numbers.push(data["n"].as_u64().unwrap());
        database.acknowledge("mail", &[delivery.id]).await.unwrap();
    }
    numbers
}
