//! Is data that breaks its schema refused, with all that is wrong?

use serde_json::json;

use crate::schema::SchemaError;
use crate::schema::error::Violation;
use crate::schema::tests::register;
use crate::schema::tests::registry;

fn violations(error: SchemaError) -> Vec<Violation> {
    let SchemaError::Violation { event_type, schema_version, violations } = error else { panic!("{error:?}") };
    assert_eq!((&*event_type, schema_version), ("OrderPaid", 1));
    violations
}

#[tokio::test]
async fn every_violation_has_its_places() {
    let registry = registry();
    let schema = json!({
        "type": "object",
        "required": ["payer"],
        "properties": {"amount": {"type": "integer", "minimum": 1}, "at": {"$ref": "#/$defs/time"}},
        "$defs": {"time": {"type": "string", "format": "date-time"}},
    });
    register(&registry, "OrderPaid", 1, &json!({ "schema": schema })).await;
    registry.validate("OrderPaid", 1, br#"{"payer": "7", "amount": 3, "at": "2026-11-22T10:00:00Z"}"#).unwrap();
    let found = violations(registry.validate("OrderPaid", 1, br#"{"amount": -5, "at": "secret"}"#).unwrap_err());
    let mut places: Vec<(&str, &str)> = found.iter().map(|violation| (&*violation.pointer, &*violation.schema_pointer)).collect();
    places.sort_unstable();
    assert_eq!(places, [("", "/required"), ("/amount", "/properties/amount/minimum"), ("/at", "/$defs/time/format")]);
    let text = format!("{found:?}");
    assert!(text.contains("\\\"payer\\\" is a required property") && !text.contains("secret") && !text.contains("-5"), "{text}");
}

#[tokio::test]
async fn violations_are_capped() {
    let registry = registry();
    register(&registry, "OrderPaid", 1, &json!({"schema": {"items": {"type": "null"}}})).await;
    let data = json!(vec![1; 1_000]).to_string();
    assert_eq!(violations(registry.validate("OrderPaid", 1, data.as_bytes()).unwrap_err()).len(), 20);
}

#[tokio::test]
async fn what_is_no_json_is_a_violation() {
    let registry = registry();
    registry.validate("OrderPaid", 1, b"anything").unwrap();
    register(&registry, "OrderPaid", 1, &json!({ "schema": true })).await;
    let found = violations(registry.validate("OrderPaid", 1, b"{\"a\": secret}").unwrap_err());
    assert!(found[0].detail.starts_with("is not JSON") && !found[0].detail.contains("secret"), "{found:?}");
    // No data reads as null.
    registry.validate("OrderPaid", 1, b"").unwrap();
}

#[tokio::test]
async fn an_unknown_version_is_told_the_newest() {
    let registry = registry();
    assert_eq!(registry.newest("OrderPaid"), None);
    register(&registry, "OrderPaid", 1, &json!({ "schema": {"type": "object"} })).await;
    register(&registry, "OrderPaid", 2, &json!({ "schema": {} })).await;
    assert_eq!(registry.newest("OrderPaid"), Some(2));
    registry.validate("OrderPaid", 1, b"{}").unwrap();
    registry.validate("OrderPaid", 2, b"3").unwrap();
    registry.validate("OrderSent", 9, b"3").unwrap();
    for wrong in [0, 3, u16::MAX] {
        let error = registry.validate("OrderPaid", wrong, b"{}").unwrap_err();
        assert!(matches!(error, SchemaError::UnknownVersion { schema_version, newest: 2, .. } if schema_version == wrong), "{error:?}");
    }
}
