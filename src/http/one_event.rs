//! `GET …/events/{version}` and `GET /v1/events/{id}`: what is this one event?

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use factum_storage::Direction;
use factum_storage::EventId;
use factum_storage::RecordedEvent;
use factum_storage::Version;

use crate::Error;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::access::authorise_read;
use crate::http::answer::ReadAnswer;
use crate::http::negotiate::json_only;
use crate::http::pages::take_database;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::request::segment;
use crate::http::request::stream_in_path;
use crate::http::schema;
use crate::subscription::event_json::Lines;
use crate::subscription::event_json::push_event;
use crate::subscription::event_json::push_number;
use crate::subscription::event_json::push_uuid;

/// Read one event of a stream.
#[utoipa::path(
    get, path = "/v1/streams/{stream}/events/{version}", tag = "read",
    params(
        ("stream" = String, Path, example = "order-42"),
        ("version" = u64, Path, minimum = 1),
        ("raw" = Option<bool>, Query, description = "As it was stored, and not in the newest shape of its type"),
    ),
    responses(
        (status = 200, description = "The event", body = schema::Event, headers(("ETag" = String))),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`stream-not-found`, `event-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 410, description = "`stream-deleted`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn stream_event(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let stream = stream_in_path(&parts.uri)?;
    authorise_read(&Caller::of(&app, &parts), &stream)?;
    json_only(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query())?;
    let database = take_database(&app, &mut query)?;
    query.finish()?;
    let version: u64 = segment(&parts.uri, 4, "version")?
        .parse()
        .ok()
        .filter(|version| *version > 0)
        .ok_or_else(|| Problem::malformed("version", "must be a version: a number from 1 on"))?;
    let version = Version::new(version);
    let page = database.read_stream(&stream, Some(version), Direction::Forward, 1, 1).await?;
    match page.events.first().filter(|event| event.version() == version) {
        Some(event) => Ok(one_event(page.shards.first().copied().unwrap_or(page.shard), event).into_response(&parts.headers).await),
        None => Err(Error::EventNotFound { what: format!("version {version} of the stream") }.into()),
    }
}

/// Read one event by its id.
#[utoipa::path(
    get, path = "/v1/events/{id}", tag = "read",
    params(
        ("id" = String, Path, format = "uuid"),
        ("raw" = Option<bool>, Query, description = "As it was stored, and not in the newest shape of its type"),
    ),
    responses(
        (status = 200, description = "The event", body = schema::Event, headers(("ETag" = String))),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`event-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn event_by_id(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    json_only(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query())?;
    let database = take_database(&app, &mut query)?;
    query.finish()?;
    let text = segment(&parts.uri, 2, "id")?;
    let id = uuid::Uuid::try_parse(&text).map_err(|_| Problem::malformed("id", "must be a UUID"))?;
    let event = database.event_by_id(EventId::from_bytes(id.into_bytes())).await?;
    if !Caller::of(&app, &parts).sees(event.record.stream()) {
        // As if it were not there: whether it is, is none of theirs.
        return Err(Error::EventNotFound { what: format!("an event with id {id}") }.into());
    }
    Ok(one_event(event.shard, &event.record).into_response(&parts.headers).await)
}

/// An event never changes, so its id and its shape name its content.
fn one_event(shard: u16, event: &RecordedEvent) -> ReadAnswer {
    let mut body = Vec::new();
    push_event(&mut body, shard, event, Lines::Any);
    let mut etag = Vec::from(b"\"".as_slice());
    push_uuid(&mut etag, event.id().as_bytes());
    if event.schema_version() > 1 {
        etag.push(b'-');
        push_number(&mut etag, u64::from(event.schema_version()));
    }
    if event.reshape_failure().is_some() {
        etag.extend_from_slice(b"-failed");
    }
    etag.push(b'"');
    ReadAnswer { etag: String::from_utf8(etag).ok(), ..ReadAnswer::json(body) }
}
