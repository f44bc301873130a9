//! How is the server, what is not well, and what is to be done?

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::database;
use crate::database::Durability;
use crate::database::Overview;
use crate::database::ShardStatus;
use crate::http::Shared;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
#[cfg(feature = "analytics")]
use crate::http::exports;
use crate::http::problem::Problem;
use crate::http::projections;
use crate::http::query::Query;
use crate::http::shards;

/// Whether all is well, what is not and what to do then, and how each part is.
#[utoipa::path(get, path = "/v1/status", tag = "operations", responses((status = 200, description = "The status", body = Status)))]
pub(crate) async fn status(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Query::parse(parts.uri.query())?.finish()?;
    let overview = app.database.overview().await?;
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: app.started.elapsed().as_secs(),
        durability: match app.settings.durability {
            Durability::Strict => "strict",
            Durability::Relaxed => "relaxed",
        },
        cursor: answer::cursor_text(&app.database.end()),
        is_well: overview.troubles.is_empty(),
        troubles: overview.troubles.iter().map(Trouble::new).collect(),
        shards: overview.shards.iter().map(Shard::new).collect(),
        projections: overview.projections.iter().map(Projection::new).collect(),
        subscriptions: overview.subscriptions.iter().map(Subscription::new).collect(),
        exports: exports_of(&overview),
    };
    let body = serde_json::to_vec(&status).expect("numbers and text are JSON");
    Ok(ReadAnswer::json(body).into_response(&parts.headers).await)
}

/// How the server is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    version: &'static str,
    uptime_seconds: u64,
    /// `strict`: acknowledged is on disk; `relaxed`: with the operating system.
    durability: &'static str,
    /// Where the log of all shards ends.
    cursor: String,
    /// Whether there is no trouble.
    is_well: bool,
    /// What is not well, the worst first.
    troubles: Vec<Trouble>,
    shards: Vec<Shard>,
    projections: Vec<Projection>,
    subscriptions: Vec<Subscription>,
    exports: Vec<Export>,
}

/// Something that is not well.
#[derive(Serialize, ToSchema)]
pub(crate) struct Trouble {
    /// `critical`: somebody has to act; `warning`: it may come right by itself, or get worse.
    severity: &'static str,
    /// `shard`, `projection`, `subscription` or `export`.
    part: &'static str,
    /// Which one.
    name: String,
    problem: String,
    /// What to do.
    todo: String,
}

impl Trouble {
    fn new(trouble: &database::Trouble) -> Self {
        let database::Trouble { severity, part, name, problem, todo } = trouble.clone();
        Self { severity: severity.as_str(), part, name, problem, todo }
    }
}

/// How one shard is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Shard {
    shard: u16,
    /// `ok`; `refuses-appends`; or `unavailable`, which takes no reads either.
    state: &'static str,
    /// Why it is not `ok`.
    reason: Option<String>,
    position: u64,
    streams: u64,
    log_bytes: u64,
    index_bytes: u64,
    index_lag_events: u64,
    queued_appends: usize,
    /// What can still be written where it has its files; null if the disk does not say.
    available_bytes: Option<u64>,
    /// Who follows its log.
    feeds: usize,
    receipt: Receipt,
    opened: Opened,
}

/// A hash over everything up to a position; equal receipts mean equal logs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Receipt {
    position: u64,
    /// In hexadecimal.
    hash: String,
}

/// What was found and done when the shard was opened.
#[derive(Serialize, ToSchema)]
pub(crate) struct Opened {
    position: u64,
    /// Bytes of a torn tail that were cut: appends that were never acknowledged.
    cut_bytes: u64,
    /// Why the index was rebuilt, if it was.
    index_rebuilt: Option<String>,
    replayed_events: u64,
    damage: Option<Damage>,
}

/// What is damaged.
#[derive(Serialize, ToSchema)]
pub(crate) struct Damage {
    file: String,
    offset: u64,
    first_position: u64,
    last_position: u64,
    detail: String,
}

/// How one projection is, in short.
#[derive(Serialize, ToSchema)]
#[schema(as = ProjectionInShort)]
pub(crate) struct Projection {
    name: String,
    /// `running`, `rebuilding`, `paused`, `retrying` or `failed`.
    state: &'static str,
    lag_events: u64,
    lag_ms: u64,
}

/// How one consumer group is, in short.
#[derive(Serialize, ToSchema)]
#[schema(as = SubscriptionInShort)]
pub(crate) struct Subscription {
    name: String,
    /// `active`, `idle`, `blocked` or `failed`.
    state: &'static str,
    lag_events: u64,
    in_flight: u64,
    parked: u64,
    consumers: u64,
}

/// How one export is, in short.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportInShort)]
pub(crate) struct Export {
    name: String,
    /// `running`, `retrying` or `failed`.
    state: &'static str,
    lag_events: u64,
    lag_ms: u64,
}

impl Shard {
    fn new(status: &ShardStatus) -> Self {
        let (position, hash) = status.receipt;
        Self {
            shard: status.shard,
            state: shards::state_name(status),
            reason: status.appends.as_ref().err().map(ToString::to_string),
            position: status.position.get(),
            streams: status.streams,
            log_bytes: status.log_bytes,
            index_bytes: status.index_bytes,
            index_lag_events: status.index_lag_events,
            queued_appends: status.queued_appends,
            available_bytes: status.available_bytes,
            feeds: status.feeds,
            receipt: Receipt { position: position.get(), hash: hash.iter().map(|byte| format!("{byte:02x}")).collect() },
            opened: Opened {
                position: status.opened.committed.get(),
                cut_bytes: status.opened.cut_bytes,
                index_rebuilt: status.opened.index_rebuilt.clone(),
                replayed_events: status.opened.replayed_events,
                damage: status.opened.damage.as_ref().map(|damage| Damage {
                    file: damage.file.clone(),
                    offset: damage.offset,
                    first_position: damage.first.get(),
                    last_position: damage.last.get(),
                    detail: damage.detail.clone(),
                }),
            },
        }
    }
}

impl Projection {
    fn new(status: &database::ProjectionStatus) -> Self {
        let state = projections::state_name(status.state);
        Self { name: status.name.clone(), state, lag_events: status.lag_events, lag_ms: status.lag_ms }
    }
}

impl Subscription {
    fn new(status: &database::GroupStatus) -> Self {
        Self {
            name: status.name.clone(),
            state: status.state.as_str(),
            lag_events: status.lag,
            in_flight: status.in_flight,
            parked: status.parked,
            consumers: status.consumers,
        }
    }
}

#[cfg(feature = "analytics")]
fn exports_of(overview: &Overview) -> Vec<Export> {
    let export = |status: &database::ExportStatus| {
        let state = exports::state_name(status.state);
        Export { name: status.name.clone(), state, lag_events: status.lag_events, lag_ms: status.lag_ms }
    };
    overview.exports.iter().map(export).collect()
}

/// A build without analytics has none.
#[cfg(not(feature = "analytics"))]
fn exports_of(_: &Overview) -> Vec<Export> {
    Vec::new()
}
