//! Does the interface hold what it promises, and does it stand what it is not meant for?
//!
//! Tests that make an item of `docs/trust.md` true bear its id in their names.

mod access;
mod aggregates;
mod append;
mod audit;
mod commands;
mod connections;
mod definitions;
mod endings;
#[cfg(feature = "analytics")]
mod exports;
mod feeds;
mod guarded;
mod hostile;
mod http2;
mod identity;
mod import;
mod issuers;
mod operations;
mod quotas;
mod reads;
mod schemas;
mod shards;
#[cfg(feature = "analytics")]
mod sql;
mod streams;
mod subscriptions;
mod support;
mod tokens;
mod transactions;
mod views;
