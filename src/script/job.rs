//! What is one call, and what comes of it?

use bytes::Bytes;

use super::Decision;
use super::Exports;
use super::Folded;
use super::Kind;
use super::Module;
use super::Projected;
use super::Projecting;
use super::ScriptError;

/// What a thread is asked to do with a module.
#[derive(Debug)]
pub(super) enum Work {
    Inspect,
    Fold {
        state: Option<Bytes>,
        events: Vec<Bytes>,
        every_step: bool,
    },
    Decide {
        command: String,
        state: Option<Bytes>,
        input: Bytes,
    },
    Map {
        items: Vec<(Bytes, Bytes)>,
    },
    Project(Projecting),
    /// Lets the thread fail, to see that another takes its place.
    #[cfg(test)]
    Panic,
    /// Keeps the thread busy in a way that no bound of the engine ends, until the other side is gone.
    #[cfg(test)]
    Hang(parking_lot::Mutex<std::sync::mpsc::Receiver<()>>),
}

/// What [`Work`] of the same name comes to.
#[derive(Debug)]
pub(super) enum Answer {
    Inspected(Exports),
    Folded(Folded),
    Decided(Decision),
    Mapped(Vec<Result<Bytes, ScriptError>>),
    Projected(Projected),
}

/// An answer to another question than the one that was asked.
pub(super) fn unexpected(module: &Module) -> ScriptError {
    ScriptError::new(Kind::Died, module.name(), "the sandbox answered something else than it was asked")
}
