//! Does the database in process keep what `docs/` promise? The checks of the HTTP interface, without HTTP.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "tests, which clippy does not see behind `tokio::test`: small numbers, and the seed to replay with"
)]

#[path = "embedded/aggregates.rs"]
mod aggregates;
#[path = "embedded/appends.rs"]
mod appends;
#[path = "embedded/elsewhere.rs"]
mod elsewhere;
#[path = "embedded/elsewhere_faults.rs"]
mod elsewhere_faults;
#[cfg(feature = "analytics")]
#[path = "embedded/exports.rs"]
mod exports;
#[path = "embedded/faults.rs"]
mod faults;
#[path = "embedded/feeds.rs"]
mod feeds;
#[path = "embedded/filters.rs"]
mod filters;
#[path = "embedded/fixture.rs"]
mod fixture;
#[path = "embedded/groups.rs"]
mod groups;
#[path = "embedded/imports.rs"]
mod imports;
#[path = "embedded/missing_shards.rs"]
mod missing_shards;
#[path = "embedded/moving_shards.rs"]
mod moving_shards;
#[path = "embedded/moving_shards_crash.rs"]
mod moving_shards_crash;
#[cfg(feature = "analytics")]
#[path = "embedded/moving_shards_readers.rs"]
mod moving_shards_readers;
#[path = "embedded/moving_shards_unnoticed.rs"]
mod moving_shards_unnoticed;
#[path = "embedded/opening.rs"]
mod opening;
#[path = "embedded/pages.rs"]
mod pages;
#[path = "embedded/projections.rs"]
mod projections;
#[path = "embedded/rebuilds.rs"]
mod rebuilds;
#[path = "embedded/schemas.rs"]
mod schemas;
#[path = "embedded/snapshots.rs"]
mod snapshots;
#[path = "embedded/splitting_ranges.rs"]
mod splitting_ranges;
#[path = "embedded/streams.rs"]
mod streams;
#[path = "embedded/subscriptions.rs"]
mod subscriptions;
#[path = "embedded/topologies.rs"]
mod topologies;
#[path = "embedded/typed.rs"]
mod typed;
