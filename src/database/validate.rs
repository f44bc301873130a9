//! Does a request keep the rules that need no look at the log?

use factum_storage as storage;
use storage::NewEvent;
use storage::StreamAppend;
use storage::StreamName;

use super::ConditionRequest;
use crate::Error;

/// Checks the appends of one request. Whether an id comes twice is for the engine, which looks at all ids anyway. `field` gives the
/// path to the events of the append with this number.
pub(super) fn appends(appends: &[StreamAppend], field: impl Fn(usize) -> String) -> Result<(), Error> {
    let count = appends.iter().map(|append| append.events.len()).sum();
    at_most("number of events", count, storage::TRANSACTION_EVENTS_MAX)?;
    for (index, append) in appends.iter().enumerate() {
        client_stream(&append.stream)?;
        for (at, each) in append.events.iter().enumerate() {
            event(each, || format!("{}[{at}]", field(index)))?;
        }
    }
    Ok(())
}

/// Checks the events of an import. Ids may repeat: that is what is skipped.
pub(super) fn import(stream: &StreamName, events: &[NewEvent]) -> Result<(), Error> {
    client_stream(stream)?;
    at_most("number of events", events.len(), storage::TRANSACTION_EVENTS_MAX)?;
    events.iter().enumerate().try_for_each(|(index, each)| event(each, || format!("events[{index}]")))
}

/// Checks that a stream is one of clients.
pub(super) fn client_stream(stream: &StreamName) -> Result<(), Error> {
    if stream.is_system() { Err(Error::SystemStream { stream: stream.to_string() }) } else { Ok(()) }
}

/// Checks the conditions of a transaction.
pub(super) fn conditions(conditions: &[ConditionRequest]) -> Result<(), Error> {
    let terms = |condition: &ConditionRequest| -> usize { condition.query.iter().map(|item| 1 + item.types.len() + item.tags.len()).sum() };
    at_most("size of the conditions", conditions.iter().map(|condition| 1 + terms(condition)).sum(), CONDITION_TERMS_MAX)?;
    for (at, condition) in conditions.iter().enumerate() {
        for (item_at, item) in condition.query.iter().enumerate() {
            let path = |part: &str, index: usize| format!("conditions[{at}].query[{item_at}].{part}[{index}]");
            for (index, event_type) in item.types.iter().enumerate() {
                name(event_type, || path("types", index))?;
            }
            for (index, tag) in item.tags.iter().enumerate() {
                name(tag, || path("tags", index))?;
            }
        }
    }
    Ok(())
}

/// Nothing is written into the path of an event that keeps the rules: there may be many.
fn event(event: &NewEvent, path: impl Fn() -> String) -> Result<(), Error> {
    name(&event.event_type, || format!("{}.type", path()))?;
    if event.tags.len() > storage::TAGS_MAX {
        let detail = format!("has {} tags, at most {} are allowed", event.tags.len(), storage::TAGS_MAX);
        return Err(invalid(format!("{}.tags", path()), detail));
    }
    for (index, tag) in event.tags.iter().enumerate() {
        name(tag, || format!("{}.tags[{index}]", path()))?;
    }
    at_most("size of an event's metadata", event.metadata.len(), storage::METADATA_BYTES_MAX)?;
    at_most("size of an event's data", event.data.len(), storage::DATA_BYTES_MAX)
}

fn name(name: &str, path: impl Fn() -> String) -> Result<(), Error> {
    storage::check_name(name).map_err(|error| invalid(path(), error.to_string()))
}

fn at_most(what: &'static str, actual: usize, max: usize) -> Result<(), Error> {
    if actual <= max {
        return Ok(());
    }
    Err(storage::Error::TooLarge { what, actual: actual as u64, max: max as u64 }.into())
}

fn invalid(field: String, detail: String) -> Error {
    Error::Invalid { field, detail }
}

/// Each condition, item, type and tag of a request is one step for the one writer of a shard.
const CONDITION_TERMS_MAX: usize = 10_000;
