//! How is a database opened?

use std::path::PathBuf;
use std::time::Duration;

use factum_storage as storage;

use crate::shard::Strategy;

/// How a database is opened. Begin with [`Options::new`] or [`Options::in_memory`] and change what is to be different.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; `None` keeps everything in memory.
    pub data: Option<PathBuf>,
    /// How many shards a new database gets; an existing one must have as many (`None`: as many as it has, 1 if new).
    pub shards: Option<u16>,
    /// How a new database spreads streams over its shards (`None`: by hash); an existing one must do so already (`None`: as it does).
    pub strategy: Option<Strategy>,
    /// Shards that other servers have, beside the first one, which is here; the same number at every start. Needs a data directory.
    pub elsewhere: Elsewhere,
    /// When ranges are split without anybody asking for it (with `range`; by default: never).
    pub splitting: Splitting,
    /// Do not sync: for bulk loads that can be repeated and for measurements.
    pub durability: Durability,
    /// How many appends may wait for each shard before it answers [`crate::Error::Overloaded`].
    pub queue_appends: usize,
    /// What a call of a definition's function may use.
    pub scripts: ScriptLimits,
    /// What the states of aggregates that were asked for lately may take in memory.
    pub aggregate_cache_bytes: usize,
    /// What the pages of each embedded view may take in memory.
    pub view_cache_bytes: usize,
    /// What queries in SQL may use.
    pub sql: SqlLimits,
    /// Whether what the process tells of itself is written below the data directory, and can be queried as `logs` and `spans`; it is where
    /// [`crate::telemetry::install_outputs`] keeps it.
    #[cfg(feature = "analytics")]
    pub telemetry: Option<super::TelemetryLimits>,
    /// Where the lakes of exports may lie beside the folder that they have in the data directory: urls that theirs may be or begin with.
    /// `file:///` stands for every folder, `s3://` for every bucket.
    pub export_allow: Vec<String>,
    /// The engine's own settings. What the same content is the database says itself, and it draws a log id if there is none.
    pub storage: storage::Options,
}

/// Shards that other servers have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The address of each, such as `http://10.0.0.2:4400`: of shard 1, of shard 2 and so forth. Each is a server with one shard that
    /// nobody else writes to.
    pub urls: Vec<String>,
    /// A file with the token that they are asked with, if they want one: it has to be for everything. Read again when it does not count any
    /// more.
    pub token_file: Option<PathBuf>,
    /// How long a call may take.
    pub timeout: Duration,
}

impl Default for Elsewhere {
    fn default() -> Self {
        Self { urls: Vec::new(), token_file: None, timeout: Duration::from_secs(10) }
    }
}

/// When a database of the strategy `range` splits a range by itself: a new shard takes the upper half of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splitting {
    /// When it has more events than this.
    pub above_events: Option<u64>,
    /// When more events a second than this are appended to it, between two looks.
    pub above_appends_per_second: Option<u64>,
    /// No shard is added by itself when there are so many, also those that are drained.
    pub shards_max: u16,
    /// How often it is looked at.
    pub check_every: Duration,
}

impl Default for Splitting {
    fn default() -> Self {
        Self { above_events: None, above_appends_per_second: None, shards_max: 16, check_every: Duration::from_secs(10) }
    }
}

/// What one call of a definition's function may use. A breach is an error of that call alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptLimits {
    /// How many calls may run at once, each on a thread of its own; none is started before it is needed.
    pub threads: usize,
    /// Memory.
    pub memory_bytes: usize,
    /// Time by the wall.
    pub time: Duration,
}

impl Default for ScriptLimits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { threads, memory_bytes: 64 << 20, time: Duration::from_millis(250) }
    }
}

/// What queries in SQL may use. A breach is an error of the query that needed more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqlLimits {
    /// How many threads work on one query, all at lower priority than those of appends; none is started before the first query.
    pub threads: usize,
    /// Memory of all queries together.
    pub memory_bytes: usize,
    /// Disk of all queries together, for what does not fit into memory.
    pub spill_bytes: u64,
    /// How long one query may work; waiting for whoever reads its answer does not count.
    pub time: Duration,
    /// Rows of one answer.
    pub rows: u64,
    /// How many queries run at once,
    pub queries: usize,
    /// and how many wait for their turn before others are answered [`crate::Error::SqlBusy`].
    pub queue: usize,
}

impl Default for SqlLimits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            threads,
            memory_bytes: 512 << 20,
            spill_bytes: 8 << 30,
            time: Duration::from_mins(1),
            rows: 10_000_000,
            queries: 4,
            queue: 16,
        }
    }
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
            strategy: None,
            elsewhere: Elsewhere::default(),
            splitting: Splitting::default(),
            durability: Durability::Strict,
            queue_appends: QUEUE_APPENDS,
            scripts: ScriptLimits::default(),
            aggregate_cache_bytes: AGGREGATE_CACHE_BYTES,
            view_cache_bytes: VIEW_CACHE_BYTES,
            sql: SqlLimits::default(),
            #[cfg(feature = "analytics")]
            telemetry: None,
            export_allow: Vec::new(),
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
const AGGREGATE_CACHE_BYTES: usize = 64 << 20;
const VIEW_CACHE_BYTES: usize = 32 << 20;
