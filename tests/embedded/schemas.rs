//! Does data keep the shape that its type promises, and does old data read as if it had always had today's?

use bytes::Bytes;
use factum::Database;
use factum::Error;
use factum::database::After;
use factum::database::At;
use factum::database::Change;
use factum::database::Direction;
use factum::database::ExpectedVersion;
use factum::database::Filter;
use factum::database::Format;
use factum::database::Kind;
use factum::database::NewEvent;
use factum::database::Options;
use factum::database::RecordedEvent;
use factum::database::TransactionRequest;
use factum::database::Version;
use factum::subscription::FeedItem;
use serde_json::Value;
use serde_json::json;

use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::log;
use crate::fixture::memory;
use crate::fixture::name;
use crate::fixture::sharded;
use crate::fixture::to;

async fn define(database: &Database, name: &str, document: &Value) -> Result<Change, Error> {
    database.define(Kind::Schema, name, Format::Json, &document.to_string(), false).await
}

fn paid(number: u64, schema_version: u16, data: &Value) -> NewEvent {
    NewEvent { schema_version, data: Bytes::from(data.to_string()), ..event(number, "Paid") }
}

fn first_shape() -> Value {
    json!({"schema": {"type": "object", "properties": {"amount": {"type": "number", "minimum": 0}}, "required": ["amount"]}})
}

/// Cents instead of an amount.
fn second_shape() -> Value {
    json!({
        "schema": {"type": "object", "properties": {"cents": {"type": "integer"}}, "required": ["cents"], "additionalProperties": false},
        "upcast": "(data, event) => { if (data.amount === 13) throw new Error('unlucky'); return { cents: Math.round(data.amount * 100) }; }",
    })
}

/// And what it was in.
fn third_shape() -> Value {
    json!({
        "schema": {"type": "object", "properties": {"cents": {"type": "integer"}, "currency": {"type": "string"}}, "required": ["cents", "currency"]},
        "upcast": "(data) => ({ ...data, currency: 'EUR' })",
    })
}

fn data(event: &RecordedEvent) -> (u16, Value) {
    (event.schema_version(), serde_json::from_slice(event.data()).unwrap_or(Value::Null))
}

async fn stream(database: &Database, stream: &str) -> Vec<(u16, Value)> {
    let page = database.read_stream(&name(stream), None, Direction::Forward, 100, usize::MAX).await.unwrap();
    page.events.iter().map(data).collect()
}

#[tokio::test]
async fn data_that_breaks_its_schema_is_not_stored() {
    let database = memory().await;
    append(&database, "a-1", ExpectedVersion::Any, vec![paid(1, 0, &json!("anything"))]).await.unwrap();
    assert_eq!(define(&database, "Paid/1", &first_shape()).await.unwrap(), Change::Created);
    assert_eq!(define(&database, "Paid/1", &first_shape()).await.unwrap(), Change::Same);
    let good = json!({"amount": 1.5});
    let refused = append(&database, "a-1", ExpectedVersion::Any, vec![paid(2, 0, &good), paid(3, 0, &json!({"amount": -1}))]).await;
    let Err(Error::SchemaViolation(fault)) = &refused else { panic!("{refused:?}") };
    assert_eq!((fault.field.as_str(), fault.event_type.as_str(), fault.schema_version), ("events[1].data", "Paid", 1));
    assert_eq!(fault.violations.iter().map(|(pointer, _)| pointer.as_str()).collect::<Vec<_>>(), ["/amount"]);
    let unknown = append(&database, "a-1", ExpectedVersion::Any, vec![paid(4, 2, &good)]).await;
    assert!(matches!(&unknown, Err(Error::SchemaViolation(fault)) if fault.field == "events[0].schema_version"), "{unknown:?}");
    let appends = vec![to("a-1", ExpectedVersion::Any, vec![]), to("a-2", ExpectedVersion::Any, vec![paid(5, 1, &json!([]))])];
    let refused = database.transact(TransactionRequest { appends, conditions: Vec::new() }).await;
    assert!(matches!(&refused, Err(Error::SchemaViolation(fault)) if fault.field == "appends[1].events[0].data"), "{refused:?}");
    let refused = database.import(name("a-3"), vec![paid(6, 0, &good), paid(7, 0, &json!(null))]).await;
    assert!(matches!(&refused, Err(Error::SchemaViolation(_))), "{refused:?}");
    assert_eq!(log(&database, Filter::default()).await.len(), 1, "nothing of what was refused is there");
    append(&database, "a-1", ExpectedVersion::Any, vec![paid(8, 0, &good), event(9, "Other")]).await.unwrap();
    assert_eq!(stream(&database, "a-1").await, [(1, json!("anything")), (1, good), (1, json!({"n": 9}))]);
    database.close().await.unwrap();
}

