//! Does a read of the whole log give each event once, in order, whatever the direction, the filter and the size of the page?

use factum::Error;
use factum::database::After;
use factum::database::Direction;
use factum::database::Event;
use factum::database::EventId;
use factum::database::EventsQuery;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::Position;

use crate::fixture::Random;
use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::everything;
use crate::fixture::fill;
use crate::fixture::memory;
use crate::fixture::name;
use crate::fixture::pages;
use crate::fixture::query;
use crate::fixture::sharded;
use crate::fixture::tagged;

const NO_EVENTS: [Event; 0] = [];

fn ids(events: &[Event]) -> Vec<EventId> {
    events.iter().map(|event| event.record.id()).collect()
}

/// What the order promises: by time, then shard; within a shard by position.
fn key(event: &Event) -> (i64, u16, u64) {
    (event.record.recorded_at().as_micros(), event.shard, event.record.position().get())
}

async fn mixed(shards: u16, seed: &str) -> factum::Database {
    let database = sharded(shards).await;
    let mut random = Random::new(seed);
    let mut number = 0;
    for _ in 0..150 {
        let stream = format!("{}-{}", ["order", "invoice", "user"][random.below(3) as usize], random.below(20));
        let events = (0..=random.below(4))
            .map(|_| {
                number += 1;
                tagged(number, ["Made", "Paid", "Sent"][random.below(3) as usize], &[["red", "green"][random.below(2) as usize]])
            })
            .collect();
        append(&database, &stream, ExpectedVersion::Any, events).await.unwrap();
    }
    database
}

#[tokio::test]
async fn pages_of_any_size_give_each_event_once_in_order() {
    for shards in [1, 3] {
        let database = mixed(shards, "pages").await;
        let whole = database.read_events(query(After::Start)).await.unwrap();
        assert!(whole.at_end);
        assert!(whole.events.iter().map(key).is_sorted());
        assert_eq!(whole.cursor, database.end());
        for limit in [1, 2, 3, 7, 50, 1_000] {
            let forward = pages(&database, EventsQuery { limit, ..query(After::Start) }).await;
            assert!(forward.iter().all(|page| page.events.len() <= limit));
            let forward: Vec<Event> = forward.into_iter().flat_map(|page| page.events).collect();
            assert_eq!(ids(&forward), ids(&whole.events), "{shards} shard(s), limit {limit}");
            let backward = pages(&database, EventsQuery { limit, direction: Direction::Backward, ..query(After::End) }).await;
            let mut backward: Vec<Event> = backward.into_iter().flat_map(|page| page.events).collect();
            backward.reverse();
            assert_eq!(ids(&backward), ids(&whole.events), "{shards} shard(s), limit {limit}, backward");
        }
        let bytes = pages(&database, EventsQuery { bytes_max: 500, ..query(After::Start) }).await;
        assert!(bytes.len() > 10);
        let bytes: Vec<Event> = bytes.into_iter().flat_map(|page| page.events).collect();
        assert_eq!(ids(&bytes), ids(&whole.events));
    }
}

#[tokio::test]
async fn a_filter_gives_what_matches_and_nothing_else() {
    let database = mixed(3, "filters").await;
    let whole = database.read_events(query(After::Start)).await.unwrap().events;
    let middle = whole[whole.len() / 2].record.recorded_at();
    let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    for filter in [
        Filter { categories: list(&["order"]), ..Filter::default() },
        Filter { categories: list(&["order", "user"]), types: list(&["Paid"]), ..Filter::default() },
        Filter { tags: list(&["red"]), ..Filter::default() },
        Filter { types: list(&["Made", "Sent"]), tags: list(&["green", "none"]), ..Filter::default() },
        Filter { stream_prefix: Some("order-1".to_owned()), ..Filter::default() },
        Filter { recorded_after: Some(middle), ..Filter::default() },
        Filter { recorded_before: Some(middle), types: list(&["Paid"]), ..Filter::default() },
        Filter { types: list(&["Nothing"]), ..Filter::default() },
    ] {
        let expected: Vec<Event> = whole.iter().filter(|event| filter.matches(&event.record)).cloned().collect();
        for limit in [1, 5, 1_000] {
            let asked = EventsQuery { filter: filter.clone(), limit, ..query(After::Start) };
            let found: Vec<Event> = pages(&database, asked.clone()).await.into_iter().flat_map(|page| page.events).collect();
            assert_eq!(ids(&found), ids(&expected), "{filter:?}, limit {limit}");
            let backward = EventsQuery { direction: Direction::Backward, after: After::End, ..asked };
            let mut found: Vec<Event> = pages(&database, backward).await.into_iter().flat_map(|page| page.events).collect();
            found.reverse();
            assert_eq!(ids(&found), ids(&expected), "{filter:?}, limit {limit}, backward");
        }
    }
}

