//! Is the server well, and what can it do? Health, status, the interface's own description.

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use serde::Serialize;
use utoipa::ToSchema;

use crate::database::Durability;
use crate::database::ShardStatus;
use crate::http::Shared;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::problem::Problem;
use crate::http::problem::Slug;
use crate::http::query::Query;
use crate::http::schema;
use crate::telemetry;

/// Whether the process answers at all.
#[utoipa::path(get, path = "/health/live", tag = "operations", responses((status = 200, description = "It does", body = Health)))]
pub(crate) async fn live() -> Response {
    answer::whole(StatusCode::OK, answer::JSON, Bytes::from_static(b"{\"status\":\"ok\"}"))
}

/// Whether every shard takes appends and the server is not stopping.
#[utoipa::path(
    get, path = "/health/ready", tag = "operations",
    responses(
        (status = 200, description = "Ready", body = Health),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn ready(State(app): State<Shared>) -> Result<Response, Problem> {
    if app.settings.closing.is_cancelled() {
        return Err(Problem::new(Slug::ShardUnavailable, "the server is stopping"));
    }
    for shard in app.database.status().await? {
        if let Err(error) = shard.appends {
            return Err(Problem::from(crate::Error::Storage(error)).with_json("shard", shard.shard.to_string()));
        }
    }
    Ok(answer::whole(StatusCode::OK, answer::JSON, Bytes::from_static(b"{\"status\":\"ok\"}")))
}

/// How the server and each shard are.
#[utoipa::path(get, path = "/v1/status", tag = "operations", responses((status = 200, description = "The status", body = Status)))]
pub(crate) async fn status(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Query::parse(parts.uri.query())?.finish()?;
    let shards = app.database.status().await?;
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: app.started.elapsed().as_secs(),
        durability: match app.settings.durability {
            Durability::Strict => "strict",
            Durability::Relaxed => "relaxed",
        },
        cursor: answer::cursor_text(&app.database.end()),
        shards: shards.iter().map(Shard::new).collect(),
    };
    let body = serde_json::to_vec(&status).expect("numbers and text are JSON");
    Ok(ReadAnswer::json(body).into_response(&parts.headers).await)
}

/// What is measured, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses(
        (status = 200, description = "The text format of Prometheus, version 0.0.4", body = String, content_type = "text/plain"),
        (status = 404, description = "`path-not-found`: the program that this server is part of keeps its measurements elsewhere", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn metrics(State(app): State<Shared>) -> Result<Response, Problem> {
    let present = app.database.measure().await?;
    let text = telemetry::metrics::text(&present);
    let text = text.ok_or_else(|| Problem::new(Slug::PathNotFound, "this program does not keep its measurements here"))?;
    Ok(answer::whole(StatusCode::OK, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"), Bytes::from(text)))
}

/// The description of this interface, made from the code.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
pub(crate) async fn openapi(State(app): State<Shared>, request: Request) -> Response {
    let etag = Some(format!("W/\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&app.openapi)));
    ReadAnswer { etag, ..ReadAnswer::json(app.openapi.to_vec()) }.into_response(request.headers()).await
}

/// The explorer of the interface; works offline.
pub(crate) async fn docs() -> Response {
    page(include_bytes!("docs.html"))
}

/// Where a browser lands.
pub(crate) async fn root() -> Response {
    page(include_bytes!("root.html"))
}

fn page(html: &'static [u8]) -> Response {
    let mut response = answer::whole(StatusCode::OK, HeaderValue::from_static("text/html; charset=utf-8"), Bytes::from_static(html));
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

/// What a probe gets.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the OpenAPI document; the answer is a constant")]
pub(crate) struct Health {
    #[schema(example = "ok")]
    status: String,
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
    shards: Vec<Shard>,
}

/// How one shard is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Shard {
    shard: u16,
    /// `ok`, or `refuses-appends`.
    state: &'static str,
    /// Why it refuses appends.
    reason: Option<String>,
    position: u64,
    streams: u64,
    log_bytes: u64,
    index_bytes: u64,
    index_lag_events: u64,
    queued_appends: usize,
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

impl Shard {
    fn new(status: &ShardStatus) -> Self {
        let (position, hash) = status.receipt;
        Self {
            shard: status.shard,
            state: if status.appends.is_ok() { "ok" } else { "refuses-appends" },
            reason: status.appends.as_ref().err().map(ToString::to_string),
            position: status.position.get(),
            streams: status.streams,
            log_bytes: status.log_bytes,
            index_bytes: status.index_bytes,
            index_lag_events: status.index_lag_events,
            queued_appends: status.queued_appends,
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