#[tokio::test]
async fn old_events_read_in_the_newest_shape_wherever_they_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let options = || Options { shards: Some(2), ..Options::new(directory.path()) };
    let database = Database::open(options()).await.unwrap();
    define(&database, "Paid/1", &first_shape()).await.unwrap();
    append(&database, "a-1", ExpectedVersion::Any, vec![paid(1, 0, &json!({"amount": 1.5})), paid(2, 0, &json!({"amount": 13}))])
        .await
        .unwrap();
    append(&database, "b-1", ExpectedVersion::Any, vec![event(3, "Other")]).await.unwrap();
    let mut feed = database.follow(Filter::default(), After::Start).unwrap();
    define(&database, "Paid/2", &second_shape()).await.unwrap();
    append(&database, "a-1", ExpectedVersion::Any, vec![paid(4, 0, &json!({"cents": 7})), paid(5, 1, &json!({"amount": 2}))])
        .await
        .unwrap();
    define(&database, "Paid/3", &third_shape()).await.unwrap();
    database.close().await.unwrap();
    drop(feed.next().await);

    let database = Database::open(options()).await.unwrap();
    let expected = [
        (3, json!({"cents": 150, "currency": "EUR"})),
        (1, Value::Null),
        (3, json!({"cents": 7, "currency": "EUR"})),
        (3, json!({"cents": 200, "currency": "EUR"})),
    ];
    assert_eq!(stream(&database, "a-1").await, expected);
    let stored = [(1, json!({"amount": 1.5})), (1, json!({"amount": 13})), (2, json!({"cents": 7})), (1, json!({"amount": 2}))];
    assert_eq!(stream(&database.as_stored(), "a-1").await, stored);
    let paid_only = |events: Vec<(u16, RecordedEvent)>| -> Vec<_> {
        events.iter().filter(|(_, event)| event.event_type() == "Paid").map(|(_, event)| data(event)).collect()
    };
    assert_eq!(paid_only(log(&database, Filter::default()).await), expected);
    assert_eq!(paid_only(log(&database.as_stored(), Filter::default()).await), stored);
    assert_eq!(data(&database.event_by_id(crate::fixture::id(1)).await.unwrap().record), expected[0]);
    assert_eq!(data(&database.as_stored().event_by_id(crate::fixture::id(1)).await.unwrap().record), stored[0]);
    let failed = database.event_by_id(crate::fixture::id(2)).await.unwrap().record;
    assert!(failed.reshape_failure().is_some_and(|why| why.contains("unlucky")), "{:?}", failed.reshape_failure());

    let live = [(3, json!({"cents": 300, "currency": "EUR"})), (1, json!({"amount": 3}))];
    for (number, (database, expected, live)) in
        [(database.clone(), expected, &live[0]), (database.as_stored(), stored, &live[1])].into_iter().enumerate()
    {
        let of_log = database.follow(Filter { types: vec!["Paid".to_owned()], ..Filter::default() }, After::Start).unwrap();
        let of_stream = database.follow_stream(&name("a-1"), Version::new(1)).unwrap();
        let mut feeds = [of_log, of_stream];
        for feed in &mut feeds {
            let mut seen = Vec::new();
            while let FeedItem::Events(events) = feed.next().await.unwrap() {
                seen.extend(events.iter().map(|(event, _)| data(&event.record)));
            }
            assert_eq!(seen[..4], expected);
        }
        // What happens from now on too.
        let event = paid(100 + number as u64, 1, &json!({"amount": 3}));
        append(&database, "a-1", ExpectedVersion::Any, vec![event]).await.unwrap();
        for feed in &mut feeds {
            let FeedItem::Events(events) = feed.next().await.unwrap() else { panic!("an event was appended") };
            assert_eq!(data(&events[0].0.record), *live);
        }
    }
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_state_follows_the_shapes_of_its_events() {
    let database = sharded(2).await;
    define(&database, "Paid/1", &first_shape()).await.unwrap();
    let module = "export const initial = { total: 0 }; export const snapshotEvery = 2;\n\
        export const evolve = { Paid: (state, { data }) => ({ total: state.total + (data.cents ?? data.amount) }) };";
    database.define(Kind::Aggregate, "a", Format::Javascript, module, false).await.unwrap();
    let total = async || {
        let (state, _) = database.aggregate("a", "1", At::Head).await?;
        Ok::<_, Error>(serde_json::from_slice::<Value>(&state.state).unwrap()["total"].clone())
    };
    let events = (1..=5).map(|number| paid(number, 0, &json!({"amount": number}))).collect();
    append(&database, "a-1", ExpectedVersion::Any, events).await.unwrap();
    assert_eq!(total().await.unwrap(), json!(15));
    define(&database, "Paid/2", &second_shape()).await.unwrap();
    assert_eq!(total().await.unwrap(), json!(1500), "neither the state at hand nor a snapshot of the old shape is taken");
    append(&database, "a-1", ExpectedVersion::Any, vec![paid(6, 1, &json!({"amount": 13}))]).await.unwrap();
    let unlucky = total().await;
    assert!(matches!(&unlucky, Err(Error::HistoryUnreadable { version: 6, detail, .. }) if detail.contains("unlucky")), "{unlucky:?}");
    let before = database.aggregate("a", "1", At::Version(Version::new(5))).await.unwrap().0;
    assert_eq!(&*before.state, b"{\"total\":1500}");
    database.close().await.unwrap();
}

