//! How does code that users wrote run without being able to harm anything? In a [`Sandbox`]: JSON goes in, JSON comes out.
//!
//! A call gets a fresh instance of its module in a context whose globals are frozen, so nothing that it does is seen by another call.
//! There is no clock, no chance, no input or output, and nothing to import; so the same input gives the same output on every host.
//! Time, memory, depth and output are bounded. The engine looks at the clock between the steps of a script, and a single step (such as
//! joining two long texts) may take long itself: a call that does not come back is answered without waiting for it, its thread is
//! replaced, and its module is refused until it does come back.

mod budget;
mod calls;
mod fault;
mod job;
mod meters;
mod module;
mod pool;
mod project;
mod realm;
mod report;
mod worker;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub(crate) use self::fault::Kind;
pub(crate) use self::fault::ScriptError;
use self::job::Answer;
use self::job::Work;
use self::job::unexpected;
pub(crate) use self::module::Module;
use self::pool::Pool;
pub(crate) use self::project::Projected;
pub(crate) use self::project::Projecting;
pub(crate) use self::project::Stop;

/// The bounds of a [`Sandbox`].
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How many calls run at the same time.
    pub(crate) threads: usize,
    /// What a call may allocate.
    pub(crate) memory_bytes: usize,
    /// How deep its calls may be nested.
    pub(crate) stack_bytes: usize,
    /// How long it may take.
    pub(crate) wall: Duration,
    /// How often the engine may ask whether to go on; it asks every 10,000 jumps and calls. Unlike the clock, this is the same on
    /// every host; it is so large that code that ends in time stays below.
    pub(crate) interrupts_max: u64,
    /// How long a module may be.
    pub(crate) source_bytes_max: usize,
    /// How large a state, or the events of a decision together, may be.
    pub(crate) output_bytes_max: usize,
    /// How many calls may wait.
    pub(crate) queue_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            memory_bytes: 64 << 20,
            stack_bytes: 512 << 10,
            wall: Duration::from_millis(250),
            interrupts_max: 50_000,
            source_bytes_max: 256 << 10,
            output_bytes_max: 1 << 20,
            queue_max: 1_024,
        }
    }
}

/// What a module exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exports {
    /// The state before the first event, as JSON.
    pub(crate) initial: Option<Bytes>,
    /// After how many events a snapshot is worth it.
    pub(crate) snapshot_every: Option<u64>,
    /// The types of events that change the state.
    pub(crate) evolve: Vec<String>,
    /// The commands.
    pub(crate) decide: Vec<String>,
    /// Whether there is a `project`, which makes rows of events; there is then nothing else.
    pub(crate) project: bool,
}

/// What a fold came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folded {
    /// The state after the last event, as JSON.
    pub(crate) state: Bytes,
    /// The state after each event, when that was asked for; else empty.
    pub(crate) steps: Vec<Bytes>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Each the JSON text of an object with a `type`.
    Events(Vec<Bytes>),
    /// The code threw a `Rejection`.
    Rejected {
        /// For programs.
        code: String,
        /// For people.
        message: String,
    },
}

/// Threads that run scripts. Its clones share them; they start with the first call and end with the last clone.
#[derive(Clone)]
pub(crate) struct Sandbox {
    pool: Arc<Pool>,
}

impl Sandbox {
    /// A sandbox that has not started anything yet.
    pub(crate) fn new(options: Options) -> Self {
        Self { pool: Arc::new(Pool::new(options)) }
    }

    /// Evaluates a module and says what it exports.
    ///
    /// # Errors
    /// [`Kind::Syntax`], [`Kind::Definition`], [`Kind::Threw`] or a breach of a bound.
    pub(crate) async fn inspect(&self, module: &Arc<Module>) -> Result<Exports, ScriptError> {
        let answer = self.pool.run(module, Work::Inspect).await?;
        let Answer::Inspected(exports) = answer else { return Err(unexpected(module)) };
        Ok(exports)
    }

    /// How many calls wait for a thread.
    pub(crate) fn waiting(&self) -> usize {
        self.pool.waiting()
    }

    /// Folds `events`, each the JSON text of a whole event, into `state`, or into the module's `initial` one.
    ///
    /// # Errors
    /// Those of [`Sandbox::inspect`], [`Kind::Output`] and [`Kind::Impure`]; [`ScriptError::at`] says at which event.
    pub(crate) async fn fold(
        &self,
        module: &Arc<Module>,
        state: Option<Bytes>,
        events: Vec<Bytes>,
        every_step: bool,
    ) -> Result<Folded, ScriptError> {
        let answer = self.pool.run(module, Work::Fold { state, events, every_step }).await?;
        let Answer::Folded(folded) = answer else { return Err(unexpected(module)) };
        Ok(folded)
    }

    /// Lets the module decide what a command leads to in `state`, or in its `initial` one.
    ///
    /// # Errors
    /// Those of [`Sandbox::inspect`], [`Kind::Output`] and [`Kind::Missing`].
    pub(crate) async fn decide(
        &self,
        module: &Arc<Module>,
        command: &str,
        state: Option<Bytes>,
        input: Bytes,
    ) -> Result<Decision, ScriptError> {
        let answer = self.pool.run(module, Work::Decide { command: command.to_owned(), state, input }).await?;
        let Answer::Decided(decision) = answer else { return Err(unexpected(module)) };
        Ok(decision)
    }

    /// Calls the function of a [`Module::function`] with the data and the whole event of each item; the answers stand in the same order.
    ///
    /// # Errors
    /// Within the list, what went wrong with one item. Around it, what ended the whole call: a breach of a bound, [`Kind::Impure`], and
    /// what [`Sandbox::inspect`] fails with.
    pub(crate) async fn map(
        &self,
        module: &Arc<Module>,
        items: Vec<(Bytes, Bytes)>,
    ) -> Result<Vec<Result<Bytes, ScriptError>>, ScriptError> {
        let answer = self.pool.run(module, Work::Map { items }).await?;
        let Answer::Mapped(mapped) = answer else { return Err(unexpected(module)) };
        Ok(mapped)
    }

    /// Calls the module's `project` with one event after the other, until one needs something that the host has to do first.
    ///
    /// # Errors
    /// What ended the whole call: a breach of a bound (at the event of [`ScriptError::at`]), [`Kind::Impure`], [`Kind::Missing`], and what
    /// [`Sandbox::inspect`] fails with. What one event threw is in the answer, behind what the events before it do.
    pub(crate) async fn project(&self, module: &Arc<Module>, call: Projecting) -> Result<Projected, ScriptError> {
        let answer = self.pool.run(module, Work::Project(call)).await?;
        let Answer::Projected(projected) = answer else { return Err(unexpected(module)) };
        Ok(projected)
    }
}
