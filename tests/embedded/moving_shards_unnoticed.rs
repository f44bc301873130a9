//! Does anybody notice who appends, follows or consumes while shards come and go?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use factum::Database;
use factum::database::After;
use factum::database::ConsumerOptions;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::Format;
use factum::database::JobState;
use factum::database::Kind;
use factum::database::NewShard;
use factum::database::Options;
use factum::database::Splitting;
use factum::database::Strategy;
use factum::database::TopologyChange;
use factum::database::Version;
use factum::subscription::FeedItem;

use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::name;
use crate::fixture::version;
use crate::moving_shards::add;
use crate::moving_shards::add_to;
use crate::moving_shards::changed;
use crate::moving_shards::check_residence;
use crate::moving_shards::geo;
use crate::moving_shards::options;
use crate::moving_shards::range;
use crate::moving_shards::split_at;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_notices_a_shard_that_joins_and_one_that_is_drained() {
    let heavier = TopologyChange::Add(NewShard { weight: Some(2), ..NewShard::default() });
    let changes = vec![add(), add(), TopologyChange::Drain(0), heavier, TopologyChange::Drain(2)];
    check_nobody_notices(Strategy::Ring { weights: vec![1, 1] }, changes, Splitting::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_notices_ranges_that_are_split_and_drained() {
    let changes = vec![add(), split_at("s-0-3"), TopologyChange::Drain(1), add(), TopologyChange::Rebalance, TopologyChange::Drain(3)];
    check_nobody_notices(range("s-3"), changes, Splitting::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_notices_a_shard_that_joins_a_region_and_none_that_leaves_one() {
    let changes = vec![add_to("us"), add_to("eu"), TopologyChange::Drain(2), TopologyChange::Drain(1), TopologyChange::Rebalance];
    check_nobody_notices(geo("s-1*"), changes, Splitting::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_notices_ranges_that_split_by_themselves() {
    let splitting = Splitting { above_events: Some(500), shards_max: 6, check_every: Duration::from_millis(20), ..Splitting::default() };
    check_nobody_notices(range("s-3"), Vec::new(), splitting).await;
}

/// Waits until so many shards have joined by themselves.
async fn split(database: &Database, shards: usize) {
    let mut changes = database.job_changes();
    while database.jobs().iter().filter(|job| job.state == JobState::Done && job.why.is_some()).count() < shards {
        changes.changed().await.unwrap();
    }
}

/// Under load no append fails, no version is given twice or left out, and whoever follows is given each event once, each stream in order.
async fn check_nobody_notices(strategy: Strategy, changes: Vec<TopologyChange>, splitting: Splitting) {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(Options { splitting, ..options(directory.path(), None, Some(strategy)) }).await.unwrap();
    let terms = "filter.categories = [\"s\"]";
    database.define(Kind::Subscription, "group", Format::Toml, terms, false).await.unwrap();
    // Of two keys, so that a range can be halved from the start.
    for (number, stream) in [(1 << 61, "s-1"), ((1 << 61) + 1, "s-2")] {
        append(&database, stream, ExpectedVersion::Any, vec![event(number, "E")]).await.unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    // How many events there will have been; 0 until that is known.
    let total = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..16_u64)
        .map(|writer| {
            let (database, done) = (database.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut appended = 0_u64;
                while !done.load(Ordering::Acquire) {
                    for stream in 0..8 {
                        let number = writer << 40 | appended << 4 | stream;
                        let expected = version(appended);
                        let stream = format!("s-{writer}-{stream}");
                        let result = append(&database, &stream, expected, vec![event(number, "E")]).await;
                        let result = result.unwrap_or_else(|error| panic!("{stream} at {appended}: {error}"));
                        assert_eq!(result.appended.streams[0].1, Version::new(appended + 1));
                    }
                    appended += 1;
                }
                appended
            })
        })
        .collect();
    let feeds: Vec<_> = (0..4).map(|_| tokio::spawn(followed(database.clone(), Arc::clone(&total)))).collect();
    let group = tokio::spawn(consumed(database.clone(), Arc::clone(&total)));
    let one = tokio::spawn(one_stream(database.clone(), Arc::clone(&done)));
    for change in changes {
        let job = tokio::time::timeout(Duration::from_secs(60), changed(&database, change)).await.unwrap();
        assert_eq!(job.state, JobState::Done);
    }
    if splitting.above_events.is_some() {
        tokio::time::timeout(Duration::from_secs(60), split(&database, 4)).await.unwrap();
    }
    done.store(true, Ordering::Release);
    let mut expected = BTreeMap::from([("s-1".to_owned(), 1), ("s-2".to_owned(), 1)]);
    for (writer, task) in (0..).zip(writers) {
        let appended = task.await.unwrap();
        assert!(appended > 0);
        expected.extend((0..8).map(|stream| (format!("s-{writer}-{stream}"), appended)));
    }
    // Between streams no order is promised: an end may come before the last events of others, so they are counted.
    total.store(expected.values().sum::<u64>() + 2, Ordering::Release);
    // Wakes those who wait for more.
    append(&database, "s-end", ExpectedVersion::Any, vec![event(1 << 60, "End")]).await.unwrap();
    append(&database, "s-0-0", ExpectedVersion::Any, vec![event((1 << 60) + 1, "End")]).await.unwrap();
    expected.insert("s-end".to_owned(), 1);
    *expected.get_mut("s-0-0").unwrap() += 1;
    let within = |task| tokio::time::timeout(Duration::from_secs(60), task);
    for feed in feeds {
        assert_eq!(within(feed).await.unwrap().unwrap(), expected);
    }
    assert_eq!(within(group).await.unwrap().unwrap(), expected);
    let one = tokio::time::timeout(Duration::from_secs(60), one).await.unwrap().unwrap();
    assert_eq!(one, expected["s-0-0"]);
    database.close().await.unwrap();
}

/// Follows everything until the end is there, and says how far each stream came.
async fn followed(database: Database, total: Arc<AtomicU64>) -> BTreeMap<String, u64> {
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    let mut seen = 0;
    let mut feed = database.follow(Filter::default(), After::Start).unwrap();
    while seen == 0 || seen != total.load(Ordering::Acquire) {
        if let FeedItem::Events(events) = feed.next().await.unwrap() {
            for (event, _) in events {
                check_residence(&database, event.record.stream(), event.shard);
                let at = versions.entry(event.record.stream().to_owned()).or_default();
                assert_eq!(event.record.version().get(), *at + 1, "{} on shard {}", event.record.stream(), event.shard);
                *at += 1;
                seen += 1;
            }
        }
    }
    versions
}

async fn consumed(database: Database, total: Arc<AtomicU64>) -> BTreeMap<String, u64> {
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    let mut seen = 0;
    let mut consumer = database.consume("group", ConsumerOptions::default()).await.unwrap();
    while seen == 0 || seen != total.load(Ordering::Acquire) {
        let delivery = consumer.next().await.unwrap();
        let record = &delivery.event.record;
        let at = versions.entry(record.stream().to_owned()).or_default();
        assert_eq!(record.version().get(), *at + 1, "{} on shard {}", record.stream(), delivery.event.shard);
        *at += 1;
        seen += 1;
        database.acknowledge("group", &[delivery.id]).await.unwrap();
    }
    versions
}

async fn one_stream(database: Database, done: Arc<AtomicBool>) -> u64 {
    let mut feed = database.follow_stream(&name("s-0-0"), Version::new(1)).unwrap();
    let (mut at, mut has_ended) = (0, false);
    while !has_ended || !done.load(Ordering::Acquire) {
        if let FeedItem::Events(events) = feed.next().await.unwrap() {
            for (event, _) in events {
                at += 1;
                assert_eq!(event.record.version().get(), at);
                has_ended |= event.record.event_type() == "End";
            }
        }
    }
    at
}
