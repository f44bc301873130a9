//! Who writes and reads a stream's events, and where?
//!
//! A shard is a whole store: its own log, index, threads and directory. [`Router`] leads a stream to its shard;
//! [`Handle`] is all that anybody else sees of one, and does not say where it lives. Nothing but this module holds a
//! [`factum_storage::Store`].

mod absent;
#[cfg(test)]
pub(crate) mod fixture;
mod hand_over;
mod handle;
mod hash_ring;
mod home;
mod import;
mod interest;
mod key_map;
mod left_out;
mod lineage;
mod live;
mod local;
mod maintenance;
mod meters;
mod moves;
mod owners;
mod partition;
mod plan;
mod queue;
pub(crate) mod remote;
mod ring;
mod router;
mod strategy;
mod system_event;
mod timed_disk;
mod topology;
mod writer;

pub(crate) use hand_over::Keep;
pub(crate) use handle::Handle;
pub(crate) use handle::StreamListing;
pub(crate) use home::Home;
pub(crate) use home::HomeSlice;
pub(crate) use interest::Interest;
pub(crate) use key_map::KeyMap;
pub use key_map::KeyRange;
pub use left_out::LeftOut;
pub(crate) use left_out::ask_all;
pub(crate) use live::Follower;
pub(crate) use local::Options;
pub(crate) use local::open;
pub(crate) use meters::ReadKind;
pub(crate) use moves::Move;
pub(crate) use moves::Part;
pub use partition::SLOTS;
pub(crate) use partition::partition_key;
pub(crate) use plan::Step;
pub(crate) use plan::ranges;
pub(crate) use plan::ranges::KeyLoad;
pub(crate) use plan::steps;
pub(crate) use ring::ends;
pub(crate) use router::Router;
pub(crate) use router::Table;
pub use strategy::Region;
pub(crate) use strategy::SHARDS_MAX;
pub use strategy::Strategy;
pub(crate) use strategy::WEIGHT_MAX;
pub(crate) use strategy::check_split;
pub(crate) use system_event::system_event;
pub(crate) use topology::Goal;
pub(crate) use topology::GoalKind;
pub(crate) use topology::KeyStep;
pub use topology::Placement;
pub use topology::Reason;
pub(crate) use topology::Topology;
pub(crate) use writer::Control;
pub(crate) use writer::Write;
