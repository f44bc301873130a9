//! `POST /v1/import`: how does a lot get in at once? Lines are parsed on a thread of their own while the batch before is committed.
//!
//! A batch is finished before the next begins, so when a line is refused, nothing of a later batch is there, and the order
//! of a stream's lines holds. Memory is two batches and one line, however long the body.

mod lines;
mod progress;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use tokio::sync::mpsc;

use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::answer;
use crate::http::body::content_coding;
use crate::http::problem::Problem;
use crate::http::problem::Slug;
use crate::http::query::Query;
use crate::http::request::media_type;
use crate::http::request::unsupported;
use crate::http::schema;

/// Load events in bulk: one JSON object a line, each with its `stream`.
#[utoipa::path(
    post, path = "/v1/import", tag = "append",
    request_body(content = String, content_type = "application/x-ndjson", description = "Lines such as `{\"stream\": \"order-42\", \"type\": \"OrderPaid\", \"data\": {}}`; the order of a stream's lines is kept, ids that are there already are skipped"),
    responses(
        (status = 200, description = "Progress lines; the last has `done: true`, or is `{\"$error\": …}` with the line's number, and what came before stays", body = schema::ImportProgress, content_type = "application/x-ndjson"),
        (status = 400, description = "`malformed-request`: a parameter or header that an import does not take", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "`too-many-requests`: too many imports at once", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn import(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Query::parse(parts.uri.query())?.finish()?;
    if !matches!(media_type(&parts.headers).as_str(), "application/x-ndjson" | "application/ndjson" | "application/jsonl") {
        return Err(unsupported("application/x-ndjson"));
    }
    if parts.headers.contains_key("idempotency-key") {
        return Err(Problem::malformed(
            "Idempotency-Key",
            "is not supported by an import: give the events ids, and a retry skips those that are there",
        ));
    }
    let coding = content_coding(&parts.headers)?;
    let Ok(permit) = Arc::clone(&app.imports).try_acquire_owned() else {
        let detail = format!("{} imports are running", app.settings.imports_max);
        return Err(Problem::new(Slug::TooManyRequests, detail).closing());
    };
    let (sender, batches) = mpsc::channel(1);
    let caller = Caller::of(&app, &parts);
    let source = lines::Source { body, coding, settings: app.settings.clone(), headers: parts.headers, caller };
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        lines::read(source, &runtime, &sender);
        drop(permit);
    });
    let mut response = Response::new(Body::from_stream(progress::stream(app.database.clone(), batches)));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(http::header::CONTENT_TYPE, answer::NDJSON);
    Ok(response)
}
