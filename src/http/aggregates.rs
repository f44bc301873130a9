//! What is the state of an aggregate, what was it, and how did it come to be?

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use factum_storage::Version;
use http::StatusCode;
use http::Uri;

use crate::database::At;
use crate::database::SnapshotListing;
use crate::database::Step;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::access::authorise_aggregate;
use crate::http::access::authorise_write;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::answer::cursor_text;
use crate::http::body::read_whole;
use crate::http::conditional::refuse_conditions;
use crate::http::decode::from_body;
use crate::http::negotiate::json_only;
use crate::http::new_events::DEPTH_MAX;
use crate::http::problem::Problem;
use crate::http::query::LIMIT_DEFAULT;
use crate::http::query::Query;
use crate::http::query::with_parameter;
use crate::http::request::require_json;
use crate::http::request::segment;
use crate::http::schema;
use crate::http::wire::Object;
use crate::http::wire::SnapshotWire;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::is_deeper_than;
use crate::subscription::json_text::push_string;
use crate::subscription::time::push_timestamp;

/// Read an aggregate's state, as it is or as it was.
#[utoipa::path(
    get, path = "/v1/aggregates/{category}/{id}", tag = "aggregates",
    params(
        ("category" = String, Path, example = "order"),
        ("id" = String, Path, description = "What stands behind `<category>-` in the stream's name, percent-encoded", example = "42"),
        ("version" = Option<u64>, Query, minimum = 1, description = "After this event; at most one of these three"),
        ("recorded_at" = Option<String>, Query, format = "date-time", description = "After the last event that was recorded until then"),
        ("occurred_at" = Option<String>, Query, format = "date-time", description = "Of the events known today, those that happened until then"),
        ("If-None-Match" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "The state", body = schema::AggregateState, headers(("ETag" = String), ("Factum-Position" = String))),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`stream-not-found`: it has no events (until then); `event-not-found`: not this version", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 410, description = "`stream-deleted`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "`script-failed`, `history-unreadable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "`too-many-requests`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn state(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let (category, id) = aggregate_in_path(&parts.uri)?;
    authorise_aggregate(&Caller::of(&app, &parts), &category, &id)?;
    json_only(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query())?;
    let at = take_at(&mut query)?;
    query.finish()?;
    let (found, cursor) = app.database.aggregate(&category, &id, at).await?;
    let mut out = Vec::with_capacity(found.state.len() + 256);
    out.extend_from_slice(b"{\"category\":");
    push_string(&mut out, &category);
    out.extend_from_slice(b",\"id\":");
    push_string(&mut out, &id);
    out.extend_from_slice(b",\"version\":");
    push_number(&mut out, found.version.get());
    out.extend_from_slice(b",\"state\":");
    out.extend_from_slice(&found.state);
    out.extend_from_slice(b",\"snapshot_version\":");
    match found.snapshot_version {
        Some(version) => push_number(&mut out, version.get()),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"events_replayed\":");
    push_number(&mut out, found.events_replayed);
    out.push(b'}');
    let etag = state_etag(found.version, &found.definition_hash);
    let answer = ReadAnswer { etag: Some(etag), cursor: Some(cursor_text(&cursor)), ..ReadAnswer::json(out) };
    Ok(answer.into_response(&parts.headers).await)
}

/// Which state is meant: at most one of the three ways to name a point in the past.
fn take_at(query: &mut Query) -> Result<At, Problem> {
    let version: Option<u64> = query.parsed("version", VERSION_FORM)?;
    let (recorded, occurred) = (query.time("recorded_at")?, query.time("occurred_at")?);
    match (version, recorded, occurred) {
        (None, None, None) => Ok(At::Head),
        (Some(0), None, None) => Err(Problem::malformed("version", VERSION_FORM)),
        (Some(version), None, None) => Ok(At::Version(Version::new(version))),
        (None, Some(time), None) => Ok(At::RecordedAt(time)),
        (None, None, Some(time)) => Ok(At::OccurredAt(time)),
        (_, Some(_), Some(_)) => Err(Problem::malformed("occurred_at", "cannot stand beside recorded_at")),
        (Some(_), Some(_), None) => Err(Problem::malformed("recorded_at", "cannot stand beside version")),
        (Some(_), None, Some(_)) => Err(Problem::malformed("occurred_at", "cannot stand beside version")),
    }
}

/// The `ETag` of a state: another definition makes another state of the same events.
pub(crate) fn state_etag(version: Version, definition_hash: &[u8; 32]) -> String {
    if *definition_hash == [0; 32] {
        return format!("\"{version}\"");
    }
    let hash: String = definition_hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{version}-{hash}\"")
}

