//! How is a database opened?

use std::path::PathBuf;

use factum_storage as storage;
use uuid::Uuid;

use super::same_content::same_content;

/// How a database is opened. Begin with [`Options::new`] or [`Options::in_memory`] and change what is to be different.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; `None` keeps everything in memory.
    pub data: Option<PathBuf>,
    /// How many shards a new database gets; an existing one must have as many (`None`: as many as it has, 1 if new).
    pub shards: Option<u16>,
    /// Do not sync: for bulk loads that can be repeated and for measurements.
    pub durability: Durability,
    /// How many appends may wait for each shard before it answers [`crate::Error::Overloaded`].
    pub queue_appends: usize,
    /// The engine's own settings.
    pub storage: storage::Options,
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledged is on disk.
    #[default]
    Strict,
    /// Acknowledged is with the operating system; a power cut may lose it.
    Relaxed,
}

impl Options {
    /// A database in a directory, which is made if it is not there.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: Some(data.into()),
            shards: None,
            durability: Durability::Strict,
            queue_appends: QUEUE_APPENDS,
            storage: storage_options(),
        }
    }

    /// A database in memory, gone when it is closed.
    #[must_use]
    pub fn in_memory() -> Self {
        let mut options = Self::new("");
        options.data = None;
        // Memory has no journal to spare and no second start to be fast for.
        options.storage.segment_bytes = MEMORY_SEGMENT_BYTES;
        options.storage.small_segment_bytes = MEMORY_SEGMENT_BYTES;
        options.storage.prepare_segments = false;
        options
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::in_memory()
    }
}

fn storage_options() -> storage::Options {
    storage::Options {
        segment_bytes: 64 << 20,
        small_segment_bytes: 4 << 20,
        prepare_segments: true,
        index_flush_events: 100_000,
        index_cache_bytes: 64 << 20,
        new_log_id: *Uuid::now_v7().as_bytes(),
        same_content,
    }
}

/// Half a second of a fast disk's work: whoever comes later does better to try again than to wait.
const QUEUE_APPENDS: usize = 8_192;
const MEMORY_SEGMENT_BYTES: u64 = 4 << 20;
