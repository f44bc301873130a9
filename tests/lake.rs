//! Does SQL say the truth about what is in the log, and does it stay within its limits? Does everybody who reads the lake read the same?
//! Real programs, a real server, real faults on the way.
#![cfg(feature = "analytics")]
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "tests, which clippy does not see behind `tokio::test`: small numbers, and the seed to replay with"
)]

#[path = "lake/attacks.rs"]
mod attacks;
#[path = "lake/fixture.rs"]
mod fixture;
#[path = "lake/hot_cold.rs"]
mod hot_cold;
#[path = "cli/process.rs"]
#[expect(dead_code, reason = "the tests of the command line use the rest")]
mod process;
#[path = "lake/proxy.rs"]
mod proxy;
#[path = "lake/python.rs"]
mod python;
#[path = "lake/readers.rs"]
mod readers;
#[cfg(feature = "s3")]
#[path = "lake/s3.rs"]
mod s3;
#[path = "lake/shapes.rs"]
mod shapes;
#[path = "lake/sql.rs"]
mod sql;
#[path = "lake/stand.rs"]
mod stand;
