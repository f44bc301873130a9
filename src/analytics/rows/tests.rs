//! Do events come out of the columns as they went in?

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::datatypes::Float64Type;
use arrow::datatypes::Int32Type;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use bytes::Bytes;
use factum_storage::Direction;
use factum_storage::EventId;
use factum_storage::ExpectedVersion;
use factum_storage::MemDisk;
use factum_storage::NewEvent;
use factum_storage::Reshaped;
use factum_storage::StreamAppend;
use factum_storage::StreamName;
use factum_storage::SystemClock;
use factum_storage::Timestamp;
use factum_storage::Transaction;

use super::*;
use crate::analytics::columns::FieldType;
use crate::shard;
use crate::shard::Write;

/// Events of the stream `order-7` as the log of shard 3 gives them back.
async fn recorded(data: &[&[u8]]) -> Vec<Event> {
    let new = |(number, data): (u8, &&[u8])| NewEvent {
        id: EventId::from_bytes([number; 16]),
        id_is_fresh: false,
        event_type: "Placed".into(),
        schema_version: 2,
        occurred_at: (number == 1).then_some(Timestamp::from_micros(5)),
        tags: if number == 1 { vec!["a".into(), "b:ü".into()] } else { Vec::new() },
        metadata: if number == 1 { Bytes::from_static(b"{\"m\":1}") } else { Bytes::new() },
        data: Bytes::copy_from_slice(data),
    };
    let stream = StreamName::new("order-7").unwrap();
    let append = StreamAppend { stream: stream.clone(), expected: ExpectedVersion::Any, events: (1..).zip(data).map(new).collect() };
    let storage = factum_storage::Options { new_log_id: [7; 16], ..factum_storage::Options::small() };
    let (disk, clock) = (Arc::new(MemDisk::new()), Arc::new(SystemClock));
    let options = shard::Options { shard: 3, disk, clock, queue_appends: 10, storage, lock: None };
    let shard = tokio::task::spawn_blocking(move || shard::open(options)).await.unwrap().unwrap();
    shard.write(Write::Transaction(Transaction { appends: vec![append], conditions: Vec::new() })).await.unwrap();
    let slice = shard.read_stream(stream, None, Direction::Forward, 1_000, 64 << 20).await.unwrap().unwrap();
    shard.close();
    shard.closed().await.unwrap();
    slice.events.into_iter().map(|record| Event { shard: 3, record }).collect()
}

fn observed(events: &[Event]) -> CategoryColumns {
    let mut columns = CategoryColumns::default();
    events.iter().for_each(|event| columns.observe(event));
    columns
}

fn batch(events: &[Event], wanted: &[Wanted], columns: &CategoryColumns) -> RecordBatch {
    let mut builder = BatchBuilder::new(wanted, columns, events.len());
    events.iter().for_each(|event| builder.push(event));
    assert_eq!(builder.rows(), events.len());
    let batch = builder.finish().unwrap();
    assert_eq!((builder.rows(), builder.bytes()), (0, 0));
    assert_eq!(batch.schema(), builder.schema);
    batch
}

/// The values of the one column of a member, as text.
async fn member(data: &[&[u8]], name: &str) -> (FieldType, Vec<Option<String>>) {
    let events = recorded(data).await;
    let columns = observed(&events);
    let place = columns.fields().iter().position(|field| field.member == name).unwrap();
    let batch = batch(&events, &[Wanted::Member(place)], &columns);
    let column = arrow::compute::cast(batch.column(0), &DataType::Utf8).unwrap();
    let texts = column.as_string::<i32>();
    (columns.fields()[place].field_type(), texts.iter().map(|text| text.map(str::to_owned)).collect())
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| if *text == "null" { None } else { Some((*text).to_owned()) }).collect()
}

