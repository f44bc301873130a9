//! Does a feed with a filter give all that it wants, though it is woken for nothing else?

use factum::database::After;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::Version;
use factum::subscription::FeedItem;
use tokio::sync::watch;

use crate::fixture::Random;
use crate::fixture::append;
use crate::fixture::log;
use crate::fixture::name;
use crate::fixture::sharded;
use crate::fixture::tagged;
use crate::subscriptions::within;

/// Who waits for something rare is not woken for the rest, and misses nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_feeds_with_filters_lose_and_repeat_nothing_beside_a_writer() {
    let mut random = Random::new("filters");
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let filters = [
        Filter { categories: texts(&["a"]), ..Filter::default() },
        Filter { categories: texts(&["b", "nothing"]), types: texts(&["Rare"]), ..Filter::default() },
        Filter { types: texts(&["Rare"]), ..Filter::default() },
        Filter { tags: texts(&["x"]), ..Filter::default() },
        Filter { stream_prefix: Some("b-1".into()), ..Filter::default() },
        Filter { stream_prefix: Some("b".into()), ..Filter::default() },
        Filter::default(),
    ];
    let database = sharded(2).await;
    let (written, is_written) = watch::channel(false);
    let follow = |filter: &Filter| {
        let (database, filter, mut is_written) = (database.clone(), filter.clone(), is_written.clone());
        let mut feed = database.follow(filter.clone(), After::Start).unwrap();
        tokio::spawn(async move {
            let mut given = Vec::new();
            let mut wanted = usize::MAX;
            while given.len() < wanted {
                tokio::select! {
                    item = feed.next() => if let FeedItem::Events(events) = item.unwrap() {
                        given.extend(events.into_iter().map(|(event, _)| (event.shard, event.record)));
                    },
                    _ = is_written.changed(), if wanted == usize::MAX => {
                        wanted = log(&database, filter.clone()).await.len();
                    }
                }
            }
            given
        })
    };
    let feeds: Vec<_> = filters.iter().map(|filter| (filter.clone(), follow(filter))).collect();
    let mut stream_feed = database.follow_stream(&name("b-1"), Version::new(1)).unwrap();
    for number in 0..2_000 {
        let stream = ["a-1", "a-2", "b-1", "b-12", "b-2", "c-1", "c-2", "c-3"][random.below(8) as usize];
        let event_type = if random.below(50) == 0 { "Rare" } else { "Often" };
        let tags: &[&str] = if random.below(50) == 0 { &["x"] } else { &[] };
        append(&database, stream, ExpectedVersion::Any, vec![tagged(number, event_type, tags)]).await.unwrap();
    }
    written.send_replace(true);
    for (filter, feed) in feeds {
        let mut given = within(feed).await.unwrap();
        // Each shard's in its order.
        given.sort_by_key(|(shard, _)| *shard);
        let mut wanted = log(&database, filter.clone()).await;
        wanted.sort_by_key(|(shard, _)| *shard);
        assert!(!wanted.is_empty());
        assert_eq!(given, wanted, "{filter:?}");
    }
    let all = log(&database, Filter::default()).await;
    let wanted: Vec<_> = all.into_iter().filter(|(_, record)| record.stream() == "b-1").map(|(_, record)| record).collect();
    let mut given = Vec::new();
    while given.len() < wanted.len() {
        if let FeedItem::Events(events) = within(stream_feed.next()).await.unwrap() {
            given.extend(events.into_iter().map(|(event, _)| event.record));
        }
    }
    assert_eq!(given, wanted);
}
