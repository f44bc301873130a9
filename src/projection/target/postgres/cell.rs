//! How does a value travel to Postgres and back? In Postgres' binary form.

use std::error::Error;
use std::sync::Arc;

use bytes::BufMut;
use bytes::BytesMut;
use rust_decimal::Decimal;
use tokio_postgres::types::FromSql;
use tokio_postgres::types::IsNull;
use tokio_postgres::types::ToSql;
use tokio_postgres::types::Type;
use tokio_postgres::types::to_sql_checked;

use crate::projection::spec::ColumnType;
use crate::projection::value::Value;

/// A value on its way to Postgres.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'a>(pub(super) &'a Value);

/// A value on its way back.
#[derive(Debug)]
pub(super) struct Found(pub(super) Value);

impl ToSql for Cell<'_> {
    fn to_sql(&self, column: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        if !stands_in(self.0, column) {
            return Err(format!("a value of another type than {column}").into());
        }
        match self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::Text(text) => out.put_slice(text.as_bytes()),
            Value::Integer(number) if *column == Type::INT4 => out.put_i32(i32::try_from(*number)?),
            Value::Integer(number) => out.put_i64(*number),
            Value::Double(number) => out.put_f64(*number),
            Value::Decimal(number) => return number.to_sql(column, out),
            Value::Boolean(boolean) => out.put_u8(u8::from(*boolean)),
            Value::Timestamp(micros) => out.put_i64(micros.checked_sub(EPOCH_MICROS).ok_or("a timestamp before all time")?),
            Value::Date(days) => out.put_i32(days.checked_sub(EPOCH_DAYS).ok_or("a date before all time")?),
            Value::Uuid(bytes) => out.put_slice(bytes),
            Value::Json(text) => {
                out.put_u8(JSONB_VERSION);
                out.put_slice(text.as_bytes());
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(column: &Type) -> bool {
        is_known(column)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Found {
    fn from_sql(column: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let value = if *column == Type::TEXT {
            Value::Text(Arc::from(std::str::from_utf8(raw)?))
        } else if *column == Type::INT8 {
            Value::Integer(i64::from_be_bytes(raw.try_into()?))
        } else if *column == Type::INT4 {
            Value::Integer(i64::from(i32::from_be_bytes(raw.try_into()?)))
        } else if *column == Type::FLOAT8 {
            Value::Double(f64::from_be_bytes(raw.try_into()?))
        } else if *column == Type::NUMERIC {
            Value::Decimal(Decimal::from_sql(column, raw)?)
        } else if *column == Type::BOOL {
            Value::Boolean(raw.first().is_some_and(|byte| *byte != 0))
        } else if *column == Type::TIMESTAMPTZ {
            let micros = i64::from_be_bytes(raw.try_into()?);
            Value::Timestamp(micros.checked_add(EPOCH_MICROS).ok_or("a timestamp without end")?)
        } else if *column == Type::DATE {
            let days = i32::from_be_bytes(raw.try_into()?);
            Value::Date(days.checked_add(EPOCH_DAYS).ok_or("a date without end")?)
        } else if *column == Type::UUID {
            Value::Uuid(raw.try_into()?)
        } else {
            let text = raw.strip_prefix(&[JSONB_VERSION]).ok_or("a form of jsonb that is not known")?;
            Value::Json(Arc::from(without_spaces(std::str::from_utf8(text)?)))
        };
        Ok(Self(value))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Value::Null))
    }

    fn accepts(column: &Type) -> bool {
        is_known(column)
    }
}

/// Why the column can't keep the value, if that can be told without asking Postgres. What is left can be sent.
pub(super) fn refusal(value: &Value, column: ColumnType) -> Option<&'static str> {
    match (value, column) {
        (Value::Null, _)
        | (Value::Integer(_), ColumnType::Bigint)
        | (Value::Double(_), ColumnType::Double)
        | (Value::Decimal(_), ColumnType::Decimal { .. })
        | (Value::Boolean(_), ColumnType::Boolean)
        | (Value::Uuid(_), ColumnType::Uuid) => None,
        (Value::Text(text), ColumnType::Text) => text.contains('\0').then_some("text with U+0000, which Postgres can't keep"),
        (Value::Json(text), ColumnType::Json) => has_null_escape(text).then_some("JSON with U+0000, which Postgres can't keep"),
        (Value::Integer(number), ColumnType::Integer) => i32::try_from(*number).is_err().then_some("a number of more than 32 bits"),
        (Value::Timestamp(micros), ColumnType::Timestamp) => {
            micros.checked_sub(EPOCH_MICROS).is_none().then_some("a timestamp before all time")
        }
        (Value::Date(days), ColumnType::Date) => days.checked_sub(EPOCH_DAYS).is_none().then_some("a date before all time"),
        (
            Value::Text(_)
            | Value::Integer(_)
            | Value::Double(_)
            | Value::Decimal(_)
            | Value::Boolean(_)
            | Value::Timestamp(_)
            | Value::Date(_)
            | Value::Uuid(_)
            | Value::Json(_),
            _,
        ) => Some("a value of another type than its column"),
    }
}

