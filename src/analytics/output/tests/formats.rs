//! Each format as a whole, read back by another reader than the one that wrote it where there is one.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::DictionaryArray;
use arrow::array::Int64Array;
use arrow::array::IntervalMonthDayNanoArray;
use arrow::array::NullArray;
use arrow::array::RecordBatch;
use arrow::array::RecordBatchOptions;
use arrow::array::StringViewArray;
use arrow::array::TimestampMicrosecondArray;
use arrow::array::UnionArray;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Int32Type;
use arrow::datatypes::Int64Type;
use arrow::datatypes::IntervalMonthDayNano;
use arrow::datatypes::Schema;
use arrow::datatypes::UnionFields;
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::ChunkReader;

use super::OutputFormat;
use super::answer;
use super::batch;
use super::collect;
use super::of_batches;
use super::text;

fn people() -> Vec<RecordBatch> {
    let batch = |names: Vec<Option<&str>>, ages: Vec<Option<i64>>| {
        batch(vec![("name", Arc::new(StringViewArray::from(names)) as ArrayRef), ("age", Arc::new(Int64Array::from(ages)))])
    };
    vec![batch(vec![Some("Ada"), None], vec![Some(36), Some(1)]), batch(vec![], vec![]), batch(vec![Some("Grace, H.")], vec![None])]
}

#[tokio::test]
async fn json_has_columns_rows_and_the_cursor() {
    let json = text(of_batches(people()), OutputFormat::Json).await;
    let lines = [
        r#"{"columns":[{"name":"name","type":"text"},{"name":"age","type":"bigint"}],"rows":["#,
        r#"["Ada",36],"#,
        "[null,1],",
        r#"["Grace, H.",null]"#,
        r#"],"cursor":"42"}"#,
    ];
    assert_eq!(json.lines().collect::<Vec<_>>(), lines);
    let none = text(answer(people()[0].schema(), Vec::new()), OutputFormat::Json).await;
    let none: serde_json::Value = serde_json::from_str(&none).unwrap();
    assert_eq!((&none["rows"], &none["columns"][1]["type"]), (&serde_json::json!([]), &serde_json::json!("bigint")));
}

#[tokio::test]
async fn lines_and_csv() {
    let lines = text(of_batches(people()), OutputFormat::Ndjson).await;
    assert_eq!(lines, "{\"name\":\"Ada\",\"age\":36}\n{\"name\":null,\"age\":1}\n{\"name\":\"Grace, H.\",\"age\":null}\n");
    assert_eq!(text(of_batches(people()), OutputFormat::Csv).await, "name,age\nAda,36\n,1\n\"Grace, H.\",\n");
    assert_eq!(text(answer(people()[0].schema(), Vec::new()), OutputFormat::Ndjson).await, "");
    assert_eq!(text(answer(people()[0].schema(), Vec::new()), OutputFormat::Csv).await, "name,age\n");
}

/// Rows of no columns, and two columns of one name.
#[tokio::test]
async fn odd_shapes_are_rows_all_the_same() {
    let options = RecordBatchOptions::new().with_row_count(Some(2));
    let empty = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).unwrap();
    assert_eq!(
        text(of_batches(vec![empty.clone()]), OutputFormat::Json).await,
        "{\"columns\":[],\"rows\":[\n[],\n[]\n],\"cursor\":\"42\"}\n"
    );
    assert_eq!(text(of_batches(vec![empty]), OutputFormat::Ndjson).await, "{}\n{}\n");
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let twice = batch(vec![("id", Arc::clone(&one)), ("id", one)]);
    assert_eq!(text(of_batches(vec![twice]), OutputFormat::Ndjson).await, "{\"id\":1,\"id_2\":1}\n");
}

#[tokio::test]
async fn an_arrow_stream_is_read_back() {
    let bytes = collect(of_batches(people()), OutputFormat::Arrow).await;
    let reader = StreamReader::try_new(Cursor::new(bytes), None).unwrap();
    let schema = reader.schema();
    assert_eq!(schema.metadata().get("factum.cursor").map(String::as_str), Some("42"));
    assert_eq!(schema.field(0).data_type(), &DataType::Utf8);
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    assert_eq!(batches[0].column(0).as_string::<i32>().value(0), "Ada");
    assert!(batches[1].column(1).is_null(0));
    // Of no rows there is a schema.
    let bytes = collect(answer(people()[0].schema(), Vec::new()), OutputFormat::Arrow).await;
    let reader = StreamReader::try_new(Cursor::new(bytes), None).unwrap();
    assert_eq!((reader.schema().fields().len(), reader.count()), (2, 0));
}

#[tokio::test]
async fn a_parquet_file_is_read_back() {
    let bytes = Bytes::from(collect(of_batches(people()), OutputFormat::Parquet).await);
    assert!(bytes.get_bytes(0, 4).unwrap().as_ref() == b"PAR1");
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let metadata = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap();
    assert!(metadata.iter().any(|pair| pair.key == "factum.cursor" && pair.value.as_deref() == Some("42")));
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    assert_eq!(batches[0].column(1).as_primitive::<Int64Type>().value(0), 36);
}

/// What few readers know is text in a file, and so are intervals; times and numbers are what they were.
#[tokio::test]
async fn columns_hold_what_every_reader_knows() {
    let fields = UnionFields::try_new([0, 1], [Field::new("null", DataType::Null, true), Field::new("str", DataType::Utf8, true)]).unwrap();
    let children: Vec<ArrayRef> = vec![Arc::new(NullArray::new(2)), Arc::new(arrow::array::StringArray::from(vec![None, Some("x\"y")]))];
    let union = UnionArray::try_new(fields, ScalarBuffer::from(vec![0_i8, 1]), None, children).unwrap();
    let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None].into_iter().collect();
    let intervals = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 0, 0); 2]);
    let times = TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("json", Arc::new(union)),
        ("dictionary", Arc::new(dictionary)),
        ("interval", Arc::new(intervals)),
        ("time", Arc::new(times.clone())),
    ];
    let batch = batch(columns);
    let from_arrow = StreamReader::try_new(Cursor::new(collect(of_batches(vec![batch.clone()]), OutputFormat::Arrow).await), None).unwrap();
    let from_parquet = Bytes::from(collect(of_batches(vec![batch]), OutputFormat::Parquet).await);
    let from_parquet = ParquetRecordBatchReaderBuilder::try_new(from_parquet).unwrap().build().unwrap();
    for read in [from_arrow.map(Result::unwrap).next().unwrap(), from_parquet.map(Result::unwrap).next().unwrap()] {
        let json = read.column(0).as_string::<i32>();
        assert!(json.is_null(0) && json.value(1) == "x\"y", "{json:?}");
        let dictionary = read.column(1).as_string::<i32>();
        assert!(dictionary.value(0) == "a" && dictionary.is_null(1), "{dictionary:?}");
        assert_eq!(read.column(2).as_string::<i32>().value(1), "P1M");
        assert_eq!(read.column(3).as_ref(), &times as &dyn Array);
    }
}