#[tokio::test]
async fn what_every_event_has_comes_out() {
    let events = recorded(&[br#"{"a": 1}"#, b""]).await;
    let batch = batch(&events, &table_columns(None), &CategoryColumns::default());
    let names: Vec<&str> = EnvelopeColumn::ALL.iter().map(|column| column.name()).collect();
    assert_eq!(names, crate::analytics::columns::ENVELOPE);
    assert!(EnvelopeColumn::ALL.iter().all(|column| EnvelopeColumn::named(column.name()) == Some(*column)));
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let text = |name: &str, row: usize| column(name).as_string_view().value(row).to_owned();
    assert_eq!(column("position").as_primitive::<Int64Type>().values(), &[1, 2]);
    assert_eq!(column("version").as_primitive::<Int64Type>().values(), &[1, 2]);
    assert_eq!(column("shard").as_primitive::<Int32Type>().values(), &[3, 3]);
    assert_eq!(column("schema_version").as_primitive::<Int32Type>().values(), &[2, 2]);
    let recorded_at = column("recorded_at").as_primitive::<TimestampMicrosecondType>().value(1);
    assert_eq!(recorded_at, events[1].record.recorded_at().as_micros());
    assert_eq!(column("occurred_at").as_primitive::<TimestampMicrosecondType>().values(), &[5, recorded_at]);
    assert_eq!((text("stream", 0), text("category", 0), text("type", 1)), ("order-7".into(), "order".into(), "Placed".into()));
    assert_eq!(text("id", 1), "02020202-0202-0202-0202-020202020202");
    assert_eq!((text("data", 0), text("metadata", 0)), (r#"{"a": 1}"#.into(), r#"{"m":1}"#.into()));
    assert!(column("data").is_null(1) && column("metadata").is_null(1));
    let tags = column("tags").as_list::<i32>();
    assert_eq!(tags.value(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b:ü"]);
    assert!(tags.is_valid(1) && tags.value(1).is_empty());
}

#[tokio::test]
async fn values_fit_the_type_that_all_of_them_have() {
    let rows: &[&[u8]] = &[br#"{"a": null}"#, br#"{"a": 1}"#, br#"{}"#, br#"{"a": -2}"#];
    assert_eq!(member(rows, "a").await, (FieldType::Bigint, some(&["null", "1", "null", "-2"])));
    let rows: &[&[u8]] = &[br#"{"a": 1}"#, br#"{"a": 0.25}"#, br#"{"a": 18446744073709551616}"#];
    assert_eq!(member(rows, "a").await, (FieldType::Double, some(&["1.0", "0.25", "1.8446744073709552e19"])));
    let rows: &[&[u8]] = &[br#"{"a": true}"#, br#"{"a": false}"#, br#"{"a": null}"#];
    assert_eq!(member(rows, "a").await, (FieldType::Boolean, some(&["true", "false", "null"])));
    let rows: &[&[u8]] = &[br#"{"a": "x\ty"}"#, br#"{"a": 1.50}"#, br#"{"a": {"b" : [1]}}"#, br#"{"a": true}"#, br#"{"a": "null"}"#];
    let (field_type, values) = member(rows, "a").await;
    assert_eq!(field_type, FieldType::Text);
    assert_eq!(values, [Some("x\ty"), Some("1.50"), Some("{\"b\" : [1]}"), Some("true"), Some("null")].map(|text| text.map(str::to_owned)));
}

#[tokio::test]
async fn a_time_is_one_where_a_schema_says_so() {
    let events = recorded(&[br#"{"at": "2026-01-01T01:00:00.5+01:00"}"#, br#"{"at": null}"#]).await;
    let mut columns = observed(&events);
    assert_eq!(batch(&events, &[Wanted::Member(0)], &columns).column(0).as_string_view().value(0), "2026-01-01T01:00:00.5+01:00");
    columns.declare([("at".to_owned(), FieldType::Timestamp)]);
    let batch = batch(&events, &[Wanted::Member(0)], &columns);
    let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
    assert_eq!((times.value(0), times.is_null(1)), (1_767_225_600_500_000, true));
}

#[tokio::test]
async fn broken_data_is_null_in_every_typed_column_whichever_are_read() {
    let broken = br#"{"a": 7, "b": 8, "c": "#;
    let events = recorded(&[br#"{"a": 1, "b": 2}"#, broken, b"\xff\xfe{", b"[1]", b"7"]).await;
    let columns = observed(&events);
    for wanted in [&[Wanted::Member(0)][..], &[Wanted::Member(1), Wanted::Member(0)]] {
        let batch = batch(&events, wanted, &columns);
        for column in batch.columns() {
            assert_eq!(column.null_count(), 4);
        }
    }
    let data = batch(&events, &[Wanted::Envelope(EnvelopeColumn::Data)], &columns);
    let data = data.column(0).as_string_view();
    assert_eq!((data.value(1), data.value(2)), (r#"{"a": 7, "b": 8, "c": "#, "\u{fffd}\u{fffd}{"));
}

#[tokio::test]
async fn values_that_came_after_the_columns_are_null_and_no_error() {
    let events = recorded(&[br#"{"i": "x", "d": {}, "b": 1, "t": "x"}"#, br#"{"i": 1.5, "d": "1", "b": "true", "t": 5}"#]).await;
    let mut columns = CategoryColumns::default();
    let declared = [("i", FieldType::Bigint), ("d", FieldType::Double), ("b", FieldType::Boolean), ("t", FieldType::Timestamp)];
    columns.declare(declared.map(|(name, field_type)| (name.to_owned(), field_type)));
    let wanted: Vec<Wanted> = (0..4).map(Wanted::Member).collect();
    assert!(batch(&events, &wanted, &columns).columns().iter().all(|column| column.null_count() == 2));
}

#[tokio::test]
async fn of_a_member_that_is_there_twice_the_first_counts() {
    assert_eq!(member(&[br#"{"a": 1, "b": 0, "a": 2}"#], "a").await.1, some(&["1"]));
    assert_eq!(member(&[br#"{"\u0061": 3}"#], "a").await.1, some(&["3"]));
}

#[tokio::test]
async fn many_wanted_members_are_told_apart() {
    let members: Vec<String> = (0..1_000).map(|at| format!("\"m{at}\": {at}")).collect();
    let data = format!("{{{}}}", members.join(", "));
    let events = recorded(&[data.as_bytes(), b"{\"m7\": null}"]).await;
    let columns = observed(&events);
    let batch = batch(&events, &table_columns(Some(&columns)), &columns);
    assert_eq!(batch.num_columns(), 1_013);
    for at in 0..1_000 {
        let column = batch.column(13 + at).as_primitive::<Int64Type>();
        assert_eq!((column.value(0), column.is_null(1)), (i64::try_from(at).unwrap(), true));
    }
}

#[tokio::test]
async fn no_column_still_counts_rows() {
    let events = recorded(&[b"{}", b"nonsense", b"{}"]).await;
    let batch = batch(&events, &[], &CategoryColumns::default());
    assert_eq!((batch.num_rows(), batch.num_columns()), (3, 0));
}

#[tokio::test]
async fn an_event_that_has_no_newest_shape_has_no_data() {
    let mut events = recorded(&[br#"{"a": 1}"#, br#"{"a": 2}"#]).await;
    let columns = observed(&events);
    events[0].record = events[0].record.clone().reshaped(Reshaped::Failed("no".into()));
    let batch = batch(&events, &[Wanted::Envelope(EnvelopeColumn::Data), Wanted::Member(0)], &columns);
    assert!(batch.column(0).is_null(0) && batch.column(1).is_null(0));
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(1), 2);
}

#[tokio::test]
async fn doubles_are_exact() {
    let rows: &[&[u8]] = &[br#"{"a": 0.1}"#, br#"{"a": 1e22}"#, br#"{"a": 5e-324}"#, br#"{"a": 123456.789012345678}"#];
    let events = recorded(rows).await;
    let columns = observed(&events);
    let batch = batch(&events, &[Wanted::Member(0)], &columns);
    assert_eq!(batch.column(0).as_primitive::<Float64Type>().values(), &[0.1, 1e22, 5e-324, 123_456.789_012_345_68]);
}
