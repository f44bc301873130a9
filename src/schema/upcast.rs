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
use crate::script::Module;
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
    fn old_by_type(&self, events: &[(u16, RecordedEvent)]) -> Vec<(Arc<Vec<Shape>>, Vec<Old>)> {
        let mut by_type: BTreeMap<&str, Option<(Arc<Vec<Shape>>, Vec<Old>)>> = BTreeMap::new();
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
        let results = self.sandbox.map(upcaster, calls).await?;
        assert_eq!(results.len(), due.len(), "the sandbox answers every call");
        for (place, result) in due.into_iter().zip(results) {
            place.is_remade = true;
            let shape = match result {
                Ok(data) => Reshaped::Data { schema_version, data },
                Err(error) => Reshaped::Failed(described(upcaster, &error).into()),
            };
            replace(events, place.at, shape);
        }
        Ok(())
    }
}

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

fn described(upcaster: &Module, error: &ScriptError) -> String {
    format!("{}: {error}", upcaster.name())
}
