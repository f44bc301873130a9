//! Which shard serves this stream?

use super::Handle;
use super::partition;

/// All shards of a database and the way from a stream to its one.
#[derive(Clone)]
pub(crate) struct Router {
    shards: Vec<Handle>,
}

impl Router {
    /// Spreads the slots over the shards by the strategy `hash`: slot modulo shards. There must be at least one.
    pub(crate) fn new(shards: Vec<Handle>) -> Self {
        assert!(!shards.is_empty(), "a database has at least one shard");
        Self { shards }
    }

    /// The number of the shard that a stream lives on.
    pub(crate) fn shard_of(&self, stream: &str) -> u16 {
        partition::slot(stream) % self.count()
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

    /// What tells this database from every other; a copy has the same.
    pub(crate) fn database_id(&self) -> [u8; 16] {
        self.shard(0).log_id()
    }

    /// How many shards there are.
    pub(crate) fn count(&self) -> u16 {
        u16::try_from(self.shards.len()).expect("the number of shards is given as a u16")
    }
}
