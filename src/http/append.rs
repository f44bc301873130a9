//! `POST /v1/streams/{stream}/events`: how do facts get in? One parse, one append, an answer built by hand.

use axum::body::Body;
use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use factum_storage as storage;
use factum_storage::ExpectedVersion;
use factum_storage::FailedCheck;
use factum_storage::NewEvent;
use factum_storage::StreamAppend;
use factum_storage::StreamName;
use http::HeaderMap;
use http::StatusCode;
use http::header;

use crate::Error;
use crate::database::AppendResult;
use crate::database::Direction;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::access::authorise_write;
use crate::http::answer;
use crate::http::answer::FACTUM_POSITION;
use crate::http::body::read_whole;
use crate::http::cloud_events;
use crate::http::conditional::expected_by_header;
use crate::http::decode::from_body;
use crate::http::new_events::EventMaker;
use crate::http::problem::Problem;
use crate::http::problem::Slug;
use crate::http::problem::conflict_members;
use crate::http::query::Query;
use crate::http::query::push_percent_encoded;
use crate::http::request::stream_in_path;
use crate::http::request::unsupported;
use crate::http::schema;
use crate::http::settings::HttpSettings;
use crate::http::wire::AppendWire;
use crate::http::wire::Events;
use crate::http::wire::ExpectedWire;
use crate::http::wire::Object;
use crate::subscription::event_json::push_events;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;

/// Append events to a stream, all or none, and answer once they are on disk.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/events", tag = "append",
    params(
        ("stream" = String, Path, description = "1 to 255 bytes without control characters", example = "order-42"),
        ("If-Match" = Option<String>, Header, description = "Expected version in quotes (`\"2\"`), or `*` for a stream that exists; a failure is 412"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: the stream has no events yet; a failure is 412"),
        ("Idempotency-Key" = Option<String>, Header, description = "Ids of events without one are derived from it, so a retry is harmless"),
        ("traceparent" = Option<String>, Header, description = "W3C trace context; stored in the metadata"),
    ),
    request_body(
        description = "JSON, or CloudEvents 1.0: structured, batch, or binary (`ce-*` headers)",
        content((AppendWire = "application/json"), (schema::CloudEvent = "application/cloudevents+json"), (Vec<schema::CloudEvent> = "application/cloudevents-batch+json")),
    ),
    responses(
        (status = 201, description = "Stored", body = schema::AppendAnswer, headers(("ETag" = String), ("Location" = String), ("Factum-Position" = String))),
        (status = 200, description = "Every id was there already in this order", body = schema::AppendAnswer),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: a stream of the system", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`wrong-expected-version`, `event-id-reused`", body = schema::ConflictDocument, content_type = "application/problem+json"),
        (status = 410, description = "`stream-deleted`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 412, description = "`precondition-failed`: the expectation came by header", body = schema::ConflictDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn append(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    if parts.uri.query().is_some() {
        Query::parse(parts.uri.query())?.finish()?;
    }
    let stream = stream_in_path(&parts.uri)?;
    let caller = Caller::of(&app, &parts);
    authorise_write(&caller, &stream)?;
    let by_header = expected_by_header(&parts.headers)?;
    let (events, by_body) = read_events(&parts.headers, body, &stream, &app.settings).await?;
    if events.is_empty() {
        return Err(Problem::malformed("events", "must hold at least one event"));
    }
    let expected = agreed(by_header, by_body)?;
    match app.database.append(StreamAppend { stream: stream.clone(), expected, events }).await {
        Ok(result) => Ok(appended(&stream, &result)),
        Err(Error::Storage(storage::Error::Conflict(failed))) => Err(conflict(&app, &caller, &stream, &failed, by_header.is_some()).await),
        Err(error) => Err(error.into()),
    }
}

async fn read_events(
    headers: &HeaderMap,
    body: Body,
    stream: &StreamName,
    settings: &HttpSettings,
) -> Result<(Vec<NewEvent>, Option<ExpectedVersion>), Problem> {
    let mode = cloud_events::mode(headers);
    let is_json = mode.is_none() && crate::http::request::require_json(headers).is_ok();
    if mode.is_none() && !is_json {
        return Err(unsupported("application/json, application/cloudevents+json or application/cloudevents-batch+json"));
    }
    let body = read_whole(headers, body, settings).await?;
    let mut maker = EventMaker::new(&body, headers, settings)?;
    if let Some(mode) = mode {
        return Ok((cloud_events::read(mode, headers, &body, stream, settings, &mut maker)?, None));
    }
    let Object(wire) = from_body::<Object<AppendWire<'_>>>(&body)?;
    let events = make_events(&wire.events, "events", stream.as_str(), settings, &mut maker)?;
    Ok((events, wire.expected_version.map(|ExpectedWire(expected)| expected)))
}

