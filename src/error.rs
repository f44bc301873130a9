//! What can go wrong between a caller of [`crate::Database`] and the disk; `http::problem` maps each variant to its answer.

use std::sync::Arc;

use factum_storage as storage;

/// Why the database said no. One variant for each thing that a caller does differently; cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// What the engine of one shard says.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// Something in the request breaks a rule: `field` names it (as a path such as `events[2].type`), `detail` says which rule.
    #[error("{field}: {detail}")]
    Invalid {
        /// The field, as the caller wrote it.
        field: String,
        /// What is wrong with it, and what would be right.
        detail: String,
    },
    /// A client may not write to a stream of the system.
    #[error("stream {stream} belongs to the system")]
    SystemStream {
        /// Its name.
        stream: String,
    },
    /// The streams (with their shards) of one transaction live on several shards.
    #[error("the streams live on several shards; give them a common partition key: {{key}} in their names")]
    CrossShard {
        /// Each stream with its shard.
        streams: Arc<[(String, u16)]>,
    },
    /// The stream was never written, or is deleted.
    #[error("stream {stream} was not found")]
    StreamNotFound {
        /// Its name.
        stream: String,
    },
    /// The stream has no event with this version, or no event has this id.
    #[error("{what} was not found")]
    EventNotFound {
        /// Which event, in words.
        what: String,
    },
    /// The cursor is not one of this database: garbage, from the future, or of another number of shards.
    #[error("cursor {cursor:?}: {detail}")]
    BadCursor {
        /// As given.
        cursor: String,
        /// What is wrong.
        detail: String,
    },
    /// The queue of a shard is full: try again in a moment.
    #[error("shard {shard} has too much to do")]
    Overloaded {
        /// Which shard.
        shard: u16,
    },
    /// The database is closing or a shard's thread has died: try again after a restart.
    #[error("shard {shard} is not available: {detail}")]
    Unavailable {
        /// Which shard.
        shard: u16,
        /// Why.
        detail: String,
    },
}
