//! Do bytes mean what values meant, in the same order?

use std::cmp::Ordering;

use factum_storage::disk::sim::Rng;
use proptest::prelude::*;

use super::super::encoding;
use super::super::sortable::behind;
use super::super::sortable::push_sortable;
use super::super::sortable::push_text_prefix;
use super::*;

fn sortable(value: &Value, column_type: ColumnType) -> Vec<u8> {
    let mut out = Vec::new();
    push_sortable(&mut out, value, column_type);
    out
}

/// The order of values as a reader would say it; nulls last.
pub(crate) fn order(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Null, _) | (_, Value::Null) => one.is_null().cmp(&other.is_null()),
        (Value::Text(one), Value::Text(other)) => one.cmp(other),
        (Value::Integer(one), Value::Integer(other)) | (Value::Timestamp(one), Value::Timestamp(other)) => one.cmp(other),
        (Value::Double(one), Value::Double(other)) => one.partial_cmp(other).unwrap(),
        (Value::Decimal(one), Value::Decimal(other)) => one.cmp(other),
        (Value::Boolean(one), Value::Boolean(other)) => one.cmp(other),
        (Value::Date(one), Value::Date(other)) => one.cmp(other),
        (Value::Uuid(one), Value::Uuid(other)) => one.cmp(other),
        other => panic!("values of two types: {other:?}"),
    }
}

const DECIMAL: ColumnType = ColumnType::Decimal { precision: 28, scale: 4 };

fn pair_of_one_type() -> impl Strategy<Value = (Value, Value, ColumnType)> {
    let or_null = |strategy: BoxedStrategy<Value>| prop_oneof![1 => Just(Value::Null), 9 => strategy].boxed();
    let pair = move |strategy: BoxedStrategy<Value>, column_type| (or_null(strategy.clone()), or_null(strategy), Just(column_type)).boxed();
    let text = prop::collection::vec(prop::sample::select(vec!['\0', '\u{1}', 'a', 'b', 'ü', '\u{10FFFF}']), 0..6);
    let text = text.prop_map(|letters| Value::Text(Arc::from(letters.into_iter().collect::<String>()))).boxed();
    let integer = prop_oneof![any::<i64>(), -3..3_i64].boxed();
    let double = prop_oneof![any::<f64>(), -2.0..2.0_f64].prop_filter("finite, and not -0", |number| number.is_finite() && *number != 0.0);
    let decimal = (any::<i64>(), 0..=4_u32).prop_map(|(mantissa, scale)| Value::Decimal(Decimal::new(mantissa, scale)));
    prop_oneof![
        pair(text, ColumnType::Text),
        pair(integer.clone().prop_map(Value::Integer).boxed(), ColumnType::Bigint),
        pair(integer.prop_map(Value::Timestamp).boxed(), ColumnType::Timestamp),
        pair(any::<i32>().prop_map(Value::Date).boxed(), ColumnType::Date),
        pair(double.prop_map(Value::Double).boxed(), ColumnType::Double),
        pair(decimal.boxed(), DECIMAL),
        pair(any::<bool>().prop_map(Value::Boolean).boxed(), ColumnType::Boolean),
        pair(any::<[u8; 16]>().prop_map(Value::Uuid).boxed(), ColumnType::Uuid),
    ]
}

proptest! {
    #[test]
    fn sortable_bytes_sort_as_values_do((one, other, column_type) in pair_of_one_type(), tail in any::<[u8; 2]>()) {
        let expected = order(&one, &other);
        prop_assert_eq!(sortable(&one, column_type).cmp(&sortable(&other, column_type)), expected);
        // What stands behind a value decides only between equal ones.
        let (mut longer, mut other_longer) = (sortable(&one, column_type), sortable(&other, column_type));
        longer.push(tail[0]);
        other_longer.push(tail[1]);
        prop_assert_eq!(longer.cmp(&other_longer), expected.then(tail[0].cmp(&tail[1])));
    }

    #[test]
    fn a_prefix_is_found_as_a_range((one, other, column_type) in pair_of_one_type()) {
        if let (Value::Text(text), Value::Text(prefix)) = (&one, &other) {
            let mut start = vec![super::super::sortable::PRESENT];
            push_text_prefix(&mut start, prefix);
            let end = behind(start.clone());
            let bytes = sortable(&one, column_type);
            prop_assert_eq!(text.starts_with(&**prefix), start <= bytes && bytes < end);
        }
    }
}

#[test]
fn rows_read_back() {
    let columns = columns();
    for seed in seeds(500) {
        let mut rng = Rng::new(seed);
        let row = any_row(&mut rng, &columns, key(seed), seed);
        let mut bytes = Vec::new();
        encoding::push_row(&mut bytes, &row, &columns).unwrap();
        assert_eq!(encoding::row(&bytes, &columns).unwrap(), row, "SEED={seed}");
        for (place, value) in row.values.iter().enumerate() {
            assert_eq!(encoding::value_at(&bytes, &columns, place).unwrap(), *value, "SEED={seed} place {place}");
        }
        for end in 0..bytes.len() {
            assert!(encoding::row(&bytes[..end], &columns).is_err(), "SEED={seed}: cut at {end}");
        }
    }
}

#[test]
fn a_value_of_another_type_is_refused() {
    let columns = columns();
    let mut row = Row::blank(&columns, key(1));
    row.values[3] = Value::Text(Arc::from("many"));
    assert_eq!(encoding::push_row(&mut Vec::new(), &row, &columns), Err("column count cannot hold Text(\"many\")".to_owned()));
}

/// The bytes of files that are there already: another encoding is another format.
#[test]
fn the_encoding_is_the_one_that_was_promised() {
    let values = vec![
        Value::Text(Arc::from("d-1")),
        Value::Null,
        Value::Decimal(Decimal::new(1250, 2)),
        Value::Integer(-300),
        Value::Integer(7),
        Value::Double(0.5),
        Value::Boolean(true),
        Value::Timestamp(1_000_000),
        Value::Date(19_844),
        Value::Uuid([0xAB; 16]),
        Value::Json(Arc::from("[1]")),
    ];
    let row = Row { values: values.clone().into_boxed_slice(), version: 3, position: 300 };
    let mut bytes = Vec::new();
    encoding::push_row(&mut bytes, &row, &columns()).unwrap();
    let expected = "01 03 ac02 0200 03642d31 c413 d704 0e 000000000000e03f 01 8089 7a 88b602 abababababababababababababababab 035b315d";
    assert_eq!(hex(&bytes), expected.replace(' ', ""));
    let mut sorted = Vec::new();
    for (value, column) in values.iter().zip(columns().list()) {
        push_sortable(&mut sorted, value, column.column_type);
    }
    let expected = "01642d310001 02 01800000000000000000000000000004e2 017ffffffffffffed4 018000000000000007 01bfe0000000000000 0101 \
                    0180000000000f4240 018000000000004d84 01abababababababababababababababab 01";
    assert_eq!(hex(&sorted), expected.replace(' ', ""));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