/// Makes all events of one list; `path` is where the list stands in the body.
///
/// # Errors
///
/// 413 for too many, else what is wrong with the first that breaks a rule.
pub(crate) fn make_events(
    events: &Events<'_>,
    path: &str,
    stream: &str,
    settings: &HttpSettings,
    maker: &mut EventMaker<'_>,
) -> Result<Vec<NewEvent>, Problem> {
    check_count(events.total, path, settings)?;
    let mut made = Vec::with_capacity(events.list.len());
    for (index, wire) in events.list.iter().enumerate() {
        if wire.stream.is_some() {
            return Err(Problem::malformed(&format!("{path}[{index}].stream"), "unknown field `stream`: the request names it elsewhere"));
        }
        made.push(maker.make(wire, stream, index).map_err(|fault| fault.into_problem(&format!("{path}[{index}]")))?);
    }
    Ok(made)
}

/// Checks the number of events of a request.
///
/// # Errors
///
/// 413 for too many.
pub(crate) fn check_count(total: usize, path: &str, settings: &HttpSettings) -> Result<(), Problem> {
    if total > settings.events_max {
        let detail = format!("{total} events in one request, at most {} are allowed", settings.events_max);
        return Err(Problem::new(Slug::PayloadTooLarge, detail).with_text("field", path));
    }
    Ok(())
}

/// Header and body may both say what is expected, if they say the same.
fn agreed(by_header: Option<ExpectedVersion>, by_body: Option<ExpectedVersion>) -> Result<ExpectedVersion, Problem> {
    match (by_header, by_body) {
        (Some(header), Some(body)) if header != body => {
            Err(Problem::malformed("expected_version", "says something else than the If-Match or If-None-Match header"))
        }
        (Some(expected), _) | (None, Some(expected)) => Ok(expected),
        (None, None) => Ok(ExpectedVersion::Any),
    }
}

fn appended(stream: &StreamName, result: &AppendResult) -> Response {
    let (first, last) = result.appended.streams.first().map_or((0, 0), |(_, first, last)| (first.get(), last.get()));
    let mut body = Vec::with_capacity(stream.as_str().len() + 160);
    body.extend_from_slice(b"{\"stream\":");
    push_string(&mut body, stream.as_str());
    body.extend_from_slice(b",\"first_version\":");
    push_number(&mut body, first);
    body.extend_from_slice(b",\"last_version\":");
    push_number(&mut body, last);
    body.extend_from_slice(b",\"position\":");
    push_number(&mut body, result.appended.position.get());
    body.extend_from_slice(b",\"cursor\":\"");
    let cursor_at = body.len();
    answer::push_cursor(&mut body, &result.cursor);
    let cursor_end = body.len();
    body.extend_from_slice(if result.appended.duplicate { b"\",\"duplicate\":true}" } else { b"\",\"duplicate\":false}" });
    let body = Bytes::from(body);
    let cursor = body.slice(cursor_at..cursor_end);

    let status = if result.appended.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    let mut response = answer::whole(status, answer::JSON, body);
    let headers = response.headers_mut();
    answer::set(headers, header::ETAG, etag(last));
    answer::set(headers, header::LOCATION, location(stream, first));
    answer::set(headers, FACTUM_POSITION, cursor);
    response
}

/// The `ETag` of a stream at a version.
pub(crate) fn etag(version: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(12);
    out.push(b'"');
    push_number(&mut out, version);
    out.push(b'"');
    out
}

fn location(stream: &StreamName, version: u64) -> String {
    let mut out = String::with_capacity(stream.as_str().len() + 32);
    out.push_str("/v1/streams/");
    push_percent_encoded(&mut out, stream.as_str());
    out.push_str("/events/");
    out.push_str(&version.to_string());
    out
}

/// The 409 (412 if the expectation came by header) with what came after the version that the client knew.
async fn conflict(app: &Shared, caller: &Caller, stream: &StreamName, failed: &[FailedCheck], is_by_header: bool) -> Problem {
    let Some((expected, actual)) = failed.iter().find_map(|check| match check {
        FailedCheck::Version { expected, actual, .. } => Some((*expected, *actual)),
        FailedCheck::Condition { .. } => None,
    }) else {
        return Problem::new(Slug::ConditionFailed, "a condition failed");
    };
    let known = match expected {
        ExpectedVersion::Exact(version) => Some(version),
        ExpectedVersion::Any | ExpectedVersion::Exists => None,
    };
    let mut events = Vec::from(b"[]".as_slice());
    // Who may only write is told where the stream is, and not what is in it.
    if let Some(known) = known.filter(|known| *known < actual && caller.sees(stream.as_str())) {
        // The answer is right without them; a stream that was deleted in between has none to show.
        let page =
            app.database.read_stream(stream, Some(known.next()), Direction::Forward, CONFLICTING_EVENTS_MAX, CONFLICTING_BYTES_MAX).await;
        if let Ok(page) = page {
            events.clear();
            push_events(&mut events, page.events.iter().map(|event| (page.shard, event)));
        }
    }
    let slug = if is_by_header { Slug::PreconditionFailed } else { Slug::WrongExpectedVersion };
    let problem = Problem::new(slug, format!("the stream is at version {actual}")).with_text("stream", stream.as_str());
    conflict_members(problem, expected, actual.get(), String::from_utf8_lossy(&events).into_owned())
}

const CONFLICTING_EVENTS_MAX: usize = 100;
const CONFLICTING_BYTES_MAX: usize = 1 << 20;
