//! Who writes and reads a stream's events, and where?
//!
//! A shard is a whole store: its own log, index, threads and directory. [`Router`] leads a stream to its shard;
//! [`Handle`] is all that anybody else sees of one, and does not say where it lives. Nothing but this module holds a
//! [`factum_storage::Store`].

mod absent;
#[cfg(test)]
pub(crate) mod fixture;
mod handle;
mod hash_ring;
mod import;
mod interest;
mod live;
mod local;
mod maintenance;
mod meters;
mod partition;
mod queue;
mod ring;
mod router;
mod strategy;
mod timed_disk;
mod topology;
mod writer;

pub(crate) use handle::Handle;
pub(crate) use handle::StreamListing;
pub(crate) use interest::Interest;
pub(crate) use live::Follower;
pub(crate) use local::Options;
pub(crate) use local::open;
pub use partition::SLOTS;
pub(crate) use partition::partition_key;
pub(crate) use ring::ends;
pub(crate) use router::Router;
pub use strategy::Region;
pub use strategy::Strategy;
pub use topology::Placement;
pub use topology::Reason;
pub(crate) use topology::Topology;
pub(crate) use writer::Control;
pub(crate) use writer::Write;
