//! A small projection: events that are counted into rows, in batches, resumed at the checkpoint after every fault.

use std::collections::BTreeMap;

use factum_storage::disk::sim::Rng;
use tokio::sync::watch;

use super::super::super::Batch;
use super::super::super::Fault;
use super::super::super::Target;
use super::super::super::Writer;
use super::super::PostgresTarget;
use super::fixture::*;
use crate::projection::row::Row;
use crate::projection::row::Write;
use crate::projection::value::Value;

/// `amount` is added to the row of `key`; `None` takes the row away.
#[derive(Clone, Debug)]
pub(super) struct Event {
    shard: usize,
    position: u64,
    key: String,
    amount: Option<i64>,
}

pub(super) fn events(rng: &mut Rng, count: usize, keys: u64) -> Vec<Event> {
    let mut positions = [0; 2];
    let event = |_| {
        let key = rng.below(keys);
        let shard = usize::from(!key.is_multiple_of(2));
        positions[shard] += 1;
        let amount = (!rng.chance(10)).then(|| i64::try_from(rng.below(100)).unwrap());
        Event { shard, position: positions[shard], key: format!("row-{key:04}"), amount }
    };
    (0..count).map(event).collect()
}

/// Progress that others may watch: one more before each thing that is asked of Postgres.
pub(super) struct Steps(watch::Sender<usize>);

impl Steps {
    pub(super) fn new() -> (Self, watch::Receiver<usize>) {
        let (told, steps) = watch::channel(0);
        (Self(told), steps)
    }

    fn step(&self) {
        self.0.send_modify(|steps| *steps += 1);
    }
}

/// Runs until all events are in; how many faults there were on the way. Any that is not passing is given back.
pub(super) async fn run_to_the_end(target: &PostgresTarget, events: &[Event], batch_events: usize, steps: &Steps) -> Result<usize, Fault> {
    let mut faults = 0;
    loop {
        match run(target, events, batch_events, steps).await {
            Ok(()) => return Ok(faults),
            Err(Fault::Passing(_)) => faults += 1,
            Err(other) => return Err(other),
        }
        // As a runner backs off.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn run(target: &PostgresTarget, events: &[Event], batch_events: usize, steps: &Steps) -> Result<(), Fault> {
    steps.step();
    let mut writer = target.open(opening(HASH, true)).await?;
    let mut at = [0; 2];
    if let Some(checkpoint) = writer.checkpoint() {
        at = [checkpoint.positions()[0].get(), checkpoint.positions()[1].get()];
    }
    let left: Vec<&Event> = events.iter().filter(|event| event.position > at[event.shard]).collect();
    for part in left.chunks(batch_events) {
        project(&mut *writer, part, &mut at, steps).await?;
    }
    Ok(())
}

async fn project(writer: &mut dyn Writer, events: &[&Event], at: &mut [u64; 2], steps: &Steps) -> Result<(), Fault> {
    let mut keys: Vec<&str> = events.iter().map(|event| event.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    let asked: Vec<Value> = keys.iter().map(|key| text(key)).collect();
    steps.step();
    let stored = writer.load(&asked).await?;
    let mut rows: BTreeMap<&str, Option<Row>> = keys.iter().copied().zip(stored.iter().cloned()).collect();
    for event in events {
        at[event.shard] = event.position;
        let now = rows.get_mut(event.key.as_str()).unwrap();
        *now = applied(now.take(), event);
    }
    let writes = rows.into_iter().map(|(key, row)| Write { key: text(key), row }).collect();
    steps.step();
    writer.commit(Batch { parked: Vec::new(), ..batch(writes, *at) }).await
}

fn applied(row: Option<Row>, event: &Event) -> Option<Row> {
    let amount = event.amount?;
    let (before, version) = row.map_or((0, 0), |row| {
        let Value::Integer(amount) = row.values[1] else { panic!("{row:?}") };
        (amount, row.version)
    });
    Some(Row { version: version + 1, position: event.position, ..super::fixture::row(&event.key, before + amount, text("n")) })
}

/// Compares the table with what the events come to, found on another way: each row from its own events alone.
pub(super) async fn check(url: &str, events: &[Event]) {
    let mut of_key: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        of_key.entry(&event.key).or_default().push(event);
    }
    let expected: Vec<Vec<String>> = of_key
        .into_iter()
        .filter_map(|(key, events)| {
            let since = events.iter().rposition(|event| event.amount.is_none()).map_or(0, |at| at + 1);
            let counted = &events[since..];
            let last = counted.last()?;
            let amount: i64 = counted.iter().filter_map(|event| event.amount).sum();
            Some(vec![key.to_owned(), amount.to_string(), counted.len().to_string(), last.position.to_string()])
        })
        .collect();
    let found = sql(url, "SELECT id, amount, _version, _position FROM declarations ORDER BY id COLLATE \"C\"").await;
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
}
