//! How are events loaded in bulk, when some of them may be there already?

use std::collections::HashSet;

use factum_storage as storage;
use storage::Appended;
use storage::ExpectedVersion;
use storage::NewEvent;
use storage::Store;
use storage::StreamAppend;
use storage::StreamName;
use storage::Transaction;

use super::writer::Imported;

/// Stages events for one stream and skips those that are there already. Not atomic: what was staged before an error stays.
pub(super) fn stage(store: &mut Store, stream: StreamName, events: Vec<NewEvent>) -> Result<Imported, storage::Error> {
    let mut imported = Imported::default();
    let mut rest = events;
    while !rest.is_empty() {
        let later = rest.split_off(chunk_length(&rest));
        let chunk = std::mem::replace(&mut rest, later);
        stage_chunk(store, &stream, chunk, &mut imported)?;
    }
    if imported == Imported::default() {
        imported.position = store.reader().committed();
    }
    Ok(imported)
}

/// All at once if all are new or all are known, which is nearly always so; else one by one.
fn stage_chunk(store: &mut Store, stream: &StreamName, events: Vec<NewEvent>, imported: &mut Imported) -> Result<(), storage::Error> {
    let count = events.len() as u64;
    if count > 1 && repeats_an_id(&events) {
        return stage_each(store, stream, events, imported);
    }
    let transaction = transaction(stream, events);
    match store.stage(&transaction) {
        Ok(appended) => {
            imported.add(&appended, count);
            Ok(())
        }
        Err(storage::Error::EventIdReused { .. }) if count > 1 => {
            let events = transaction.appends.into_iter().flat_map(|append| append.events).collect();
            stage_each(store, stream, events, imported)
        }
        Err(error) => Err(error),
    }
}

fn stage_each(store: &mut Store, stream: &StreamName, events: Vec<NewEvent>, imported: &mut Imported) -> Result<(), storage::Error> {
    for event in events {
        let appended = store.stage(&transaction(stream, vec![event]))?;
        imported.add(&appended, 1);
    }
    Ok(())
}

impl Imported {
    pub(super) fn add(&mut self, appended: &Appended, events: u64) {
        if appended.duplicate {
            self.duplicates += events;
        } else {
            self.imported += events;
        }
        self.position = self.position.max(appended.position);
    }
}

pub(super) fn transaction(stream: &StreamName, events: Vec<NewEvent>) -> Transaction {
    let append = StreamAppend { stream: stream.clone(), expected: ExpectedVersion::Any, events };
    Transaction { appends: vec![append], conditions: Vec::new() }
}

pub(super) fn repeats_an_id(events: &[NewEvent]) -> bool {
    let mut seen = HashSet::with_capacity(events.len());
    events.iter().any(|event| !event.id_is_fresh && !seen.insert(event.id))
}

/// How many of the first events make one frame: enough to share its cost, too few to be refused for its size.
pub(super) fn chunk_length(events: &[NewEvent]) -> usize {
    let mut bytes = 0;
    let fitting = events
        .iter()
        .take(CHUNK_EVENTS_MAX)
        .take_while(|event| {
            bytes += event.data.len() + event.metadata.len();
            bytes <= CHUNK_BYTES_MAX
        })
        .count();
    fitting.max(1)
}

const CHUNK_EVENTS_MAX: usize = 1_000;
const CHUNK_BYTES_MAX: usize = 4 << 20;
