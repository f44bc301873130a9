//! What do all events say together? SQL over the log, the views and the lake; and the lake itself: Parquet files that follow the log.
//!
//! The only place for DataFusion, Parquet and object stores. It reads through the shards, as everybody does, and never stands in the way of
//! an append.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "types, operators and errors of DataFusion and Arrow are many, and more with each version"
)]

mod answer;
pub(crate) mod columns;
pub(crate) mod export;
mod inference;
mod members;
pub mod output;
pub(crate) mod query;
pub(crate) mod rows;
pub(crate) mod sql;
pub(crate) mod tables;
pub(crate) mod telemetry;
mod type_name;
mod visible;

use std::path::PathBuf;
use std::sync::Arc;

pub use answer::SqlAnswer;
use export::Exports;
use inference::Inference;
use sql::Engine;
use sql::Limits;
use tables::Confidence;
use tables::Footers;
use telemetry::TelemetryLake;
pub use telemetry::TelemetryLimits;
pub(crate) use type_name::type_name;
pub use visible::VisibleStreams;

use crate::projection::Projections;
use crate::schema::Registry;
use crate::shard::Router;
use crate::subscription::Reshape;

/// What the analytics of a database need.
pub(crate) struct Options {
    pub(crate) router: Arc<Router>,
    /// Brings events into the shape that readers want.
    pub(crate) reshape: Arc<dyn Reshape>,
    pub(crate) schemas: Arc<Registry>,
    pub(crate) projections: Arc<Projections>,
    pub(crate) exports: Arc<Exports>,
    /// What is kept of the server's own doings.
    pub(crate) telemetry: Option<Arc<TelemetryLake>>,
    /// Where what is derived is kept; `None`: in memory, and what queries spill in a temporary folder.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) limits: Limits,
}

/// Everything that looks at all events together.
pub(crate) struct Analytics {
    pub(crate) router: Arc<Router>,
    pub(crate) reshape: Arc<dyn Reshape>,
    pub(crate) projections: Arc<Projections>,
    pub(crate) exports: Arc<Exports>,
    pub(crate) telemetry: Option<Arc<TelemetryLake>>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) inference: Arc<Inference>,
    footers: Arc<Footers>,
    confidence: Arc<Confidence>,
}

impl Analytics {
    pub(crate) fn new(options: Options) -> Self {
        let Options { router, reshape, schemas, projections, exports, telemetry, folder, limits } = options;
        let engine = Arc::new(Engine::new(limits, folder.as_ref().map(|folder| folder.join(SPILL))));
        let kept = folder.map(|folder| folder.join(COLUMNS));
        let inference = Arc::new(Inference::new(Arc::clone(&router), Arc::clone(&reshape), schemas, kept));
        let (footers, confidence) = (Arc::default(), Arc::default());
        Self { router, reshape, projections, exports, telemetry, engine, inference, footers, confidence }
    }
}

impl Analytics {
    /// Ends the queries that run, and takes no new ones.
    pub(crate) fn close(&self) {
        self.engine.close();
    }
}

/// What does not fit into memory while a query runs; emptied when the first query comes.
const SPILL: &str = "spill";
/// The typed columns of categories, as far as they are known.
const COLUMNS: &str = "columns.json";
