//! Pairs of schemas, each with whether the new one accepts what the old one accepts, and the other way round.

use serde_json::Value;

use crate::schema::compatibility::tests::backward;
use crate::schema::compatibility::tests::forward;

/// Old, new, and what is compatible: `>` backward, `<` forward, `=` both, `!` neither.
const PAIRS: &[(&str, &str, char)] = &[
    // Nothing that counts.
    (r#"{"title": "a", "type": "string"}"#, r#"{"type": "string", "description": "b", "default": 7, "examples": [1]}"#, '='),
    (r#"{"properties": {"title": {"type": "string"}}}"#, r#"{"properties": {"title": {"type": "null"}}}"#, '!'),
    (r#"true"#, r#"{}"#, '='),
    (r#"false"#, r#"{"type": "string"}"#, '>'),
    (r#"{"type": "string"}"#, r#"false"#, '<'),
    // Types.
    (r#"{"type": "integer"}"#, r#"{"type": "number"}"#, '>'),
    (r#"{"type": "string"}"#, r#"{"type": ["string", "null"]}"#, '>'),
    (r#"{"type": "string"}"#, r#"{"anyOf": [{"type": "null"}, {"type": "string"}]}"#, '>'),
    (r#"{"type": ["string", "null"]}"#, r#"{"anyOf": [{"type": "null"}, {"type": "string"}]}"#, '='),
    (r#"{"type": ["string", "null"]}"#, r#"{"oneOf": [{"type": "null"}, {"type": "string"}]}"#, '='),
    (r#"{"type": "string"}"#, r#"{"type": "integer"}"#, '!'),
    (r#"{"type": ["integer", "string"]}"#, r#"{"type": ["string", "number"], "minimum": 0}"#, '!'),
    // Values.
    (r#"{"enum": ["a", "b"]}"#, r#"{"enum": ["c", "b", "a"]}"#, '>'),
    (r#"{"enum": ["a", "b"]}"#, r#"{"type": "string", "maxLength": 1}"#, '>'),
    (r#"{"enum": ["a", "bb"]}"#, r#"{"type": "string", "maxLength": 1}"#, '!'),
    (r#"{"const": 1.0}"#, r#"{"const": 1}"#, '='),
    (r#"{"const": 1}"#, r#"{"enum": [1, 2]}"#, '>'),
    (r#"{"type": "boolean"}"#, r#"{"enum": [true, false]}"#, '='),
    (r#"{"enum": [1, "a"], "type": "string"}"#, r#"{"const": "a"}"#, '='),
    // Numbers.
    (r#"{"type": "number", "minimum": 5}"#, r#"{"type": "number", "minimum": 4}"#, '>'),
    (r#"{"type": "number", "minimum": 5}"#, r#"{"type": "number", "exclusiveMinimum": 5}"#, '<'),
    (r#"{"type": "integer", "exclusiveMinimum": 4}"#, r#"{"type": "integer", "minimum": 5}"#, '='),
    (r#"{"type": "integer", "maximum": 9}"#, r#"{"type": "integer", "exclusiveMaximum": 10}"#, '='),
    (r#"{"type": "number", "maximum": 9.5}"#, r#"{"type": "number", "maximum": 9}"#, '<'),
    (r#"{"type": "string", "minimum": 3}"#, r#"{"type": "string"}"#, '='),
    (r#"{"multipleOf": 6}"#, r#"{"multipleOf": 3}"#, '>'),
    (r#"{"type": "integer"}"#, r#"{"type": "number", "multipleOf": 1}"#, '>'),
    (r#"{"type": "number", "minimum": 18446744073709551615}"#, r#"{"type": "number", "minimum": 1e19}"#, '>'),
    // Strings.
    (r#"{"type": "string", "minLength": 2}"#, r#"{"type": "string", "minLength": 1}"#, '>'),
    (r#"{"type": "string", "maxLength": 2}"#, r#"{"type": "string"}"#, '>'),
    (r#"{"type": "string", "pattern": "^a"}"#, r#"{"type": "string", "pattern": "^a"}"#, '='),
    (r#"{"type": "string", "pattern": "^ab"}"#, r#"{"type": "string", "pattern": "^a"}"#, '!'),
    (r#"{"type": "string", "format": "uuid"}"#, r#"{"type": "string"}"#, '>'),
    // Arrays.
    (r#"{"type": "array", "items": {"type": "integer"}}"#, r#"{"type": "array", "items": {"type": "number"}}"#, '>'),
    (r#"{"type": "array", "minItems": 1, "maxItems": 3}"#, r#"{"type": "array", "maxItems": 4}"#, '>'),
    (r#"{"type": "array", "uniqueItems": true}"#, r#"{"type": "array"}"#, '>'),
    (r#"{"type": "array", "maxItems": 1}"#, r#"{"type": "array", "uniqueItems": true}"#, '>'),
    (r#"{"prefixItems": [{"type": "string"}], "items": {"type": "null"}}"#, r#"{"items": {"type": ["string", "null"]}}"#, '>'),
    (r#"{"type": "array", "prefixItems": [true], "items": false}"#, r#"{"type": "array", "maxItems": 1}"#, '='),
    (r#"{"contains": {"const": 1}}"#, r#"{"contains": {"const": 1}, "minContains": 2}"#, '!'),
    (r#"{"prefixItems": [{"type": "string"}, {"type": "integer"}], "items": {"type": "string"}}"#, r#"{"items": {"type": "string"}}"#, '!'),
    (r#"{"prefixItems": [{"type": "string"}], "items": {"type": "null"}}"#, r#"{"items": {"type": "string"}}"#, '!'),
    // Objects.
    (r#"{"required": ["a", "b"]}"#, r#"{"required": ["a"]}"#, '>'),
    (
        r#"{"properties": {"a": {"type": "string"}}, "additionalProperties": false}"#,
        r#"{"properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "additionalProperties": false}"#,
        '>',
    ),
    (r#"{"properties": {"a": {"type": "string"}}}"#, r#"{"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}"#, '<'),
    (r#"{"properties": {"a": {"type": "string"}}}"#, r#"{"properties": {"a": {"type": "string"}}, "additionalProperties": false}"#, '<'),
    (r#"{"additionalProperties": {"type": "integer"}}"#, r#"{"properties": {"a": {"type": "number"}}}"#, '>'),
    (r#"{"patternProperties": {"^x-": {"type": "integer"}}}"#, r#"{"properties": {"x-a": {"type": "number"}}}"#, '>'),
    (r#"{"patternProperties": {"^x-": {"type": "integer"}}}"#, r#"{"patternProperties": {"^x-": {"type": "number"}}}"#, '>'),
    (
        r#"{"properties": {"x-a": {"type": "integer"}}, "additionalProperties": false}"#,
        r#"{"patternProperties": {"^x-": {"type": "number"}}, "additionalProperties": false}"#,
        '>',
    ),
    (
        r#"{"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": false}"#,
        r#"{"properties": {"x": {"type": "string"}}}"#,
        '!',
    ),
    (r#"{"propertyNames": {"maxLength": 3}}"#, r#"{"propertyNames": {"maxLength": 4}}"#, '>'),
    (r#"{"properties": {"ab": true}, "additionalProperties": false}"#, r#"{"propertyNames": {"maxLength": 2}, "maxProperties": 1}"#, '>'),
    (r#"{"required": ["a", "b"]}"#, r#"{"minProperties": 2, "dependentRequired": {"a": ["b"]}}"#, '>'),
    (r#"{"dependentSchemas": {"a": {"required": ["b"]}}}"#, r#"{"dependentSchemas": {"a": {"required": ["c"]}}}"#, '!'),
    // Several schemas at once.
    (r#"{"allOf": [{"type": "number"}, {"minimum": 3}]}"#, r#"{"type": "number", "minimum": 2}"#, '>'),
    (r#"{"anyOf": [{"const": 1}, {"const": 2}]}"#, r#"{"enum": [1, 2, 3]}"#, '>'),
    (r#"{"anyOf": [{"type": "integer", "minimum": 4}, {"type": "integer", "minimum": 6}]}"#, r#"{"type": "number", "minimum": 4}"#, '>'),
    (r#"{"anyOf": [{"type": "string"}]}"#, r#"{"anyOf": [{"type": "string"}, {"type": "integer"}]}"#, '>'),
    (r#"{"oneOf": [{"type": "string"}]}"#, r#"{"oneOf": [{"type": "string"}, {"type": "integer"}]}"#, '>'),
    (r#"{"oneOf": [{"type": "integer"}]}"#, r#"{"oneOf": [{"type": "integer"}, {"type": "number"}]}"#, '!'),
    (
        r#"{"oneOf": [{"required": ["kind"], "properties": {"kind": {"const": "a"}}}], "type": "object"}"#,
        r#"{"oneOf": [{"required": ["kind"], "properties": {"kind": {"const": "a"}}}, {"required": ["kind"], "properties": {"kind": {"const": "b"}}}]}"#,
        '>',
    ),
    (r#"{"type": "string"}"#, r#"{"not": {"type": "integer"}}"#, '>'),
    (r#"{"not": {"type": ["integer", "string"]}}"#, r#"{"not": {"type": "integer"}}"#, '>'),
    (r#"{"if": {"type": "string"}, "then": {"minLength": 3}}"#, r#"{"if": {"type": "string"}, "then": {"minLength": 2}}"#, '!'),
    (
        r##"{"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}}"##,
        r##"{"$ref": "#/$defs/b", "$defs": {"b": {"type": "integer"}}}"##,
        '=',
    ),
    (r##"{"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}}"##, r#"{"type": "number"}"#, '>'),
    (r##"{"items": {"$ref": "#a"}, "$defs": {"x": {"$anchor": "a", "type": "null"}}}"##, r#"{"items": {"const": null}}"#, '='),
    (
        r#"{"properties": {"a": true}, "unevaluatedProperties": false}"#,
        r#"{"properties": {"a": true}, "unevaluatedProperties": true}"#,
        '>',
    ),
];

#[test]
fn every_pair_is_judged_right() {
    let parse = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let mut wrong = Vec::new();
    for (old, new, expected) in PAIRS {
        let (old, new) = (parse(old), parse(new));
        let (backward, forward) = (backward(&old, &new), forward(&old, &new));
        let found = match (backward.is_empty(), forward.is_empty()) {
            (true, true) => '=',
            (true, false) => '>',
            (false, true) => '<',
            (false, false) => '!',
        };
        if found != *expected {
            wrong.push(format!("{old}\n{new}\n  {found} for {expected}: {backward:?} {forward:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(PAIRS.len() >= 40);
}
