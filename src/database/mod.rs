//! How does a Rust program use Factum in process?
//!
//! [`Database`] is what `http` serves and all that it calls: the same semantics in process as over the wire.
//!
//! ```
//! use std::error::Error;
//!
//! use factum::Database;
//! use factum::database::{Direction, EventId, ExpectedVersion, NewEvent, StreamAppend, StreamName, Version};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn Error>> {
//! let database = Database::in_memory().await?;
//! let stream = StreamName::new("order-42")?;
//! let placed = NewEvent {
//!     id: EventId::from_bytes([7; 16]), // a UUID; the same one makes a retry harmless
//!     id_is_fresh: false,
//!     event_type: "OrderPlaced".into(),
//!     schema_version: 1,
//!     occurred_at: None,
//!     tags: vec!["customer:7".into()],
//!     metadata: Default::default(),
//!     data: r#"{"total": 12}"#.into(),
//! };
//! let expected = ExpectedVersion::Exact(Version::ZERO); // nothing there yet
//! let done = database.append(StreamAppend { stream: stream.clone(), expected, events: vec![placed] }).await?;
//! assert_eq!(done.cursor.to_string(), "1");
//!
//! let page = database.read_stream(&stream, None, Direction::Forward, 100, 1 << 20).await?;
//! assert_eq!(page.events[0].event_type(), "OrderPlaced");
//! database.close().await?;
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use factum_storage as storage;
pub use storage::Appended;
pub use storage::CategoryInfo;
pub use storage::Direction;
pub use storage::EventId;
pub use storage::ExpectedVersion;
pub use storage::Filter;
pub use storage::NewEvent;
pub use storage::Position;
pub use storage::QueryItem;
pub use storage::RecordedEvent;
pub use storage::Retention;
pub use storage::StreamAppend;
pub use storage::StreamInfo;
pub use storage::StreamName;
pub use storage::Timestamp;
pub use storage::TypeInfo;
pub use storage::Version;

use storage::LockGuard;
#[cfg(feature = "analytics")]
use storage::SystemClock;
use tokio::task::AbortHandle;

use crate::Error;
use crate::aggregate;
pub use crate::aggregate::AggregateState;
pub use crate::aggregate::At;
pub use crate::aggregate::Step;
#[cfg(feature = "analytics")]
use crate::analytics::Analytics;
#[cfg(feature = "analytics")]
pub use crate::analytics::SqlAnswer;
#[cfg(feature = "analytics")]
pub use crate::analytics::TelemetryLimits;
#[cfg(feature = "analytics")]
use crate::analytics::export;
#[cfg(feature = "analytics")]
pub use crate::analytics::export::ExportFailure;
#[cfg(feature = "analytics")]
pub use crate::analytics::export::ExportState;
#[cfg(feature = "analytics")]
use crate::analytics::telemetry::TelemetryLake;
#[cfg(feature = "analytics")]
use crate::analytics::telemetry::folder as telemetry_folder;
pub use crate::definition::Definition;
use crate::definition::Definitions;
pub use crate::definition::Format;
pub use crate::definition::Kind;
use crate::projection;
pub use crate::projection::Column;
pub use crate::projection::ColumnType;
pub use crate::projection::Columns;
pub use crate::projection::Comparison;
pub use crate::projection::Difference;
pub use crate::projection::FailedEvent;
pub use crate::projection::Failure;
pub use crate::projection::OnError;
pub use crate::projection::Order;
pub use crate::projection::ProjectError;
pub use crate::projection::Projection;
use crate::projection::Projections;
pub use crate::projection::Row;
pub use crate::projection::Rows;
pub use crate::projection::State;
pub use crate::projection::Test;
pub use crate::projection::Trial;
pub use crate::projection::Value;
pub use crate::projection::ViewPage;
pub use crate::projection::ViewQuery;
use crate::schema::Registry;
use crate::script;
use crate::script::Sandbox;
use crate::shard::Handle;
pub use crate::shard::KeyRange;
pub use crate::shard::LeftOut;
pub use crate::shard::Placement;
pub use crate::shard::Reason;
pub use crate::shard::Region;
use crate::shard::Router;
pub use crate::shard::SLOTS;
pub use crate::shard::Strategy;
use crate::shard::Topology;
pub use crate::subscription::After;
pub use crate::subscription::Cursor;
pub use crate::subscription::Event;
pub use crate::subscription::group::Acknowledged;
pub use crate::subscription::group::Begin;
pub use crate::subscription::group::Consumer;
pub use crate::subscription::group::ConsumerOptions;
pub use crate::subscription::group::Delivery;
pub use crate::subscription::group::DeliveryId;
pub use crate::subscription::group::GroupState;
pub use crate::subscription::group::GroupStatus;
use crate::subscription::group::Groups;
pub use crate::subscription::group::Nack;
pub use crate::subscription::group::Ordering;
pub use crate::subscription::group::ParkedEvent;
pub use crate::subscription::group::ParkedPage;
pub use crate::subscription::group::Terms;
use crate::telemetry;

