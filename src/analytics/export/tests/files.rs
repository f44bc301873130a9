//! What do files hold, and do they stay readable while events change their shape?

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Float64Type;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use parquet::basic::LogicalType;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::file::serialized_reader::SerializedFileReader;

use super::super::pick::Policy;
use super::super::pick::pick;
use super::super::session::Session;
use super::fixture::Found;
use super::fixture::World;
use super::fixture::batches;
use super::fixture::content;
use crate::analytics::columns::FieldType;
use crate::schema::SchemaDefinition;

async fn merge_all(session: &mut Session) {
    let policy = Policy { target_bytes: 1 << 20, today: "9999-01-01".to_owned() };
    while let Some(inputs) = pick(&session.manifest, &policy, &BTreeSet::new()) {
        session.merge(inputs).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_holds_what_the_table_of_its_category_has() {
    let mut world = World::new(1).await;
    let memory = Arc::new(InMemory::new());
    let mut session = world.session(Arc::clone(&memory) as _).await;
    world.append("order-2", r#"{"amount": 1.5, "by": "ä", "stream": "mine"}"#).await;
    world.append("order-1", r#"{"amount": 2, "paid": true}"#).await;
    world.append("order-1", "").await;
    world.flush(&mut session).await;
    let file = session.manifest.files.first().unwrap();
    assert_eq!(file.planned.path, "category=order/date=2026-01-01/factum-000000000002.parquet");
    let bytes = content(&memory, &file.planned.path).await;
    let batch = batches(&bytes).remove(0);
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let expected = [
        "position",
        "shard",
        "recorded_at",
        "occurred_at",
        "stream",
        "version",
        "type",
        "schema_version",
        "id",
        "tags",
        "data",
        "metadata",
        "amount",
        "by",
        "data_stream",
        "paid",
    ];
    assert_eq!(names, expected);
    let column = |name: &str| Arc::clone(batch.column_by_name(name).unwrap());
    let text =
        |name: &str, row: usize| arrow::compute::cast(&column(name), &DataType::Utf8).unwrap().as_string::<i32>().value(row).to_owned();
    assert_eq!((text("stream", 0), text("stream", 2)), ("order-1".to_owned(), "order-2".to_owned()));
    assert_eq!(column("position").as_primitive::<Int64Type>().values(), &[2, 3, 1]);
    assert_eq!(column("amount").as_primitive::<Float64Type>().value(0), 2.0);
    assert!(column("amount").is_null(1) && column("data").is_null(1));
    assert_eq!(
        (text("data", 0), text("by", 2), text("data_stream", 2)),
        (r#"{"amount": 2, "paid": true}"#.into(), "ä".into(), "mine".into())
    );
    assert!(column("paid").as_boolean().value(0) && column("paid").is_null(2));
    assert_eq!(column("recorded_at").as_primitive::<TimestampMicrosecondType>().value(0), 1_767_225_600_000_000);
    assert_eq!(column("id").data_type(), &DataType::FixedSizeBinary(16));
    assert_eq!(column("tags").as_list::<i32>().value(0).as_string::<i32>().value(0), "kind:test");
    let entry = (file.rows, file.bytes, file.positions.clone(), file.recorded);
    let times = (1_767_225_600_000_000, 1_767_225_600_000_000);
    assert_eq!(entry, (3, u64::try_from(bytes.len()).unwrap(), vec![Some((1, 3))], times));
}

#[tokio::test]
async fn a_file_tells_readers_what_they_may_pass_over() {
    let mut world = World::new(1).await;
    let memory = Arc::new(InMemory::new());
    let mut session = world.session(Arc::clone(&memory) as _).await;
    world.append_some(40).await;
    world.flush(&mut session).await;
    let bytes = content(&memory, &session.manifest.files[0].planned.path).await;
    let metadata = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required).parse_and_finish(&bytes).unwrap();
    let schema = metadata.file_metadata().schema_descr();
    let place = |name: &str| schema.columns().iter().position(|column| column.name() == name).unwrap();
    assert_eq!(schema.column(place("id")).logical_type_ref(), Some(&LogicalType::Uuid));
    let group = metadata.row_group(0);
    assert!(group.columns().iter().all(|column| matches!(column.compression(), parquet::basic::Compression::ZSTD(_))));
    let sorting: Vec<i32> = group.sorting_columns().unwrap().iter().map(|column| column.column_idx).collect();
    assert_eq!(sorting, [place("stream"), place("version")].map(|place| i32::try_from(place).unwrap()));
    for name in ["stream", "version", "position", "recorded_at", "occurred_at", "type", "amount"] {
        assert!(group.column(place(name)).statistics().is_some_and(|statistics| statistics.min_bytes_opt().is_some()), "{name}");
    }
    assert!(group.column(place("data")).statistics().is_none());
    let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
    let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
    let reader = SerializedFileReader::new_with_options(bytes.clone(), options).unwrap();
    let group = reader.get_row_group(0).unwrap();
    let streams = group.get_column_bloom_filter(place("stream")).unwrap();
    assert!(streams.check(&"cart-1") && !streams.check(&"cart-17"));
    assert!(group.get_column_bloom_filter(place("id")).is_some() && group.get_column_bloom_filter(place("data")).is_none());
}

/// Columns come, and widen, from flush to flush; old files stay as they are until they are merged, and then have the columns of today.
#[tokio::test]
async fn columns_that_come_or_widen_late_are_right_in_old_files_once_they_are_merged() {
    let mut world = World::new(1).await;
    let memory = Arc::new(InMemory::new());
    let mut session = world.session(Arc::clone(&memory) as _).await;
    for data in [r#"{"a": 1, "n": null}"#, r#"{"a": 2.5, "b": true}"#, r#"{"a": 3, "b": false, "c": "x"}"#, r#"{"a": "four", "b": [1 ]}"#] {
        world.append("order-1", data).await;
        world.flush(&mut session).await;
    }
    let types: Vec<Vec<FieldType>> = session
        .manifest
        .files
        .iter()
        .map(|file| session.manifest.columns_of(file).iter().map(|column| column.field_type).collect())
        .collect();
    let expected = [
        vec![FieldType::Bigint, FieldType::Null],
        vec![FieldType::Double, FieldType::Null, FieldType::Boolean],
        vec![FieldType::Double, FieldType::Null, FieldType::Boolean, FieldType::Text],
        vec![FieldType::Text, FieldType::Null, FieldType::Text, FieldType::Text],
    ];
    assert_eq!(types, expected);
    merge_all(&mut session).await;
    assert_eq!(session.manifest.files.len(), 1);
    let batch = batches(&content(&memory, &session.manifest.files[0].planned.path).await).remove(0);
    let texts = |name: &str| -> Vec<Option<String>> {
        let cast = arrow::compute::cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
        cast.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    };
    let some = |texts: [&str; 4]| texts.map(|text| (text != "-").then(|| text.to_owned())).to_vec();
    assert_eq!(texts("a"), some(["1", "2.5", "3", "four"]), "as they were written, and not as the narrower types had them");
    assert_eq!(texts("b"), some(["-", "true", "false", "[1 ]"]));
    assert_eq!((texts("c"), texts("n")), (some(["-", "-", "x", "-"]), some(["-", "-", "-", "-"])));
}

#[tokio::test]
async fn a_schema_makes_times_of_texts_in_new_files_and_in_merged_ones() {
    let mut world = World::new(1).await;
    let memory = Arc::new(InMemory::new());
    let mut session = world.session(Arc::clone(&memory) as _).await;
    world.append("order-1", r#"{"at": "2026-01-01T00:00:00Z"}"#).await;
    world.flush(&mut session).await;
    let schema = br#"{"schema": {"properties": {"at": {"type": "string", "format": "date-time"}, "note": {"type": "string"}}}}"#;
    world.schemas.apply(SchemaDefinition::parse("Changed", 1, schema).unwrap()).unwrap();
    world.append("order-1", r#"{"at": "2026-01-02T00:00:00Z"}"#).await;
    world.flush(&mut session).await;
    let types: Vec<Vec<FieldType>> = session
        .manifest
        .files
        .iter()
        .map(|file| session.manifest.columns_of(file).iter().map(|column| column.field_type).collect())
        .collect();
    assert_eq!(types, [vec![FieldType::Text], vec![FieldType::Timestamp, FieldType::Text]]);
    merge_all(&mut session).await;
    let batch = batches(&content(&memory, &session.manifest.files[0].planned.path).await).remove(0);
    let times = batch.column_by_name("at").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.values(), &[1_767_225_600_000_000, 1_767_312_000_000_000]);
}

#[tokio::test]
async fn merged_files_go_out_of_sight_at_once_and_stay_readable_for_a_while() {
    let mut world = World::new(1).await;
    let memory = Arc::new(InMemory::new());
    let mut session = world.session(Arc::clone(&memory) as _).await;
    for _ in 0..3 {
        world.append("order-1", "{}").await;
        world.flush(&mut session).await;
    }
    // A query that has begun, and goes on with these files.
    let published = session.tools.status.published().unwrap();
    merge_all(&mut session).await;
    assert_eq!(Found::read(&memory).await.files(), 1, "others see the merged one alone");
    for file in &*published.files {
        let path = Path::parse(&file.location).unwrap();
        assert_eq!(file.store.get(&path).await.unwrap().bytes().await.unwrap().len(), usize::try_from(file.bytes).unwrap());
        assert!(memory.get(&path).await.is_err());
        assert!(file.store.delete(&path).await.is_err(), "readers can't write");
    }
    session.sweep().await.unwrap();
    assert_eq!(session.manifest.retired.len(), 3, "within the grace");
    world.clock.advance(601);
    session.sweep().await.unwrap();
    let gone = Path::parse(&published.files[0].location).unwrap();
    assert!(published.files[0].store.get(&gone).await.is_err());
    assert!(!Found::read(&memory).await.paths().iter().any(|path| path.contains("retired")));
    world.assert_complete(&memory, "swept").await;
}

#[tokio::test]
async fn files_of_several_categories_have_no_typed_columns_but_say_the_category() {
    let mut world = World::new(1).await;
    let memory = Arc::new(InMemory::new());
    world.append_some(20).await;
    let (options, orders) =
        world.options(Arc::clone(&memory) as _, r#"{"partition_by": ["date"], "filter": {"categories": ["order", "cart"]}}"#);
    let mut session = super::super::runner::open(&options).await.unwrap();
    let mut gathered = super::super::gather::Gathered::behind(&session.manifest, options.spec.layout);
    options.log.replay(&mut gathered, &world.end()).await.unwrap();
    session.flush(gathered).await.unwrap();
    assert_eq!(session.manifest.files.len(), 1);
    let batch = batches(&content(&memory, "date=2026-01-01/factum-000000000002.parquet").await).remove(0);
    assert_eq!((batch.num_columns(), batch.schema().field(6).name().as_str()), (13, "category"));
    drop(orders);
    world.assert_complete(&memory, "by date alone").await;
}