#[tokio::test]
async fn registering_keeps_the_rules() {
    let database = memory().await;
    let refused = async |name: &str, document: Value| {
        let answer = define(&database, name, &document).await;
        assert_eq!(database.definitions(Kind::Schema).await.len(), usize::from(database.definition(Kind::Schema, "Paid/1").await.is_ok()));
        answer.unwrap_err()
    };
    assert!(matches!(refused("Paid", first_shape()).await, Error::Invalid { field, .. } if field == "schema_version"));
    assert!(matches!(refused("Paid/0", first_shape()).await, Error::Invalid { .. }));
    assert!(matches!(refused("Paid/2", first_shape()).await, Error::InvalidDefinition(fault) if fault.detail.contains("next is 1")));
    assert!(matches!(refused("Paid/1", json!({"schema": {"type": "objekt"}})).await, Error::InvalidDefinition(_)));
    assert!(matches!(refused("Paid/1", json!({"scheme": {}})).await, Error::Invalid { .. }));
    define(&database, "Paid/1", &first_shape()).await.unwrap();
    let other = json!({"schema": {"type": "object"}});
    assert!(matches!(refused("Paid/1", other).await, Error::DefinitionExists { .. }));
    let stricter =
        json!({"schema": {"type": "object", "properties": {"amount": {"type": "integer", "minimum": 0}}, "required": ["amount", "by"]}});
    let Error::InvalidDefinition(fault) = refused("Paid/2", stricter.clone()).await else { panic!("it breaks what was promised") };
    let pointers: Vec<_> = fault.breaks.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert!(pointers.contains(&"/properties/amount/type"), "{fault:?}");
    assert!(fault.breaks.iter().any(|(_, detail)| detail.contains("by")), "{fault:?}");
    let broken = json!({"schema": {}, "upcast": "(data) => {"});
    let Error::InvalidDefinition(fault) = refused("Paid/2", broken).await else { panic!("it is no function") };
    assert!(fault.line.is_some(), "{fault:?}");
    let mut promised = stricter;
    promised["compatibility"] = json!("none");
    define(&database, "Paid/2", &promised).await.unwrap();
    database.close().await.unwrap();
}
