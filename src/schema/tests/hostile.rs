//! Does a schema that means harm end in a clear refusal, in time?

use serde_json::Value;
use serde_json::json;

use crate::schema::tests::refused;
use crate::schema::tests::register;
use crate::schema::tests::registry;

#[tokio::test]
async fn references_stay_in_the_schema() {
    for (reference, pointer) in [
        ("https://example.com/a.json", "/properties/a~1b/$ref"),
        ("file:///etc/passwd", "/properties/a~1b/$ref"),
        ("other.json#/$defs/a", "/properties/a~1b/$ref"),
        ("#/$defs/missing", "/properties/a~1b/$ref"),
        ("#missing", "/properties/a~1b/$ref"),
        // Not a schema, although there is something.
        ("#/properties", "/properties/a~1b/$ref"),
        ("#/%zz", "/properties/a~1b/$ref"),
    ] {
        let (found, detail) = refused(&json!({"properties": {"a/b": {"$ref": reference}}})).await;
        assert_eq!(found, pointer, "{reference}");
        assert!(detail.contains(reference) && detail.contains("#/$defs/name"), "{detail}");
    }
    for (keyword, value) in [("$id", "https://example.com"), ("$schema", "http://json-schema.org/draft-07/schema#"), ("$recursiveRef", "#")]
    {
        assert_eq!(refused(&json!({"items": {keyword: value}})).await.0, format!("/items/{keyword}"));
    }
    assert_eq!(refused(&json!({"$schema": "http://json-schema.org/draft-07/schema#"})).await.0, "/$schema");
    assert_eq!(refused(&json!({"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}})).await.0, "/$defs/b/$anchor");
}

#[tokio::test]
async fn what_only_looks_like_a_reference_is_let_be() {
    let registry = registry();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/order",
        "properties": {"$ref": {"const": {"$ref": "https://example.com"}}, "tree": {"$ref": "#/$defs/a%20b"}},
        "$defs": {"a b": {"properties": {"next": {"$ref": "#/$defs/a%20b"}, "leaf": {"type": "null"}}}},
    });
    register(&registry, "OrderPaid", 1, &json!({ "schema": schema })).await;
    registry.validate("OrderPaid", 1, br#"{"tree": {"next": {"next": {"leaf": null}}}}"#).unwrap();
    registry.validate("OrderPaid", 1, br#"{"tree": {"next": {"next": {"leaf": 1}}}}"#).unwrap_err();
}

#[tokio::test]
async fn circles_without_a_step_down_are_refused() {
    refused(&json!({"$ref": "#"})).await;
    refused(&json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#"}}}})).await;
    let doubling = |at: usize| json!({"anyOf": [{"$ref": format!("#/$defs/{}", at + 1)}, {"$ref": format!("#/$defs/{}", at + 1)}]});
    let mut levels: serde_json::Map<String, Value> = (0..20).map(|at| (at.to_string(), doubling(at))).collect();
    levels.insert("20".to_owned(), json!({"type": "null"}));
    let (_, detail) = refused(&json!({"$defs": levels})).await;
    assert!(detail.contains("about one and the same value"), "{detail}");
}

#[tokio::test]
async fn wrong_schemas_are_refused_with_their_place() {
    assert_eq!(refused(&json!({"properties": {"a": {"type": "text"}}})).await.0, "/properties/a/type");
    assert_eq!(refused(&json!({"properties": {"a": {"minimum": "3"}}})).await.0, "/properties/a/minimum");
    assert_eq!(refused(&json!({"properties": {"a": {"pattern": "(?=a)b"}}})).await.0, "/properties/a/pattern");
    assert_eq!(refused(&json!({"properties": {"a": {"pattern": "(a)\\1"}}})).await.0, "/properties/a/pattern");
    assert_eq!(refused(&json!({"properties": {"a": {"pattern": "(((a{999}){999}){999})"}}})).await.0, "/properties/a/pattern");
    assert_eq!(refused(&json!({"properties": {"a": {"format": "dat"}}})).await.0, "/properties/a/format");
}

#[tokio::test]
async fn schemas_have_bounds() {
    assert!(refused(&json!({"description": "x".repeat(300 << 10)})).await.1.contains("bytes"));
    let deep = (0..70).fold(json!({}), |inner, _| json!({ "items": inner }));
    assert!(refused(&deep).await.1.contains("nested"));
    let many: serde_json::Map<String, Value> = (0..101).map(|at| (format!("p{at}"), json!({"pattern": "a"}))).collect();
    assert!(refused(&json!({ "properties": many })).await.1.contains("patterns"));
}

#[tokio::test]
async fn a_catastrophic_pattern_is_answered_in_time() {
    let registry = registry();
    register(&registry, "OrderPaid", 1, &json!({"schema": {"pattern": "^(a+)+$"}})).await;
    let data = json!("a".repeat(100_000) + "!").to_string();
    // An engine that goes back and tries again would not come to an end.
    registry.validate("OrderPaid", 1, data.as_bytes()).unwrap_err();
    registry.validate("OrderPaid", 1, json!("a".repeat(100_000)).to_string().as_bytes()).unwrap();
}

#[tokio::test]
async fn a_long_chain_of_references_does_not_exhaust_the_stack() {
    let link = |at: usize| json!({"properties": {"n": {"$ref": format!("#/$defs/{}", at + 1)}}});
    let mut chain: serde_json::Map<String, Value> = (0..2_000).map(|at| (at.to_string(), link(at))).collect();
    chain.insert("2000".to_owned(), json!({"type": "null"}));
    let registry = registry();
    register(&registry, "OrderPaid", 1, &json!({"schema": {"$ref": "#/$defs/0", "$defs": chain}})).await;
    chain.insert("2000".to_owned(), json!({}));
    let changed = super::definition("OrderPaid", 2, &json!({"schema": {"$ref": "#/$defs/0", "$defs": chain}}));
    // Too deep to be compared, or compatible; either is an answer.
    drop(registry.check(&changed).await);
}
