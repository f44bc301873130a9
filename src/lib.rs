//! Factum, an event-store database: a durable log with a versioned index, served over HTTP or embedded in process.
//!
//! [`Database`] is the embedded face. Imports only go down the list of modules in `docs/architecture.md`.

pub mod aggregate;
#[cfg(feature = "analytics")]
pub mod analytics;
pub mod auth;
pub mod cli;
pub mod config;
pub mod database;
pub mod definition;
pub mod error;
pub mod http;
pub mod projection;
mod schema;
mod script;
pub mod server;
mod shard;
pub mod subscription;
pub mod telemetry;

pub use database::Database;
pub use error::Error;

/// Runs the Rust examples of the documents.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/guide.md")]
struct Documents;
