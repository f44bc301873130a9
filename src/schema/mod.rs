//! What shape may the data of an event type have, and how does data of an old shape reach a reader of the new one?
//!
//! A type has numbered versions, each with a JSON Schema of draft 2020-12. Appends are checked against the version that they name
//! ([`Registry::validate`]); reads give the newest shape ([`Registry::upcast`]). A new version is held to a promise about the one before
//! ([`Compatibility`]).

mod compatibility;
mod definition;
mod document;
mod error;
mod registry;
#[cfg(test)]
mod tests;
mod upcast;
mod validator;

pub(crate) use definition::Compatibility;
pub(crate) use definition::SchemaDefinition;
pub(crate) use error::SchemaError;
pub(crate) use registry::Change;
pub(crate) use registry::Registry;
