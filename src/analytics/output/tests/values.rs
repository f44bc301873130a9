//! Each type of value, in JSON and in CSV.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BinaryArray;
use arrow::array::BooleanArray;
use arrow::array::Date32Array;
use arrow::array::Decimal128Array;
use arrow::array::Decimal256Array;
use arrow::array::DictionaryArray;
use arrow::array::DurationMicrosecondArray;
use arrow::array::FixedSizeBinaryArray;
use arrow::array::Float32Array;
use arrow::array::Float64Array;
use arrow::array::Int8Array;
use arrow::array::Int64Array;
use arrow::array::IntervalMonthDayNanoArray;
use arrow::array::ListArray;
use arrow::array::MapBuilder;
use arrow::array::NullArray;
use arrow::array::StringArray;
use arrow::array::StringBuilder;
use arrow::array::StringViewArray;
use arrow::array::StructArray;
use arrow::array::Time64MicrosecondArray;
use arrow::array::TimestampMicrosecondArray;
use arrow::array::TimestampNanosecondArray;
use arrow::array::TimestampSecondArray;
use arrow::array::UInt64Array;
use arrow::array::UnionArray;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Fields;
use arrow::datatypes::Int32Type;
use arrow::datatypes::Int64Type;
use arrow::datatypes::IntervalMonthDayNano;
use arrow::datatypes::UnionFields;
use arrow::datatypes::i256;

use super::OutputFormat;
use super::batch;
use super::of_batches;
use super::text;

