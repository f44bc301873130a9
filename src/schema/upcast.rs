//! How does an old event reach a reader in the newest shape?

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use factum_storage::RecordedEvent;
use factum_storage::Reshaped;

use crate::schema::error::Violation;
use crate::schema::registry::Registry;
use crate::schema::registry::Shape;
use crate::schema::registry::newest;
use crate::script::Kind;
use crate::script::Module;
use crate::script::Sandbox;
use crate::script::ScriptError;
use crate::subscription::event_json::Lines;
use crate::subscription::event_json::push_event;

impl Registry {
    /// Brings events to the newest shape of their types, in the same order. One that cannot be brought there carries the reason instead of
    /// data. Events of a version behind the newest are left as they are, as are those of types without schema.
    ///
    /// Every upcaster is asked once for all events that it is due for. What upcasters made of an event is held against the newest schema;
    /// what went through versions without upcaster is not, as it is what the client appended.
    ///
    /// # Errors
    ///
    /// Only when the sandbox cannot work at all: too much to do, or dead.
    pub(crate) async fn upcast(&self, mut events: Vec<(u16, RecordedEvent)>) -> Result<Vec<(u16, RecordedEvent)>, ScriptError> {
        if !self.reshapes() {
            return Ok(events);
        }
        for (versions, mut old) in self.old_by_type(&events) {
            for step in versions.iter() {
                self.step(step, &mut old, &mut events).await?;
            }
            old.iter().filter(|event| event.is_remade).for_each(|event| check_result(&versions, event.at, &mut events));
        }
        Ok(events)
    }

    /// The events that are not of the newest version, by type, each type with its versions.
    fn old_by_type(&self, events: &[(u16, RecordedEvent)]) -> Vec<OfType> {
        let mut by_type: BTreeMap<&str, Option<OfType>> = BTreeMap::new();
        for (at, (_, event)) in events.iter().enumerate() {
            let group = by_type.entry(event.event_type()).or_insert_with(|| Some((self.shapes_of(event.event_type())?, Vec::new())));
            if let Some((versions, old)) = group
                && versions.len() > 1
                && event.schema_version() < newest(versions)
            {
                old.push(Old { at, is_remade: false });
            }
        }
        by_type.into_values().flatten().filter(|(_, old)| !old.is_empty()).collect()
    }

    /// Takes the events that are of the version before over to this one.
    async fn step(&self, step: &Shape, old: &mut [Old], events: &mut [(u16, RecordedEvent)]) -> Result<(), ScriptError> {
        let schema_version = step.definition.schema_version;
        let mut due: Vec<&mut Old> = Vec::new();
        let mut calls = Vec::new();
        for place in old {
            let Some((shard, event)) = events.get_mut(place.at) else { continue };
            if event.reshape_failure().is_some() || event.schema_version() != schema_version - 1 {
                continue;
            }
            if step.upcaster.is_some() {
                calls.push((data_or_null(event), as_json(*shard, event)));
                due.push(place);
            } else {
                *event = event.clone().reshaped(Reshaped::Data { schema_version, data: event.data_bytes() });
            }
        }
        let Some(upcaster) = step.upcaster.as_ref().filter(|_| !calls.is_empty()) else { return Ok(()) };
        let results = call_all(&self.sandbox, upcaster, calls).await?;
        for (place, result) in due.into_iter().zip(results) {
            place.is_remade = true;
            let shape = match result {
                Ok(data) => Reshaped::Data { schema_version, data },
                Err(error) => Reshaped::Failed(error.to_string().into()),
            };
            replace(events, place.at, shape);
        }
        Ok(())
    }
}

