//! Is what the check says of two schemas what a reader of both would say?

use serde_json::Value;
use serde_json::json;

use crate::schema::compatibility::Undescribed;
use crate::schema::compatibility::backward_breaks;
use crate::schema::compatibility::forward_breaks;
use crate::schema::document::Document;
use crate::schema::error::Break;

mod random;
mod table;

/// Both versions must be schemas.
fn backward(old: &Value, new: &Value) -> Vec<Break> {
    let (old, new) = (Document::new(old).unwrap(), Document::new(new).unwrap());
    backward_breaks(&old, &new, 1, Undescribed::Anything)
}

fn forward(old: &Value, new: &Value) -> Vec<Break> {
    let (old, new) = (Document::new(old).unwrap(), Document::new(new).unwrap());
    forward_breaks(&old, &new, 1, Undescribed::Anything)
}

fn told(breaks: &[Break]) -> Vec<(&str, &str)> {
    breaks.iter().map(|broken| (&*broken.pointer, &*broken.detail)).collect()
}

#[test]
fn a_break_names_the_field_in_words() {
    let old = json!({"type": "object", "properties": {"amount": {"type": ["number", "null"]}, "lines": {"items": {"maxLength": 9}}}});
    let new = json!({
        "type": "object",
        "properties": {"amount": {"type": "integer"}, "lines": {"items": {"maxLength": 5}}},
        "required": ["amount"],
    });
    assert_eq!(
        told(&backward(&old, &new)),
        [
            (
                "/properties/amount/type",
                "`amount` may be null or a number with a fraction in events of version 1, which version 2 does not allow"
            ),
            (
                "/properties/lines/items/maxLength",
                "`lines[]` may have more characters than 5 in events of version 1, which version 2 does not allow"
            ),
            ("/required", "`amount` became required: events of version 1 may lack it"),
        ]
    );
}

#[test]
fn a_property_that_was_not_described_says_so_once() {
    let old = json!({"type": "object"});
    let new = json!({"type": "object", "properties": {"a~/b": {"type": "string", "minLength": 1, "pattern": "x"}}});
    let breaks = backward(&old, &new);
    assert_eq!(breaks.len(), 1, "{breaks:?}");
    assert_eq!(breaks[0].pointer, "/properties/a~0~1b");
    assert!(breaks[0].detail.starts_with("version 1 does not describe `a~/b`, so its events may hold anything there"), "{breaks:?}");
}

#[test]
fn an_optional_property_may_join() {
    let breaks = |old: &Value, new: &Value| {
        let (old, new) = (Document::new(old).unwrap(), Document::new(new).unwrap());
        let [backward, forward] = [backward_breaks, forward_breaks].map(|half| half(&old, &new, 1, Undescribed::Absent).len());
        (backward, forward)
    };
    let old = json!({"type": "object", "properties": {"a": {"type": "string"}, "any": true}, "required": ["a"]});
    let with = |change: fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        breaks(&old, &new)
    };
    assert_eq!(with(|new| new["properties"]["b"] = json!({"type": "string"})), (0, 0), "a property joins");
    assert_eq!(with(|new| drop(new["properties"].as_object_mut().unwrap().remove("a"))), (0, 0), "and leaves");
    assert_eq!(with(|new| new["required"] = json!(["a", "b"])).0, 1, "but not a required one");
    assert_eq!(with(|new| new["properties"]["a"] = json!({"type": "number"})).0, 1, "and none becomes another");
    assert_eq!(with(|new| new["properties"]["any"] = json!({"type": "number"})).0, 1, "also not one that was described as anything");
    assert_eq!(with(|new| new["additionalProperties"] = json!(false)).0, 1);
    let nested = |inner: Value| json!({"type": "object", "properties": {"lines": {"type": "array", "items": inner}}});
    let (plain, more) =
        (json!({"properties": {"sku": {"type": "string"}}}), json!({"properties": {"sku": {"type": "string"}, "n": {"type": "integer"}}}));
    assert_eq!(breaks(&nested(plain), &nested(more)), (0, 0));
    let open = json!({"additionalProperties": {"type": "string"}});
    assert_eq!(
        breaks(&open, &json!({"additionalProperties": {"type": "string"}, "properties": {"b": {"type": "integer"}}})).0,
        1,
        "all others are texts"
    );
}

#[test]
fn the_forward_half_points_into_the_new_version() {
    let old = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}, "additionalProperties": false});
    let new = json!({"type": "object", "properties": {"id": {"type": ["string", "null"]}, "note": {}}, "additionalProperties": false});
    assert_eq!(
        told(&forward(&old, &new)),
        [
            ("", "the data may have `note` in events of version 2, which version 1 does not allow"),
            ("/properties/id", "`id` may be null in events of version 2, which version 1 does not allow"),
            ("", "`id` is required by version 1: events of version 2 may lack it"),
        ]
    );
}

#[test]
fn every_schema_accepts_itself() {
    let schemas = [
        json!({"$ref": "#/$defs/tree", "$defs": {"tree": {"properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}}}}),
        json!({"if": {"type": "string"}, "then": {"minLength": 3}, "else": {"contains": {"const": 3}, "minContains": 2}}),
        json!({"oneOf": [{"multipleOf": 3}, {"multipleOf": 5}], "not": {"pattern": "a"}, "unevaluatedProperties": false}),
    ];
    for schema in schemas {
        assert_eq!(backward(&schema, &schema.clone()), [], "{schema}");
        assert_eq!(forward(&schema, &schema.clone()), [], "{schema}");
    }
}

#[test]
fn a_comparison_has_an_end() {
    // Each alternative of each level against each of the other: far more than can be tried.
    let level = |bound: u64| json!({"anyOf": (0..6).map(|at| json!({"properties": {"next": {"$ref": "#"}, "at": {"minimum": at * bound}}})).collect::<Vec<_>>()});
    let breaks = backward(&level(2), &level(3));
    assert!(!breaks.is_empty());
}

#[test]
fn schemas_without_end_below_are_compared() {
    let list = |item: Value| json!({"type": "object", "properties": {"item": item, "next": {"$ref": "#"}}, "additionalProperties": false});
    assert_eq!(backward(&list(json!({"type": "integer"})), &list(json!({"type": "number"}))), []);
    assert_eq!(backward(&list(json!({"type": "number"})), &list(json!({"type": "integer"}))).len(), 1);
}