pub(crate) use directory::Facts;
#[doc(hidden)]
pub use directory::ShardDisks;
use reshaping::Ground;
use reshaping::Reshaping;

mod aggregates;
mod command;
mod counts;
mod definitions;
mod directory;
#[cfg(feature = "analytics")]
mod exports;
#[cfg(not(feature = "analytics"))]
#[path = "exports_absent.rs"]
mod exports;
mod job;
mod measure;
mod meta;
mod open;
mod opening;
mod options;
mod overview;
mod projections;
mod reads;
mod refusals;
mod reshaping;
mod residency;
mod same_content;
mod shape;
mod shards;
mod splitting;
#[cfg(feature = "analytics")]
mod sql;
mod subscriptions;
mod system;
mod typed;
mod types;
mod validate;
mod views;
mod writes;

#[cfg(feature = "analytics")]
pub use crate::analytics::VisibleStreams;
pub use aggregates::CommandRequest;
pub use aggregates::CommandResult;
pub use aggregates::SnapshotListing;
pub use definitions::Change;
#[cfg(feature = "analytics")]
pub use exports::ExportFile;
#[cfg(feature = "analytics")]
pub use exports::ExportStatus;
pub use job::Job;
pub use job::JobState;
pub(crate) use meta::FORMAT as DIRECTORY_FORMAT;
pub use options::Durability;
pub use options::Elsewhere;
pub use options::Options;
pub use options::ScriptLimits;
pub use options::Splitting;
pub use options::SqlLimits;
pub use overview::Overview;
pub use overview::Severity;
pub use overview::Trouble;
pub use projections::PoisonEvent;
pub use projections::ProjectionStatus;
pub use projections::RebuildStatus;
pub use shards::NewShard;
pub use shards::PlannedMove;
pub use shards::PlannedShard;
pub use shards::ShardPlan;
pub use shards::TopologyChange;
#[cfg(feature = "analytics")]
pub use sql::SqlQuery;
#[cfg(feature = "analytics")]
pub use sql::TableColumn;
#[cfg(feature = "analytics")]
pub use sql::TableInfo;
#[cfg(feature = "analytics")]
pub use sql::TableKind;
pub use typed::Aggregates;
pub use typed::ExecuteError;
pub use typed::Loaded;
pub use types::*;
pub use views::ViewInfo;

/// An open database. Clones share it; the last one dropped closes it, [`Database::close`] does so and waits.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
    /// Reads give events as they were stored, and not in their newest shape.
    reads_stored: bool,
    /// Reads over all shards go on without those that can't be used, and note them here.
    left_out: Option<LeftOut>,
}

/// Closes the shards when the last [`Database`] is gone. Feeds and reads under way hold the router alone, and end then.
struct Inner {
    router: Arc<Router>,
    schemas: Arc<Registry>,
    aggregates: Arc<aggregate::Aggregates>,
    definitions: tokio::sync::Mutex<Definitions>,
    turns: aggregates::Turns,
    projections: Arc<Projections>,
    snapshotter: AbortHandle,
    reshaping: Arc<Reshaping>,
    groups: Groups,
    #[cfg(feature = "analytics")]
    analytics: Arc<Analytics>,
    #[cfg(feature = "analytics")]
    exports: Arc<export::Exports>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.snapshotter.abort();
        self.reshaping.stop();
        // The shards' own threads do what is left; nobody waits for them here, as this may be a thread of a runtime.
        self.router.shards().iter().for_each(Handle::close);
    }
}

