//! How much lies where: behind keys, and in what a change of the shards moves?

use std::collections::BTreeMap;
use std::sync::Arc;

use factum_storage as storage;
use storage::Direction;
use storage::Filter;
use storage::Position;
use storage::RecordedEvent;
use storage::StreamInfo;
use storage::StreamName;

use super::Database;
use crate::Error;
use crate::shard::Handle;
use crate::shard::KeyLoad;
use crate::shard::StreamListing;
use crate::shard::Topology;
use crate::shard::partition_key;
use crate::shard::steps;

/// What is in the parts that a change moves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    pub(super) streams: u64,
    pub(super) events: u64,
    /// About what the events take on disk.
    pub(super) bytes: u64,
}

impl Database {
    /// What is in all that is to move by a topology.
    pub(super) async fn count_moved(&self, topology: &Topology) -> Result<Moved, Error> {
        let (steps, mut moved) = (steps(topology), Moved::default());
        if steps.is_empty() {
            return Ok(moved);
        }
        self.each_stream(|info, event_bytes| {
            if steps.iter().any(|step| topology.concerns(&step.part, info.stream.as_str())) {
                let events = info.version.get();
                moved.streams += 1;
                moved.events += events;
                moved.bytes += events * event_bytes;
            }
        })
        .await?;
        Ok(moved)
    }

    /// How many events there are behind the keys of each range. Without too many keys: of many, neighbours are counted as one.
    pub(super) async fn key_loads(&self, topology: &Topology) -> Result<Vec<KeyLoad>, Error> {
        let Some(ranges) = topology.ranges() else { return Ok(Vec::new()) };
        let mut counted: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        self.each_stream(|info, _| {
            let key = partition_key(info.stream.as_str());
            let range = ranges.range_of(key).from.unwrap_or_default();
            let keys = counted.entry(range).or_default();
            *keys.entry(key.to_owned()).or_default() += info.version.get();
            if keys.len() > 2 * KEYS_MAX {
                *keys = joined(std::mem::take(keys));
            }
        })
        .await?;
        Ok(counted.into_values().flatten().map(|(key, events)| KeyLoad { key, events }).collect())
    }

    /// Looks at every stream that is not the system's, with about what one of its events takes on disk.
    async fn each_stream(&self, mut look: impl FnMut(&StreamInfo, u64)) -> Result<(), Error> {
        for shard in self.router().shards().iter() {
            let event_bytes = event_bytes(shard).await?;
            let mut after = None;
            loop {
                let listing = StreamListing {
                    after,
                    prefix: String::new(),
                    category: None,
                    include_system: false,
                    leave_out_undecided: false,
                    limit: LISTED,
                };
                let infos = shard.streams(listing).await?;
                infos.iter().for_each(|info| look(info, event_bytes));
                match infos.last() {
                    Some(last) if infos.len() == LISTED => after = Some(StreamName::to_string(&last.stream)),
                    _ => break,
                }
            }
        }
        Ok(())
    }
}

/// Half as many, each with what its neighbour had.
fn joined(keys: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut keys = keys.into_iter();
    let mut half = BTreeMap::new();
    while let Some((key, events)) = keys.next() {
        half.insert(key, events + keys.next().map_or(0, |(_, events)| events));
    }
    half
}

/// About what an event takes in a shard's log, by its newest ones.
async fn event_bytes(shard: &Handle) -> Result<u64, Error> {
    let everything = Arc::new(Filter::default());
    let newest = shard.read_events(everything, Position::new(u64::MAX), Direction::Backward, SAMPLED, usize::MAX).await?;
    let bytes: usize = newest.events.iter().map(RecordedEvent::stored_bytes).sum();
    Ok((bytes / newest.events.len().max(1)) as u64)
}

/// So many keys of a range are told apart, at least.
const KEYS_MAX: usize = 4_096;
/// So many events of a shard say how large they are.
const SAMPLED: usize = 256;
/// Streams that are listed at a time.
const LISTED: usize = 1_000;
