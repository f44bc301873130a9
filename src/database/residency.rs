//! May this be kept where it would be? Asked only where shards lie in regions.

use factum_storage as storage;
use serde_json::Value;
use storage::NewEvent;
use storage::StreamAppend;

use super::Database;
use crate::Error;
use crate::shard::Topology;

impl Database {
    /// Checks that streams have a home, and that what must stay in a region would. `field` gives the path to the append with this number;
    /// events are below it.
    pub(super) fn check_residency(&self, appends: &[StreamAppend], field: impl Fn(usize, &str) -> String) -> Result<(), Error> {
        let topology = self.router().topology();
        // Nearly always: nothing is looked at.
        if !topology.has_regions() {
            return Ok(());
        }
        for (index, append) in appends.iter().enumerate() {
            topology.check_home(&append.stream, || field(index, "stream"))?;
            check_events(&topology, &append.stream, &append.events, |at| field(index, &format!("events[{at}].metadata.residency")))?;
        }
        Ok(())
    }
}

fn check_events(
    topology: &Topology,
    stream: &storage::StreamName,
    events: &[NewEvent],
    field: impl Fn(usize) -> String,
) -> Result<(), Error> {
    let shard = topology.owner(stream.as_str());
    let home = topology.region_of(shard).unwrap_or_default();
    for (at, event) in events.iter().enumerate() {
        let metadata: Value = serde_json::from_slice(&event.metadata).unwrap_or_default();
        let Some(wanted) = metadata.get("residency") else { continue };
        if wanted.as_str() != Some(home) {
            let detail = format!("{wanted} is wanted, and stream {stream} is in the region {home:?}, on shard {shard}");
            return Err(Error::Residency { field: field(at), detail });
        }
    }
    Ok(())
}