/// Calls the upcaster for each item; the answers stand in the same order.
///
/// A breach of a bound, such as of time, ends a whole call of the sandbox. Its items are then tried again by halves, so that one bad event
/// does not take the others with it. How often is bounded too: behind that, what is left fails for the same reason.
async fn call_all(
    sandbox: &Sandbox,
    upcaster: &Arc<Module>,
    items: Vec<(Bytes, Bytes)>,
) -> Result<Vec<Result<Bytes, ScriptError>>, ScriptError> {
    let mut results = Vec::with_capacity(items.len());
    let mut breaches = 0;
    // The first stands at the end.
    let mut todo: Vec<Vec<(Bytes, Bytes)>> = portions(items);
    todo.reverse();
    while let Some(mut portion) = todo.pop() {
        match sandbox.map(upcaster, portion.clone()).await {
            Ok(answers) if answers.len() == portion.len() => results.extend(answers),
            Ok(answers) => {
                let message = format!("{} answers to {} events", answers.len(), portion.len());
                let file = upcaster.name().to_owned();
                return Err(ScriptError { kind: Kind::Died, message, file, line: None, column: None, at: None });
            }
            Err(error) if matches!(error.kind, Kind::Busy | Kind::Died) => return Err(error),
            Err(error) => {
                breaches += 1;
                let is_for_all = matches!(error.kind, Kind::Syntax | Kind::Definition) || breaches >= BREACHES_MAX;
                if is_for_all {
                    let left = portion.len() + todo.drain(..).map(|portion| portion.len()).sum::<usize>();
                    results.extend(std::iter::repeat_n(Err(error), left));
                } else if portion.len() == 1 {
                    results.push(Err(error));
                } else {
                    let second = portion.split_off(portion.len() / 2);
                    todo.extend([second, portion]);
                }
            }
        }
    }
    Ok(results)
}

/// Items in portions that one call takes easily.
fn portions(items: Vec<(Bytes, Bytes)>) -> Vec<Vec<(Bytes, Bytes)>> {
    let mut portions: Vec<Vec<(Bytes, Bytes)>> = Vec::new();
    let mut room = (0, 0_usize);
    for item in items {
        let bytes = item.0.len() + item.1.len();
        match portions.last_mut().filter(|_| room.0 > 0 && room.1 >= bytes) {
            Some(portion) => portion.push(item),
            None => {
                portions.push(vec![item]);
                room = (CALL_ITEMS_MAX, CALL_BYTES_MAX);
            }
        }
        room = (room.0 - 1, room.1.saturating_sub(bytes));
    }
    portions
}

/// A type's versions, and those of its events that are not of the newest.
type OfType = (Arc<Vec<Shape>>, Vec<Old>);

/// An event that is not of the newest version.
struct Old {
    /// Its place among the events.
    at: usize,
    /// An upcaster has run on it.
    is_remade: bool,
}

/// A reader of the newest shape must be able to trust it.
fn check_result(versions: &[Shape], at: usize, events: &mut [(u16, RecordedEvent)]) {
    let (Some(newest), Some((_, event))) = (versions.last(), events.get(at)) else { return };
    if event.reshape_failure().is_some() {
        return;
    }
    let violations = newest.validator.violations(event.data());
    if let Some(Violation { pointer, detail, .. }) = violations.first() {
        let upcaster = versions.iter().rev().find_map(|shape| shape.upcaster.as_ref());
        let file = upcaster.map_or("", |upcaster| upcaster.name());
        let version = newest.definition.schema_version;
        let more = if violations.len() > 1 { format!(" (and {} more)", violations.len() - 1) } else { String::new() };
        let colon = if pointer.is_empty() { "" } else { ": " };
        let why = format!("{file}: its result does not match schema version {version}: {pointer}{colon}{detail}{more}");
        replace(events, at, Reshaped::Failed(why.into()));
    }
}

fn replace(events: &mut [(u16, RecordedEvent)], at: usize, shape: Reshaped) {
    if let Some((_, event)) = events.get_mut(at) {
        *event = event.clone().reshaped(shape);
    }
}

fn data_or_null(event: &RecordedEvent) -> Bytes {
    let data = event.data_bytes();
    if data.is_empty() { Bytes::from_static(b"null") } else { data }
}

fn as_json(shard: u16, event: &RecordedEvent) -> Bytes {
    let mut json = Vec::new();
    push_event(&mut json, shard, event, Lines::Any);
    json.into()
}

/// How many events one call of the sandbox takes: its bounds of time and memory are for a call.
const CALL_ITEMS_MAX: usize = 256;
/// How many bytes of JSON, if it takes more than one event.
const CALL_BYTES_MAX: usize = 1 << 20;
/// How many calls may break a bound in one step, each of which may cost the whole bound.
const BREACHES_MAX: usize = 24;