#[tokio::test]
async fn pages_go_on_where_they_ended_while_events_are_appended() {
    let database = sharded(3).await;
    let mut random = Random::new("growing");
    let mut seen = Vec::new();
    let mut after = After::Start;
    for number in 0..600 {
        fill(&database, &format!("s-{}", random.below(30)), [number]).await;
        if random.below(3) == 0 {
            let limit = 1 + random.below(5) as usize;
            let page = database.read_events(EventsQuery { after, limit, ..query(After::Start) }).await.unwrap();
            seen.extend(page.events);
            after = After::Cursor(page.cursor);
        }
    }
    let rest = database.read_events(EventsQuery { after, ..query(After::Start) }).await.unwrap();
    seen.extend(rest.events);
    let mut sorted: Vec<EventId> = ids(&seen);
    sorted.sort();
    sorted.dedup();
    assert_eq!((seen.len(), sorted.len()), (600, 600), "each event once");
    for shard in 0..3 {
        let positions: Vec<u64> = seen.iter().filter(|event| event.shard == shard).map(|event| event.record.position().get()).collect();
        assert_eq!(positions, (1..=positions.len() as u64).collect::<Vec<_>>(), "shard {shard} in its order");
    }
}

#[tokio::test]
async fn the_ends_of_the_log() {
    for shards in [1, 3] {
        let database = sharded(shards).await;
        for (after, direction) in [
            (After::Start, Direction::Forward),
            (After::End, Direction::Forward),
            (After::Start, Direction::Backward),
            (After::End, Direction::Backward),
        ] {
            let page = database.read_events(EventsQuery { direction, ..query(after) }).await.unwrap();
            assert_eq!((ids(&page.events), page.at_end), (ids(&NO_EVENTS), true));
            assert_eq!(database.parse_cursor(&page.cursor.to_string()).unwrap(), page.cursor);
        }
        fill(&database, "s", 1..=3).await;
        let backward = database.read_events(EventsQuery { direction: Direction::Backward, ..query(After::Start) }).await.unwrap();
        assert_eq!((backward.events.len(), backward.at_end), (0, true));
        let forward = database.read_events(query(After::End)).await.unwrap();
        assert_eq!((forward.events.len(), forward.at_end), (0, true));
        let none = database.read_events(EventsQuery { limit: 0, ..query(After::Start) }).await.unwrap();
        assert_eq!((none.events.len(), none.at_end), (0, false));
    }
}

#[tokio::test]
async fn system_streams_are_left_out_unless_asked_for() {
    let database = memory().await;
    fill(&database, "s", 1..=1).await;
    database.delete_stream(name("s"), false).await.unwrap();
    assert!(database.read_events(query(After::Start)).await.unwrap().events.is_empty());
    let all = database.read_events(EventsQuery { filter: everything(), ..query(After::Start) }).await.unwrap();
    assert_eq!(all.events.iter().map(|event| event.record.stream()).collect::<Vec<_>>(), ["$streams"]);
}

/// S6: a cursor that can't be understood is refused, and never taken for the start or for now.
#[tokio::test]
async fn s6_a_cursor_that_is_not_of_this_database_is_refused() {
    let single = memory().await;
    append(&single, "s", ExpectedVersion::Any, vec![event(1, "E"), event(2, "E")]).await.unwrap();
    let triple = sharded(3).await;
    let (other, fewer) = (sharded(3).await.end().to_string(), sharded(2).await.end().to_string());
    for (database, text) in [
        (&single, ""),
        (&single, "x"),
        (&single, "-1"),
        (&single, "+1"),
        (&single, "01"),
        (&single, " 1"),
        (&single, "1."),
        (&single, "1.1"),
        (&single, "4"),
        (&single, "99999999999999999999"),
        (&single, "end"),
        (&triple, "1"),
        (&triple, "0.0"),
        (&triple, "0.0.0.0"),
        (&triple, "0.0.2"),
        (&triple, "0..0"),
        (&triple, "0.0.0"),
        (&triple, &other),
        (&triple, &fewer),
    ] {
        let refused = database.parse_cursor(text).unwrap_err();
        assert!(matches!(&refused, Error::BadCursor { cursor, detail } if cursor == text && !detail.is_empty()), "{text}: {refused:?}");
    }
    let long = "7".repeat(100_000);
    assert!(matches!(single.parse_cursor(&long), Err(Error::BadCursor { cursor, .. }) if cursor.len() <= 200));
    assert_eq!(single.parse_cursor("2").unwrap(), single.end());
    assert_eq!(triple.parse_cursor("0").unwrap().positions(), [0, 0, 0].map(Position::new));
    append(&triple, "s", ExpectedVersion::Any, vec![event(3, "E")]).await.unwrap();
    let end = triple.end();
    assert_eq!(triple.parse_cursor(&end.to_string()).unwrap(), end);
    // Just behind the end is where a backward read may go on, and nothing else may.
    let beyond = single.parse_cursor("3").unwrap();
    assert!(single.read_events(EventsQuery { direction: Direction::Backward, ..query(After::Cursor(beyond.clone())) }).await.is_ok());
    assert!(matches!(single.read_events(query(After::Cursor(beyond.clone()))).await, Err(Error::BadCursor { .. })));
    assert!(matches!(single.follow(Filter::default(), After::Cursor(beyond)), Err(Error::BadCursor { .. })));
    assert!(matches!(triple.follow(Filter::default(), After::Cursor(single.end())), Err(Error::BadCursor { .. })));
}
