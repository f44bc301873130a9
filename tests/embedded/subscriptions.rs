//! Does a consumer group give every event until it is done, in order, and forget nothing that it was told?

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use factum::Database;
use factum::Error;
use factum::database::Change;
use factum::database::Consumer;
use factum::database::ConsumerOptions;
use factum::database::Delivery;
use factum::database::ExpectedVersion;
use factum::database::Format;
use factum::database::GroupState;
use factum::database::GroupStatus;
use factum::database::Kind;
use factum::database::Nack;
use factum::database::Options;
use factum::database::Retention;

use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::fill;
use crate::fixture::memory;
use crate::fixture::name;
use crate::fixture::sharded;

pub(crate) async fn define(database: &Database, group: &str, json: &str) -> Change {
    database.define(Kind::Subscription, group, Format::Json, json, false).await.expect("a definition that keeps the rules")
}

pub(crate) async fn join(database: &Database, group: &str) -> Consumer {
    database.consume(group, ConsumerOptions::default()).await.expect("the group works")
}

pub(crate) async fn status(database: &Database, group: &str) -> GroupStatus {
    database.subscription_status(group).await.expect("the group is defined")
}

/// Deliveries until there are `count`.
pub(crate) async fn take(consumer: &mut Consumer, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(within(consumer.next()).await.expect("the group works"));
    }
    taken
}

/// Nothing comes, as far as can be told.
pub(crate) async fn nothing(consumer: &mut Consumer) {
    assert!(tokio::time::timeout(Duration::from_millis(50), consumer.next()).await.is_err(), "something came");
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
}

pub(crate) async fn ack(database: &Database, group: &str, deliveries: &[Delivery]) {
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.id).collect();
    let answer = database.acknowledge(group, &ids).await.expect("stored");
    assert_eq!((answer.acknowledged, answer.unknown.len()), (ids.len() as u64, 0));
}

pub(crate) async fn nack(database: &Database, group: &str, delivery: &Delivery, action: Nack) -> u64 {
    database.negative_acknowledge(group, &[delivery.id], action, "broken").await.expect("stored").acknowledged
}

pub(crate) fn places(deliveries: &[Delivery]) -> Vec<(String, u64)> {
    deliveries.iter().map(|delivery| (delivery.event.record.stream().to_owned(), delivery.event.record.version().get())).collect()
}

