//! How do a category's events make a state? By the category's module, or by merging each event's data.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use factum_storage::RecordedEvent;
use factum_storage::Version;
use serde_json::Value;

use super::Aggregate;
use super::merge;
use super::typed;
use crate::Error;
use crate::error::ScriptFault;
use crate::script::Decision;
use crate::script::Exports;
use crate::script::Kind;
use crate::script::Module;
use crate::script::Sandbox;
use crate::script::ScriptError;
use crate::subscription::event_json::Lines;
use crate::subscription::event_json::push_event;

/// How one category folds, and what it decides.
pub(crate) struct Evolver {
    fold: Fold,
    pub(crate) snapshot_every: u64,
    /// Of what the user wrote; zero for a category that nobody has defined.
    pub(crate) hash: [u8; 32],
    pub(crate) commands: Vec<String>,
}

enum Fold {
    Merge,
    Module {
        module: Arc<Module>,
        /// The types of events that change its state.
        evolves: HashSet<String>,
    },
    Rust {
        fold: Arc<typed::Fold>,
        name: &'static str,
    },
    /// It was accepted once and this build can't run it.
    Broken(ScriptFault),
}

/// A state under way: kept in the form that the next events are applied to.
pub(super) enum Running {
    /// No event yet.
    Initial,
    Merged(Value),
    Json(Bytes),
}

impl Evolver {
    /// Of a category that nobody has defined.
    pub(crate) fn undefined() -> Self {
        Self { fold: Fold::Merge, snapshot_every: UNDEFINED_SNAPSHOT_EVERY, hash: [0; 32], commands: Vec::new() }
    }

    /// That merges, as defined with snapshots so often.
    pub(crate) fn merging(snapshot_every: u64) -> Self {
        let hash = *blake3::hash(b"merge").as_bytes();
        Self { fold: Fold::Merge, snapshot_every, hash, commands: Vec::new() }
    }

    /// By a module that exports this.
    pub(crate) fn of_module(module: Arc<Module>, exports: Exports) -> Self {
        let snapshot_every = exports.snapshot_every.unwrap_or(DEFAULT_SNAPSHOT_EVERY);
        let (hash, evolves) = (module.hash(), exports.evolve.into_iter().collect());
        Self { hash, fold: Fold::Module { module, evolves }, snapshot_every, commands: exports.decide }
    }

    /// By a Rust type.
    pub(super) fn of_type<A: Aggregate>() -> Self {
        let fold = Fold::Rust { fold: typed::fold_of::<A>(), name: std::any::type_name::<A>() };
        Self { fold, snapshot_every: A::SNAPSHOT_EVERY.max(1), hash: typed::hash_of::<A>(), commands: Vec::new() }
    }

    /// Whether a Rust type of this process is behind it.
    pub(crate) fn is_of_type(&self) -> bool {
        matches!(self.fold, Fold::Rust { .. })
    }

    /// Of a module that was accepted by an earlier build and does not run on this one.
    pub(crate) fn broken(error: &ScriptError) -> Self {
        Self { fold: Fold::Broken(fault(error, &[])), snapshot_every: DEFAULT_SNAPSHOT_EVERY, hash: [0xff; 32], commands: Vec::new() }
    }

    /// Continues from a state that was kept; `None` if it is none of this evolver's.
    pub(super) fn resume(&self, state: &Bytes) -> Option<Running> {
        match &self.fold {
            Fold::Merge => serde_json::from_slice(state).ok().map(Running::Merged),
            Fold::Module { .. } | Fold::Rust { .. } | Fold::Broken(_) => Some(Running::Json(state.clone())),
        }
    }

    /// Applies events of one shard, in order; `steps` are given the state after each, as JSON.
    pub(super) async fn apply(
        &self,
        sandbox: &Sandbox,
        running: Running,
        shard: u16,
        events: Vec<RecordedEvent>,
        steps: Option<&mut Vec<Bytes>>,
    ) -> Result<Running, Error> {
        if let Some(event) = events.iter().find(|event| event.reshape_failure().is_some()) {
            return Err(unreadable(event, event.reshape_failure().unwrap_or_default()));
        }
        match &self.fold {
            Fold::Merge if steps.is_none() && events.len() > INLINE_EVENTS_MAX => {
                // Longer than a thread of the runtime should be kept from its other work.
                let merging = tokio::task::spawn_blocking(move || merge_all(running, &events, None));
                merging.await.map_err(|error| Error::Unavailable { shard, detail: error.to_string() })?
            }
            Fold::Merge => merge_all(running, &events, steps),
            Fold::Module { module, evolves } => {
                // What changes nothing need not be looked at, unless every step is wanted.
                let wanted = events.iter().filter(|event| steps.is_some() || evolves.contains(event.event_type()));
                let (texts, versions): (Vec<_>, Vec<_>) = wanted.map(|event| (event_text(shard, event), event.version())).unzip();
                if texts.is_empty() {
                    return Ok(running);
                }
                let state = match running {
                    Running::Initial => None,
                    Running::Json(state) => Some(state),
                    Running::Merged(value) => Some(value.to_string().into()),
                };
                let folded = sandbox.fold(module, state, texts, steps.is_some()).await.map_err(|error| script(&error, &versions))?;
                if let Some(steps) = steps {
                    steps.extend(folded.steps);
                }
                Ok(Running::Json(folded.state))
            }
            Fold::Rust { fold, name } => {
                let state = if let Running::Json(state) = &running { Some(&**state) } else { None };
                let (state, each) = fold(state, &events, steps.is_some()).map_err(|fault| of_type(fault, name, &events))?;
                if let Some(steps) = steps {
                    steps.extend(each);
                }
                Ok(Running::Json(state))
            }
            Fold::Broken(fault) => Err(Error::Script(Box::new(fault.clone()))),
        }
    }

