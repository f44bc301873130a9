//! How does a client write a value? As text, read by the type of its column.

use std::sync::Arc;

use jiff::civil::Date;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::super::spec::ColumnType;
use super::super::value::Value;
use crate::subscription::time::parse_timestamp;

/// Reads a value for a column of this type. Null has no text.
///
/// # Errors
///
/// What would be right, in words for a client.
pub(crate) fn parse(text: &str, column_type: ColumnType) -> Result<Value, String> {
    match column_type {
        ColumnType::Text => Ok(Value::Text(Arc::from(text))),
        ColumnType::Bigint => text.parse().map(Value::Integer).map_err(|_| "must be a whole number of 64 bits, such as 42".to_owned()),
        ColumnType::Integer => {
            let number = text.parse::<i32>().map_err(|_| "must be a whole number of 32 bits, such as 42".to_owned())?;
            Ok(Value::Integer(i64::from(number)))
        }
        ColumnType::Double => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            // Adding zero makes 0 of -0, which no row has.
            number.map(|number| Value::Double(number + 0.0)).ok_or_else(|| "must be a number, such as 0.5 or 1e9".to_owned())
        }
        ColumnType::Decimal { scale, .. } => decimal(text, scale),
        ColumnType::Boolean => match text {
            "true" => Ok(Value::Boolean(true)),
            "false" => Ok(Value::Boolean(false)),
            _ => Err("must be true or false".to_owned()),
        },
        ColumnType::Timestamp => Ok(Value::Timestamp(parse_timestamp(text)?.as_micros())),
        ColumnType::Date => date(text).ok_or_else(|| "must be a date, such as 2024-05-01".to_owned()),
        ColumnType::Uuid => {
            let uuid = Uuid::parse_str(text).map_err(|_| "must be a UUID, such as 0190a5b4-45e4-7df4-b74f-3c25980e3f45".to_owned())?;
            Ok(Value::Uuid(*uuid.as_bytes()))
        }
        ColumnType::Json => Err("is JSON, which cannot be compared; only whether it is null can be asked".to_owned()),
    }
}

/// What a column of this type is called.
pub(crate) fn type_name(column_type: ColumnType) -> String {
    match column_type {
        ColumnType::Text => "text",
        ColumnType::Bigint => "bigint",
        ColumnType::Integer => "integer",
        ColumnType::Double => "double",
        ColumnType::Decimal { precision, scale } => return format!("decimal({precision},{scale})"),
        ColumnType::Boolean => "boolean",
        ColumnType::Timestamp => "timestamp",
        ColumnType::Date => "date",
        ColumnType::Uuid => "uuid",
        ColumnType::Json => "json",
    }
    .to_owned()
}

fn decimal(text: &str, scale: u32) -> Result<Value, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits.starts_with(|first: char| first.is_ascii_digit())
        && digits.ends_with(|last: char| last.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = Decimal::from_str_exact(text).ok().filter(|_| is_plain);
    let number = number.ok_or_else(|| "must be a number of at most 28 digits, such as 12.50".to_owned())?.normalize();
    if number.scale() > scale {
        // A number that no row can have is more often a slip than a question.
        return Err(format!("must have at most {scale} digits behind the point"));
    }
    Ok(Value::Decimal(number))
}

fn date(text: &str) -> Option<Value> {
    let is_plain = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    let date: Date = text.parse().ok().filter(|_| is_plain)?;
    let days = date.since(Date::constant(1970, 1, 1)).ok()?.get_days();
    Some(Value::Date(days))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_by_type() {
        let check = |text: &str, column_type, expected: Option<Value>| assert_eq!(parse(text, column_type).ok(), expected, "{text}");
        let decimal = ColumnType::Decimal { precision: 12, scale: 2 };
        check("", ColumnType::Text, Some(Value::Text(Arc::from(""))));
        check("-9223372036854775808", ColumnType::Bigint, Some(Value::Integer(i64::MIN)));
        check("9223372036854775808", ColumnType::Bigint, None);
        check("2147483648", ColumnType::Integer, None);
        check("-0", ColumnType::Double, Some(Value::Double(0.0)));
        check("1e3", ColumnType::Double, Some(Value::Double(1000.0)));
        check("NaN", ColumnType::Double, None);
        check("inf", ColumnType::Double, None);
        check("12.5", decimal, Some(Value::Decimal(Decimal::new(1250, 2))));
        check("12.500", decimal, Some(Value::Decimal(Decimal::new(1250, 2))));
        for bad in ["12.505", "1e3", "1_000", ".5", "5.", "+5", "", "--5", "12345678901234567890123456789012"] {
            check(bad, decimal, None);
        }
        check("true", ColumnType::Boolean, Some(Value::Boolean(true)));
        check("TRUE", ColumnType::Boolean, None);
        check("1970-01-01T00:00:01Z", ColumnType::Timestamp, Some(Value::Timestamp(1_000_000)));
        check("1970-01-01", ColumnType::Timestamp, None);
        check("1970-02-01", ColumnType::Date, Some(Value::Date(31)));
        check("1969-12-31", ColumnType::Date, Some(Value::Date(-1)));
        check("1970-02-30", ColumnType::Date, None);
        check("70-02-01", ColumnType::Date, None);
        check("abababab-abab-abab-abab-abababababab", ColumnType::Uuid, Some(Value::Uuid([0xAB; 16])));
        check("ab", ColumnType::Uuid, None);
        check("{}", ColumnType::Json, None);
    }
}
