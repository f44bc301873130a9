//! Why did the index not answer?

use std::any::Any;
use std::io;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use crate::Error;

use super::INDEX_FILE;

/// What redb or the disk below it said.
#[derive(Debug)]
pub(super) enum Fault {
    /// The disk failed; the file may be as good as before.
    Disk(io::Error),
    /// The file is not what it should be; only a rebuild helps.
    Unusable(String),
}

impl Fault {
    pub(super) fn unusable(why: impl Into<String>) -> Self {
        Self::Unusable(why.into())
    }

    pub(super) fn why(&self) -> String {
        match self {
            Self::Disk(error) => error.to_string(),
            Self::Unusable(why) => why.clone(),
        }
    }
}

impl From<redb::Error> for Fault {
    #[expect(clippy::wildcard_enum_match_arm, reason = "redb's errors are many and will be more; they differ in their text alone")]
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Self::Unusable(error.to_string()),
            redb::Error::Io(error) => Self::Disk(error),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Self::Disk(io::Error::other(error.to_string())),
            other => Self::Unusable(other.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($name:ident),*) => {
        $(impl From<redb::$name> for Fault {
            fn from(error: redb::$name) -> Self {
                Self::from(redb::Error::from(error))
            }
        })*
    };
}

from_redb!(StorageError, TableError, TransactionError, CommitError, DatabaseError);

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Disk(error) => Self::io(INDEX_FILE, error),
            Fault::Unusable(why) => Self::io(INDEX_FILE, io::Error::new(io::ErrorKind::InvalidData, why)),
        }
    }
}

/// Runs what calls redb. A damaged file may make redb panic; that is an answer like any other.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(Fault::Unusable(format!("panicked: {}", text(&*payload)))))
}

fn text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
