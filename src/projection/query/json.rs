//! How does a row read as JSON?

use factum_storage::Timestamp;
use uuid::Uuid;

use super::super::row::Row;
use super::super::spec::ColumnType;
use super::super::spec::Columns;
use super::super::value::Value;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;
use crate::subscription::time::push_timestamp;

/// Appends a row: its columns in the order of the definition, then `_version` and `_position`.
pub(crate) fn push_row(out: &mut Vec<u8>, row: &Row, columns: &Columns) {
    push_cells(out, row, columns);
    // Over the closing brace: a row has at least its key.
    out.pop();
    out.extend_from_slice(b",\"_version\":");
    push_number(out, row.version);
    out.extend_from_slice(b",\"_position\":");
    push_number(out, row.position);
    out.push(b'}');
}

/// Appends the columns of a row alone.
pub(crate) fn push_cells(out: &mut Vec<u8>, row: &Row, columns: &Columns) {
    out.push(b'{');
    for (place, (value, column)) in row.values.iter().zip(columns.list()).enumerate() {
        if place > 0 {
            out.push(b',');
        }
        push_string(out, &column.name);
        out.push(b':');
        push_value(out, value, column.column_type);
    }
    out.push(b'}');
}

/// Appends a value. A decimal is a number with all the digits of its column, so that nothing is rounded on the way.
pub(crate) fn push_value(out: &mut Vec<u8>, value: &Value, column_type: ColumnType) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Text(text) => push_string(out, text),
        Value::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Double(number) => match serde_json::to_vec(number) {
            Ok(text) => out.extend_from_slice(&text),
            Err(_) => out.extend_from_slice(b"null"),
        },
        Value::Decimal(number) => {
            let mut number = *number;
            if let ColumnType::Decimal { scale, .. } = column_type {
                number.rescale(scale);
            }
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Value::Boolean(boolean) => out.extend_from_slice(if *boolean { b"true" } else { b"false" }),
        Value::Timestamp(micros) => {
            out.push(b'"');
            push_timestamp(out, Timestamp::from_micros(*micros));
            out.push(b'"');
        }
        Value::Date(days) => {
            let mut text = Vec::with_capacity(27);
            push_timestamp(&mut text, Timestamp::from_micros(i64::from(*days) * 86_400_000_000));
            out.push(b'"');
            out.extend_from_slice(text.get(..10).unwrap_or_default());
            out.push(b'"');
        }
        Value::Uuid(bytes) => {
            out.push(b'"');
            out.extend_from_slice(Uuid::from_bytes(*bytes).hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
            out.push(b'"');
        }
        Value::Json(text) => out.extend_from_slice(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rust_decimal::Decimal;

    use super::*;

    #[test]
    fn values_read_as_promised() {
        let check = |value: Value, column_type, expected: &str| {
            let mut out = Vec::new();
            push_value(&mut out, &value, column_type);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        let decimal = ColumnType::Decimal { precision: 12, scale: 2 };
        check(Value::Null, decimal, "null");
        check(Value::Text(Arc::from("a\"b")), ColumnType::Text, r#""a\"b""#);
        check(Value::Integer(-5), ColumnType::Bigint, "-5");
        check(Value::Double(0.5), ColumnType::Double, "0.5");
        check(Value::Double(1e300), ColumnType::Double, "1e+300");
        check(Value::Decimal(Decimal::new(125, 1)), decimal, "12.50");
        check(Value::Decimal(Decimal::new(-5, 2)), decimal, "-0.05");
        check(Value::Boolean(true), ColumnType::Boolean, "true");
        check(Value::Timestamp(1_500_000), ColumnType::Timestamp, "\"1970-01-01T00:00:01.500000Z\"");
        check(Value::Date(19_844), ColumnType::Date, "\"2024-05-01\"");
        check(Value::Uuid([0xAB; 16]), ColumnType::Uuid, "\"abababab-abab-abab-abab-abababababab\"");
        check(Value::Json(Arc::from("{\"a\":[1]}")), ColumnType::Json, "{\"a\":[1]}");
    }
}
