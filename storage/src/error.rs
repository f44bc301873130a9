//! What can go wrong, one variant for each thing that a caller does differently.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::EventId;
use crate::ExpectedVersion;
use crate::Position;
use crate::StreamName;
use crate::Version;

/// Why the engine said no. Cheap to clone: one failed sync answers many appends.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// One or more checks failed: re-read, decide again, retry. Lists every failed check, not just the first.
    #[error("{} check(s) failed", .0.len())]
    Conflict(Arc<[FailedCheck]>),
    /// The stream has been ended for ever: give up on it.
    #[error("stream {0} was permanently deleted")]
    StreamDeleted(StreamName),
    /// The stream has no visible event: nothing to delete or to set retention on.
    #[error("stream {0} has no events")]
    StreamNotFound(StreamName),
    /// The id stands at `position` with other content: a bug of the client's, or a retry that changed its mind.
    #[error("event id {id:?} is already there at position {position} with other content")]
    EventIdReused {
        /// The id.
        id: EventId,
        /// Where it stands.
        position: Position,
    },
    /// More than a transaction may hold: split it.
    #[error("{what} is {actual}, at most {max} are allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large.
        actual: u64,
        /// How large at most.
        max: u64,
    },
    /// No space for it; nothing was written. Appends go on when there is space again.
    #[error("no space left for the log")]
    StorageFull,
    /// The write or its sync failed: the append may or may not be there after the next open. Retry with the same event ids then.
    #[error("the outcome of the append is unknown: {0}")]
    OutcomeUnknown(Arc<str>),
    /// A write or sync has failed since this store was opened: it takes no more appends. Reopen it.
    #[error("closed to writes since a failed write or sync: {0}")]
    Poisoned(Arc<str>),
    /// The log is damaged: it serves reads, and takes no appends until repaired.
    #[error("read-only, the log is damaged: {0}")]
    ReadOnly(Arc<Damage>),
    /// What was asked for lies in a damaged part of the log.
    #[error("damaged: {0}")]
    Corrupt(Arc<Damage>),
    /// Written by a newer version of Factum: use that one.
    #[error("{file} has format version {found}, this build reads up to {known}")]
    UnknownFormat {
        /// Which file.
        file: Arc<str>,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Another process has the directory.
    #[error("{file} is locked by another process ({owner}); stop it first, or choose another data directory")]
    Locked {
        /// The lock file.
        file: Arc<str>,
        /// What the lock file says of its owner.
        owner: Arc<str>,
    },
    /// Another log has to be asked about a stream that has lived in both, and it is not there. Says which.
    #[error("{0}")]
    LogMissing(Arc<str>),
    /// The disk said no to something other than an append.
    #[error("disk: {context}")]
    Io {
        /// What was being done to which file.
        context: Arc<str>,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
}

impl Error {
    pub(crate) fn io(context: impl Into<Arc<str>>, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull {
            Self::StorageFull
        } else {
            Self::Io { context: context.into(), source: Arc::new(source) }
        }
    }
}

/// One check of a transaction that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailedCheck {
    /// A stream is not where the writer believed it to be.
    Version {
        /// Which stream.
        stream: StreamName,
        /// What the writer believed.
        expected: ExpectedVersion,
        /// Where it is.
        actual: Version,
    },
    /// An event matches a condition.
    Condition {
        /// Which condition, counted from 0.
        index: usize,
        /// The newest event that matches.
        position: Position,
        /// Its id.
        event_id: EventId,
    },
}

/// What is damaged, as exactly as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, relative to the shard's directory.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// The first position that is affected.
    pub first: Position,
    /// The last position that is affected, as far as it is known; inclusive.
    pub last: Position,
    /// What is wrong.
    pub detail: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}, positions {} to {}: {}", self.file, self.offset, self.first, self.last, self.detail)
    }
}
