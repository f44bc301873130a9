//! Which definitions join the registry?

use serde_json::json;

use crate::schema::Change;
use crate::schema::Compatibility;
use crate::schema::SchemaError;
use crate::schema::error::Break;
use crate::schema::tests::definition;
use crate::schema::tests::register;
use crate::schema::tests::registry;

#[tokio::test]
async fn the_same_again_changes_nothing_and_another_is_refused() {
    let registry = registry();
    let body = json!({"schema": {"type": "object", "properties": {"a": {}, "b": {}}}});
    register(&registry, "OrderPaid", 1, &body).await;
    let again = definition("OrderPaid", 1, &json!({"compatibility": "backward", "schema": body["schema"]}));
    assert_eq!(registry.check(&again).await.unwrap(), Change::Same);
    registry.apply(again).unwrap();
    let other = definition("OrderPaid", 1, &json!({"schema": {"type": "object"}}));
    assert!(matches!(registry.check(&other).await, Err(SchemaError::Exists)));
    assert!(matches!(registry.apply(other), Err(SchemaError::Exists)));
    assert_eq!(registry.versions("OrderPaid").len(), 1);
}

#[tokio::test]
async fn versions_have_no_gap() {
    let registry = registry();
    let second = definition("OrderPaid", 2, &json!({"schema": true}));
    assert!(matches!(registry.check(&second).await, Err(SchemaError::NotNext { next: 1 })));
    register(&registry, "OrderPaid", 1, &json!({"schema": true})).await;
    let third = definition("OrderPaid", 3, &json!({"schema": true}));
    assert!(matches!(registry.check(&third).await, Err(SchemaError::NotNext { next: 2 })));
    assert!(matches!(registry.apply(third), Err(SchemaError::NotNext { next: 2 })));
}

#[tokio::test]
async fn a_promise_is_kept_or_the_version_refused() {
    let registry = registry();
    register(&registry, "OrderPaid", 1, &json!({"schema": {"type": "object", "properties": {"amount": {"type": "number"}}}})).await;
    let narrower = json!({"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]});
    let refused = registry.check(&definition("OrderPaid", 2, &json!({ "schema": narrower }))).await.unwrap_err();
    let said = refused.to_string();
    let SchemaError::Incompatible { compatibility: Compatibility::Backward, breaks } = refused else { panic!("{refused:?}") };
    assert_eq!(breaks.len(), 2);
    let required = Break { pointer: "/required".into(), detail: "`amount` became required: events of version 1 may lack it".into() };
    assert!(breaks.contains(&required), "{breaks:?}");
    assert!(said.starts_with("it is not backward compatible with the version before: /properties/amount/type: `amount`"), "{said}");

    let accepted = |promise: &str| definition("OrderPaid", 2, &json!({"schema": narrower, "compatibility": promise}));
    assert_eq!(registry.check(&accepted("forward")).await.unwrap(), Change::New);
    assert_eq!(registry.check(&accepted("none")).await.unwrap(), Change::New);
    assert!(matches!(registry.check(&accepted("full")).await, Err(SchemaError::Incompatible { .. })));
}

#[tokio::test]
async fn an_upcaster_stands_for_the_backward_half_only() {
    let registry = registry();
    register(&registry, "OrderPaid", 1, &json!({"schema": {"type": "string"}})).await;
    let with = |schema: serde_json::Value, promise: &str| {
        definition("OrderPaid", 2, &json!({"schema": schema, "compatibility": promise, "upcast": "(data) => data.length"}))
    };
    assert_eq!(registry.check(&with(json!({"type": "integer"}), "backward")).await.unwrap(), Change::New);
    assert!(matches!(registry.check(&with(json!({"type": "integer"}), "full")).await, Err(SchemaError::Incompatible { .. })));
    assert_eq!(registry.check(&with(json!({"type": "string", "maxLength": 3}), "full")).await.unwrap(), Change::New);
}

#[tokio::test]
async fn an_upcaster_must_compile_and_have_a_version_to_come_from() {
    let registry = registry();
    let first = definition("OrderPaid", 1, &json!({"schema": true, "upcast": "(data) => data"}));
    assert!(matches!(registry.check(&first).await, Err(SchemaError::Malformed { field, .. }) if field == "upcast"));
    register(&registry, "OrderPaid", 1, &json!({"schema": true})).await;
    for text in ["(data) =>\n  data +", "17", "import x from 'y'"] {
        match registry.check(&definition("OrderPaid", 2, &json!({"schema": true, "upcast": text}))).await {
            Err(SchemaError::Invalid { detail, line, column, .. }) => {
                assert!(detail.starts_with("upcast: "), "{detail}");
                assert!(text == "17" || (line.is_some() && column.is_some()), "{text}: {line:?} {column:?}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_hash_of_shapes_changes_with_them() {
    let registry = registry();
    register(&registry, "OrderPaid", 1, &json!({"schema": true})).await;
    assert!(!registry.reshapes());
    assert_eq!(registry.shape_hash(), [0; 32]);
    register(&registry, "OrderPaid", 2, &json!({"schema": true})).await;
    let two = registry.shape_hash();
    assert!(registry.reshapes() && two != [0; 32]);
    // A type with one version needs no reshaping.
    register(&registry, "OrderSent", 1, &json!({"schema": true})).await;
    assert_eq!(registry.shape_hash(), two);
    register(&registry, "OrderSent", 2, &json!({"schema": true})).await;
    assert_ne!(registry.shape_hash(), two);
    assert_eq!(registry.types(), [("OrderPaid".to_owned(), 2), ("OrderSent".to_owned(), 2)]);
}