    /// The state as JSON; what `initial` is, the sandbox knows.
    pub(super) async fn finish(&self, sandbox: &Sandbox, running: Running) -> Result<Bytes, Error> {
        match running {
            Running::Merged(value) => Ok(value.to_string().into()),
            Running::Json(state) => Ok(state),
            Running::Initial => match &self.fold {
                Fold::Merge => Ok(Bytes::from_static(b"{}")),
                Fold::Module { module, .. } => {
                    Ok(sandbox.fold(module, None, Vec::new(), false).await.map_err(|error| script(&error, &[]))?.state)
                }
                Fold::Rust { fold, name } => Ok(fold(None, &[], false).map_err(|fault| of_type(fault, name, &[]))?.0),
                Fold::Broken(fault) => Err(Error::Script(Box::new(fault.clone()))),
            },
        }
    }

    /// Asks the module what a command comes to. `None`: it has no such command.
    pub(crate) async fn decide(
        &self,
        sandbox: &Sandbox,
        command: &str,
        state: Option<Bytes>,
        input: Bytes,
    ) -> Result<Option<Decision>, Error> {
        let module = match &self.fold {
            Fold::Merge | Fold::Rust { .. } => return Ok(None),
            Fold::Broken(fault) => return Err(Error::Script(Box::new(fault.clone()))),
            Fold::Module { module, .. } => module,
        };
        if !self.commands.iter().any(|known| known == command) {
            return Ok(None);
        }
        match sandbox.decide(module, command, state, input).await {
            Ok(decision) => Ok(Some(decision)),
            Err(error) => Err(script(&error, &[])),
        }
    }
}

fn merge_all(running: Running, events: &[RecordedEvent], mut steps: Option<&mut Vec<Bytes>>) -> Result<Running, Error> {
    let mut state = match running {
        Running::Merged(value) => value,
        Running::Initial | Running::Json(_) => Value::Object(serde_json::Map::new()),
    };
    for event in events {
        merge::merge(&mut state, event.data()).map_err(|error| unreadable(event, &format!("its data is not JSON: {error}")))?;
        if let Some(steps) = &mut steps {
            steps.push(state.to_string().into());
        }
    }
    Ok(Running::Merged(state))
}

fn event_text(shard: u16, event: &RecordedEvent) -> Bytes {
    let mut text = Vec::new();
    push_event(&mut text, shard, event, Lines::Any);
    text.into()
}

fn unreadable(event: &RecordedEvent, detail: &str) -> Error {
    Error::HistoryUnreadable { stream: event.stream().to_owned(), version: event.version().get(), detail: detail.to_owned() }
}

/// What a caller is told when a Rust type can't take an event.
fn of_type(fault: typed::Fault, name: &'static str, events: &[RecordedEvent]) -> Error {
    let version = fault.at.and_then(|at| events.get(at)).map(|event| event.version().get());
    let fault = ScriptFault { kind: "output", message: fault.message, file: name.to_owned(), line: None, column: None, version };
    Error::Script(Box::new(fault))
}

/// What a caller is told of a script's failure; `versions` are those of the events that it was given.
pub(super) fn script(error: &ScriptError, versions: &[Version]) -> Error {
    if error.kind == Kind::Busy {
        return Error::ScriptsBusy;
    }
    Error::Script(Box::new(fault(error, versions)))
}

fn fault(error: &ScriptError, versions: &[Version]) -> ScriptFault {
    let version = error.at.and_then(|at| versions.get(at)).map(|version| version.get());
    ScriptFault {
        kind: error.kind.as_str(),
        message: error.message.clone(),
        file: error.file.clone(),
        line: error.line,
        column: error.column,
        version,
    }
}

/// So many events are merged at once without leaving the thread.
const INLINE_EVENTS_MAX: usize = 64;
/// How often a state is kept if the module does not say.
const DEFAULT_SNAPSHOT_EVERY: u64 = 100;
/// Nobody asked for snapshots here: long histories alone get one, when they are read.
const UNDEFINED_SNAPSHOT_EVERY: u64 = 1000;
