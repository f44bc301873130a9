//! Which read models are kept, and how do they fare?

use axum::extract::Request;
use axum::extract::State as AppState;
use axum::response::Response;
use http::HeaderMap;
use http::StatusCode;
use http::request::Parts;

use crate::database::Change;
use crate::database::Format;
use crate::database::Kind;
use crate::database::PoisonEvent;
use crate::database::ProjectionStatus;
use crate::database::State;
use crate::database::Trial;
use crate::http::Shared;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::answer::push_cursor;
use crate::http::body::read_at_most;
use crate::http::conditional::refuse_conditions;
use crate::http::definitions::DEFINITION_BYTES_MAX;
use crate::http::definitions::change_status;
use crate::http::definitions::definition_text;
use crate::http::definitions::push_change;
use crate::http::listings::PageOf;
use crate::http::min_position::MinPosition;
use crate::http::negotiate::json_only;
use crate::http::problem::Problem;
use crate::http::query::LIMIT_DEFAULT;
use crate::http::query::Query;
use crate::http::request::media_type;
use crate::http::request::segment;
use crate::http::request::unsupported;
use crate::http::schema;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;
use crate::subscription::time::push_timestamp;

/// Define a projection: how events become the rows of a view. A changed one is built beside the rows in use, and takes their place once it
/// has caught up.
#[utoipa::path(
    put, path = "/v1/projections/{projection}", tag = "projections",
    params(
        ("projection" = String, Path, description = "Its name, and that of its view", example = "declarations"),
        ("dry_run" = Option<bool>, Query, description = "Only check, and say what would change: also in the rows that the first events of the log make"),
    ),
    request_body(
        description = "The definition; a module's text goes into `script`; at most 256 KiB",
        content((String = "application/toml"), (schema::ProjectionDefinition = "application/json")),
    ),
    responses(
        (status = 201, description = "The projection is defined, and begins at the first event", body = schema::ProjectionAnswer),
        (status = 200, description = "It was defined already: `changed`, or the `same`", body = schema::ProjectionAnswer),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "`invalid-definition` with the place; what was in force before still is", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn define(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let name = segment(&parts.uri, 2, "projection")?;
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
    let text = definition_text(&body)?;
    let change = app.database.define(Kind::Projection, &name, format, text, dry_run).await?;
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"name\":");
    push_string(&mut out, &name);
    push_change(&mut out, change, dry_run);
    if dry_run && change != Change::Same {
        let trial = app.database.try_projection(&name, format, text).await?;
        push_trial(&mut out, &trial);
    }
    out.push(b'}');
    Ok(answer::whole(change_status(change, dry_run), answer::JSON, out))
}

