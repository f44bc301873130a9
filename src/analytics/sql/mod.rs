//! How is a query answered within its limits, and beside everything else that goes on?
//!
//! A text is one statement that reads (`parse`); it is planned over tables of one cut of the log (`session`), its plan is held to reading
//! once more, and it runs on threads of its own, of low priority (`engine`), which give back what they have when the answer is dropped or
//! a limit is met (`run`).

mod arrows;
mod concat;
mod dialect;
mod engine;
mod failure;
mod growth;
mod guard;
mod meters;
mod params;
mod parse;
mod pool;
mod run;
mod session;
mod shape;
mod steady;
mod watch;
mod weight;

pub(crate) use engine::Engine;
pub(super) use failure::nearest;
pub(super) use parse::Parsed;
pub(super) use parse::parse;
pub(super) use run::Work;
pub(super) use run::answer;
pub(super) use session::LAKE;
pub(super) use session::Tables;

use std::time::Duration;

/// What all queries together, and each of them, may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How many threads work on one query.
    pub(crate) threads: usize,
    /// Memory of all queries together.
    pub(crate) memory_bytes: usize,
    /// Disk of all queries together, for what does not fit into memory.
    pub(crate) spill_bytes: u64,
    /// How long one query may work; waiting for whoever reads the answer does not count.
    pub(crate) time: Duration,
    /// Rows of one answer.
    pub(crate) rows: u64,
    /// How many queries run at once,
    pub(crate) queries: usize,
    /// and how many wait for their turn.
    pub(crate) queue: usize,
}
