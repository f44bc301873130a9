//! How does what stands in an event become the value of a column?

use rust_decimal::Decimal;
use rust_decimal::RoundingStrategy;
use serde_json::Value as Json;

use super::row::Row;
use super::spec::ColumnType;
use super::spec::Columns;
use super::spec::Found;
use super::value::Value;
use crate::subscription::time::parse_timestamp;
use crate::subscription::time::push_timestamp;

impl ColumnType {
    /// The value of this type that was found; null if nothing was.
    ///
    /// # Errors
    ///
    /// What was found instead.
    pub(crate) fn value(self, found: &Found<'_>) -> Result<Value, String> {
        match (found, self) {
            (Found::Nothing, _) => Ok(Value::Null),
            (Found::Text(text), Self::Text) => Ok(Value::Text((*text).into())),
            (Found::Text(text), _) => self.of_json(&Json::from(*text)),
            (Found::Number(number), Self::Bigint) => {
                i64::try_from(*number).map(Value::Integer).map_err(|_| self.misses(&Json::from(*number)))
            }
            (Found::Number(number), _) => self.of_json(&Json::from(*number)),
            (Found::Time(micros), Self::Timestamp) => Ok(Value::Timestamp(*micros)),
            (Found::Time(micros), Self::Date) => Ok(Value::Date(days(*micros))),
            (Found::Time(micros), _) => self.of_json(&Json::from(time_text(*micros))),
            (Found::Json(json), _) => self.of_json(json),
        }
    }

    /// The value of this type that a JSON value means.
    ///
    /// # Errors
    ///
    /// What it is instead.
    pub fn of_json(self, json: &Json) -> Result<Value, String> {
        let value = match (self, json) {
            (_, Json::Null) => Some(Value::Null),
            (Self::Json, json) => Some(Value::Json(json.to_string().into())),
            (Self::Text, Json::String(text)) => Some(Value::Text(text.as_str().into())),
            (Self::Text, Json::Number(_) | Json::Bool(_)) => Some(Value::Text(json.to_string().into())),
            (Self::Bigint, Json::Number(number)) => whole(number).map(Value::Integer),
            (Self::Integer, Json::Number(number)) => whole(number).filter(|number| i32::try_from(*number).is_ok()).map(Value::Integer),
            (Self::Double, Json::Number(number)) => {
                number.as_f64().filter(|number| number.is_finite()).map(|number| Value::Double(number + 0.0))
            }
            (Self::Decimal { precision, scale }, Json::Number(number)) => return decimal(&number.to_string(), precision, scale),
            (Self::Decimal { precision, scale }, Json::String(text)) => return decimal(text, precision, scale),
            (Self::Boolean, Json::Bool(boolean)) => Some(Value::Boolean(*boolean)),
            (Self::Timestamp, Json::String(text)) => parse_timestamp(text).ok().map(|time| Value::Timestamp(time.as_micros())),
            (Self::Date, Json::String(text)) => date(text).map(Value::Date),
            (Self::Uuid, Json::String(text)) => uuid::Uuid::try_parse(text).ok().map(|id| Value::Uuid(*id.as_bytes())),
            (
                Self::Text
                | Self::Bigint
                | Self::Integer
                | Self::Double
                | Self::Decimal { .. }
                | Self::Boolean
                | Self::Timestamp
                | Self::Date
                | Self::Uuid,
                _,
            ) => None,
        };
        value.ok_or_else(|| self.misses(json))
    }

    fn misses(self, json: &Json) -> String {
        let expected = match self {
            Self::Text => "text",
            Self::Bigint => "a whole number of 64 bits",
            Self::Integer => "a whole number of 32 bits",
            Self::Double => "a number",
            Self::Decimal { .. } => "a number, or a text of digits",
            Self::Boolean => "true or false",
            Self::Timestamp => "an RFC 3339 time such as 2026-11-22T18:41:54Z",
            Self::Date => "a date such as 2026-11-22, or an RFC 3339 time",
            Self::Uuid => "a UUID",
            Self::Json => "JSON",
        };
        format!("is {}, {expected} is wanted", shortened(json))
    }

    /// The sum of two values of this type; null counts as 0.
    ///
    /// # Errors
    ///
    /// It does not fit the type, or the type has no sums.
    pub(crate) fn sum(self, value: &Value, more: &Value) -> Result<Value, String> {
        let too_large = || "the sum does not fit the column".to_owned();
        match (value, more) {
            (Value::Null, more) => Ok(more.clone()),
            (value, Value::Null) => Ok(value.clone()),
            (Value::Integer(value), Value::Integer(more)) => {
                let sum = value.checked_add(*more).ok_or_else(too_large)?;
                if self == Self::Integer && i32::try_from(sum).is_err() { Err(too_large()) } else { Ok(Value::Integer(sum)) }
            }
            (Value::Double(value), Value::Double(more)) => {
                Some(value + more).filter(|sum| sum.is_finite()).map(Value::Double).ok_or_else(too_large)
            }
            (Value::Decimal(value), Value::Decimal(more)) => {
                let sum = value.checked_add(*more).ok_or_else(too_large)?;
                let Self::Decimal { precision, scale } = self else { return Ok(Value::Decimal(sum)) };
                fits(sum, precision, scale)
            }
            _ => Err("only numbers can be added".to_owned()),
        }
    }

