//! Is the server well, and what can it do? Health, status, the interface's own description.

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use factum_storage as storage;
use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use utoipa::ToSchema;

use crate::http::Shared;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::negotiate::pick;
use crate::http::problem::Problem;
use crate::http::problem::Slug;
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
        let (number, Err(error)) = (shard.shard, shard.appends) else { continue };
        // A file that can't be used is no bug of this request: its shard is not there for now.
        if shard.is_absent || matches!(error, storage::Error::Io { .. }) {
            return Err(Problem::from(crate::Error::ShardFailed { shard: number, detail: error.to_string() }));
        }
        return Err(Problem::from(crate::Error::Storage(error)).with_json("shard", number.to_string()));
    }
    Ok(answer::whole(StatusCode::OK, answer::JSON, Bytes::from_static(b"{\"status\":\"ok\"}")))
}

/// What is measured, for Prometheus: in its own text format, or in OpenMetrics for those who ask for that.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses(
        (status = 200, description = "The text format of Prometheus, version 0.0.4, or OpenMetrics 1.0 with exemplars", content(
            (String = "text/plain"), (String = "application/openmetrics-text"),
        )),
        (status = 404, description = "`path-not-found`: the program that this server is part of keeps its measurements elsewhere", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn metrics(State(app): State<Shared>, headers: HeaderMap) -> Result<Response, Problem> {
    let present = app.database.measure().await?;
    // Whoever asks for neither gets the one that everybody reads.
    let is_open = pick(&headers, &[("text/plain", false), ("application/openmetrics-text", true)]).unwrap_or(false);
    let (text, media_type) = if is_open {
        (telemetry::metrics::open_text(&present), "application/openmetrics-text; version=1.0.0; charset=utf-8")
    } else {
        (telemetry::metrics::text(&present), "text/plain; version=0.0.4; charset=utf-8")
    };
    let text = text.ok_or_else(|| Problem::new(Slug::PathNotFound, "this program does not keep its measurements here"))?;
    Ok(answer::whole(StatusCode::OK, HeaderValue::from_static(media_type), Bytes::from(text)))
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
