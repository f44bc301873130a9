//! Do readers get the newest shape, whatever shape was stored?

use std::sync::Arc;

use bytes::Bytes;
use factum_storage::Direction;
use factum_storage::EventId;
use factum_storage::ExpectedVersion;
use factum_storage::MemDisk;
use factum_storage::NewEvent;
use factum_storage::RecordedEvent;
use factum_storage::StreamAppend;
use factum_storage::StreamName;
use factum_storage::SystemClock;
use factum_storage::Transaction;
use serde_json::Value;
use serde_json::json;

use crate::schema::Registry;
use crate::schema::tests::register;
use crate::schema::tests::registry;
use crate::shard;
use crate::shard::Write;

/// Events of stream `order-7` as a log gives them back: type, schema version, data.
async fn stored(events: &[(&str, u16, Value)]) -> Vec<(u16, RecordedEvent)> {
    let new = |(number, (event_type, schema_version, data)): (u8, &(&str, u16, Value))| NewEvent {
        id: EventId::from_bytes([number; 16]),
        id_is_fresh: false,
        event_type: (*event_type).into(),
        schema_version: *schema_version,
        occurred_at: None,
        tags: Vec::new(),
        metadata: Bytes::new(),
        data: data.to_string().into(),
    };
    let stream = StreamName::new("order-7").unwrap();
    let append = StreamAppend { stream: stream.clone(), expected: ExpectedVersion::Any, events: (1..).zip(events).map(new).collect() };
    let (disk, clock) = (Arc::new(MemDisk::new()), Arc::new(SystemClock));
    let storage = factum_storage::Options { new_log_id: [7; 16], ..factum_storage::Options::small() };
    let options = shard::Options { shard: 0, disk, clock, queue_appends: 10, storage, lock: None };
    let shard = tokio::task::spawn_blocking(move || shard::open(options)).await.unwrap().unwrap();
    shard.write(Write::Transaction(Transaction { appends: vec![append], conditions: Vec::new() })).await.unwrap();
    let slice = shard.read_stream(stream, None, Direction::Forward, 1_000, 1 << 20).await.unwrap().unwrap();
    shard.close();
    shard.closed().await.unwrap();
    slice.events.into_iter().map(|event| (3, event)).collect()
}

/// Version and data of each event as a reader sees it, or why there is none.
async fn read(registry: &Registry, events: Vec<(u16, RecordedEvent)>) -> Vec<Result<(u16, Value), String>> {
    let read = registry.upcast(events).await.unwrap();
    assert!(read.iter().all(|(shard, _)| *shard == 3));
    let each = read.iter().map(|(_, event)| match event.reshape_failure() {
        Some(why) => Err(why.to_owned()),
        None => Ok((event.schema_version(), serde_json::from_slice(event.data()).unwrap())),
    });
    each.collect()
}

#[tokio::test]
async fn a_chain_leads_from_any_version_to_the_newest() {
    let registry = registry();
    register(&registry, "Paid", 1, &json!({"schema": {"type": "integer"}})).await;
    register(&registry, "Paid", 2, &json!({"schema": {"required": ["amount"]}, "upcast": "(data, event) => ({amount: data, from: [event.schema_version, event.stream, event.shard]})"})).await;
    register(&registry, "Paid", 3, &json!({"schema": {"required": ["amount", "currency"]}, "upcast": "(data, event) => ({...data, currency: 'EUR', then: event.schema_version, same: event.data.amount === data.amount})"})).await;
    let events = [
        ("Paid", 1, json!(5)),
        ("Sent", 1, json!({"a": 1})),
        ("Paid", 3, json!({"amount": 1, "currency": "USD"})),
        ("Paid", 2, json!({"amount": 7})),
    ];
    let events = stored(&events).await;
    assert_eq!(
        read(&registry, events).await,
        [
            Ok((3, json!({"amount": 5, "from": [1, "order-7", 3], "currency": "EUR", "then": 2, "same": true}))),
            Ok((1, json!({"a": 1}))),
            Ok((3, json!({"amount": 1, "currency": "USD"}))),
            Ok((3, json!({"amount": 7, "currency": "EUR", "then": 2, "same": true}))),
        ]
    );
}

#[tokio::test]
async fn a_version_without_upcaster_passes_data_on() {
    let registry = registry();
    register(&registry, "Paid", 1, &json!({"schema": {"type": "integer"}})).await;
    let events = stored(&[("Paid", 1, json!(5))]).await;
    assert_eq!(read(&registry, events.clone()).await, [Ok((1, json!(5)))]);
    register(&registry, "Paid", 2, &json!({"schema": {"type": "number"}})).await;
    assert_eq!(read(&registry, events.clone()).await, [Ok((2, json!(5)))]);
    register(&registry, "Paid", 3, &json!({"schema": {"type": "string"}, "upcast": "(data) => String(data)"})).await;
    assert_eq!(read(&registry, events.clone()).await, [Ok((3, json!("5")))]);
    register(&registry, "Paid", 4, &json!({"schema": {}})).await;
    assert_eq!(read(&registry, events).await, [Ok((4, json!("5")))]);
}

#[tokio::test]
async fn a_failing_upcaster_leaves_the_other_events_right() {
    let registry = registry();
    register(&registry, "Paid", 1, &json!({"schema": {}})).await;
    let upcast = "(data) => {\n  if (data === 2) throw new Error('two is wrong');\n  if (data === 4) while (true) {}\n  if (data === 6) return undefined;\n  return {amount: data};\n}";
    register(&registry, "Paid", 2, &json!({"schema": {"properties": {"amount": {"not": {"const": 8}}}}, "upcast": upcast})).await;
    let events: Vec<(&str, u16, Value)> = (0..10).map(|number| ("Paid", 1, json!(number))).collect();
    let read = read(&registry, stored(&events).await).await;
    for (number, result) in read.iter().enumerate() {
        let told = |part: &str| assert!(result.as_ref().unwrap_err().contains(part), "{number}: {result:?}");
        match number {
            2 => {
                told("schemas/Paid/2.upcast.js:2:");
                told("two is wrong");
            }
            4 | 6 => told("schemas/Paid/2.upcast.js"),
            8 => told("schemas/Paid/2.upcast.js: its result does not match schema version 2: /amount"),
            _ => assert_eq!(*result, Ok((2, json!({ "amount": number })))),
        }
    }
}

#[tokio::test]
async fn an_upcaster_that_never_ends_does_not_hold_readers_for_ever() {
    let registry = registry();
    register(&registry, "Paid", 1, &json!({"schema": {}})).await;
    register(&registry, "Paid", 2, &json!({"schema": {}, "upcast": "(data) => { while (true) {} }"})).await;
    register(&registry, "Paid", 3, &json!({"schema": {}, "upcast": "(data) => data"})).await;
    let events: Vec<(&str, u16, Value)> = (0..100).map(|number| ("Paid", 1, json!(number))).collect();
    let read = read(&registry, stored(&events).await).await;
    assert_eq!(read.len(), 100);
    assert!(read.iter().all(|result| result.as_ref().is_err_and(|why| why.starts_with("schemas/Paid/2.upcast.js"))), "{:?}", read.first());
}
