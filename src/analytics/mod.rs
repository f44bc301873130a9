//! What do all events say together? SQL over the log, the views and the lake; and the lake itself: Parquet files that follow the log.
//!
//! The only place for DataFusion, Parquet and object stores. It reads through the shards, as everybody does, and never stands in the way of
//! an append.

mod answer;
pub(crate) mod columns;
pub(crate) mod export;
mod members;
pub(crate) mod rows;

pub use answer::SqlAnswer;
