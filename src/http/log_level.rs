//! What does the server log, and how is that changed without a restart?

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::Shared;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::body::read_whole;
use crate::http::decode::from_body;
use crate::http::problem::Problem;
use crate::http::problem::Slug;
use crate::http::query::Query;
use crate::http::request::require_json;
use crate::http::schema;
use crate::http::wire::Object;
use crate::telemetry::logs;

/// What is logged.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogLevel {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives with commas between them. No level logs data, metadata, tags, queries or
    /// secrets, and of libraries nothing is logged below `warn`.
    #[schema(example = "info,factum::projection=debug")]
    level: String,
}

/// Read what is logged.
#[utoipa::path(
    get, path = "/v1/log-level", tag = "operations",
    responses(
        (status = 200, description = "The level", body = LogLevel),
        (status = 404, description = "`path-not-found`: this program has no log of its own", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn log_level(request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Query::parse(parts.uri.query())?.finish()?;
    let level = logs::level().ok_or_else(no_log)?;
    Ok(ReadAnswer::json(written(level)).into_response(&parts.headers).await)
}

/// Log more, or less, from now until the server stops. What it begins with is the setting `log.level`.
#[utoipa::path(
    put, path = "/v1/log-level", tag = "operations",
    request_body(content = LogLevel, content_type = "application/json"),
    responses(
        (status = 200, description = "Changed", body = LogLevel),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`path-not-found`: this program has no log of its own", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn set_log_level(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Query::parse(parts.uri.query())?.finish()?;
    require_json(&parts.headers)?;
    let body = read_whole(&parts.headers, body, &app.settings).await?;
    let LogLevel { level } = from_body::<Object<LogLevel>>(&body)?.0;
    logs::set_level(&level).ok_or_else(no_log)?.map_err(|detail| Problem::malformed("level", detail))?;
    Ok(answer::whole(StatusCode::OK, answer::JSON, written(level)))
}

fn written(level: String) -> Vec<u8> {
    serde_json::to_vec(&LogLevel { level }).expect("text is JSON")
}

fn no_log() -> Problem {
    Problem::new(Slug::PathNotFound, "this program does not keep its log here")
}