/// Read how an aggregate's state came to be: the state after each version, with what that changed.
#[utoipa::path(
    get, path = "/v1/aggregates/{category}/{id}/history", tag = "aggregates",
    params(
        ("category" = String, Path, example = "order"),
        ("id" = String, Path, example = "42"),
        ("from" = Option<u64>, Query, minimum = 1, description = "First version, inclusive; default the first"),
        ("after" = Option<u64>, Query, description = "The `next` of the page before: a version, exclusive"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Default 100; a page ends earlier when it has 4 MiB"),
    ),
    responses(
        (status = 200, description = "Versions in order", body = schema::History, headers(("Link" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`stream-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 410, description = "`stream-deleted`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "`script-failed`, `history-unreadable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "`too-many-requests`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn history(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let (category, id) = aggregate_in_path(&parts.uri)?;
    authorise_aggregate(&Caller::of(&app, &parts), &category, &id)?;
    json_only(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query())?;
    let from: Option<u64> = query.parsed("from", VERSION_FORM)?;
    let after: Option<u64> = query.parsed("after", "must be the `next` of the page before: a version")?;
    let limit = query.parsed("limit", HISTORY_LIMIT_FORM)?.unwrap_or(LIMIT_DEFAULT);
    query.finish()?;
    if !(1..=HISTORY_LIMIT_MAX).contains(&limit) {
        return Err(Problem::malformed("limit", HISTORY_LIMIT_FORM));
    }
    if from == Some(0) {
        return Err(Problem::malformed("from", VERSION_FORM));
    }
    let from = from.max(after.map(|after| after.saturating_add(1))).map(Version::new);
    let cursor = app.database.end();
    let (steps, next) = app.database.aggregate_history(&category, &id, from, limit, HISTORY_BYTES_MAX).await?;
    // `after` is exclusive.
    let next = next.map(|next| next.get().saturating_sub(1).to_string());
    let mut out = Vec::with_capacity(steps.iter().map(|step| step.state.len() + step.patch.len() + 160).sum());
    out.extend_from_slice(b"{\"history\":[");
    for (number, step) in steps.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push_step(&mut out, step);
    }
    out.extend_from_slice(b"],\"next\":");
    match &next {
        Some(next) => push_string(&mut out, next),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    let link = next.map(|next| format!("{}?{}", parts.uri.path(), with_parameter(parts.uri.query(), "after", &next)));
    let answer = ReadAnswer { next: link, cursor: Some(cursor_text(&cursor)), ..ReadAnswer::json(out) };
    Ok(answer.into_response(&parts.headers).await)
}

fn push_step(out: &mut Vec<u8>, step: &Step) {
    out.extend_from_slice(b"{\"version\":");
    push_number(out, step.version.get());
    out.extend_from_slice(b",\"type\":");
    push_string(out, &step.event_type);
    out.extend_from_slice(b",\"recorded_at\":\"");
    push_timestamp(out, step.recorded_at);
    out.extend_from_slice(b"\",\"patch\":");
    out.extend_from_slice(&step.patch);
    out.extend_from_slice(b",\"state\":");
    out.extend_from_slice(&step.state);
    out.push(b'}');
}

/// List an aggregate's snapshots, oldest first: those that Factum keeps to fold less, and those that clients have put.
#[utoipa::path(
    get, path = "/v1/aggregates/{category}/{id}/snapshots", tag = "aggregates",
    params(("category" = String, Path, example = "order"), ("id" = String, Path, example = "42")),
    responses(
        (status = 200, description = "Snapshots", body = schema::SnapshotList),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`stream-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 410, description = "`stream-deleted`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn snapshots(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let (category, id) = aggregate_in_path(&parts.uri)?;
    authorise_aggregate(&Caller::of(&app, &parts), &category, &id)?;
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    let listed = app.database.aggregate_snapshots(&category, &id).await?;
    let mut out = Vec::with_capacity(listed.len() * 80 + 32);
    out.extend_from_slice(b"{\"snapshots\":[");
    for (number, snapshot) in listed.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push_snapshot(&mut out, snapshot);
    }
    out.extend_from_slice(b"]}");
    Ok(ReadAnswer::json(out).into_response(&parts.headers).await)
}

fn push_snapshot(out: &mut Vec<u8>, snapshot: &SnapshotListing) {
    out.extend_from_slice(b"{\"version\":");
    push_number(out, snapshot.version.get());
    out.extend_from_slice(b",\"bytes\":");
    push_number(out, snapshot.bytes);
    let source = if snapshot.client_state.is_some() { "client" } else { "factum" };
    out.extend_from_slice(format!(",\"source\":\"{source}\",\"current\":{}", snapshot.is_current).as_bytes());
    if let Some(state) = &snapshot.client_state {
        out.extend_from_slice(b",\"state\":");
        out.extend_from_slice(state);
    }
    out.push(b'}');
}

/// Keep a state of your own at a version of an aggregate. It is a cache beside the log: it is gone when the index is rebuilt.
#[utoipa::path(
    put, path = "/v1/aggregates/{category}/{id}/snapshots/{version}", tag = "aggregates",
    params(
        ("category" = String, Path, example = "order"),
        ("id" = String, Path, example = "42"),
        ("version" = u64, Path, minimum = 1, description = "A version that the aggregate has"),
    ),
    request_body(content = SnapshotWire, content_type = "application/json", description = "At most 1 MiB; at most 100 of an aggregate"),
    responses(
        (status = 204, description = "Kept, in place of what was there before"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`stream-not-found`, `event-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 410, description = "`stream-deleted`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn put_snapshot(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let (category, id) = aggregate_in_path(&parts.uri)?;
    let caller = Caller::of(&app, &parts);
    authorise_write(&caller, &authorise_aggregate(&caller, &category, &id)?)?;
    let version = segment(&parts.uri, 5, "version")?.parse::<u64>().ok().filter(|version| *version > 0);
    let version = version.ok_or_else(|| Problem::malformed("version", VERSION_FORM))?;
    refuse_conditions(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    require_json(&parts.headers)?;
    let body = read_whole(&parts.headers, body, &app.settings).await?;
    let Object(wire) = from_body::<Object<SnapshotWire<'_>>>(&body)?;
    let state = wire.state.get().as_bytes();
    if is_deeper_than(state, DEPTH_MAX) {
        return Err(Problem::malformed("state", format!("is nested deeper than {DEPTH_MAX} levels")));
    }
    app.database.put_aggregate_snapshot(&category, &id, Version::new(version), body.slice_ref(state)).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// The aggregate that the path names, in `/v1/aggregates/{category}/{id}…`.
///
/// # Errors
///
/// 400 if its percent-encoding is broken; the database looks at the names themselves.
pub(crate) fn aggregate_in_path(uri: &Uri) -> Result<(String, String), Problem> {
    Ok((segment(uri, 2, "category")?, segment(uri, 3, "id")?))
}

const VERSION_FORM: &str = "must be a version: a number from 1 on";
/// A step carries a whole state, so a page has fewer of them than one of events.
const HISTORY_LIMIT_MAX: usize = 1_000;
const HISTORY_LIMIT_FORM: &str = "must be a number from 1 to 1000";
const HISTORY_BYTES_MAX: usize = 4 << 20;
