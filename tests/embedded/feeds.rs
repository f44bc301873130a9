//! Does a feed give everything once, in order, across the hand-over from history to live?

use std::collections::BTreeMap;

use factum::Database;
use factum::Error;
use factum::database::After;
use factum::database::Cursor;
use factum::database::Event;
use factum::database::EventId;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::Version;
use factum::subscription::Feed;
use factum::subscription::FeedItem;
use factum_storage as storage;

use crate::fixture::Random;
use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::everything;
use crate::fixture::fill;
use crate::fixture::id;
use crate::fixture::memory;
use crate::fixture::name;
use crate::fixture::query;
use crate::fixture::sharded;
use crate::fixture::tagged;
use crate::fixture::through_text;

/// What a feed gives until it has given `count` events.
async fn take(feed: &mut Feed, count: usize) -> Vec<(Event, Cursor)> {
    let mut taken = Vec::new();
    while taken.len() < count {
        if let FeedItem::Events(events) = feed.next().await.expect("the feed goes on") {
            taken.extend(events);
        }
    }
    taken
}

/// What a feed gives until it says that it has caught up.
async fn until_caught_up(feed: &mut Feed) -> (Vec<(Event, Cursor)>, Cursor) {
    let mut taken = Vec::new();
    loop {
        match feed.next().await.expect("the feed goes on") {
            FeedItem::Events(events) => taken.extend(events),
            FeedItem::CaughtUp(cursor) => return (taken, cursor),
            FeedItem::FellBehind(_) => {}
        }
    }
}

/// Each shard's positions come in its order, without a gap or a repeat; the last one of each.
fn check_gapless(taken: &[(Event, Cursor)], from: &BTreeMap<u16, u64>) -> BTreeMap<u16, u64> {
    let mut last = from.clone();
    for (event, cursor) in taken {
        let before = last.entry(event.shard).or_default();
        assert_eq!(event.record.position().get(), *before + 1, "shard {}", event.shard);
        *before += 1;
        assert_eq!(cursor.positions()[usize::from(event.shard)].get(), *before, "the cursor is behind its event");
    }
    last
}

#[tokio::test]
async fn a_feed_gives_history_says_so_and_goes_on_live() {
    let database = memory().await;
    fill(&database, "a", 1..=3).await;
    let mut feed = database.follow(Filter::default(), After::Start).unwrap();
    let (history, at) = until_caught_up(&mut feed).await;
    assert_eq!((history.len(), at), (3, database.end()));
    // Nothing to say: the next call waits.
    assert!(futures::poll!(Box::pin(feed.next())).is_pending());
    fill(&database, "b", 4..=4).await;
    let (live, at) = until_caught_up(&mut feed).await;
    assert_eq!((live.len(), live[0].0.record.stream(), at), (1, "b", database.end()));
    let mut late = database.follow(Filter::default(), After::End).unwrap();
    let (nothing, _) = until_caught_up(&mut late).await;
    assert!(nothing.is_empty());
}

/// S2: the hand-over from history to live, many times, with appends under way, on one shard and on several.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s2_the_hand_over_to_live_loses_and_repeats_nothing() {
    for shards in [1, 3] {
        let database = sharded(shards).await;
        let mut random = Random::new("s2");
        let appends: u64 = 2_000;
        let writing: Vec<_> = (0..4)
            .map(|writer| {
                let database = database.clone();
                tokio::spawn(async move {
                    for number in 0..appends / 4 {
                        fill(&database, &format!("s-{}", (number * 7 + writer) % 40), [writer * appends + number]).await;
                    }
                })
            })
            .collect();
        let mut following = Vec::new();
        // Feeds begin all the time, so some hand-over meets every moment of an append.
        for _ in 0..150 {
            let after = if random.below(4) == 0 { After::End } else { After::Start };
            let from = if after == After::End { database.end() } else { database.parse_cursor("0").unwrap() };
            let mut feed = database.follow(Filter::default(), After::Cursor(from.clone())).unwrap();
            following.push(tokio::spawn(async move {
                let begun: u64 = from.positions().iter().map(|position| position.get()).sum();
                let taken = take(&mut feed, (appends - begun) as usize).await;
                let last = check_gapless(&taken, &(0_u16..).zip(from.positions().iter().map(|position| position.get())).collect());
                assert_eq!(last.values().sum::<u64>(), appends);
            }));
            for _ in 0..random.below(40) {
                tokio::task::yield_now().await;
            }
        }
        for task in writing.into_iter().chain(following) {
            task.await.unwrap();
        }
        assert_eq!(database.end().positions().iter().map(|position| position.get()).sum::<u64>(), appends);
    }
}

