//! How does a value become bytes that sort as the value does? See `docs/format.md`, "Views".
//!
//! No encoding is the beginning of another one of the same type, so encodings can stand behind each other and still sort.

use rust_decimal::Decimal;

use super::super::super::spec::ColumnType;
use super::super::super::value::Value;

/// In front of what is not null.
pub(crate) const PRESENT: u8 = 1;
/// Null sorts behind everything else, as in Postgres.
pub(crate) const NULL: u8 = 2;

/// Appends a value of a column of this type. JSON has no order: all that is kept of it is whether it is there.
pub(crate) fn push_sortable(out: &mut Vec<u8>, value: &Value, column_type: ColumnType) {
    out.push(if value.is_null() { NULL } else { PRESENT });
    match value {
        Value::Null | Value::Json(_) => {}
        Value::Text(text) => {
            push_text_prefix(out, text);
            out.extend_from_slice(&[0, 1]);
        }
        Value::Integer(number) | Value::Timestamp(number) => push_integer(out, *number),
        Value::Date(days) => push_integer(out, i64::from(*days)),
        Value::Double(number) => {
            let bits = number.to_bits();
            // Negative numbers sort the other way round; all of them come before the positive ones.
            let flipped = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
            out.extend_from_slice(&flipped.to_be_bytes());
        }
        Value::Decimal(number) => {
            let mantissa = mantissa_at(*number, scale_of(column_type));
            out.extend_from_slice(&(mantissa ^ i128::MIN).to_be_bytes());
        }
        Value::Boolean(boolean) => out.push(u8::from(*boolean)),
        Value::Uuid(bytes) => out.extend_from_slice(bytes),
    }
}

/// How many bytes at the beginning are the encoding of a value of a column of this type.
pub(super) fn length(bytes: &[u8], column_type: ColumnType) -> Option<usize> {
    if *bytes.first()? == NULL {
        return Some(1);
    }
    let length = match column_type {
        ColumnType::Text => {
            let mut at = 1;
            loop {
                at += bytes.get(at..)?.iter().position(|byte| *byte == 0)? + 2;
                if *bytes.get(at - 1)? == 1 {
                    break at;
                }
            }
        }
        ColumnType::Bigint | ColumnType::Integer | ColumnType::Double | ColumnType::Timestamp | ColumnType::Date => 9,
        ColumnType::Decimal { .. } | ColumnType::Uuid => 17,
        ColumnType::Boolean => 2,
        ColumnType::Json => 1,
    };
    Some(length)
}

/// Appends what the encodings of all texts with this beginning have behind [`PRESENT`].
pub(crate) fn push_text_prefix(out: &mut Vec<u8>, text: &str) {
    if !text.as_bytes().contains(&0) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for byte in text.bytes() {
        out.push(byte);
        if byte == 0 {
            out.push(0xFF);
        }
    }
}

fn push_integer(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(&(number ^ i64::MIN).to_be_bytes());
}

/// How many digits a column has behind the point.
pub(super) fn scale_of(column_type: ColumnType) -> u32 {
    match column_type {
        ColumnType::Decimal { scale, .. } => scale,
        ColumnType::Text
        | ColumnType::Bigint
        | ColumnType::Integer
        | ColumnType::Double
        | ColumnType::Boolean
        | ColumnType::Timestamp
        | ColumnType::Date
        | ColumnType::Uuid
        | ColumnType::Json => 0,
    }
}

/// The number in units of the column's last digit. What no column of 28 digits can hold becomes the greatest or smallest there is.
pub(super) fn mantissa_at(number: Decimal, scale: u32) -> i128 {
    let own = number.scale();
    if own > scale {
        return mantissa_at(number.round_dp(scale), scale);
    }
    let factor = 10_i128.checked_pow(scale - own);
    let saturated = if number.is_sign_negative() { i128::MIN } else { i128::MAX };
    if number.is_zero() { 0 } else { factor.and_then(|factor| number.mantissa().checked_mul(factor)).unwrap_or(saturated) }
}

/// The smallest bytes behind everything that begins with `prefix`; empty if there are none.
pub(crate) fn behind(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if last < 0xFF {
            prefix.push(last + 1);
            break;
        }
    }
    prefix
}
