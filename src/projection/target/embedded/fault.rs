//! Why did a file of rows not answer?

use std::any::Any;
use std::io;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use super::super::Fault;

/// What redb, the disk below it or we ourselves have to say about a file.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The disk failed; the file may be as good as before.
    Disk(io::Error),
    /// The file is not what it should be; only a rebuild helps.
    Unusable(String),
    /// Nothing is wrong with the file.
    Told(Fault),
}

impl Trouble {
    pub(crate) fn unusable(why: impl Into<String>) -> Self {
        Self::Unusable(why.into())
    }

    /// Whether redb may refuse everything from now on, until the file is opened again.
    pub(super) fn is_of_the_file(&self) -> bool {
        match self {
            Self::Disk(_) | Self::Unusable(_) => true,
            Self::Told(_) => false,
        }
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Disk(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                Self::Passing("the disk of the data directory is full: make space, and it goes on by itself".to_owned())
            }
            Trouble::Disk(error) => Self::Passing(format!("the file of the view's rows: {error}; it is opened again")),
            Trouble::Unusable(why) => Self::Lasting(format!("the file of the view's rows is damaged ({why}): rebuild the projection")),
            Trouble::Told(fault) => fault,
        }
    }
}

impl From<redb::Error> for Trouble {
    #[expect(clippy::wildcard_enum_match_arm, reason = "redb's errors are many and will be more; they differ in their text alone")]
    fn from(error: redb::Error) -> Self {
        match error {
            // A file that ends too early was cut: its pages are gone.
            redb::Error::Io(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                Self::Unusable(error.to_string())
            }
            redb::Error::Io(error) => Self::Disk(error),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Self::Disk(io::Error::other(error.to_string())),
            other => Self::Unusable(other.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($name:ident),*) => {
        $(impl From<redb::$name> for Trouble {
            fn from(error: redb::$name) -> Self {
                Self::from(redb::Error::from(error))
            }
        })*
    };
}

from_redb!(StorageError, TableError, TransactionError, CommitError, DatabaseError, SetDurabilityError);

/// Runs what calls redb. A damaged file may make redb panic; that is an answer like any other.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(Trouble::Unusable(format!("panicked: {}", text(&*payload)))))
}

fn text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