/// S2, for the feed of one stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s2_a_streams_feed_loses_and_repeats_nothing() {
    let database = sharded(2).await;
    let appends: u64 = 600;
    let mut random = Random::new("s2 of a stream");
    let writing: Vec<_> = ["s", "t"]
        .map(|stream| {
            let database = database.clone();
            let base = if stream == "s" { 0 } else { 1_000_000 };
            tokio::spawn(async move { fill(&database, stream, base..base + appends).await })
        })
        .into();
    let mut following = Vec::new();
    for _ in 0..100 {
        let from = random.below(appends / 2);
        let mut feed = database.follow_stream(&name("s"), Version::new(from)).unwrap();
        following.push(tokio::spawn(async move {
            let first = from.max(1);
            let taken = take(&mut feed, (appends + 1 - first) as usize).await;
            let versions: Vec<u64> = taken.iter().map(|(event, _)| event.record.version().get()).collect();
            assert_eq!(versions, (first..=appends).collect::<Vec<_>>());
            assert!(taken.iter().all(|(event, _)| event.record.stream() == "s"));
        }));
        for _ in 0..random.below(40) {
            tokio::task::yield_now().await;
        }
    }
    for task in writing.into_iter().chain(following) {
        task.await.unwrap();
    }
}

/// S3: whoever comes back with any cursor goes on exactly behind it.
#[tokio::test]
async fn s3_every_cursor_goes_on_exactly_where_it_was_taken() {
    for shards in [1, 3] {
        let database = sharded(shards).await;
        let mut random = Random::new("s3");
        for number in 0..120 {
            fill(&database, &format!("s-{}", random.below(25)), [number]).await;
        }
        let mut feed = database.follow(Filter::default(), After::Start).unwrap();
        let (whole, _) = until_caught_up(&mut feed).await;
        let ids = |taken: &[(Event, Cursor)]| taken.iter().map(|(event, _)| event.record.id()).collect::<Vec<EventId>>();
        assert_eq!(whole.len(), 120);
        for (index, (_, cursor)) in whole.iter().enumerate() {
            let after = After::Cursor(through_text(&database, cursor));
            let mut again = database.follow(Filter::default(), after.clone()).unwrap();
            let (rest, _) = until_caught_up(&mut again).await;
            assert_eq!(ids(&rest), ids(&whole[index + 1..]), "a feed from {cursor}");
            let page = database.read_events(query(after)).await.unwrap();
            assert_eq!(
                page.events.iter().map(|event| event.record.id()).collect::<Vec<_>>(),
                ids(&whole[index + 1..]),
                "a page from {cursor}"
            );
        }
    }
}

/// A future that is dropped at any moment takes nothing with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_given_up_loses_nothing() {
    let database = sharded(2).await;
    let appends = 500_usize;
    let writer = database.clone();
    let writing = tokio::spawn(async move {
        for number in 0..appends as u64 {
            fill(&writer, &format!("s-{}", number % 10), [number]).await;
        }
    });
    let mut feed = database.follow(Filter::default(), After::Start).unwrap();
    let mut taken = Vec::new();
    while taken.len() < appends {
        for polls in 0..3 {
            let mut next = Box::pin(feed.next());
            let mut polled = std::task::Poll::Pending;
            for _ in 0..=polls {
                polled = futures::poll!(&mut next);
                if polled.is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(next);
            if let std::task::Poll::Ready(Ok(FeedItem::Events(events))) = polled {
                taken.extend(events);
            }
        }
        // All of them may have come already; a call that is not given up would then wait for ever.
        if taken.len() < appends
            && let FeedItem::Events(events) = feed.next().await.unwrap()
        {
            taken.extend(events);
        }
    }
    check_gapless(&taken, &BTreeMap::new());
    writing.await.unwrap();
}

#[tokio::test]
async fn a_feed_gives_what_matches_and_passes_over_the_rest() {
    let database = sharded(2).await;
    let paid = Filter { types: vec!["Paid".to_owned()], ..Filter::default() };
    let mut feed = database.follow(paid.clone(), After::Start).unwrap();
    let mut red = database.follow(Filter { tags: vec!["red".to_owned()], ..paid }, After::Start).unwrap();
    for round in 0..5_u64 {
        for number in 0..40 {
            let number = round * 100 + number;
            let new = tagged(number, ["Made", "Paid"][number as usize % 2], &[["red", "green"][number as usize / 2 % 2]]);
            append(&database, &format!("s-{number}"), ExpectedVersion::Any, vec![new]).await.unwrap();
        }
        let taken = take(&mut feed, 20).await;
        assert!(taken.iter().all(|(event, _)| event.record.event_type() == "Paid"));
        let taken = take(&mut red, 10).await;
        assert!(taken.iter().all(|(event, _)| event.record.tags().any(|tag| tag == "red")));
    }
}

