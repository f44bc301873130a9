//! Which Parquet files follow the log, and how do they fare?

use axum::extract::Request;
use axum::extract::State as AppState;
use axum::response::Response;
use http::StatusCode;

use crate::database::ExportState;
use crate::database::ExportStatus;
use crate::database::Format;
use crate::database::Kind;
use crate::http::Shared;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::answer::push_cursor;
use crate::http::body::read_at_most;
use crate::http::conditional::refuse_conditions;
use crate::http::definitions::DEFINITION_BYTES_MAX;
use crate::http::definitions::change_status;
use crate::http::definitions::definition_text;
use crate::http::definitions::format_name;
use crate::http::definitions::push_change;
use crate::http::listings::PageOf;
use crate::http::min_position::MinPosition;
use crate::http::negotiate::json_only;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::request::media_type;
use crate::http::request::segment;
use crate::http::request::unsupported;
use crate::http::schema;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;
use crate::subscription::time::push_timestamp;

/// Define an export: which events are kept as Parquet files, and where. It follows the log from the first event on, each event once.
#[utoipa::path(
    put, path = "/v1/exports/{export}", tag = "exports",
    params(
        ("export" = String, Path, description = "Its name", example = "lake"),
        ("dry_run" = Option<bool>, Query, description = "Only check, and say what would change; the answer is 200"),
    ),
    request_body(description = "At most 256 KiB; everything may be left out", content(
        (schema::ExportDefinition = "application/json"), (String = "application/toml"),
    )),
    responses(
        (status = 201, description = "The export is defined, and begins at the first event", body = schema::ExportAnswer),
        (status = 200, description = "It was defined already: `changed`, or the `same`", body = schema::ExportAnswer),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "`invalid-definition` with the place: also a `url` that the setting `exports.allow` does not allow; what was in force before still is", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn define(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let name = segment(&parts.uri, 2, "export")?;
    refuse_conditions(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query())?;
    let dry_run = query.switch("dry_run")?;
    query.finish()?;
    let format = match media_type(&parts.headers).as_str() {
        "application/toml" | "text/toml" => Format::Toml,
        "application/json" => Format::Json,
        _ => return Err(unsupported("application/toml or application/json")),
    };
    let body = read_at_most(&parts.headers, body, &app.settings, DEFINITION_BYTES_MAX).await?;
    let change = app.database.define(Kind::Export, &name, format, definition_text(&body)?, dry_run).await?;
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(b"{\"name\":");
    push_string(&mut out, &name);
    push_change(&mut out, change, dry_run);
    out.push(b'}');
    Ok(answer::whole(change_status(change, dry_run), answer::JSON, out))
}

/// List the exports, by name, with how they fare. The files of each are told by its own resource.
#[utoipa::path(
    get, path = "/v1/exports", tag = "exports",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "Exports", body = schema::ExportList, headers(("Link" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let mut query = Query::parse(parts.uri.query())?;
    let page = PageOf::take_plain(&mut query, &parts)?;
    query.finish()?;
    let named = page.cut(app.database.exports().into_iter().map(|status| (status.name.clone(), status)));
    let answer = page.answer(&parts, "exports", named, |out, _, status| push_status(out, status, Files::Counted));
    Ok(answer.into_response(&parts.headers).await)
}

/// How an export fares, and its files: together they hold every event up to `published` once. Whoever reads just these finds one consistent
/// cut, whatever is written, merged or moved meanwhile.
#[utoipa::path(
    get, path = "/v1/exports/{export}", tag = "exports",
    params(("export" = String, Path, example = "lake")),
    responses(
        (status = 200, description = "Its state", body = schema::ExportStatus, headers(("Factum-Position" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn status(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let name = segment(&parts.uri, 2, "export")?;
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    Ok(told(&app.database.export(&name)?).into_response(&parts.headers).await)
}

/// Read an export's definition as it was written.
#[utoipa::path(
    get, path = "/v1/exports/{export}/definition", tag = "exports",
    params(("export" = String, Path, example = "lake")),
    responses(
        (status = 200, description = "The definition", body = schema::ExportDocument, headers(("ETag" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn definition(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let name = segment(&parts.uri, 2, "export")?;
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    let definition = app.database.definition(Kind::Export, &name).await?;
    let mut out = Vec::with_capacity(definition.text.len() + 128);
    out.extend_from_slice(b"{\"name\":");
    push_string(&mut out, &name);
    out.extend_from_slice(format!(",\"format\":\"{}\",\"definition\":", format_name(definition.format)).as_bytes());
    push_string(&mut out, &definition.text);
    out.extend_from_slice(b",\"version\":");
    push_number(&mut out, definition.version.get());
    out.extend_from_slice(b",\"defined_at\":\"");
    push_timestamp(&mut out, definition.defined_at);
    out.extend_from_slice(b"\"}");
    let answer = ReadAnswer { etag: Some(format!("\"{}\"", definition.version)), ..ReadAnswer::json(out) };
    Ok(answer.into_response(&parts.headers).await)
}

/// Publish everything up to now, and wait until that is done. An export that has failed tries again.
#[utoipa::path(
    post, path = "/v1/exports/{export}/flush", tag = "exports",
    params(
        ("export" = String, Path, example = "lake"),
        ("Prefer" = Option<String>, Header, description = "`wait=<seconds>`: for how long; 5 by default, at most 60"),
    ),
    responses(
        (status = 200, description = "Everything that was there when it was asked for is published", body = schema::ExportStatus, headers(("Factum-Position" = String))),
        (status = 202, description = "It is on its way, and has not come so far within the time", body = schema::ExportStatus, headers(("Factum-Position" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`target-unavailable`: the lake does not answer, or the export has failed", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn flush(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let name = segment(&parts.uri, 2, "export")?;
    json_only(&parts.headers)?;
    refuse_conditions(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    let (flushed, status) = app.database.flush_export(&name, MinPosition::wait_of(&parts.headers)?).await?;
    let mut response = told(&status).into_response(&parts.headers).await;
    if !flushed {
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    Ok(response)
}

/// End an export. Its files stay where they are, and one that is defined with the same name and place goes on with them.
#[utoipa::path(
    delete, path = "/v1/exports/{export}", tag = "exports",
    params(
        ("export" = String, Path, example = "lake"),
        ("files" = Option<bool>, Query, description = "Delete what it has put there, too"),
    ),
    responses(
        (status = 204, description = "It has ended; the events are as they were"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`; `target-unavailable`: it has ended, and files are still there", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn remove(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let name = segment(&parts.uri, 2, "export")?;
    json_only(&parts.headers)?;
    refuse_conditions(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query())?;
    let remove_files = query.switch("files")?;
    query.finish()?;
    app.database.remove_export(&name, remove_files).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// How files are told of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Files {
    /// Each of them.
    Listed,
    /// How many there are.
    Counted,
}

fn told(status: &ExportStatus) -> ReadAnswer {
    let mut out = Vec::with_capacity(512 + status.files.len() * 160);
    push_status(&mut out, status, Files::Listed);
    ReadAnswer { cursor: Some(answer::cursor_text(&status.checkpoint)), ..ReadAnswer::json(out) }
}

fn push_status(out: &mut Vec<u8>, status: &ExportStatus, files: Files) {
    out.extend_from_slice(b"{\"name\":");
    push_string(out, &status.name);
    out.extend_from_slice(format!(",\"state\":\"{}\",\"url\":", state_name(status.state)).as_bytes());
    push_string(out, &status.url);
    out.extend_from_slice(b",\"checkpoint\":\"");
    push_cursor(out, &status.checkpoint);
    out.extend_from_slice(b"\",\"head\":\"");
    push_cursor(out, &status.head);
    let (events, ms, pace) = (status.lag_events, status.lag_ms, status.events_per_second);
    out.extend_from_slice(format!("\",\"lag_events\":{events},\"lag_ms\":{ms},\"events_per_second\":{pace:.1}").as_bytes());
    if let Some(error) = &status.error {
        out.extend_from_slice(b",\"error\":{\"reason\":");
        push_string(out, &error.reason);
        out.extend_from_slice(format!(",\"attempts\":{}}}", error.attempts).as_bytes());
    }
    let (rows, bytes) = status.files.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
    out.extend_from_slice(format!(",\"file_count\":{},\"rows\":{rows},\"bytes\":{bytes},\"published\":\"", status.files.len()).as_bytes());
    push_cursor(out, &status.published);
    out.push(b'"');
    if files == Files::Listed {
        out.extend_from_slice(b",\"files\":[");
        for (number, file) in status.files.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"url\":");
            push_string(out, &file.url);
            out.extend_from_slice(format!(",\"rows\":{},\"bytes\":{}}}", file.rows, file.bytes).as_bytes());
        }
        out.push(b']');
    }
    out.push(b'}');
}

pub(crate) fn state_name(state: ExportState) -> &'static str {
    match state {
        ExportState::Running => "running",
        ExportState::Retrying => "retrying",
        ExportState::Failed => "failed",
    }
}