impl Database {
    /// Flushes and closes. Appends under way are finished; later calls answer [`Error::Unavailable`]. Closing again waits for the same.
    ///
    /// # Errors
    ///
    /// What the last flush says; nothing acknowledged is lost by it.
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.snapshotter.abort();
        self.inner.reshaping.closed().await;
        #[cfg(feature = "analytics")]
        self.inner.analytics.close();
        self.inner.projections.close().await;
        #[cfg(feature = "analytics")]
        self.inner.exports.close().await;
        // They read the shards' logs to the end of what they have to do.
        self.inner.groups.close().await;
        close(&self.router().shards()).await
    }

    async fn start(
        topology: Topology,
        shards: Vec<Handle>,
        (ground, lock): (Ground, Option<Arc<dyn LockGuard>>),
        options: Options,
    ) -> Result<Self, Error> {
        telemetry::catalogue::describe();
        #[cfg(feature = "analytics")]
        let allowed = export::Allowed::parse(options.export_allow.iter().map(String::as_str))
            .map_err(|detail| Error::Invalid { field: "exports.allow".to_owned(), detail })?;
        let router = Arc::new(Router::new(shards, topology));
        let reshaping = Reshaping::new(Arc::clone(&router), ground, &options);
        let ScriptLimits { threads, memory_bytes, time } = options.scripts;
        let sandbox = Sandbox::new(script::Options { threads, memory_bytes, wall: time, ..script::Options::default() });
        let schemas = Arc::new(Registry::new(sandbox.clone()));
        let data = options.data;
        let projections = Projections::new(projection::Options {
            router: Arc::clone(&router),
            reshape: Some(shape::newest(&schemas)),
            sandbox: sandbox.clone(),
            folder: data.as_ref().filter(|_| lock.is_some()).map(|data| data.join(VIEWS)),
            cache_bytes: options.view_cache_bytes,
        });
        let aggregates =
            Arc::new(aggregate::Aggregates::new(Arc::clone(&router), sandbox, Arc::clone(&schemas), options.aggregate_cache_bytes));
        let snapshotter = tokio::spawn(Arc::clone(&aggregates).keep_snapshots()).abort_handle();
        let (definitions, turns) = (tokio::sync::Mutex::default(), aggregates::Turns::default());
        let reshape = shape::newest(&schemas);
        // Disks that a caller brings hold logs alone: the progress of groups stays in memory then, as in a database without a directory.
        let folder = lock.as_ref().and(data.as_deref());
        let groups = Groups::new(Arc::clone(&router), Some(reshape), folder);
        #[cfg(feature = "analytics")]
        let exports = Arc::new(export::Exports::new(export::Options {
            router: Arc::clone(&router),
            reshape: Some(shape::newest(&schemas)),
            schemas: Arc::clone(&schemas),
            folder: folder.map(export::own_folder),
            allowed,
            clock: Arc::new(SystemClock),
        }));
        #[cfg(feature = "analytics")]
        let telemetry = options.telemetry.zip(folder).map(|(limits, data)| TelemetryLake::new(&telemetry_folder(data), limits));
        #[cfg(feature = "analytics")]
        let analytics = sql::analytics(options.sql, (&router, &schemas, &projections, &exports), (folder, telemetry));
        let inner = Inner {
            router,
            schemas,
            aggregates,
            definitions,
            turns,
            projections,
            groups,
            snapshotter,
            reshaping,
            #[cfg(feature = "analytics")]
            analytics,
            #[cfg(feature = "analytics")]
            exports,
        };
        let database = Self { inner: Arc::new(inner), reads_stored: false, left_out: None };
        database.load_definitions().await?;
        database.resume_reshaping().await;
        splitting::begin(&database, options.splitting);
        Ok(database)
    }

    /// The same database, whose reads give events as they were stored: no upcaster is asked.
    #[must_use]
    pub fn as_stored(&self) -> Self {
        Self { reads_stored: true, ..self.clone() }
    }

    /// The same database, whose reads over all shards go on without those that can't be used, and note them in `left_out`. What is read is
    /// true, and may be a part: of a stream that has lived on a missing shard, events are left out if only that shard knows whether they
    /// are deleted. Cursors stand still for a shard that is missing, so whoever goes on from one finds what it has when it is back.
    ///
    /// It concerns [`Database::read_events`], [`Database::streams`], [`Database::categories`], [`Database::types`] and queries in SQL;
    /// feeds and everything that writes want all shards.
    #[must_use]
    pub fn leaving_out(&self, left_out: &LeftOut) -> Self {
        Self { left_out: Some(left_out.clone()), ..self.clone() }
    }

    /// Notes the shards that can't be used now.
    pub fn note_missing(&self, left_out: &LeftOut) {
        left_out.take_absent(&self.router().shards());
    }

    fn router(&self) -> &Router {
        &self.inner.router
    }

    fn shared_router(&self) -> Arc<Router> {
        Arc::clone(&self.inner.router)
    }
}

/// The folder of the embedded views below the data directory.
const VIEWS: &str = "views";

/// Closes shards side by side.
async fn close(shards: &[Handle]) -> Result<(), Error> {
    shards.iter().for_each(Handle::close);
    let closed = futures::future::join_all(shards.iter().map(Handle::closed)).await;
    closed.into_iter().collect()
}

/// Runs what waits for a disk beside the runtime's own threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => Err(Error::Unavailable { shard: 0, detail: format!("opening has not come to its end: {error}") }),
    }
}
