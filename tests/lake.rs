//! Does SQL say the truth about what is in the log, and does it stay within its limits?
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
#[path = "lake/sql.rs"]
mod sql;
