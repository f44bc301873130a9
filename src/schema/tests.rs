//! Does the registry keep what it promises?

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;

use crate::schema::Change;
use crate::schema::Registry;
use crate::schema::SchemaDefinition;
use crate::schema::SchemaError;
use crate::script::Options;
use crate::script::Sandbox;

mod append;
mod hostile;
mod register;
mod upcast;

fn registry() -> Registry {
    Registry::new(Sandbox::new(Options::default()))
}

fn definition(event_type: &str, schema_version: u16, body: &Value) -> SchemaDefinition {
    SchemaDefinition::parse(event_type, schema_version, body.to_string().as_bytes()).unwrap()
}

/// Registers a definition that must be new.
async fn register(registry: &Registry, event_type: &str, schema_version: u16, body: &Value) -> Arc<SchemaDefinition> {
    let definition = definition(event_type, schema_version, body);
    assert_eq!(registry.check(&definition).await.unwrap(), Change::New);
    registry.apply(definition).unwrap();
    registry.get(event_type, schema_version).unwrap()
}

/// Why a schema is refused as the first version, with the pointer.
async fn refused(schema: &Value) -> (String, String) {
    let definition = definition("OrderPaid", 1, &json!({ "schema": schema }));
    let registry = registry();
    let refusal = registry.check(&definition).await;
    assert!(registry.apply(definition).is_err() && registry.types().is_empty(), "{schema} was taken");
    match refusal {
        Err(SchemaError::Invalid { detail, pointer: Some(pointer), line: None, column: None }) => (pointer, detail),
        other => panic!("{schema}: {other:?}"),
    }
}
