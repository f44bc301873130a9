//! What do events do that can only be told by looking at rows? The code is asked, told the rows that it misses, and asked again.

use std::collections::HashSet;

use super::Projection;
use super::Rows;
use super::intake::Outcome;
use super::intake::Taken;
use super::module::Calls;
use super::module::Habit;
use super::row::Change;
use super::spec::Logic;
use super::spec::Spec;
use super::target::Fault;
use super::target::Writer;
use super::value::Value;
use super::working::Refusal;
use super::working::Working;
use crate::subscription::Event;

/// Loads what the changes of these events name by key, and what a module probably looks at, as far as the target tells it at once.
pub(super) async fn load_named(working: &mut Working, writer: &mut dyn Writer, habit: &Habit, events: &[Taken]) -> Result<(), Fault> {
    let keys = events.iter().flat_map(|taken| {
        let (changes, guessed) = match &taken.outcome {
            Outcome::Changes(changes) => (changes.as_slice(), None),
            Outcome::Module(asked) => (&[][..], habit.key(asked)),
            Outcome::Poison(_) | Outcome::Native => (&[][..], None),
        };
        changes.iter().filter_map(named).chain(guessed)
    });
    let keys: Vec<&Value> = keys.collect();
    working.load_ahead(writer, keys.into_iter()).await
}

/// The key that a change names.
pub(super) fn named(change: &Change) -> Option<&Value> {
    match change {
        Change::Upsert { key, .. } | Change::Delete { key } => Some(key),
        Change::Update { .. } | Change::DeleteMatching { .. } => None,
    }
}

/// Asks a Rust projection about all events once, for the rows that it looks at, and loads them in one go.
pub(super) async fn load_looked_at(
    projection: &dyn Projection,
    working: &mut Working,
    writer: &mut dyn Writer,
    events: &[Taken],
) -> Result<(), Fault> {
    let mut wanted: HashSet<Value> = HashSet::new();
    for taken in events.iter().filter(|taken| matches!(taken.outcome, Outcome::Native)) {
        let mut rows = Rows::new(working);
        // What it says is not yet to be trusted: the events before it have not been applied.
        drop(projection.project(&taken.event, &mut rows));
        let (changes, missing) = rows.into_parts();
        wanted.extend(missing);
        wanted.extend(changes.iter().filter_map(named).cloned());
    }
    working.load_ahead(writer, wanted.iter()).await
}

/// What an event does; the rows that its changes name by key are loaded.
#[expect(clippy::too_many_arguments, reason = "one event in all that it may touch")]
pub(super) async fn changes(
    spec: &Spec,
    outcome: Outcome,
    event: &Event,
    at: usize,
    calls: &mut Option<Calls<'_>>,
    working: &mut Working,
    writer: &mut dyn Writer,
) -> Result<Vec<Change>, Refusal> {
    let changes = match (outcome, &spec.logic, calls) {
        (Outcome::Changes(changes), ..) => changes,
        (Outcome::Poison(reason), ..) => return Err(Refusal::Poison(reason)),
        (Outcome::Native, Logic::Native(projection), _) => native(projection.as_ref(), event, working, writer).await?,
        (Outcome::Module(_), _, Some(calls)) => calls.changes(at, working, writer).await?,
        (Outcome::Native, ..) | (Outcome::Module(_), _, None) => Vec::new(),
    };
    // Most were loaded ahead; not those of large rows.
    working.load(writer, changes.iter().filter_map(named)).await?;
    Ok(changes)
}

/// What one event does, according to a Rust projection.
async fn native(
    projection: &dyn Projection,
    event: &Event,
    working: &mut Working,
    writer: &mut dyn Writer,
) -> Result<Vec<Change>, Refusal> {
    for _look in 0..LOOKS_MAX {
        let mut rows = Rows::new(working);
        let said = projection.project(event, &mut rows);
        let (changes, missing) = rows.into_parts();
        if missing.is_empty() {
            said.map_err(|error| Refusal::Poison(error.to_string()))?;
            return Ok(changes);
        }
        working.load(writer, missing.iter()).await?;
    }
    Err(Refusal::Poison(format!("it looked at other rows {LOOKS_MAX} times in a row")))
}

/// One event may follow a chain of so many rows.
const LOOKS_MAX: usize = 1_000;
