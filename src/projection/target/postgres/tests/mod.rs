//! Does the target do what it says, with a real Postgres? Each test has one of its own.

#[path = "../../../../../tests/postgres/cluster.rs"]
mod cluster;
mod driver;
mod faults;
mod fixture;
mod plans;
mod promotion;
mod proxy;
mod refusals;
mod rows;
mod space;
mod speed;
mod tls;