#[tokio::test]
async fn what_is_acknowledged_does_not_come_again() {
    let database = memory().await;
    fill(&database, "a-1", 1..=3).await;
    assert_eq!(define(&database, "g", r#"{"filter": {"categories": ["a"]}}"#).await, Change::Created);
    fill(&database, "b-1", 4..=5).await;
    let mut consumer = join(&database, "g").await;
    let first = take(&mut consumer, 3).await;
    assert_eq!(places(&first), [("a-1".to_owned(), 1), ("a-1".to_owned(), 2), ("a-1".to_owned(), 3)]);
    assert!(first.iter().all(|delivery| delivery.attempt == 1));
    ack(&database, "g", &first).await;
    let again = database.acknowledge("g", &[first[0].id]).await.unwrap();
    assert_eq!((again.acknowledged, again.unknown), (0, vec![first[0].id]));
    fill(&database, "a-2", [6]).await;
    let next = take(&mut consumer, 1).await;
    assert_eq!(places(&next), [("a-2".to_owned(), 1)]);
    let found = status(&database, "g").await;
    assert_eq!((found.state, found.in_flight, found.consumers), (GroupState::Active, 1, 1));
    ack(&database, "g", &next).await;
    drop(consumer);
    let mut consumer = join(&database, "g").await;
    nothing(&mut consumer).await;
    assert_eq!(status(&database, "g").await.lag, 0);
}

#[tokio::test]
async fn s4_what_was_sent_and_not_acknowledged_comes_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options { shards: Some(2), ..Options::new(folder.path()) };
    let database = Database::open(options()).await.unwrap();
    define(&database, "g", "{}").await;
    for stream in 0..20 {
        fill(&database, &format!("a-{stream}"), stream * 10..stream * 10 + 5).await;
    }
    let mut consumer = join(&database, "g").await;
    let given = take(&mut consumer, 100).await;
    // Every second stream is done, one event is to be tried again, and one is parked.
    let is_even = |delivery: &Delivery| delivery.event.record.stream().as_bytes().last().is_some_and(|digit| digit % 2 == 0);
    let (done, open): (Vec<_>, Vec<_>) = given.into_iter().partition(is_even);
    ack(&database, "g", &done).await;
    let of = |stream: &str| open.iter().find(|delivery| delivery.event.record.stream() == stream).unwrap();
    assert_eq!(nack(&database, "g", of("a-1"), Nack::Retry).await, 1);
    assert_eq!(nack(&database, "g", of("a-3"), Nack::Park).await, 1);
    drop(consumer);
    database.close().await.unwrap();

    let database = Database::open(options()).await.unwrap();
    let found = status(&database, "g").await;
    assert_eq!((found.state, found.parked, found.held_back), (GroupState::Idle, 1, 4));
    let mut consumer = join(&database, "g").await;
    let again = take(&mut consumer, 45).await;
    nothing(&mut consumer).await;
    let expected: BTreeSet<_> = places(&open).into_iter().filter(|(stream, _)| stream != "a-3").collect();
    assert_eq!(places(&again).into_iter().collect::<BTreeSet<_>>(), expected);
    let attempts = |stream: &str| again.iter().find(|delivery| delivery.event.record.stream() == stream).unwrap().attempt;
    assert!(attempts("a-1") >= 2);
    ack(&database, "g", &again).await;
    assert_eq!(database.replay_parked("g", None).await.unwrap(), 1);
    let held = take(&mut consumer, 5).await;
    assert_eq!(places(&held).iter().map(|place| place.1).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    ack(&database, "g", &held).await;
    drop(consumer);
    database.close().await.unwrap();

    let database = Database::open(options()).await.unwrap();
    let mut consumer = join(&database, "g").await;
    nothing(&mut consumer).await;
    let found = status(&database, "g").await;
    assert_eq!((found.parked, found.held_back, found.in_flight, found.retrying), (0, 0, 0, 0));
    database.close().await.unwrap();
}

#[tokio::test]
async fn one_streams_events_are_with_one_consumer_at_a_time_and_come_again_in_order() {
    let database = memory().await;
    define(&database, "g", "{}").await;
    let (mut one, mut other) = (join(&database, "g").await, join(&database, "g").await);
    fill(&database, "a-1", 1..=10).await;
    let given = take(&mut one, 10).await;
    nothing(&mut other).await;
    // What comes before is done, what comes behind is taken back.
    ack(&database, "g", &given[..2]).await;
    assert_eq!(nack(&database, "g", &given[4], Nack::Retry).await, 1);
    let late = database.acknowledge("g", &[given[5].id]).await.unwrap();
    assert_eq!(late.acknowledged, 0, "it was taken back");
    ack(&database, "g", &given[2..4]).await;
    let again = take(&mut other, 1).await;
    let mut versions: Vec<_> = places(&again).into_iter().map(|place| place.1).collect();
    drop(one);
    versions.extend(places(&take(&mut other, 5).await).into_iter().map(|place| place.1));
    assert_eq!(versions, [5, 6, 7, 8, 9, 10]);
    assert_eq!(again[0].attempt, 2);
}

#[tokio::test]
async fn without_an_order_the_work_is_shared() {
    let database = memory().await;
    define(&database, "g", r#"{"ordering": "none", "max_in_flight": 5}"#).await;
    fill(&database, "a-1", 1..=10).await;
    let (mut one, mut other) = (join(&database, "g").await, join(&database, "g").await);
    let first = take(&mut one, 5).await;
    nothing(&mut one).await;
    let second = take(&mut other, 5).await;
    let all: BTreeSet<_> = places(&first).into_iter().chain(places(&second)).collect();
    assert_eq!(all.len(), 10);
    ack(&database, "g", &second).await;
    // A consumer that goes leaves its work to the others at once.
    drop(one);
    let again = take(&mut other, 5).await;
    assert_eq!(places(&again).into_iter().collect::<BTreeSet<_>>(), places(&first).into_iter().collect());
    assert!(again.iter().all(|delivery| delivery.attempt == 2));
}

#[tokio::test]
async fn an_event_that_fails_too_often_is_parked_and_holds_back_its_stream_alone() {
    let database = memory().await;
    define(&database, "g", r#"{"max_attempts": 2}"#).await;
    fill(&database, "a-1", 1..=3).await;
    fill(&database, "b-1", 4..=5).await;
    let mut consumer = join(&database, "g").await;
    for attempt in 1..=2 {
        let given = take(&mut consumer, if attempt == 1 { 5 } else { 1 }).await;
        let poison = given.iter().find(|delivery| places(std::slice::from_ref(delivery)) == [("a-1".to_owned(), 1)]).unwrap();
        assert_eq!(poison.attempt, attempt);
        nack(&database, "g", poison, Nack::Retry).await;
        let others: Vec<_> = given.into_iter().filter(|delivery| delivery.event.record.stream() == "b-1").collect();
        if attempt == 1 {
            ack(&database, "g", &others).await;
        } else {
            nothing(&mut consumer).await;
        }
    }
    let found = status(&database, "g").await;
    assert_eq!((found.parked, found.held_back, found.in_flight), (1, 2, 0));
    let page = database.parked("g", None, 10).await.unwrap();
    let parked = &page.parked[0];
    assert_eq!((parked.stream.as_str(), parked.version, parked.attempts, parked.reason.as_str()), ("a-1", 1, 2, "broken"));
    assert!(parked.event.is_some() && page.next.is_none());
    // Later events of the stream wait behind it; it is skipped, and they flow.
    fill(&database, "a-1", [6]).await;
    nothing(&mut consumer).await;
    let place = (parked.shard, parked.position.get());
    assert_eq!(database.skip_parked("g", Some(&[(place.0, place.1 + 1)])).await.unwrap(), 0);
    assert_eq!(database.skip_parked("g", Some(&[place])).await.unwrap(), 1);
    let rest = take(&mut consumer, 3).await;
    assert_eq!(places(&rest).into_iter().map(|place| place.1).collect::<Vec<_>>(), [2, 3, 4]);
    ack(&database, "g", &rest).await;
    assert_eq!(status(&database, "g").await.lag, 0);
}

#[tokio::test]
async fn s5_events_that_are_hidden_meanwhile_block_nobody() {
    let database = memory().await;
    define(&database, "g", "{}").await;
    fill(&database, "a-1", 1..=5).await;
    fill(&database, "b-1", 6..=7).await;
    let mut consumer = join(&database, "g").await;
    let given = take(&mut consumer, 7).await;
    nack(&database, "g", &given[0], Nack::Park).await;
    database.delete_stream(name("b-1"), true).await.unwrap();
    database.set_retention(name("a-1"), Retention { max_count: Some(2), ..Retention::default() }).await.unwrap();
    // What was out of b-1 is hidden when it would come again; of a-1 only the two newest are left.
    drop(consumer);
    let mut consumer = join(&database, "g").await;
    nothing(&mut consumer).await;
    assert!(database.parked("g", None, 10).await.unwrap().parked[0].event.is_none());
    database.replay_parked("g", None).await.unwrap();
    let rest = take(&mut consumer, 2).await;
    assert_eq!(places(&rest).into_iter().map(|place| place.1).collect::<Vec<_>>(), [4, 5]);
    ack(&database, "g", &rest).await;
    let found = status(&database, "g").await;
    assert_eq!((found.parked, found.held_back, found.in_flight, found.retrying), (0, 0, 0, 0));
}

#[tokio::test]
async fn definitions_change_without_losing_what_is_done() {
    let database = memory().await;
    fill(&database, "a-1", 1..=4).await;
    define(&database, "late", r#"{"after": "end"}"#).await;
    fill(&database, "a-1", 5..=6).await;
    let mut consumer = join(&database, "late").await;
    let given = take(&mut consumer, 2).await;
    assert_eq!(places(&given).into_iter().map(|place| place.1).collect::<Vec<_>>(), [5, 6]);
    ack(&database, "late", &given[..1]).await;
    assert_eq!(define(&database, "late", r#"{ "after": "end" }"#).await, Change::Same);
    assert_eq!(define(&database, "late", r#"{"after": "end", "max_in_flight": 7}"#).await, Change::Changed);
    // The consumer goes on by itself.
    let again = take(&mut consumer, 1).await;
    assert_eq!(places(&again), [("a-1".to_owned(), 6)]);
    ack(&database, "late", &again).await;
    let refused = database.define(Kind::Subscription, "late", Format::Json, "{}", false).await;
    assert!(matches!(refused, Err(Error::InvalidDefinition(fault)) if fault.pointer.as_deref() == Some("/after")));

    database.remove_definition(Kind::Subscription, "late").await.unwrap();
    assert!(matches!(within(consumer.next()).await, Err(Error::DefinitionNotFound { .. })));
    assert!(matches!(database.subscription_status("late").await, Err(Error::DefinitionNotFound { .. })));
    // A new one of the name knows nothing of the old.
    define(&database, "late", "{}").await;
    let mut consumer = join(&database, "late").await;
    assert_eq!(take(&mut consumer, 6).await.len(), 6);
}

/// A consumer that has some of what it was given still to hand on, and to take, when its session ends; the next one gives it to another.
#[tokio::test]
async fn s4_what_an_ended_session_has_given_is_handed_on_no_more() {
    let database = memory().await;
    define(&database, "g", "{}").await;
    fill(&database, "a-1", 1..=400).await;
    let mut one = join(&database, "g").await;
    assert_eq!(places(&take(&mut one, 1).await), [("a-1".to_owned(), 1)]);
    define(&database, "g", r#"{"max_in_flight": 500}"#).await;
    let mut other = join(&database, "g").await;
    let again = take(&mut other, 400).await;
    assert_eq!(places(&again).into_iter().map(|place| place.1).collect::<Vec<_>>(), (1..=400).collect::<Vec<_>>());
    nothing(&mut one).await;
    ack(&database, "g", &again).await;
    nothing(&mut one).await;
    fill(&database, "a-1", [500]).await;
    drop(other);
    let next = take(&mut one, 1).await;
    assert_eq!(places(&next), [("a-1".to_owned(), 401)]);
    ack(&database, "g", &next).await;
}

#[tokio::test]
async fn a_pull_keeps_its_deliveries_until_their_time_is_over() {
    let database = memory().await;
    define(&database, "g", r#"{"ack_timeout_ms": 200, "ordering": "none"}"#).await;
    fill(&database, "a-1", 1..=3).await;
    let pull = async |limit| database.pull("g", limit, Duration::from_secs(30)).await.unwrap();
    let first = pull(2).await;
    let second = pull(2).await;
    assert_eq!((first.len(), second.len()), (2, 1));
    ack(&database, "g", &second).await;
    ack(&database, "g", &first[..1]).await;
    // The other one's time passes.
    let again = pull(2).await;
    assert_eq!((again.len(), again[0].attempt, places(&again)), (1, 2, places(&first[1..])));
    let late = database.acknowledge("g", &[first[1].id]).await.unwrap();
    assert_eq!(late.unknown, [first[1].id]);
    ack(&database, "g", &again).await;
}

/// Its session begins with it, and nothing was read yet.
#[tokio::test]
async fn a_pull_that_does_not_wait_gets_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(Options::new(folder.path())).await.unwrap();
    define(&database, "g", r#"{"filter": {"categories": ["a"]}}"#).await;
    let pull = async |database: &Database| database.pull("g", 10, Duration::ZERO).await.unwrap();
    assert!(pull(&database).await.is_empty());
    fill(&database, "b-1", 1..=3).await;
    fill(&database, "a-1", 4..=6).await;
    database.close().await.unwrap();
    let database = Database::open(Options::new(folder.path())).await.unwrap();
    let given = pull(&database).await;
    assert_eq!(places(&given).len(), 3);
    assert_eq!(nack(&database, "g", &given[0], Nack::Retry).await, 1);
    database.close().await.unwrap();
    // What comes back is read again.
    let database = Database::open(Options::new(folder.path())).await.unwrap();
    assert_eq!(places(&pull(&database).await)[0], ("a-1".to_owned(), 1));
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_told_and_never_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(Options::new(folder.path())).await.unwrap();
    define(&database, "g", "{}").await;
    fill(&database, "a-1", 1..=3).await;
    let mut consumer = join(&database, "g").await;
    let given = take(&mut consumer, 3).await;
    ack(&database, "g", &given).await;
    drop(consumer);
    database.close().await.unwrap();
    let file = folder.path().join("subscriptions.redb");
    let whole = std::fs::read(&file).unwrap();
    for damaged in [None, Some(Vec::new()), Some(whole[..100].to_vec()), Some(vec![0xA5; whole.len()])] {
        match &damaged {
            None => std::fs::remove_file(&file).unwrap(),
            Some(bytes) => std::fs::write(&file, bytes).unwrap(),
        }
        let database = Database::open(Options::new(folder.path())).await.unwrap();
        let refused = database.consume("g", ConsumerOptions::default()).await.err().unwrap();
        assert!(refused.to_string().contains("subscriptions.redb"), "{refused}");
        let found = status(&database, "g").await;
        assert_eq!((found.state, found.checkpoint), (GroupState::Failed, None), "{:?}", found.error);
        fill(&database, "a-1", [100]).await;
        database.close().await.unwrap();
    }
    std::fs::write(&file, &whole).unwrap();
    let database = Database::open(Options::new(folder.path())).await.unwrap();
    let mut consumer = join(&database, "g").await;
    assert_eq!(take(&mut consumer, 1).await[0].event.record.version().get(), 4);
    database.close().await.unwrap();
}

/// What is done would be taken for what is appended next at its place.
#[tokio::test]
async fn progress_that_is_ahead_of_the_log_is_told() {
    let (now, before) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = Database::open(Options::new(now.path())).await.unwrap();
    define(&database, "g", r#"{"ordering": "none"}"#).await;
    fill(&database, "a-1", 1..=3).await;
    database.close().await.unwrap();
    copy(now.path(), before.path());
    let database = Database::open(Options::new(now.path())).await.unwrap();
    fill(&database, "a-1", 4..=6).await;
    let mut consumer = join(&database, "g").await;
    let given = take(&mut consumer, 6).await;
    // The checkpoint stays in front of the first.
    ack(&database, "g", &given[5..]).await;
    database.close().await.unwrap();
    std::fs::copy(now.path().join("subscriptions.redb"), before.path().join("subscriptions.redb")).unwrap();
    let database = Database::open(Options::new(before.path())).await.unwrap();
    let refused = database.consume("g", ConsumerOptions::default()).await.err().unwrap();
    assert!(refused.to_string().contains("ahead of the log"), "{refused}");
    database.close().await.unwrap();
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn many_streams_on_many_shards_are_shared_by_many() {
    let database = sharded(4).await;
    define(&database, "g", "{}").await;
    for stream in 0..40 {
        let events = (0..50).map(|n| event(stream * 100 + n, "Happened")).collect();
        append(&database, &format!("s-{stream}"), ExpectedVersion::Any, events).await.unwrap();
    }
    let consume = async || {
        let mut consumer = join(&database, "g").await;
        let mut seen = Vec::new();
        while let Ok(batch) = tokio::time::timeout(Duration::from_millis(500), consumer.next_batch(100)).await {
            let batch = batch.unwrap();
            ack(&database, "g", &batch).await;
            seen.extend(places(&batch));
        }
        seen
    };
    let parts = tokio::join!(consume(), consume(), consume());
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let all: BTreeSet<_> = [&parts.0, &parts.1, &parts.2].into_iter().flatten().cloned().collect();
    assert_eq!(parts.0.len() + parts.1.len() + parts.2.len(), 2_000);
    for (stream, version) in all {
        assert_eq!(last.insert(stream, version).unwrap_or_default() + 1, version);
    }
}

/// Consumers who had nothing yet woke the worker, who woke them, and each time it began to read the log anew.
#[tokio::test]
async fn waiting_consumers_do_not_keep_the_log_from_being_read() {
    for (streams, events) in [(60, 500), (1, 20_000)] {
        let database = memory().await;
        let all: Vec<_> = (0..streams).flat_map(|stream| (0..events).map(move |n| (stream, stream * 100_000 + n))).collect();
        for part in all.chunk_by(|one, other| one.0 == other.0).flat_map(|of_stream| of_stream.chunks(5_000)) {
            let batch = part.iter().map(|(_, number)| event(*number, "Happened")).collect();
            append(&database, &format!("s-{}", part[0].0), ExpectedVersion::Any, batch).await.unwrap();
        }
        define(&database, "g", r#"{"filter": {"stream_prefix": "s-"}}"#).await;
        let left = std::sync::atomic::AtomicU64::new(streams * events);
        let consume = async || {
            let mut consumer = join(&database, "g").await;
            while left.load(std::sync::atomic::Ordering::SeqCst) > 0 {
                // Who gets nothing looks again whether all is done.
                if let Ok(batch) = tokio::time::timeout(Duration::from_millis(100), consumer.next_batch(100)).await {
                    let batch = batch.unwrap();
                    ack(&database, "g", &batch).await;
                    left.fetch_sub(batch.len() as u64, std::sync::atomic::Ordering::SeqCst);
                }
            }
        };
        within(async { tokio::join!(consume(), consume(), consume(), consume()) }).await;
    }
}