/// List the projections, by name, with how they fare.
#[utoipa::path(
    get, path = "/v1/projections", tag = "projections",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "Projections", body = schema::ProjectionList, headers(("Link" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let mut query = Query::parse(parts.uri.query())?;
    let page = PageOf::take_plain(&mut query, &parts)?;
    query.finish()?;
    let all = app.database.projections();
    let named = page.cut(all.into_iter().map(|status| (status.name.clone(), status)));
    let answer = page.answer(&parts, "projections", named, |out, _, status| push_status(out, status));
    Ok(answer.into_response(&parts.headers).await)
}

/// How a projection fares. With `Factum-Min-Position`, once it has come that far: whoever reads its rows elsewhere, as in Postgres, then
/// finds there what was written up to it.
#[utoipa::path(
    get, path = "/v1/projections/{projection}", tag = "projections",
    params(
        ("projection" = String, Path, example = "declarations"),
        ("Factum-Min-Position" = Option<String>, Header, description = "Wait until the rows are of everything up to this cursor"),
        ("Prefer" = Option<String>, Header, description = "`wait=<seconds>`: for how long; 5 by default, at most 60"),
    ),
    responses(
        (status = 200, description = "Its state", body = schema::ProjectionState, headers(("Factum-Position" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`read-model-behind`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn status(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let name = segment(&parts.uri, 2, "projection")?;
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    let min = MinPosition::read(&app.database, &parts.headers)?;
    if let Some(cursor) = &min.cursor {
        app.database.projection_reaches(&name, cursor, min.wait).await?;
    }
    let status = app.database.projection(&name)?;
    let mut out = Vec::with_capacity(512);
    push_status(&mut out, &status);
    let answer = ReadAnswer { cursor: Some(answer::cursor_text(&status.checkpoint)), ..ReadAnswer::json(out) };
    Ok(answer.into_response(&parts.headers).await)
}

/// Read a projection's definition as it was written.
#[utoipa::path(
    get, path = "/v1/projections/{projection}/definition", tag = "projections",
    params(("projection" = String, Path, example = "declarations")),
    responses(
        (status = 200, description = "The definition", body = schema::ProjectionDocument, headers(("ETag" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn definition(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let name = segment(&parts.uri, 2, "projection")?;
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    let definition = app.database.definition(Kind::Projection, &name).await?;
    let mut out = Vec::with_capacity(definition.text.len() + 128);
    out.extend_from_slice(b"{\"name\":");
    push_string(&mut out, &name);
    out.extend_from_slice(b",\"format\":\"");
    out.extend_from_slice(crate::http::definitions::format_name(definition.format).as_bytes());
    out.extend_from_slice(b"\",\"definition\":");
    push_string(&mut out, &definition.text);
    out.extend_from_slice(b",\"version\":");
    push_number(&mut out, definition.version.get());
    out.extend_from_slice(b",\"defined_at\":\"");
    push_timestamp(&mut out, definition.defined_at);
    out.extend_from_slice(b"\"}");
    let answer = ReadAnswer { etag: Some(format!("\"{}\"", definition.version)), ..ReadAnswer::json(out) };
    Ok(answer.into_response(&parts.headers).await)
}

/// End a projection and take its rows away.
#[utoipa::path(
    delete, path = "/v1/projections/{projection}", tag = "projections",
    params(
        ("projection" = String, Path, example = "declarations"),
        ("keep_rows" = Option<bool>, Query, description = "Leave the table in Postgres where it is"),
    ),
    responses(
        (status = 204, description = "It has ended; the events are as they were"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`; `target-unavailable`: it has ended, and its table is still there", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn remove(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let name = segment(&parts.uri, 2, "projection")?;
    json_only(&parts.headers)?;
    refuse_conditions(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query())?;
    let keep_rows = query.switch("keep_rows")?;
    query.finish()?;
    app.database.remove_projection(&name, keep_rows).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// Tell a projection to rest after the batch that it is at. It stays so, also after a restart.
#[utoipa::path(
    post, path = "/v1/projections/{projection}/pause", tag = "projections",
    params(("projection" = String, Path, example = "declarations")),
    responses(
        (status = 200, description = "It rests, or is about to", body = schema::ProjectionState),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn pause(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (name, parts) = order(request)?;
    app.database.pause_projection(&name).await?;
    told(&app, &name, &parts.headers).await
}

/// Let a paused projection go on; one that has failed, or waits to try again, tries at once.
#[utoipa::path(
    post, path = "/v1/projections/{projection}/resume", tag = "projections",
    params(("projection" = String, Path, example = "declarations")),
    responses(
        (status = 200, description = "It goes on, or is about to", body = schema::ProjectionState),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn resume(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (name, parts) = order(request)?;
    app.database.resume_projection(&name).await?;
    told(&app, &name, &parts.headers).await
}

/// Build a projection's rows anew from the first event on, beside those in use, and put them in their place once they have caught up.
#[utoipa::path(
    post, path = "/v1/projections/{projection}/rebuild", tag = "projections",
    params(("projection" = String, Path, example = "declarations")),
    responses(
        (status = 200, description = "It is being rebuilt, or is about to be; `rebuild` tells how far it is", body = schema::ProjectionState),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn rebuild(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (name, parts) = order(request)?;
    app.database.rebuild_projection(&name).await?;
    told(&app, &name, &parts.headers).await
}

/// Let a projection step over the one event that it has failed at; the event is then in the parked list.
#[utoipa::path(
    post, path = "/v1/projections/{projection}/skip", tag = "projections",
    params(("projection" = String, Path, example = "declarations")),
    responses(
        (status = 200, description = "It goes on behind the event, or is about to", body = schema::ProjectionState),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`projection-conflict`: it does not stand on an event", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn skip(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (name, parts) = order(request)?;
    app.database.skip_in_projection(&name).await?;
    told(&app, &name, &parts.headers).await
}

/// List the events that a projection has stepped over, in the order of the log, with the reasons.
#[utoipa::path(
    get, path = "/v1/projections/{projection}/parked", tag = "projections",
    params(
        ("projection" = String, Path, example = "declarations"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "Parked events", body = schema::ProjectionParkedList),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`target-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn parked(AppState(app): AppState<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let name = segment(&parts.uri, 2, "projection")?;
    json_only(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query())?;
    let limit = query.limit()?.unwrap_or(LIMIT_DEFAULT);
    let after = query.text("after")?.map(|text| parked_token(&text)).transpose()?;
    query.finish()?;
    let mut found = app.database.projection_parked(&name, after, limit + 1).await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let mut out = Vec::from(b"{\"parked\":[".as_slice());
    for (number, event) in found.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push_parked(&mut out, event);
    }
    out.extend_from_slice(b"],\"next\":");
    match found.last().filter(|_| has_more) {
        Some(last) => out.extend_from_slice(format!("\"{}-{}\"", last.shard, last.position).as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    Ok(ReadAnswer::json(out).into_response(&parts.headers).await)
}

/// An order has no body and no parameters.
fn order(request: Request) -> Result<(String, Parts), Problem> {
    let (parts, _) = request.into_parts();
    let name = segment(&parts.uri, 2, "projection")?;
    json_only(&parts.headers)?;
    refuse_conditions(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    Ok((name, parts))
}

async fn told(app: &Shared, name: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let mut out = Vec::with_capacity(512);
    push_status(&mut out, &app.database.projection(name)?);
    Ok(ReadAnswer::json(out).into_response(headers).await)
}

fn parked_token(text: &str) -> Result<(u16, u64), Problem> {
    let parsed = text.split_once('-').and_then(|(shard, position)| Some((shard.parse().ok()?, position.parse().ok()?)));
    parsed.ok_or_else(|| Problem::malformed("after", "must be the `next` of the page before"))
}

fn push_status(out: &mut Vec<u8>, status: &ProjectionStatus) {
    out.extend_from_slice(b"{\"name\":");
    push_string(out, &status.name);
    out.extend_from_slice(format!(",\"state\":\"{}\",\"checkpoint\":\"", state_name(status.state)).as_bytes());
    push_cursor(out, &status.checkpoint);
    out.extend_from_slice(b"\",\"head\":\"");
    push_cursor(out, &status.head);
    let (events, ms, pace) = (status.lag_events, status.lag_ms, status.events_per_second);
    out.extend_from_slice(format!("\",\"lag_events\":{events},\"lag_ms\":{ms},\"events_per_second\":{pace:.1}").as_bytes());
    if let Some(error) = &status.error {
        out.extend_from_slice(b",\"error\":{\"reason\":");
        push_string(out, &error.reason);
        out.extend_from_slice(format!(",\"attempts\":{}", error.attempts).as_bytes());
        if let Some(event) = &error.event {
            out.extend_from_slice(format!(",\"shard\":{},\"position\":{},\"stream\":", event.shard, event.position).as_bytes());
            push_string(out, &event.stream);
            out.extend_from_slice(format!(",\"version\":{},\"type\":", event.version).as_bytes());
            push_string(out, &event.event_type);
        }
        out.push(b'}');
    }
    if let Some(rebuild) = &status.rebuild {
        out.extend_from_slice(b",\"rebuild\":{\"checkpoint\":\"");
        push_cursor(out, &rebuild.checkpoint);
        let (done, total, pace) = (rebuild.done, rebuild.total, rebuild.events_per_second);
        out.extend_from_slice(format!("\",\"done\":{done},\"total\":{total},\"events_per_second\":{pace:.1},\"eta_seconds\":").as_bytes());
        match rebuild.eta {
            Some(eta) => out.extend_from_slice(format!("{:.1}", eta.as_secs_f64()).as_bytes()),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }
    out.extend_from_slice(b",\"on_error\":");
    push_string(out, status.on_error.name());
    out.extend_from_slice(b",\"target\":");
    push_string(out, &status.target);
    out.push(b'}');
}

fn push_parked(out: &mut Vec<u8>, event: &PoisonEvent) {
    out.extend_from_slice(format!("{{\"shard\":{},\"position\":{},\"stream\":", event.shard, event.position).as_bytes());
    push_string(out, &event.stream);
    out.extend_from_slice(format!(",\"version\":{},\"type\":", event.version).as_bytes());
    push_string(out, &event.event_type);
    out.extend_from_slice(b",\"reason\":");
    push_string(out, &event.reason);
    out.extend_from_slice(b",\"parked_at\":\"");
    push_timestamp(out, event.parked_at);
    out.extend_from_slice(b"\"}");
}

fn push_trial(out: &mut Vec<u8>, trial: &Trial) {
    let Trial { events, rows, same, changed, only_before, only_after, .. } = trial;
    out.extend_from_slice(format!(",\"sample\":{{\"events\":{events},\"rows\":{rows}").as_bytes());
    let counts = format!(",\"same\":{same},\"changed\":{changed},\"only_before\":{only_before},\"only_after\":{only_after}");
    out.extend_from_slice(counts.as_bytes());
    out.extend_from_slice(format!(",\"parked\":{}", trial.parked).as_bytes());
    out.extend_from_slice(b",\"poison\":");
    match &trial.poison {
        Some(reason) => push_string(out, reason),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"examples\":[");
    for (number, example) in trial.examples.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        let text = serde_json::json!({ "key": example.key, "before": example.before, "after": example.after });
        out.extend_from_slice(text.to_string().as_bytes());
    }
    out.extend_from_slice(b"]}");
}

pub(crate) fn state_name(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Rebuilding => "rebuilding",
        State::Paused => "paused",
        State::Retrying => "retrying",
        State::Failed => "failed",
    }
}
