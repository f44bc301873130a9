//! Which shard serves this stream, and who waits while it changes hands?

use std::sync::Arc;

use factum_storage as storage;
use parking_lot::RwLock;
use storage::Appended;
use storage::NewEvent;
use storage::StreamName;
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_64;

use super::Handle;
use super::SHARDS_MAX;
use super::Topology;
use super::hand_over::Moving;
use super::home::Home;
use super::lineage::Kin;
use super::meters::ReadKind;
use super::meters::ReadMeters;
use super::writer::Imported;
use super::writer::Write;
use crate::Error;

/// All shards of a database and the way from a stream to its one.
pub(crate) struct Router {
    state: RwLock<State>,
    kin: Arc<Kin>,
    /// What cursors bear that hold so many positions.
    stamps: Vec<u32>,
    /// The version of the topology, for who waits for another one.
    version: watch::Sender<u64>,
    meters: ReadMeters,
}

struct State {
    table: Table,
    moving: Option<Arc<Moving>>,
}

/// Shards and topology, as they belong together. Clones are the same.
#[derive(Clone)]
pub(crate) struct Table {
    shards: Arc<[Handle]>,
    topology: Topology,
}

impl Table {
    /// All shards, in the order of their numbers.
    pub(crate) fn shards(&self) -> &[Handle] {
        &self.shards
    }

    /// Who owns what.
    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// A shard by a number that the topology gave.
    pub(crate) fn shard(&self, number: u16) -> &Handle {
        self.shards.get(usize::from(number)).expect("shards are numbered from 0 without a gap")
    }
}

impl Router {
    /// Leads streams to these shards by a topology that is about as many. There must be at least one.
    pub(crate) fn new(shards: Vec<Handle>, topology: Topology) -> Self {
        assert!(!shards.is_empty(), "a database has at least one shard");
        assert_eq!(usize::from(topology.shards()), shards.len(), "the topology is of other shards");
        let kin = Kin::join(&shards, &topology);
        let version = watch::Sender::new(topology.version());
        let database = shards.first().map(Handle::log_id).unwrap_or_default();
        let stamps = (0..=SHARDS_MAX).map(|positions| stamp(database, positions)).collect();
        let table = Table { shards: shards.into(), topology };
        let state = RwLock::new(State { table, moving: None });
        Self { state, kin, stamps, version, meters: ReadMeters::new() }
    }

    /// Shards and topology of one moment.
    pub(crate) fn table(&self) -> Table {
        self.state.read().table.clone()
    }

    /// The number of the shard that a stream lives on.
    pub(crate) fn shard_of(&self, stream: &str) -> u16 {
        self.state.read().table.topology.owner(stream)
    }

    /// Where a stream lives: the shard that it is on, and those that have some of its history.
    pub(crate) fn locate(&self, stream: &str) -> Home {
        let state = self.state.read();
        Home::new(&state.table, stream)
    }

    /// A shard by a number that [`Router::shard_of`] gave.
    pub(crate) fn shard(&self, number: u16) -> Handle {
        self.state.read().table.shard(number).clone()
    }

    /// All shards, in the order of their numbers.
    pub(crate) fn shards(&self) -> Arc<[Handle]> {
        Arc::clone(&self.state.read().table.shards)
    }

    /// A read has asked so many shards.
    pub(crate) fn reached(&self, kind: ReadKind, shards: usize) {
        self.meters.reached(kind, shards);
    }

    /// Who owns what.
    pub(crate) fn topology(&self) -> Topology {
        self.state.read().table.topology.clone()
    }

    /// What tells this database from every other; a copy has the same.
    pub(crate) fn database_id(&self) -> [u8; 16] {
        self.state.read().table.shard(0).log_id()
    }

    /// What cursors of this database bear that hold so many positions; never 0.
    pub(crate) fn stamp(&self, positions: usize) -> u32 {
        self.stamps.get(positions).copied().unwrap_or(1)
    }

