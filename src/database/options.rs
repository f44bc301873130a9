//! How is a database opened?

use std::path::PathBuf;

use factum_storage as storage;

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
    /// The engine's own settings. What the same content is the database says itself, and it draws a log id if there is none.
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
            storage: storage::Options::default(),
        }
    }

    /// A database in memory, gone when it is closed.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { data: None, storage: storage::Options::small(), ..Self::new("") }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::in_memory()
    }
}

/// Half a second of a fast disk's work: whoever comes later does better to try again than to wait.
const QUEUE_APPENDS: usize = 8_192;
