//! Does a definition mean what it says, in TOML and in JSON?

use super::ColumnType;
use super::Spec;
use super::TargetSpec;
use crate::definition::Format;
use crate::projection::value::Value;

const TEXT: &str = r#"
[target]
kind = "postgres"
table = "t"
[columns]
z = "text primary key"
a = "decimal(12, 2) index default 1.5"
m = "double precision"
[on.X]
key = "$.stream"
set = { m = "$['data']['m']" }
"#;

#[test]
fn columns_keep_their_order_and_a_definition_reads_back_the_same() {
    let spec = Spec::read("v", "v.toml", Format::Toml, TEXT).unwrap();
    assert_eq!(spec.columns.names(), ["z", "a", "m"]);
    let amount = &spec.columns.list()[1];
    assert_eq!((amount.column_type, amount.is_indexed), (ColumnType::Decimal { precision: 12, scale: 2 }, true));
    assert_eq!(amount.default, ColumnType::Decimal { precision: 12, scale: 2 }.of_json(&serde_json::json!(1.5)).unwrap());
    let target = TargetSpec::Postgres { url_env: "FACTUM_POSTGRES_URL".to_owned(), schema: "public".to_owned(), table: "t".to_owned() };
    assert_eq!(spec.target, target);
    let again = Spec::of_text("v", &spec.text).unwrap();
    assert_eq!((again.text, again.columns, again.target), (spec.text, spec.columns, spec.target));
}

#[test]
fn values_are_taken_as_what_they_are_or_refused() {
    let decimal = ColumnType::Decimal { precision: 5, scale: 2 };
    for (column, json, expected) in [
        (decimal, "1.005", Some("1.01")),
        (decimal, "\"-2.5\"", Some("-2.50")),
        (decimal, "1e2", Some("100.00")),
        (decimal, "1000", None),
        (decimal, "\"x\"", None),
        (decimal, "true", None),
    ] {
        let value = column.of_json(&serde_json::from_str(json).unwrap()).ok().map(|value| {
            let Value::Decimal(number) = value else { panic!("{value:?} is no decimal") };
            number.to_string()
        });
        assert_eq!(value.as_deref(), expected, "{json}");
    }
    for (column, json, is_taken) in [
        (ColumnType::Bigint, "3.0", true),
        (ColumnType::Bigint, "9223372036854775807", true),
        (ColumnType::Bigint, "9223372036854775808", false),
        (ColumnType::Bigint, "\"3\"", false),
        (ColumnType::Integer, "2147483648", false),
        (ColumnType::Boolean, "0", false),
        (ColumnType::Text, "5", true),
        (ColumnType::Text, "[5]", false),
        (ColumnType::Timestamp, "\"2026-11-22T18:41:54+01:00\"", true),
        (ColumnType::Timestamp, "5", false),
        (ColumnType::Date, "\"2026-11-22\"", true),
        (ColumnType::Date, "\"2026-13-22\"", false),
        (ColumnType::Uuid, "\"nope\"", false),
        (ColumnType::Json, "{\"a\":[1]}", true),
        (ColumnType::Uuid, "null", true),
    ] {
        assert_eq!(column.of_json(&serde_json::from_str(json).unwrap()).is_ok(), is_taken, "{column:?} {json}");
    }
}
