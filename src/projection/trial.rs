//! What would a changed definition make of the log? Tried on the first events of it, in memory, beside the definition in force.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::convert::row_json;
use super::intake;
use super::intake::Taken;
use super::memory::MemoryWriter;
use super::module::Calls;
use super::module::Habit;
use super::project;
use super::row::Row;
use super::spec::Columns;
use super::spec::OnError;
use super::spec::Spec;
use super::supervisor::Shared;
use super::target::Batch;
use super::target::Fault;
use super::target::Writer;
use super::value::Value;
use super::working::Refusal;
use super::working::Stamp;
use super::working::Working;
use crate::Error;
use crate::subscription::Cursor;
use crate::subscription::Feed;
use crate::subscription::FeedItem;

/// The rows of a trial, beside those that the definition in force makes of the same events.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// How many events were taken.
    pub events: u64,
    /// How many rows the new definition makes of them.
    pub rows: u64,
    /// Rows that both make.
    pub same: u64,
    /// Rows that both make, with other values.
    pub changed: u64,
    /// Rows that the new definition no longer makes.
    pub only_before: u64,
    /// Rows that only the new definition makes.
    pub only_after: u64,
    /// How many events the new definition can't digest and steps over, as it says `on_error = "park"`.
    pub parked: u64,
    /// The event that the new definition can't digest, at which the trial has ended, and why.
    pub poison: Option<String>,
    /// Some of the rows that differ.
    pub examples: Vec<Difference>,
}

/// A row that differs.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Its key.
    pub key: Json,
    /// The columns that differ, as they are; null: the row is not there.
    pub before: Json,
    /// The columns that differ, as they would be; null: the row would not be there.
    pub after: Json,
}

/// Tries a definition.
///
/// # Errors
///
/// The log can't be read.
pub(super) async fn run(shared: &Shared, before: Option<&Spec>, after: &Spec) -> Result<Trial, Error> {
    let deadline = Instant::now() + TIME_MAX;
    let new = rows(shared, after, EVENTS_MAX, deadline).await?;
    let (rows_count, parked) = (count(&new.writer), new.parked);
    let mut trial = Trial { events: new.events, rows: rows_count, parked, poison: new.poison, ..Trial::default() };
    // The same events, so that only the definitions differ.
    let old = match before {
        Some(before) => Some(rows(shared, before, new.events, deadline + TIME_MAX).await?.writer),
        None => None,
    };
    compare(old.as_ref(), &new.writer, &mut trial);
    Ok(trial)
}

struct Made {
    writer: MemoryWriter,
    events: u64,
    parked: u64,
    poison: Option<String>,
}

async fn rows(shared: &Shared, spec: &Spec, events_max: u64, deadline: Instant) -> Result<Made, Error> {
    let start = Cursor::start(&shared.router);
    let mut feed = Feed::of_log(Arc::clone(&shared.router), spec.source.clone(), &start).reshaped_by(shared.reshape.clone());
    let mut made = Made { writer: MemoryWriter::new(Arc::clone(&spec.columns)), events: 0, parked: 0, poison: None };
    let mut bytes = 0;
    while made.events < events_max && bytes < BYTES_MAX && made.poison.is_none() && Instant::now() < deadline {
        let events = match feed.next().await? {
            FeedItem::Events(events) => events,
            FeedItem::CaughtUp(_) => break,
            FeedItem::FellBehind(_) => continue,
        };
        bytes += events.iter().map(|(event, _)| event.record.stored_bytes()).sum::<usize>();
        let left = usize::try_from(events_max - made.events).unwrap_or(usize::MAX);
        let batch: Vec<Taken> = events.into_iter().take(left).map(|(event, through)| intake::taken(spec, event, through)).collect();
        match apply(shared, spec, &mut made, batch).await {
            Ok(()) => {}
            Err(fault) => made.poison = Some(fault.to_string()),
        }
    }
    Ok(made)
}

async fn apply(shared: &Shared, spec: &Spec, made: &mut Made, batch: Vec<Taken>) -> Result<(), Fault> {
    let writer = &mut made.writer;
    let mut working = Working::new(Arc::clone(&spec.columns));
    let mut habit = Habit::default();
    project::load_named(&mut working, writer, &habit, &batch).await?;
    let mut calls = Calls::new(spec, &shared.sandbox, shared.lookup.as_ref(), &mut habit, &batch);
    let mut through = None;
    for (at, taken) in batch.into_iter().enumerate() {
        let Taken { event, through: behind, outcome } = taken;
        let position = event.record.position().get();
        let changes = project::changes(spec, outcome, &event, at, &mut calls, &mut working, writer).await;
        let stamp = Stamp { version: event.record.version().get(), position };
        let done = match changes {
            Ok(changes) => working.apply(writer, changes, stamp).await,
            Err(refusal) => Err(refusal),
        };
        match done {
            Ok(()) => {}
            Err(Refusal::Fault(fault) | Refusal::Waits(fault)) => return Err(fault),
            Err(Refusal::Poison(_)) if spec.on_error == OnError::Park => {
                made.parked += 1;
                // What was worked out for the events behind it may rest on it.
                calls.iter_mut().for_each(Calls::forget);
            }
            Err(Refusal::Poison(reason)) => {
                made.poison = Some(format!("{} at position {position} of shard {}: {reason}", event.record.event_type(), event.shard));
                break;
            }
        }
        made.events += 1;
        through = Some(behind);
    }
    if let Some(through) = through {
        writer.commit(Batch { writes: working.into_writes(), parked: Vec::new(), through }).await?;
    }
    Ok(())
}

fn compare(old: Option<&MemoryWriter>, new: &MemoryWriter, trial: &mut Trial) {
    let mut keys: Vec<&Value> = new.rows.keys().collect();
    if let Some(old) = old {
        keys.extend(old.rows.keys().filter(|key| !new.rows.contains_key(*key)));
    }
    keys.sort_unstable();
    for key in keys {
        let before = old.and_then(|old| Some(cells(old.columns(), old.rows.get(key)?)));
        let after = new.rows.get(key).map(|row| cells(new.columns(), row));
        let (before, after) = match (before, after) {
            (Some(before), Some(after)) if before == after => {
                trial.same += 1;
                continue;
            }
            (Some(before), Some(after)) => {
                trial.changed += 1;
                let differing = |one: &Map<String, Json>, other: &Map<String, Json>| {
                    let cells = one.iter().filter(|(name, value)| other.get(*name) != Some(value));
                    Json::Object(cells.map(|(name, value)| (name.clone(), value.clone())).collect())
                };
                (differing(&before, &after), differing(&after, &before))
            }
            (Some(before), None) => {
                trial.only_before += 1;
                (Json::Object(before), Json::Null)
            }
            (None, after) => {
                trial.only_after += 1;
                (Json::Null, after.map_or(Json::Null, Json::Object))
            }
        };
        if trial.examples.len() < EXAMPLES_MAX {
            trial.examples.push(Difference { key: key.to_json(), before, after });
        }
    }
}

fn cells(columns: &Columns, row: &Row) -> Map<String, Json> {
    if let Json::Object(cells) = row_json(columns, row) { cells } else { Map::new() }
}

fn count(writer: &MemoryWriter) -> u64 {
    u64::try_from(writer.rows.len()).unwrap_or(u64::MAX)
}

const EVENTS_MAX: u64 = 20_000;
/// Of events: the rows that they make are kept in memory.
const BYTES_MAX: usize = 64 << 20;
const EXAMPLES_MAX: usize = 10;
const TIME_MAX: Duration = Duration::from_secs(5);
