use serde_json::json;

use super::FieldType::Bigint;
use super::FieldType::Boolean;
use super::FieldType::Double;
use super::FieldType::Null;
use super::FieldType::Text;
use super::FieldType::Timestamp;
use super::*;

fn observed(data: &[&str]) -> CategoryColumns {
    let mut columns = CategoryColumns::default();
    data.iter().for_each(|data| columns.observe_data(data.as_bytes()));
    columns
}

fn types(columns: &CategoryColumns) -> Vec<(&str, FieldType)> {
    columns.fields().iter().map(|field| (field.column.as_str(), field.field_type())).collect()
}

#[test]
fn each_kind_has_its_type() {
    let columns = observed(&[
        r#"{"n": null, "b": true, "i": -5, "d": 1.5, "s": "x", "o": {"a": 1}, "l": [1], "big": 9223372036854775807, "huge": 9223372036854775808, "e": 1e3, "z": -0, "over": 1e999}"#,
    ]);
    let expected = [
        ("n", Null),
        ("b", Boolean),
        ("i", Bigint),
        ("d", Double),
        ("s", Text),
        ("o", Text),
        ("l", Text),
        ("big", Bigint),
        ("huge", Double),
        ("e", Double),
        ("z", Double),
        ("over", Text),
    ];
    assert_eq!(types(&columns), expected);
}

#[test]
fn types_widen_and_never_narrow() {
    for (values, expected) in [
        (&["null", "1"][..], Bigint),
        (&["1", "null"], Bigint),
        (&["1", "2.5", "3"], Double),
        (&["2.5", "1"], Double),
        (&["true", "false"], Boolean),
        (&["true", "1"], Text),
        (&["1", "\"1\"", "1"], Text),
        (&["1.5", "{}"], Text),
        (&["1.5", "1e999"], Text),
        (&["\"2020-01-01T00:00:00Z\""], Text),
        (&["\"2020-01-01T00:00:00Z\"", "1"], Text),
        (&["null", "null"], Null),
    ] {
        let data: Vec<String> = values.iter().map(|value| format!("{{\"a\": {value}}}")).collect();
        let data: Vec<&str> = data.iter().map(String::as_str).collect();
        assert_eq!(types(&observed(&data)), [("a", expected)], "{values:?}");
    }
}

#[test]
fn widening_does_not_depend_on_order_or_grouping() {
    let all = [Null, Boolean, Bigint, Double, Timestamp, Text];
    for one in all {
        assert_eq!(one.widened(one), one);
        assert_eq!(Null.widened(one), one);
        assert_eq!(Text.widened(one), Text);
        for other in all {
            assert_eq!(one.widened(other), other.widened(one));
            for third in all {
                assert_eq!(one.widened(other).widened(third), one.widened(other.widened(third)));
            }
        }
    }
}