fn is_known(column: &Type) -> bool {
    [Type::TEXT, Type::INT8, Type::INT4, Type::FLOAT8, Type::NUMERIC, Type::BOOL, Type::TIMESTAMPTZ, Type::DATE, Type::UUID, Type::JSONB]
        .contains(column)
}

fn stands_in(value: &Value, column: &Type) -> bool {
    match value {
        Value::Null => true,
        Value::Text(_) => *column == Type::TEXT,
        Value::Integer(_) => *column == Type::INT8 || *column == Type::INT4,
        Value::Double(_) => *column == Type::FLOAT8,
        Value::Decimal(_) => *column == Type::NUMERIC,
        Value::Boolean(_) => *column == Type::BOOL,
        Value::Timestamp(_) => *column == Type::TIMESTAMPTZ,
        Value::Date(_) => *column == Type::DATE,
        Value::Uuid(_) => *column == Type::UUID,
        Value::Json(_) => *column == Type::JSONB,
    }
}

/// `jsonb` comes back with a space behind each `:` and `,`; what is inside of strings stays.
fn without_spaces(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut is_string, mut is_escaped) = (false, false);
    for character in json.chars() {
        if is_string || !character.is_ascii_whitespace() {
            out.push(character);
        }
        is_string ^= character == '"' && !is_escaped;
        is_escaped = is_string && character == '\\' && !is_escaped;
    }
    out
}

/// Whether a JSON text holds the escape of U+0000; `\\u0000` is a backslash and text.
fn has_null_escape(json: &str) -> bool {
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let escape = rest.get(at + 1..).unwrap_or_default();
        if escape.starts_with("u0000") {
            return true;
        }
        // Behind the escaped character, so that the second of two backslashes begins nothing.
        let next = escape.chars().next().map_or(0, char::len_utf8);
        rest = escape.get(next..).unwrap_or_default();
    }
    false
}

/// Postgres counts from 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i32 = 10_957;
/// The first byte of `jsonb` in binary form.
const JSONB_VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_go_only_outside_of_strings() {
        for (from, to) in [
            (r#"{"a b": [1, 2], "c": "x , y"}"#, r#"{"a b":[1,2],"c":"x , y"}"#),
            (r#"{"q": "\" , \\", "z": 1}"#, r#"{"q":"\" , \\","z":1}"#),
            (r#""\\" "#, r#""\\""#),
        ] {
            assert_eq!(without_spaces(from), to);
        }
    }

    #[test]
    fn only_a_real_escape_of_nul_is_refused() {
        for (json, expected) in [
            (r#""a\u0000b""#, true),
            (r#""a\\u0000b""#, false),
            (r#""a\\\u0000""#, true),
            (r#""\u0001""#, false),
            (r#""é\u0000""#, true),
            ("{}", false),
        ] {
            assert_eq!(has_null_escape(json), expected, "{json}");
        }
    }
}
