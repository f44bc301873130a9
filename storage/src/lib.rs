//! How does an acknowledged event survive anything but the loss of the disk?
//!
//! A synchronous, deterministic library: an append-only log of checksummed frames that is the only truth, and a
//! versioned index that is derived from it and may be deleted. It knows nothing of async runtimes, HTTP, JSON or
//! logging, and takes time ([`Clock`]), files ([`Disk`]) and threads from whoever opens it, so a test owns all three.
//!
//! [`Store`] is the single writer of one shard, [`Reader`] any number of readers beside it, [`Maintainer`] the work
//! that a background thread does for both. The byte layout is `docs/format.md`.

mod clock;
pub mod disk;
mod error;
mod filter;
mod index;
mod log;
mod record;
mod store;
mod types;

pub use clock::Clock;
pub use clock::SystemClock;
pub use disk::Disk;
pub use disk::DiskFile;
pub use disk::LockGuard;
pub use disk::MemDisk;
pub use disk::RealDisk;
pub use error::Damage;
pub use error::Error;
pub use error::FailedCheck;
pub use filter::Filter;
pub use filter::QueryItem;
pub use record::RecordedEvent;
pub use store::Appended;
pub use store::Direction;
pub use store::EventSlice;
pub use store::Maintainer;
pub use store::OpenReport;
pub use store::Options;
pub use store::Reader;
pub use store::Store;
pub use store::StreamSlice;
pub use types::*;