    /// What adding nothing adds.
    pub(crate) fn zero(self) -> Option<Value> {
        match self {
            Self::Bigint | Self::Integer => Some(Value::Integer(0)),
            Self::Double => Some(Value::Double(0.0)),
            Self::Decimal { scale, .. } => Some(Value::Decimal(Decimal::new(0, scale))),
            Self::Text | Self::Boolean | Self::Timestamp | Self::Date | Self::Uuid | Self::Json => None,
        }
    }
}

impl Value {
    /// As JSON, for code that computes with it: a decimal is then the double next to it.
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Text(text) => Json::from(&**text),
            Self::Integer(number) => Json::from(*number),
            Self::Double(number) => Json::from(*number),
            Self::Decimal(number) => number.to_string().parse::<serde_json::Number>().map_or(Json::Null, Json::Number),
            Self::Boolean(boolean) => Json::from(*boolean),
            Self::Timestamp(micros) => Json::from(time_text(*micros)),
            Self::Date(days) => {
                let mut text = time_text(i64::from(*days) * DAY_US);
                text.truncate(10);
                Json::from(text)
            }
            Self::Uuid(bytes) => Json::from(uuid::Uuid::from_bytes(*bytes).to_string()),
            // What was put in was JSON.
            Self::Json(text) => serde_json::from_str(text).unwrap_or(Json::Null),
        }
    }
}

/// A row as JSON, with its columns alone.
pub(crate) fn row_json(columns: &Columns, row: &Row) -> Json {
    let cells = columns.list().iter().zip(&row.values);
    Json::Object(cells.map(|(column, value)| (column.name.clone(), value.to_json())).collect())
}

fn time_text(micros: i64) -> String {
    let mut text = Vec::with_capacity(27);
    push_timestamp(&mut text, factum_storage::Timestamp::from_micros(micros));
    String::from_utf8_lossy(&text).into_owned()
}

/// The number if it is whole and fits; `3.0` is.
fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= WHOLE_MAX)?;
        format!("{float:.0}").parse().ok()
    })
}

/// Exact, with half a unit of the last digit rounded away from zero, as Postgres rounds what it puts into a `numeric(p,s)`.
fn decimal(text: &str, precision: u32, scale: u32) -> Result<Value, String> {
    let plain = text.len() <= DECIMAL_BYTES_MAX && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
    let number = if !plain {
        None
    } else if text.contains(['e', 'E']) {
        Decimal::from_scientific(text).ok()
    } else {
        text.parse::<Decimal>().ok()
    };
    let number = number.ok_or_else(|| format!("is {}, which is no number of at most 28 digits", shortened(&Json::from(text))))?;
    fits(number, precision, scale)
}

fn fits(number: Decimal, precision: u32, scale: u32) -> Result<Value, String> {
    let mut rounded = number.round_dp_with_strategy(scale, RoundingStrategy::MidpointAwayFromZero);
    let limit = 10_i128.checked_pow(precision).unwrap_or(i128::MAX);
    rounded.rescale(scale);
    if rounded.scale() != scale || rounded.mantissa().abs() >= limit {
        return Err(format!("{number} does not fit decimal({precision},{scale})"));
    }
    Ok(Value::Decimal(rounded))
}

/// `2026-11-22`, or the day in UTC of an RFC 3339 time.
fn date(text: &str) -> Option<i32> {
    if text.len() > 10 {
        return parse_timestamp(text).ok().map(|time| days(time.as_micros()));
    }
    parse_timestamp(&format!("{text}T00:00:00Z")).ok().map(|time| days(time.as_micros()))
}

/// The day that a time is in, in UTC.
pub(crate) fn days(micros: i64) -> i32 {
    i32::try_from(micros.div_euclid(DAY_US)).unwrap_or_default()
}

/// What was found, short enough for a message.
fn shortened(json: &Json) -> String {
    let text = json.to_string();
    let kind = match json {
        Json::Null => "null",
        Json::Bool(_) => "",
        Json::Number(_) => "the number ",
        Json::String(_) => "the text ",
        Json::Array(_) => "the list ",
        Json::Object(_) => "the object ",
    };
    let mut cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{kind}{cut}")
}

/// The largest number below which every whole one is a double.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
const DECIMAL_BYTES_MAX: usize = 64;
const DAY_US: i64 = 86_400_000_000;
const SHOWN_CHARS_MAX: usize = 60;
