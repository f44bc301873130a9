//! What is the state of an aggregate, and what was it? The fold of its stream's visible events, with as little replay as can be.
//!
//! A state rests on the module, the shapes that upcasters give to events, and the first event that is visible. The hash of these three
//! is the key under which states are kept, in memory and as snapshots in the store, so one that was made otherwise is never taken.

mod cache;
mod evolver;
mod history;
mod load;
mod merge;
mod meters;
mod snapshotter;
mod typed;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use factum_storage::StreamName;
use factum_storage::Timestamp;
use factum_storage::Version;
use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::Error;
use crate::schema::Registry;
use crate::script::Sandbox;
use crate::shard::Router;

pub(crate) use evolver::Evolver;
pub use history::Step;
pub use typed::Aggregate;
pub use typed::Decided;
pub use typed::Given;
pub(crate) use typed::encode;
pub use typed::given;

use cache::Cache;
use meters::Meters;

/// Which state of an aggregate is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// After its last event.
    Head,
    /// After the event with this version.
    Version(Version),
    /// After the last event that was recorded at this time or before.
    RecordedAt(Timestamp),
    /// Of the events known today, those that occurred at this time or before, in the order of their versions.
    OccurredAt(Timestamp),
}

/// The state of an aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateState {
    /// The version of the last event in it.
    pub version: Version,
    /// As JSON.
    pub state: Bytes,
    /// The version of the snapshot in the store that it rests on, if any.
    pub snapshot_version: Option<Version>,
    /// How many events were applied for this answer; none if it was at hand.
    pub events_replayed: u64,
    /// Of the definition that made it, the shapes that its events were given, and the first event that is visible if that is not the first
    /// of all; zero for a category that nobody has defined while no type has a second shape and nothing is hidden.
    pub definition_hash: [u8; 32],
}

/// The aggregates of a database.
pub(crate) struct Aggregates {
    router: Arc<Router>,
    sandbox: Sandbox,
    schemas: Arc<Registry>,
    evolvers: RwLock<HashMap<String, Arc<Evolver>>>,
    undefined: Arc<Evolver>,
    cache: Cache,
    meters: Meters,
    /// Wakes the snapshotter: what is defined has changed.
    redefined: Arc<Notify>,
    wanted: snapshotter::Wanted,
}

impl Aggregates {
    pub(crate) fn new(router: Arc<Router>, sandbox: Sandbox, schemas: Arc<Registry>, cache_bytes: usize) -> Self {
        Self {
            router,
            sandbox,
            schemas,
            evolvers: RwLock::default(),
            undefined: Arc::new(Evolver::undefined()),
            cache: Cache::new(cache_bytes),
            meters: Meters::new(),
            redefined: Arc::default(),
            wanted: snapshotter::Wanted::default(),
        }
    }

    /// Puts an evolver in force, or (`None`) ends one.
    pub(crate) fn define(&self, category: &str, evolver: Option<Evolver>) {
        match evolver {
            Some(evolver) => self.evolvers.write().insert(category.to_owned(), Arc::new(evolver)),
            None => self.evolvers.write().remove(category),
        };
        self.redefined.notify_one();
    }

    /// Puts a Rust type in force for its category; `false` if something else is.
    pub(crate) fn register<A: Aggregate>(&self) -> bool {
        let evolver = Evolver::of_type::<A>();
        let mut evolvers = self.evolvers.write();
        if evolvers.get(A::CATEGORY).is_some_and(|there| there.hash != evolver.hash) {
            return false;
        }
        evolvers.insert(A::CATEGORY.to_owned(), Arc::new(evolver));
        self.redefined.notify_one();
        true
    }

    /// The shapes of events have changed.
    pub(crate) fn reshaped(&self) {
        self.redefined.notify_one();
    }

    pub(crate) fn evolver(&self, category: &str) -> Arc<Evolver> {
        self.evolvers.read().get(category).unwrap_or(&self.undefined).clone()
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The state of an aggregate that has no events.
    ///
    /// # Errors
    ///
    /// [`Error::Script`].
    pub(crate) async fn initial(&self, evolver: &Evolver) -> Result<Bytes, Error> {
        evolver.finish(&self.sandbox, evolver::Running::Initial).await
    }

    /// The hash under which the states of a stream are kept now.
    pub(crate) fn current_hash(&self, stream: &StreamName, first: Version) -> [u8; 32] {
        self.hash(&self.evolver(stream.category()), first)
    }

    /// What the states of a category rest on besides their events.
    pub(crate) fn making(&self, evolver: &Evolver) -> [u8; 32] {
        let shapes = self.schemas.shape_hash();
        if shapes == [0; 32] { evolver.hash } else { *blake3::hash(&[evolver.hash, shapes].concat()).as_bytes() }
    }

    /// What the states of a stream rest on besides its events from `first` on.
    fn hash(&self, evolver: &Evolver, first: Version) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&evolver.hash);
        hasher.update(&self.schemas.shape_hash());
        hasher.update(&first.get().to_le_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// The stream of an aggregate.
///
/// # Errors
///
/// What is wrong with the names, as a field and a reason.
pub(crate) fn stream_of(category: &str, id: &str) -> Result<StreamName, (&'static str, String)> {
    if category.is_empty() || category.contains('-') {
        return Err(("category", "must not be empty, and ends at the first `-` of a stream's name, so it holds none".to_owned()));
    }
    if id.is_empty() {
        return Err(("id", "must not be empty".to_owned()));
    }
    StreamName::new(&format!("{category}-{id}")).map_err(|error| ("id", error.to_string()))
}

/// Under this hash stand the snapshots that clients bring.
pub(crate) const CLIENTS_HASH: [u8; 32] = [0xc1; 32];
