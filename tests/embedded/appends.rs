//! What goes into a stream, and what is refused?

use bytes::Bytes;
use factum::Error;
use factum::database::After;
use factum::database::ConditionRequest;
use factum::database::ExpectedVersion;
use factum::database::NewEvent;
use factum::database::Position;
use factum::database::QueryItem;
use factum::database::Timestamp;
use factum::database::TransactionRequest;
use factum_storage as storage;
use storage::FailedCheck;

use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::id;
use crate::fixture::log;
use crate::fixture::memory;
use crate::fixture::name;
use crate::fixture::sharded;
use crate::fixture::stream_events;
use crate::fixture::tagged;
use crate::fixture::to;
use crate::fixture::version;

fn conflict(error: &Error) -> Vec<FailedCheck> {
    let Error::Storage(storage::Error::Conflict(failed)) = error else { panic!("not a conflict: {error:?}") };
    failed.to_vec()
}

#[tokio::test]
async fn an_append_gets_the_next_versions_and_positions() {
    let database = memory().await;
    let first = append(&database, "order-1", version(0), vec![event(1, "Placed"), event(2, "Paid")]).await.unwrap();
    assert_eq!(first.appended.streams.iter().map(|(_, first, last)| (first.get(), last.get())).collect::<Vec<_>>(), [(1, 2)]);
    assert_eq!((first.appended.position, first.cursor.to_string(), first.appended.duplicate), (Position::new(2), "2".to_owned(), false));
    let second = append(&database, "order-2", ExpectedVersion::Any, vec![event(3, "Placed")]).await.unwrap();
    assert_eq!(second.cursor.to_string(), "3");
    append(&database, "order-1", version(2), vec![event(4, "Shipped")]).await.unwrap();
    assert_eq!(stream_events(&database, "order-1").await.unwrap(), [(1, id(1)), (2, id(2)), (3, id(4))]);
    assert_eq!(database.end().to_string(), "4");
}

#[tokio::test]
async fn what_the_writer_believes_of_a_stream_is_checked() {
    let database = memory().await;
    let refused = append(&database, "a", ExpectedVersion::Exists, vec![event(1, "E")]).await.unwrap_err();
    assert_eq!(conflict(&refused).len(), 1);
    append(&database, "a", version(0), vec![event(1, "E")]).await.unwrap();
    append(&database, "a", ExpectedVersion::Exists, vec![event(2, "E")]).await.unwrap();
    for wrong in [0, 1, 3] {
        let refused = append(&database, "a", version(wrong), vec![event(10 + wrong, "E")]).await.unwrap_err();
        let expected = FailedCheck::Version { stream: name("a"), expected: version(wrong), actual: factum::database::Version::new(2) };
        assert_eq!(conflict(&refused), [expected]);
    }
    // A belief can be checked without writing anything.
    append(&database, "a", version(2), Vec::new()).await.unwrap();
    append(&database, "a", version(1), Vec::new()).await.unwrap_err();
    assert_eq!(database.end().to_string(), "2");
}

#[tokio::test]
async fn one_of_many_racing_writers_of_a_version_wins() {
    let database = memory().await;
    for round in 0..20 {
        let racing = (0..16).map(|writer| append_owned(database.clone(), round, round * 100 + writer));
        let won = futures::future::join_all(racing).await.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1, "round {round}");
    }
    assert_eq!(stream_events(&database, "race").await.unwrap().len(), 20);
}

async fn append_owned(database: factum::Database, expected: u64, number: u64) -> bool {
    let racing = tokio::spawn(async move { append(&database, "race", version(expected), vec![event(number, "E")]).await });
    match racing.await.unwrap() {
        Ok(_) => true,
        Err(error) => {
            conflict(&error);
            false
        }
    }
}

