//! What do the shards of one database know of each other's streams?

use std::sync::Arc;

use factum_storage as storage;
use parking_lot::RwLock;
use storage::EventId;
use storage::Lineage;
use storage::Position;
use storage::Reader;
use storage::RecordedEvent;
use storage::StreamHead;
use storage::Timestamp;
use storage::Version;
use storage::WeakReader;

use super::Handle;
use super::Topology;
use super::moves::Tenure;

/// All shards, as their logs ask for each other.
pub(super) struct Kin {
    state: RwLock<State>,
}

struct State {
    topology: Topology,
    /// By number. None for a shard that is absent.
    readers: Vec<Option<WeakReader>>,
}

/// One of them, which asks.
struct Member {
    shard: u16,
    kin: Arc<Kin>,
}

impl Kin {
    /// Makes the shards' logs known to each other.
    pub(super) fn join(shards: &[Handle], topology: &Topology) -> Arc<Self> {
        let kin = Arc::new(Self { state: RwLock::new(State { topology: topology.clone(), readers: Vec::new() }) });
        kin.update(shards, topology);
        kin
    }

    /// Another topology, perhaps with more shards.
    pub(super) fn update(self: &Arc<Self>, shards: &[Handle], topology: &Topology) {
        {
            let mut state = self.state.write();
            state.topology = topology.clone();
            state.readers = shards.iter().map(|shard| shard.reader().map(Reader::downgrade)).collect();
        }
        for shard in shards {
            if let Some(reader) = shard.reader() {
                reader.join(Arc::new(Member { shard: shard.number(), kin: Arc::clone(self) }));
            }
        }
    }
}

impl Member {
    /// The tenures of a stream, newest first, each with its reader (`None`: the one that asks).
    fn tenures(&self, stream: &str) -> Result<Vec<(Tenure, Option<Reader>)>, storage::Error> {
        let state = self.kin.state.read();
        let Some(tenures) = state.topology.tenures(stream) else { return Ok(Vec::new()) };
        let with_reader = |tenure: &Tenure| {
            if tenure.shard == self.shard {
                return Ok((*tenure, None));
            }
            let reader = state.readers.get(usize::from(tenure.shard)).and_then(Option::as_ref).and_then(WeakReader::upgrade);
            reader.map(|reader| (*tenure, Some(reader))).ok_or_else(|| absent(tenure.shard))
        };
        tenures.iter().rev().map(with_reader).collect()
    }

    /// The readers of the other shards that have had a stream, newest first.
    fn others(&self, stream: &str) -> Result<Vec<Reader>, storage::Error> {
        let mut seen = Vec::new();
        let mut readers = Vec::new();
        for (tenure, reader) in self.tenures(stream)? {
            if let Some(reader) = reader.filter(|_| !seen.contains(&tenure.shard)) {
                seen.push(tenure.shard);
                readers.push(reader);
            }
        }
        Ok(readers)
    }
}

impl Lineage for Member {
    fn has_moved(&self, stream: &str) -> bool {
        self.kin.state.read().topology.tenures(stream).is_some()
    }

    fn elsewhere(&self, stream: &str, touched: Position) -> Result<Option<StreamHead>, storage::Error> {
        for (tenure, reader) in self.tenures(stream)? {
            let Some(reader) = reader else {
                if touched > tenure.since {
                    return Ok(None);
                }
                continue;
            };
            if let Some(head) = reader.own_head(stream)?.filter(|head| head.last_position > tenure.since) {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    fn hides_elsewhere(&self, stream: &str) -> bool {
        // A log that can't be asked may: whoever asks on, for what it decides, is told that it can't.
        let Ok(others) = self.others(stream) else { return true };
        others.iter().any(|reader| reader.own_hiding_head(stream).is_some())
    }

    fn hides_any_elsewhere(&self) -> bool {
        let state = self.kin.state.read();
        let mut others = (0_u16..).zip(&state.readers).filter(|(shard, _)| *shard != self.shard);
        !state.topology.moves().is_empty()
            && others.any(|(_, reader)| reader.as_ref().and_then(WeakReader::upgrade).is_none_or(|reader| reader.hides_any()))
    }

    fn recorded_at(&self, stream: &str, version: Version) -> Result<Option<Timestamp>, storage::Error> {
        for reader in self.others(stream)? {
            if let Some(recorded_at) = reader.own_recorded_at(stream, version)? {
                return Ok(Some(recorded_at));
            }
        }
        Ok(None)
    }

    fn event_by_id(&self, stream: &str, id: EventId) -> Result<Option<RecordedEvent>, storage::Error> {
        for reader in self.others(stream)? {
            if let Some(event) = reader.own_event_by_id(id)?.filter(|event| event.stream() == stream) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

fn absent(shard: u16) -> storage::Error {
    storage::Error::LogMissing(format!("shard {shard}, which had the stream before, can't be used").into())
}