    /// How many shards there are.
    pub(crate) fn count(&self) -> u16 {
        self.state.read().table.topology.shards()
    }

    /// Tells of each new version of the topology.
    pub(crate) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Changes the log of the shard that these streams live on, and returns it once that is on disk. While one of them changes hands, it
    /// waits. `choose` names the shard and makes what is to be written, by a table that holds until it is queued.
    ///
    /// # Errors
    ///
    /// What `choose` says, and those of [`Handle::write`].
    ///
    /// # Cancellation
    ///
    /// Once queued it is done, whether or not somebody waits for the answer.
    pub(crate) async fn write(
        &self,
        streams: &[&StreamName],
        choose: impl FnOnce(&Table) -> Result<(u16, Write), Error>,
    ) -> Result<(Handle, Appended), Error> {
        let queue = |table: &Table| {
            let (number, write) = choose(table)?;
            for stream in streams.iter().filter(|stream| table.topology.tenures(stream.as_str()).is_some()) {
                // Who has its history has to say at which version it is.
                Home::new(table, stream.as_str()).check_open()?;
            }
            let shard = table.shard(number);
            Ok((shard.clone(), shard.submit(write)?))
        };
        let (shard, pending) = self.admitted(streams, queue).await?;
        let appended = shard.answered(pending).await?;
        Ok((shard, appended))
    }

    /// Appends those events that are not there yet. As [`Router::write`], but not atomic.
    ///
    /// # Errors
    ///
    /// Those of [`Handle::write`].
    pub(crate) async fn import(&self, stream: StreamName, events: Vec<NewEvent>) -> Result<Imported, Error> {
        let name = stream.clone();
        let queue = |table: &Table| {
            Home::new(table, stream.as_str()).check_open()?;
            let shard = table.shard(table.topology.owner(stream.as_str()));
            Ok((shard.clone(), shard.submit_import(stream, events)?))
        };
        let (shard, pending) = self.admitted(&[&name], queue).await?;
        shard.answered(pending).await
    }

    /// Queues something as soon as none of the streams changes hands.
    async fn admitted<T>(&self, streams: &[&StreamName], queue: impl FnOnce(&Table) -> Result<T, Error>) -> Result<T, Error> {
        loop {
            let moving = {
                let state = self.state.read();
                match state.moving.as_ref().filter(|moving| streams.iter().any(|stream| moving.concerns(stream.as_str()))) {
                    // Under the lock: what is queued here is before whatever a hand-over queues.
                    None => return queue(&state.table),
                    Some(moving) => Arc::clone(moving),
                }
            };
            moving.over().await;
        }
    }

    /// From here on appends to what moves wait.
    pub(super) fn begin_move(&self, moving: Arc<Moving>) {
        self.state.write().moving = Some(moving);
    }

    /// They go on, by the table that is there now.
    pub(super) fn end_move(&self) {
        let moving = self.state.write().moving.take();
        if let Some(moving) = moving {
            moving.end();
        }
    }

    /// Another topology is in force, perhaps with one shard more.
    pub(crate) fn adopt(&self, topology: Topology, newcomer: Option<Handle>) {
        let mut state = self.state.write();
        let shards: Arc<[Handle]> = state.table.shards.iter().cloned().chain(newcomer).collect();
        // Before anything is queued by it: the new owner must find what the old one has.
        self.kin.update(&shards, &topology);
        let version = topology.version();
        state.table = Table { shards, topology };
        drop(state);
        self.version.send_replace(version);
    }
}

fn stamp(database: [u8; 16], positions: u16) -> u32 {
    let mut named = database.to_vec();
    // The version of a topology that was never changed: cursors from then are good for ever.
    named.extend_from_slice(&1_u64.to_le_bytes());
    named.extend_from_slice(&positions.to_le_bytes());
    let [a, b, c, d, ..] = xxh3_64(&named).to_le_bytes();
    u32::from_le_bytes([a, b, c, d]).max(1)
}
