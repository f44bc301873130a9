//! Which shard serves this stream?

use xxhash_rust::xxh3::xxh3_64;

use super::Handle;
use super::Topology;

/// All shards of a database and the way from a stream to its one.
#[derive(Clone)]
pub(crate) struct Router {
    shards: Vec<Handle>,
    topology: Topology,
    stamp: u32,
}

impl Router {
    /// Leads streams to these shards by a topology that is about as many. There must be at least one.
    pub(crate) fn new(shards: Vec<Handle>, topology: Topology) -> Self {
        assert!(!shards.is_empty(), "a database has at least one shard");
        assert_eq!(usize::from(topology.shards()), shards.len(), "the topology is of other shards");
        let mut router = Self { shards, topology, stamp: 0 };
        router.stamp = router.made_stamp();
        router
    }

    /// The number of the shard that a stream lives on.
    pub(crate) fn shard_of(&self, stream: &str) -> u16 {
        self.topology.owner(stream)
    }

    /// The shard that a stream lives on.
    pub(crate) fn locate(&self, stream: &str) -> &Handle {
        self.shard(self.shard_of(stream))
    }

    /// A shard by a number that [`Router::shard_of`] gave.
    pub(crate) fn shard(&self, number: u16) -> &Handle {
        self.shards.get(usize::from(number)).expect("shards are numbered from 0 without a gap")
    }

    /// All shards, in the order of their numbers.
    pub(crate) fn shards(&self) -> &[Handle] {
        &self.shards
    }

    /// Who owns what.
    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// What tells this database from every other; a copy has the same.
    pub(crate) fn database_id(&self) -> [u8; 16] {
        self.shard(0).log_id()
    }

    /// What cursors of this database and this topology bear; never 0.
    pub(crate) fn stamp(&self) -> u32 {
        self.stamp
    }

    fn made_stamp(&self) -> u32 {
        let mut named = self.database_id().to_vec();
        named.extend_from_slice(&self.topology.version().to_le_bytes());
        named.extend_from_slice(&self.count().to_le_bytes());
        let [a, b, c, d, ..] = xxh3_64(&named).to_le_bytes();
        u32::from_le_bytes([a, b, c, d]).max(1)
    }

    /// How many shards there are.
    pub(crate) fn count(&self) -> u16 {
        u16::try_from(self.shards.len()).expect("the number of shards is given as a u16")
    }
}
