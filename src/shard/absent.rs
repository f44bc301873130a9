//! What is there to say of a shard that can't be used?

use std::sync::Arc;

use factum_storage as storage;
use storage::Position;

use super::handle::Status;

/// A shard whose files are missing, not its own, or can't be opened.
pub(super) struct Absent {
    pub(super) shard: u16,
    /// Of the log that it should have.
    pub(super) log_id: [u8; 16],
    /// Why it can't be used.
    pub(super) detail: String,
}

impl Absent {
    /// How it is: nothing is known of it.
    pub(super) fn status(&self) -> Status {
        Status {
            is_absent: true,
            location: None,
            appends: Err(unusable(&self.detail.as_str().into())),
            position: Position::ZERO,
            streams: 0,
            log_bytes: 0,
            index_bytes: 0,
            index_lag_events: 0,
            queued_appends: 0,
            available_bytes: None,
            feeds: 0,
            index_cache: (0, 0),
            receipt: (Position::ZERO, [0; 32]),
            opened: storage::OpenReport::default(),
        }
    }
}

/// Not `Poisoned`: no disk is in doubt, and the other shards go on.
pub(super) fn unusable(detail: &Arc<str>) -> storage::Error {
    storage::Error::Io { context: Arc::clone(detail), source: Arc::new(std::io::ErrorKind::Other.into()) }
}