#[test]
fn columns_stand_in_the_order_of_their_first_appearance() {
    let mut columns = observed(&[r#"{"b": 1, "a": 2}"#, r#"{"a": 1, "c": 2, "b": 3}"#]);
    columns.merge(&observed(&[r#"{"d": 1, "a": "x"}"#]));
    assert_eq!(types(&columns), [("b", Bigint), ("a", Text), ("c", Bigint), ("d", Bigint)]);
    let kept = serde_json::to_string(&columns).unwrap();
    assert_eq!(serde_json::from_str::<CategoryColumns>(&kept).unwrap(), columns);
}

#[test]
fn taken_names_give_way() {
    let columns = observed(&[r#"{"id": 1, "data_id": 2, "type": 3, "data": {}}"#]);
    let names: Vec<(&str, &str)> = columns.fields().iter().map(|field| (field.member.as_str(), field.column.as_str())).collect();
    assert_eq!(names, [("id", "data_id"), ("data_id", "data_data_id"), ("type", "data_type"), ("data", "data_data")]);
    let other = observed(&[r#"{"data_id": 2, "id": 1}"#]);
    let names: Vec<&str> = other.fields().iter().map(|field| field.column.as_str()).collect();
    assert_eq!(names, ["data_id", "data_data_id"]);
}

#[test]
fn q_a_thousand_members_become_columns_and_no_more() {
    let mut columns = CategoryColumns::default();
    for batch in 0..3 {
        let members: Vec<String> = (0..700).map(|at| format!("\"m{}\": 1", batch * 700 + at)).collect();
        columns.observe_data(format!("{{{}}}", members.join(",")).as_bytes());
    }
    assert_eq!(columns.fields().len(), CategoryColumns::COLUMNS_MAX);
    assert_eq!(columns.fields().last().unwrap().member, "m999");
    // Those that are there go on widening.
    columns.observe_data(br#"{"m999": "x", "m1000": 1}"#);
    assert_eq!(columns.fields().last().unwrap().field_type(), Text);
    columns.declare([("late".to_owned(), Bigint)]);
    assert_eq!(columns.fields().len(), CategoryColumns::COLUMNS_MAX);
}

#[test]
fn names_that_no_column_can_have_are_left_in_data() {
    let long = "x".repeat(256);
    assert_eq!(types(&observed(&[&format!(r#"{{"": 1, "{long}": 2, "a": 3}}"#)])), [("a", Bigint)]);
}

#[test]
fn broken_data_leaves_no_trace() {
    let mut columns = observed(&[r#"{"a": 1}"#]);
    for broken in [&br#"{"a": "x", "b": 1"#[..], br#"{"a": "x"} {}"#, b"", b"\xff\xfe", b"{\"a\": \"\xff\"}", b"nonsense"] {
        columns.observe_data(broken);
        assert_eq!(types(&columns), [("a", Bigint)]);
    }
    for empty in ["[]", "\"a\"", "1", "null", "{}"] {
        columns.observe_data(empty.as_bytes());
    }
    assert_eq!(types(&columns), [("a", Bigint)]);
}

#[test]
fn deep_nesting_is_text() {
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(types(&observed(&[&deep])), [("a", Text)]);
}

#[test]
fn a_schema_widens_and_adds_columns() {
    let schema = json!({
        "properties": {
            "i": {"type": "integer"}, "n": {"type": "number"}, "b": {"type": ["boolean", "null"]},
            "t": {"type": "string", "format": "date-time"}, "o": {"type": "object"}, "open": {},
            "e": {"enum": [1, 2]}, "r": {"$ref": "#/$defs/money"}, "any": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "loop": {"$ref": "#/$defs/loop"}, "all": {"allOf": [{}, {"type": "boolean"}]}, "ids": {"const": "2020-01-01T00:00:00Z"}
        },
        "allOf": [{"properties": {"more": {"type": "string"}}}],
        "$defs": {"money": {"type": "number"}, "loop": {"anyOf": [{"$ref": "#/$defs/loop"}]}}
    });
    let mut columns = observed(&[r#"{"n": 1, "t": "2020-01-01T00:00:00+01:00", "i": 7}"#]);
    columns.declare(declared(&schema));
    let mut found = types(&columns);
    assert_eq!(found[..3], [("n", Double), ("t", Timestamp), ("i", Bigint)]);
    found.sort_by_key(|(name, _)| *name);
    let expected =
        [("all", Boolean), ("any", Bigint), ("b", Boolean), ("e", Bigint), ("i", Bigint), ("ids", Text), ("more", Text), ("n", Double)];
    assert_eq!(found[..8], expected);
    // A value that was there before the schema, or that no schema asked for: widened, never an error.
    columns.observe_data(br#"{"t": "soon", "i": 1.5, "b": "maybe"}"#);
    let found = types(&columns);
    for (name, expected) in [("t", Text), ("i", Double), ("b", Text)] {
        assert!(found.contains(&(name, expected)), "{name}");
    }
}

#[test]
fn what_schemas_no_longer_say_does_not_count() {
    let mut columns = observed(&[r#"{"a": 1}"#]);
    columns.declare([("a".to_owned(), Text)]);
    assert_eq!(types(&columns), [("a", Text)]);
    columns.declare([]);
    assert_eq!(types(&columns), [("a", Bigint)]);
}