#[tokio::test]
async fn a_retry_is_a_duplicate() {
    let database = memory().await;
    let events = || vec![event(1, "A"), event(2, "B")];
    let first = append(&database, "s", version(0), events()).await.unwrap();
    append(&database, "s", version(2), vec![event(3, "C")]).await.unwrap();
    // The belief of a retry was true when it was first tried.
    let again = append(&database, "s", version(0), events()).await.unwrap();
    assert!(again.appended.duplicate);
    assert_eq!(again.appended.streams, first.appended.streams);
    assert_eq!(stream_events(&database, "s").await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_id_with_other_content_is_refused() {
    let database = memory().await;
    let full = |number| NewEvent {
        occurred_at: Some(Timestamp::from_micros(7)),
        metadata: Bytes::from_static(br#"{"correlation_id":"c","traceparent":"t1"}"#),
        data: Bytes::from_static(br#"{"a":1,"b":[true]}"#),
        ..tagged(number, "T", &["x", "y"])
    };
    append(&database, "s", ExpectedVersion::Any, vec![full(1)]).await.unwrap();
    let same: Vec<NewEvent> = vec![
        NewEvent { data: Bytes::from_static(b" {\"b\": [true], \"a\": 1} "), ..full(1) },
        NewEvent { metadata: Bytes::from_static(br#"{"traceparent":"t2","correlation_id":"c"}"#), ..full(1) },
        NewEvent { metadata: Bytes::new(), tags: Vec::new(), occurred_at: None, ..full(1) },
    ];
    for again in same {
        assert!(append(&database, "s", ExpectedVersion::Any, vec![again]).await.unwrap().appended.duplicate);
    }
    let other: Vec<(&str, NewEvent)> = vec![
        ("s", NewEvent { data: Bytes::from_static(br#"{"a":1.0,"b":[true]}"#), ..full(1) }),
        ("s", NewEvent { event_type: "U".into(), ..full(1) }),
        ("s", NewEvent { tags: vec!["x".into()], ..full(1) }),
        ("s", NewEvent { occurred_at: Some(Timestamp::from_micros(8)), ..full(1) }),
        ("s", NewEvent { metadata: Bytes::from_static(br#"{"correlation_id":"d"}"#), ..full(1) }),
        ("other", full(1)),
    ];
    for (stream, again) in other {
        let refused = append(&database, stream, ExpectedVersion::Any, vec![again]).await.unwrap_err();
        assert!(matches!(&refused, Error::Storage(storage::Error::EventIdReused { position, .. }) if position.get() == 1), "{refused:?}");
    }
    // Some there and some not is no retry of anything.
    let mixed = append(&database, "s", ExpectedVersion::Any, vec![full(1), event(2, "T")]).await.unwrap_err();
    assert!(matches!(mixed, Error::Storage(storage::Error::EventIdReused { .. })));
    assert_eq!(log(&database, Default::default()).await.len(), 1);
}

fn condition(types: &[&str], tags: &[&str], after: After) -> ConditionRequest {
    let item = QueryItem { types: types.iter().map(|name| (*name).into()).collect(), tags: tags.iter().map(|tag| (*tag).into()).collect() };
    ConditionRequest { query: vec![item], after }
}

#[tokio::test]
async fn a_condition_fails_when_a_matching_event_stands_behind_it() {
    let database = memory().await;
    append(&database, "u-1", ExpectedVersion::Any, vec![tagged(1, "Claimed", &["name:ann"])]).await.unwrap();
    let seen = database.end();
    let claim = |number: u64, tag: &str, after: After| TransactionRequest {
        appends: vec![to(&format!("u-{number}"), ExpectedVersion::Any, vec![tagged(number, "Claimed", &[tag])])],
        conditions: vec![condition(&["Claimed"], &[tag], after)],
    };
    let taken = database.transact(claim(2, "name:ann", After::Start)).await.unwrap_err();
    assert_eq!(conflict(&taken), [FailedCheck::Condition { index: 0, position: Position::new(1), event_id: id(1) }]);
    database.transact(claim(3, "name:bob", After::Start)).await.unwrap();
    database.transact(claim(4, "name:ann", After::Cursor(seen))).await.unwrap();
    database.transact(claim(5, "name:ann", After::End)).await.unwrap();
    let all = TransactionRequest {
        appends: vec![to("u-6", version(1), vec![event(6, "E")])],
        conditions: vec![
            condition(&[], &["name:ann"], After::Start),
            condition(&["Other"], &[], After::Start),
            condition(&[], &[], After::Start),
        ],
    };
    assert_eq!(conflict(&database.transact(all).await.unwrap_err()).len(), 3, "every failed check is named");
}

#[tokio::test]
async fn of_racing_conditions_one_holds() {
    let database = memory().await;
    let racing = (0..32).map(|number| {
        let database = database.clone();
        tokio::spawn(async move {
            let appends = vec![to(&format!("u-{number}"), ExpectedVersion::Any, vec![tagged(number, "Claimed", &["seat:1"])])];
            database.transact(TransactionRequest { appends, conditions: vec![condition(&[], &["seat:1"], After::Start)] }).await.is_ok()
        })
    });
    let won = futures::future::join_all(racing).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_transaction_writes_all_of_its_streams_or_none() {
    let database = memory().await;
    append(&database, "b", ExpectedVersion::Any, vec![event(1, "E")]).await.unwrap();
    let request = |expected_b| TransactionRequest {
        appends: vec![
            to("a", version(0), vec![event(2, "E"), event(3, "E")]),
            to("b", version(expected_b), vec![event(4, "E")]),
            to("a", version(2), vec![event(5, "E")]),
            to("c", version(0), Vec::new()),
        ],
        conditions: Vec::new(),
    };
    database.transact(request(0)).await.unwrap_err();
    assert!(matches!(stream_events(&database, "a").await, Err(Error::StreamNotFound { .. })));
    let done = database.transact(request(1)).await.unwrap();
    let ranges: Vec<_> = done.appended.streams.iter().map(|(stream, first, last)| (stream.to_string(), first.get(), last.get())).collect();
    assert_eq!(ranges, [("a".to_owned(), 1, 2), ("b".to_owned(), 2, 2), ("a".to_owned(), 3, 3), ("c".to_owned(), 0, 0)]);
    let again = database.transact(request(1)).await.unwrap();
    assert!(again.appended.duplicate);
}

#[tokio::test]
async fn a_transaction_lives_on_one_shard() {
    let database = sharded(4).await;
    let shards: Vec<u16> = (0..20).map(|n| database.shard_of(&format!("s-{n}"))).collect();
    let other = shards.iter().position(|shard| *shard != shards[0]).unwrap();
    let request = |streams: [&str; 2]| TransactionRequest {
        appends: streams.iter().zip(1..).map(|(stream, n)| to(stream, ExpectedVersion::Any, vec![event(n, "E")])).collect(),
        conditions: Vec::new(),
    };
    let refused = database.transact(request(["s-0", &format!("s-{other}")])).await.unwrap_err();
    let Error::CrossShard { streams, partition_key } = refused else { panic!("{refused:?}") };
    assert_eq!(streams.len(), 2);
    assert!(streams.contains(&("s-0".to_owned(), shards[0])));
    // What is suggested can be done.
    database.transact(request(["s-0", &format!("{{{partition_key}}}-s-{other}")])).await.unwrap();
    // A partition key keeps what belongs together together.
    let done = database.transact(request(["order-{7}", "invoice-{7}"])).await.unwrap();
    assert_eq!(done.shard, database.shard_of("{7}"));
    let keyless = TransactionRequest { appends: Vec::new(), conditions: vec![condition(&["E"], &[], After::Start)] };
    assert!(matches!(database.transact(keyless.clone()).await, Err(Error::Invalid { .. })));
    // A stream without events says where to look.
    let pointed = TransactionRequest { appends: vec![to("order-{7}", ExpectedVersion::Any, Vec::new())], ..keyless.clone() };
    assert_eq!(conflict(&database.transact(pointed).await.unwrap_err()).len(), 1);
    let single = memory().await;
    single.transact(keyless.clone()).await.unwrap();
    single.transact(TransactionRequest::default()).await.unwrap_err();
}

#[tokio::test]
async fn what_breaks_a_rule_is_named() {
    let database = memory().await;
    let refusal = |error: Error| if let Error::Invalid { field, .. } = error { field } else { error.to_string() };
    let cases: Vec<(NewEvent, &str)> = vec![
        (event(1, ""), "events[1].type"),
        (event(1, &"t".repeat(256)), "events[1].type"),
        (tagged(1, "T", &["ok", "\n"]), "events[1].tags[1]"),
        (tagged(1, "T", &["x"; 65]), "events[1].tags"),
    ];
    for (bad, field) in cases {
        let refused = append(&database, "s", ExpectedVersion::Any, vec![event(0, "T"), bad]).await.unwrap_err();
        assert_eq!(refusal(refused), field);
    }
    let large = NewEvent { metadata: Bytes::from(vec![b' '; storage::METADATA_BYTES_MAX + 1]), ..event(1, "T") };
    let refused = append(&database, "s", ExpectedVersion::Any, vec![large]).await.unwrap_err();
    assert!(matches!(refused, Error::Storage(storage::Error::TooLarge { .. })));
    let many = (0..=storage::TRANSACTION_EVENTS_MAX as u64).map(|n| event(n, "T")).collect();
    let refused = append(&database, "s", ExpectedVersion::Any, many).await.unwrap_err();
    assert!(matches!(refused, Error::Storage(storage::Error::TooLarge { .. })));
    for system in ["$streams", "$x"] {
        let refused = append(&database, system, ExpectedVersion::Any, vec![event(1, "T")]).await.unwrap_err();
        assert!(matches!(refused, Error::SystemStream { .. }));
    }
    let bad_condition = TransactionRequest {
        appends: vec![to("s", ExpectedVersion::Any, Vec::new())],
        conditions: vec![condition(&["ok"], &[""], After::Start)],
    };
    assert_eq!(refusal(database.transact(bad_condition).await.unwrap_err()), "conditions[0].query[0].tags[0]");
    assert_eq!(database.end().to_string(), "0");
}
