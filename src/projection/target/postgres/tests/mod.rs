//! Does the target do what it says, with a real Postgres? Each test has one of its own.

#[path = "../../../../../tests/postgres/cluster.rs"]
mod cluster;
mod fixture;
mod rows;