/// S1: a reader that is left behind by more than memory holds is told so, and misses nothing.
#[tokio::test]
async fn s1_a_slow_reader_falls_behind_and_misses_nothing() {
    let database = memory().await;
    let mut slow = database.follow(Filter::default(), After::Start).unwrap();
    until_caught_up(&mut slow).await;
    let mut fast = database.follow(Filter::default(), After::Start).unwrap();
    until_caught_up(&mut fast).await;
    let large = |number| factum::database::NewEvent { data: vec![b'7'; 100_000].into(), ..event(number, "E") };
    for number in 1..=150 {
        append(&database, "s", ExpectedVersion::Any, vec![large(number)]).await.unwrap();
        assert_eq!(take(&mut fast, 1).await.len(), 1);
    }
    let mut fell_behind = 0;
    let mut taken = Vec::new();
    loop {
        match slow.next().await.unwrap() {
            FeedItem::Events(events) => {
                assert!(events.iter().map(|(event, _)| event.record.stored_bytes()).sum::<usize>() <= 2 << 20, "one page at a time");
                taken.extend(events);
            }
            FeedItem::FellBehind(cursor) => {
                fell_behind += 1;
                assert_eq!(cursor.to_string(), "0");
            }
            FeedItem::CaughtUp(_) => break,
        }
    }
    assert_eq!(fell_behind, 1);
    assert_eq!(check_gapless(&taken, &BTreeMap::new())[&0], 150);
    // The fast one was never told so.
    assert!(matches!(fast.next().await.unwrap(), FeedItem::CaughtUp(_)));
}

#[tokio::test]
async fn what_is_deleted_is_not_given_to_whoever_comes_later() {
    let database = memory().await;
    // Somebody follows, so that the newest events are in memory.
    let mut early = database.follow(everything(), After::Start).unwrap();
    fill(&database, "s", 1..=3).await;
    fill(&database, "t", 4..=4).await;
    assert_eq!(take(&mut early, 4).await.len(), 4);
    database.delete_stream(name("s"), false).await.unwrap();
    let mut late = database.follow(Filter::default(), After::Start).unwrap();
    let (taken, _) = until_caught_up(&mut late).await;
    assert_eq!(taken.iter().map(|(event, _)| event.record.id()).collect::<Vec<_>>(), [id(4)]);
    assert_eq!(take(&mut early, 1).await[0].0.record.stream(), "$streams");
    fill(&database, "s", 5..=5).await;
    let mut latest = database.follow(Filter::default(), After::Start).unwrap();
    let (taken, _) = until_caught_up(&mut latest).await;
    assert_eq!(taken.iter().map(|(event, _)| event.record.id()).collect::<Vec<_>>(), [id(4), id(5)]);
}

#[tokio::test]
async fn a_streams_feed_waits_for_it_to_begin_and_ends_with_it() {
    let database = memory().await;
    let mut feed = database.follow_stream(&name("s"), Version::ZERO).unwrap();
    until_caught_up(&mut feed).await;
    fill(&database, "other", 1..=5).await;
    fill(&database, "s", 6..=8).await;
    let taken = take(&mut feed, 3).await;
    assert_eq!(
        taken.iter().map(|(event, cursor)| (event.record.version().get(), cursor.to_string())).collect::<Vec<_>>(),
        [(1, "6".to_owned()), (2, "7".to_owned()), (3, "8".to_owned())]
    );
    database.delete_stream(name("s"), false).await.unwrap();
    fill(&database, "s", 9..=9).await;
    assert_eq!(take(&mut feed, 1).await[0].0.record.version().get(), 4);
    let mut whole = database.follow_stream(&name("s"), Version::ZERO).unwrap();
    assert_eq!(until_caught_up(&mut whole).await.0.len(), 1, "what was deleted is not history");
    database.delete_stream(name("s"), true).await.unwrap();
    for mut feed in [feed, whole] {
        let ended = loop {
            match feed.next().await {
                Ok(item) => assert!(!matches!(item, FeedItem::Events(_)), "{item:?}"),
                Err(error) => break error,
            }
        };
        assert!(matches!(ended, Error::Storage(storage::Error::StreamDeleted(_))), "{ended:?}");
    }
}

#[tokio::test]
async fn closing_the_database_ends_its_feeds() {
    let database = sharded(2).await;
    let feeds = [database.follow(Filter::default(), After::Start).unwrap(), database.follow_stream(&name("s"), Version::ZERO).unwrap()];
    let waiting = feeds.map(|mut feed| {
        tokio::spawn(async move {
            loop {
                if let Err(error) = feed.next().await {
                    return error;
                }
            }
        })
    });
    let closing: Database = database.clone();
    closing.close().await.unwrap();
    for feed in waiting {
        assert!(matches!(feed.await.unwrap(), Error::Unavailable { .. }));
    }
}
