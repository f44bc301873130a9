//! How does an acknowledged event survive anything but the loss of the disk?
//!
//! A synchronous, deterministic library: an append-only log of checksummed frames that is the only truth, and a
//! versioned index that is derived from it and may be deleted. It knows nothing of async runtimes, HTTP, JSON or
//! logging, and takes time ([`Clock`]), files ([`Disk`]) and threads from whoever opens it, so a test owns all three.
//!
//! [`Store`] is the single writer of one shard, [`Reader`] any number of readers beside it, [`Maintainer`] the work
//! that a background thread does for both. The byte layout is `docs/format.md`.
//!
//! ```
//! use std::sync::Arc;
//! use factum_storage::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let disk = Arc::new(MemDisk::new());
//! let (mut store, _report) = Store::open(disk, Arc::new(SystemClock), Options::small(), &mut |_| {})?;
//! let event = NewEvent {
//!     id: EventId::from_bytes([7; 16]),
//!     id_is_fresh: false,
//!     event_type: "OrderPlaced".into(),
//!     schema_version: 1,
//!     occurred_at: None,
//!     tags: vec!["customer:7".into()],
//!     metadata: Default::default(),
//!     data: r#"{"amount": 12}"#.into(),
//! };
//! let append = StreamAppend { stream: StreamName::new("order-1")?, expected: ExpectedVersion::Exact(Version::ZERO), events: vec![event] };
//! let appended = store.stage(&Transaction { appends: vec![append], conditions: vec![] })?;
//! store.commit()?; // On disk from here on.
//! assert_eq!(appended.position, Position::new(1));
//!
//! let slice = store.reader().read_stream("order-1", None, Direction::Forward, 10, usize::MAX)?.ok_or("not found")?;
//! assert_eq!(slice.events[0].data(), br#"{"amount": 12}"#);
//! # Ok(())
//! # }
//! ```

mod clock;
pub mod disk;
mod error;
mod filter;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod log;
#[doc(hidden)]
pub mod plant;
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
pub use index::Snapshot;
pub use index::SnapshotInfo;
pub use index::StreamHead;
pub use log::recover::log_id;
pub use record::BadRecord;
pub use record::RecordedEvent;
pub use record::Reshaped;
pub use store::*;
pub use types::*;