/// The values of one column as JSON and as CSV, each a text.
async fn check(array: ArrayRef, json: &[&str], csv: &[&str]) {
    let batch = batch(vec![("c", array)]);
    let lines = text(of_batches(vec![batch.clone()]), OutputFormat::Ndjson).await;
    let expected: Vec<String> = json.iter().map(|value| format!("{{\"c\":{value}}}")).collect();
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    let table = text(of_batches(vec![batch]), OutputFormat::Csv).await;
    assert_eq!(table, format!("c\n{}\n", csv.join("\n")));
    // Whatever stands there, a reader of JSON can read it.
    for line in lines.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[tokio::test]
async fn numbers_keep_all_their_digits() {
    let ints = Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), Some(0), None]);
    check(
        Arc::new(ints),
        &["-9223372036854775808", "9223372036854775807", "0", "null"],
        &["-9223372036854775808", "9223372036854775807", "0", "\"\""],
    )
    .await;
    check(Arc::new(UInt64Array::from(vec![u64::MAX])), &["18446744073709551615"], &["18446744073709551615"]).await;
    check(Arc::new(Int8Array::from(vec![-128])), &["-128"], &["-128"]).await;
    let decimals = Decimal128Array::from(vec![1250, -5, 0]).with_precision_and_scale(12, 2).unwrap();
    check(Arc::new(decimals), &["12.50", "-0.05", "0.00"], &["12.50", "-0.05", "0.00"]).await;
    let wide = Decimal256Array::from(vec![i256::from_i128(i128::MAX)]).with_precision_and_scale(76, 0).unwrap();
    let digits = i128::MAX.to_string();
    check(Arc::new(wide), &[&digits], &[&digits]).await;
    let doubles = Float64Array::from(vec![0.5, 1.0, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
    check(Arc::new(doubles), &["0.5", "1.0", "1e+300", "null", "null", "null"], &["0.5", "1.0", "1e+300", "NaN", "Infinity", "-Infinity"])
        .await;
    check(Arc::new(Float32Array::from(vec![0.1])), &["0.1"], &["0.1"]).await;
    check(Arc::new(BooleanArray::from(vec![true, false])), &["true", "false"], &["true", "false"]).await;
    check(Arc::new(NullArray::new(1)), &["null"], &["\"\""]).await;
}

#[tokio::test]
async fn texts_are_escaped() {
    let texts = || vec![Some("plain"), Some("a\"b,c\nd\\"), Some(""), Some(" x"), None, Some("\u{1}\u{1F600}")];
    let json = ["\"plain\"", r#""a\"b,c\nd\\""#, "\"\"", "\" x\"", "null", "\"\\u0001\u{1F600}\""];
    let csv = ["plain", "\"a\"\"b,c\nd\\\"", "\"\"", "\" x\"", "\"\"", "\u{1}\u{1F600}"];
    check(Arc::new(StringArray::from(texts())), &json, &csv).await;
    check(Arc::new(StringViewArray::from(texts())), &json, &csv).await;
    let dictionary: DictionaryArray<Int32Type> = texts().into_iter().collect();
    check(Arc::new(dictionary), &json, &csv).await;
    check(Arc::new(BinaryArray::from(vec![b"\x00\xff".as_slice()])), &["\"AP8=\""], &["AP8="]).await;
    let fixed = FixedSizeBinaryArray::try_from_iter([[1_u8, 2]].iter()).unwrap();
    check(Arc::new(fixed), &["\"AQI=\""], &["AQI="]).await;
}

#[tokio::test]
async fn times_are_in_utc_with_microseconds() {
    let time = "2026-11-22T18:41:54.123456Z";
    let quoted = format!("\"{time}\"");
    let micros = 1_795_372_914_123_456;
    check(Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")), &[&quoted], &[time]).await;
    check(Arc::new(TimestampMicrosecondArray::from(vec![micros])), &[&quoted], &[time]).await;
    // The zone says how it is shown elsewhere; the instant is the same.
    check(Arc::new(TimestampNanosecondArray::from(vec![micros * 1_000 + 999]).with_timezone("+05:00")), &[&quoted], &[time]).await;
    let far = TimestampSecondArray::from(vec![253_402_300_800]);
    check(Arc::new(far), &["\"+10000-01-01T00:00:00.000000Z\""], &["+10000-01-01T00:00:00.000000Z"]).await;
    check(Arc::new(Date32Array::from(vec![20_779, -1])), &["\"2026-11-22\"", "\"1969-12-31\""], &["2026-11-22", "1969-12-31"]).await;
    check(Arc::new(Time64MicrosecondArray::from(vec![45_296_000_001])), &["\"12:34:56.000001\""], &["12:34:56.000001"]).await;
    check(Arc::new(DurationMicrosecondArray::from(vec![90_500_000])), &["\"PT90.5S\""], &["PT90.5S"]).await;
    let interval = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(14, 3, 4_000_000_000)]);
    check(Arc::new(interval), &["\"P14M3DT4S\""], &["P14M3DT4S"]).await;
}

#[tokio::test]
async fn nested_values_are_json() {
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1), None]), Some(vec![]), None]);
    check(Arc::new(list), &["[1,null]", "[]", "null"], &["\"[1,null]\"", "[]", "\"\""]).await;
    let fields = Fields::from(vec![Field::new("a\"", DataType::Int64, true), Field::new("b", DataType::Utf8, true)]);
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![Some(1), None])), Arc::new(StringArray::from(vec!["x", "y"]))];
    let structure = StructArray::new(fields, columns, None);
    check(
        Arc::new(structure),
        &[r#"{"a\"":1,"b":"x"}"#, r#"{"a\"":null,"b":"y"}"#],
        &[r#""{""a\"""":1,""b"":""x""}""#, r#""{""a\"""":null,""b"":""y""}""#],
    )
    .await;
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Array::builder(1));
    map.keys().append_value("k");
    map.values().append_value(7);
    map.append(true).unwrap();
    check(Arc::new(map.finish()), &[r#"{"k":7}"#], &[r#""{""k"":7}""#]).await;
}

/// What `json_get` gives: a union whose lists and objects are marked as JSON.
#[tokio::test]
async fn a_union_is_the_value_that_it_holds() {
    let json = [("ARROW:extension:name".to_owned(), "arrow.json".to_owned())];
    let fields = UnionFields::try_new(
        [0, 1, 2, 3],
        [
            Field::new("null", DataType::Null, true),
            Field::new("int", DataType::Int64, true),
            Field::new("str", DataType::Utf8, true),
            Field::new("object", DataType::Utf8, true).with_metadata(json.into()),
        ],
    )
    .unwrap();
    let children: Vec<ArrayRef> = vec![
        Arc::new(NullArray::new(5)),
        Arc::new(Int64Array::from(vec![None, Some(5), None, None, None])),
        Arc::new(StringArray::from(vec![None, None, Some("{text}"), None, None])),
        Arc::new(StringArray::from(vec![None, None, None, Some("{\n\"a\": [1]}"), Some("broken {")])),
    ];
    let array = UnionArray::try_new(fields, ScalarBuffer::from(vec![0_i8, 1, 2, 3, 3]), None, children).unwrap();
    let expected = ["null", "5", "\"{text}\"", "{ \"a\": [1]}", "\"broken {\""];
    let csv = ["\"\"", "5", "{text}", "\"{ \"\"a\"\": [1]}\"", "broken {"];
    check(Arc::new(array), &expected, &csv).await;
}
