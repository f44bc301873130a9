//! `GET …/events`: which part of which sequence, and in which of the three formats?

use std::time::Duration;

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use factum_storage::Direction;
use factum_storage::Filter;
use factum_storage::RecordedEvent;
use factum_storage::Version;
use http::HeaderMap;
use http::request::Parts;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use crate::Error;
use crate::database::After;
use crate::database::Database;
use crate::database::Event;
use crate::database::EventsPage;
use crate::database::EventsQuery;
use crate::database::StreamPage;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::access::authorise_read;
use crate::http::access::authorise_system_read;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::answer::cursor_text;
use crate::http::feed;
use crate::http::feed::FeedFormat;
use crate::http::negotiate::EventsFormat;
use crate::http::negotiate::events_format;
use crate::http::partial::Partial;
use crate::http::problem::Problem;
use crate::http::query::LIMIT_DEFAULT;
use crate::http::query::Query;
use crate::http::query::with_parameter;
use crate::http::request::stream_in_path;
use crate::http::schema;
use crate::http::transactions::cursor_problem;
use crate::subscription::event_json::Lines;
use crate::subscription::event_json::estimated_bytes;
use crate::subscription::event_json::push_event;
use crate::subscription::event_json::push_events;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;

/// Read the events of one stream: a page, lines, or a live feed.
#[utoipa::path(
    get, path = "/v1/streams/{stream}/events", tag = "read",
    params(
        ("stream" = String, Path, example = "order-42"),
        ("from" = Option<u64>, Query, description = "First version, inclusive; default 1, backward the last"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000, description = "Default 100; a feed has none unless given"),
        ("direction" = Option<String>, Query, description = "`forward` (default) or `backward`"),
        ("follow" = Option<bool>, Query, description = "Keep an NDJSON read open past the end"),
        ("raw" = Option<bool>, Query, description = "Events as they were stored, and not in the newest shape of their type"),
        ("Last-Event-ID" = Option<String>, Header, description = "SSE: the version to resume after; wins over `from`"),
        ("If-None-Match" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "A page, one event a line, or Server-Sent Events, as `Accept` asks", content(
            (schema::StreamPage = "application/json"), (schema::Event = "application/x-ndjson"), (String = "text/event-stream"),
        ), headers(("ETag" = String), ("Link" = String), ("Factum-Position" = String))),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`stream-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 406, description = "`not-acceptable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 410, description = "`stream-deleted`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn stream_events(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let stream = stream_in_path(&parts.uri)?;
    let caller = Caller::of(&app, &parts);
    authorise_read(&caller, &stream)?;
    let mut query = Query::parse(parts.uri.query())?;
    let from: Option<u64> = query.parsed("from", "must be a version: a number from 1 on")?;
    let how = How::take(&mut query, &parts.headers)?;
    let database = take_database(&app, &mut query)?;
    query.finish()?;
    if let Some(format) = how.feed {
        let from = match feed::last_event_id(&parts.headers)? {
            Some(text) => text.parse::<u64>().map_err(|_| Problem::malformed("Last-Event-ID", "must be a version"))?.saturating_add(1),
            None => from.unwrap_or(1).max(1),
        };
        let feed = database.follow_stream(&stream, Version::new(from))?;
        return Ok(feed::response(&app, feed, (format, feed::Ids::Versions), how.limit, caller));
    }
    let from = from.map(Version::new);
    let limit = how.limit.unwrap_or(LIMIT_DEFAULT);
    let page = database.read_stream(&stream, from, how.direction, limit, app.settings.page_bytes_max).await?;
    Ok(stream_answer(&page, &how, &parts).into_response(&parts.headers).await)
}

fn stream_answer(page: &StreamPage, how: &How, parts: &Parts) -> ReadAnswer {
    let events = || page.shards.iter().copied().zip(&page.events);
    let body = if how.format == EventsFormat::Ndjson {
        lines(events(), page.events.iter())
    } else {
        let mut body = Vec::with_capacity(estimated_bytes(page.events.iter()) + 128);
        body.extend_from_slice(b"{\"stream\":");
        push_string(&mut body, page.info.stream.as_str());
        body.extend_from_slice(b",\"version\":");
        push_number(&mut body, page.info.version.get());
        body.extend_from_slice(b",\"events\":");
        push_events(&mut body, events());
        body.extend_from_slice(b",\"next\":");
        match page.next {
            Some(next) => push_number(&mut body, next.get()),
            None => body.extend_from_slice(b"null"),
        }
        body.push(b'}');
        body
    };
    let mut hash = identity(events());
    hash.update(&page.info.version.get().to_le_bytes());
    hash.update(&page.next.map_or(0, Version::get).to_le_bytes());
    ReadAnswer {
        content_type: how.content_type(),
        body,
        etag: Some(etag(&hash, how.format)),
        cursor: Some(cursor_text(&page.cursor)),
        next: page.next.map(|next| link(parts, "from", &next.get().to_string())),
        missing: Vec::new(),
    }
}

/// Read the events of all streams: a page, lines, or a live feed.
#[utoipa::path(
    get, path = "/v1/events", tag = "read",
    params(
        ("after" = Option<String>, Query, description = "A cursor, exclusive; `0` (default) is the start, `end` is now (default backward)"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000, description = "Default 100; a feed has none unless given"),
        ("direction" = Option<String>, Query, description = "`forward` (default) or `backward`"),
        ("category" = Option<Vec<String>>, Query, description = "Repeatable, ORed"),
        ("type" = Option<Vec<String>>, Query, description = "Repeatable, ORed"),
        ("tag" = Option<Vec<String>>, Query, description = "Repeatable, ORed"),
        ("stream_prefix" = Option<String>, Query),
        ("recorded_after" = Option<String>, Query, format = "date-time", description = "Exclusive"),
        ("recorded_before" = Option<String>, Query, format = "date-time", description = "Exclusive"),
        ("include_system" = Option<bool>, Query, description = "Events of `$` streams too"),
        ("follow" = Option<bool>, Query, description = "Keep an NDJSON read open past the end"),
        ("raw" = Option<bool>, Query, description = "Events as they were stored, and not in the newest shape of their type"),
        ("allow_partial" = Option<bool>, Query, description = "For pages: go on without shards that can't be used; `missing_shards` names them"),
        ("Last-Event-ID" = Option<String>, Header, description = "SSE: the cursor to resume after; wins over `after`"),
        ("If-None-Match" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "A page, one event a line, or Server-Sent Events, as `Accept` asks", content(
            (schema::EventsPage = "application/json"), (schema::Event = "application/x-ndjson"), (String = "text/event-stream"),
        ), headers(("ETag" = String), ("Link" = String), ("Factum-Position" = String), ("Factum-Missing-Shards" = String))),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 406, description = "`not-acceptable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn events(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let mut query = Query::parse(parts.uri.query())?;
    let caller = Caller::of(&app, &parts);
    let filter = filter(&mut query, &caller)?;
    let after = query.text("after")?;
    let how = How::take(&mut query, &parts.headers)?;
    let partial = Partial::take(&mut query)?;
    let database = partial.over(&take_database(&app, &mut query)?);
    query.finish()?;
    if let Some(format) = how.feed {
        partial.refuse("is for pages: a feed waits for a shard that is missing, and then has all that it has")?;
        let resume = feed::last_event_id(&parts.headers)?;
        let (field, text) = if resume.is_some() { ("Last-Event-ID", resume) } else { ("after", after.as_deref()) };
        let after = parse_after(&database, field, text, Direction::Forward)?;
        let feed = database.follow(filter, after).map_err(|error| cursor_problem(field, error))?;
        return Ok(feed::response(&app, feed, (format, feed::Ids::Cursors), how.limit, caller));
    }
    let after = parse_after(&database, "after", after.as_deref(), how.direction)?;
    let limit = how.limit.unwrap_or(LIMIT_DEFAULT);
    let query = EventsQuery { after, direction: how.direction, filter, limit, bytes_max: app.settings.page_bytes_max };
    let page = filled_page(&database, query, app.settings.page_time, &caller).await?;
    Ok(events_answer(&page, &how, &parts, &partial).into_response(&parts.headers).await)
}

/// One look at the log is bounded, so a rare filter may find nothing in it: looks on until there is a page, the end, or no time left.
async fn filled_page(database: &Database, mut query: EventsQuery, time: Duration, caller: &Caller) -> Result<EventsPage, Error> {
    let deadline = Instant::now() + time;
    let mut page = database.read_events(query.clone()).await?;
    keep_visible(&mut page, caller);
    while !page.at_end && page.events.len() < query.limit && Instant::now() < deadline {
        let have = page.events.iter().map(|event| event.record.stored_bytes()).sum::<usize>();
        if have >= query.bytes_max / 2 {
            break;
        }
        let rest = EventsQuery {
            after: After::Cursor(page.cursor.clone()),
            limit: query.limit - page.events.len(),
            bytes_max: query.bytes_max - have,
            ..query.clone()
        };
        let mut more = database.read_events(rest).await?;
        keep_visible(&mut more, caller);
        page.events.extend(more.events);
        page.cursor = more.cursor;
        page.at_end = more.at_end;
        query.after = After::Cursor(page.cursor.clone());
    }
    Ok(page)
}

/// Leaves out events of streams that the reader may not read.
fn keep_visible(page: &mut EventsPage, caller: &Caller) {
    if caller.narrowed_to().is_some() {
        page.events.retain(|event| caller.sees(event.record.stream()));
    }
}

fn events_answer(page: &EventsPage, how: &How, parts: &Parts, partial: &Partial) -> ReadAnswer {
    let events = || page.events.iter().map(|event| (event.shard, &event.record));
    let cursor = cursor_text(&page.cursor);
    let body = if how.format == EventsFormat::Ndjson {
        lines(events(), page.events.iter().map(|event| &event.record))
    } else {
        let mut body = Vec::with_capacity(estimated_bytes(page.events.iter().map(|event| &event.record)) + 128);
        body.extend_from_slice(b"{\"events\":");
        push_events(&mut body, events());
        body.extend_from_slice(b",\"next\":");
        if page.at_end {
            body.extend_from_slice(b"null");
        } else {
            push_string(&mut body, &cursor);
        }
        body.extend_from_slice(b",\"cursor\":");
        push_string(&mut body, &cursor);
        partial.push_member(&mut body);
        body.push(b'}');
        body
    };
    let mut hash = identity(events());
    hash.update(cursor.as_bytes());
    hash.update(&[u8::from(page.at_end)]);
    let missing = partial.missing();
    missing.iter().flatten().for_each(|shard| hash.update(&shard.to_le_bytes()));
    ReadAnswer {
        content_type: how.content_type(),
        body,
        etag: Some(etag(&hash, how.format)),
        next: (!page.at_end).then(|| link(parts, "after", &cursor)),
        cursor: Some(cursor),
        missing: missing.unwrap_or_default(),
    }
}

/// How a sequence of events is read: what both kinds of sequence have in common.
struct How {
    format: EventsFormat,
    feed: Option<FeedFormat>,
    direction: Direction,
    limit: Option<usize>,
}

impl How {
    fn take(query: &mut Query, headers: &HeaderMap) -> Result<Self, Problem> {
        let format = events_format(headers)?;
        let limit = query.limit()?;
        let direction = match query.text("direction")?.as_deref() {
            None | Some("forward") => Direction::Forward,
            Some("backward") => Direction::Backward,
            Some(_) => return Err(Problem::malformed("direction", "must be forward or backward")),
        };
        let follow = query.switch("follow")?;
        let feed = match (format, follow) {
            (EventsFormat::Sse, _) => Some(FeedFormat::Sse),
            (EventsFormat::Ndjson, true) => Some(FeedFormat::Ndjson),
            (EventsFormat::Page, true) => {
                return Err(Problem::malformed("follow", "needs Accept: application/x-ndjson or text/event-stream; a page ends"));
            }
            (EventsFormat::Page | EventsFormat::Ndjson, false) => None,
        };
        if feed.is_some() && direction == Direction::Backward {
            return Err(Problem::malformed("direction", "must be forward for a feed"));
        }
        Ok(Self { format, feed, direction, limit })
    }

    fn content_type(&self) -> http::HeaderValue {
        if self.format == EventsFormat::Ndjson { answer::NDJSON } else { answer::JSON }
    }
}

/// The database as this request wants to read it: with `raw=true`, as events were stored.
///
/// # Errors
///
/// 400 if `raw` is no switch.
pub(crate) fn take_database(app: &Shared, query: &mut Query) -> Result<Database, Problem> {
    Ok(if query.switch("raw")? { app.database.as_stored() } else { app.database.clone() })
}

fn filter(query: &mut Query, caller: &Caller) -> Result<Filter, Problem> {
    let filter = Filter {
        categories: query.texts("category"),
        types: query.texts("type"),
        tags: query.texts("tag"),
        stream_prefix: query.text("stream_prefix")?,
        recorded_after: query.time("recorded_after")?,
        recorded_before: query.time("recorded_before")?,
        include_system: query.switch("include_system")?,
        leave_out_undecided: false,
    };
    if filter.include_system {
        authorise_system_read(caller)?;
    }
    Ok(filter)
}

/// A cursor parameter. Without one a read begins where its direction begins.
fn parse_after(database: &Database, field: &str, text: Option<&str>, direction: Direction) -> Result<After, Problem> {
    match (text, direction) {
        (None, Direction::Forward) | (Some("0"), _) => Ok(After::Start),
        (None, Direction::Backward) | (Some("end"), _) => Ok(After::End),
        (Some(text), _) => database.parse_cursor(text).map(After::Cursor).map_err(|error| cursor_problem(field, error)),
    }
}

fn lines<'a>(events: impl Iterator<Item = (u16, &'a RecordedEvent)>, sizes: impl Iterator<Item = &'a RecordedEvent>) -> Vec<u8> {
    let mut body = Vec::with_capacity(estimated_bytes(sizes));
    for (shard, event) in events {
        push_event(&mut body, shard, event, Lines::One);
        body.push(b'\n');
    }
    body
}

/// Events never change: where they stand, and in which shape they are, says what they are.
fn identity<'a>(events: impl Iterator<Item = (u16, &'a RecordedEvent)>) -> Xxh3 {
    let mut hash = Xxh3::new();
    for (shard, event) in events {
        hash.update(&shard.to_le_bytes());
        hash.update(&event.position().get().to_le_bytes());
        hash.update(&event.schema_version().to_le_bytes());
        hash.update(&[u8::from(event.reshape_failure().is_some())]);
    }
    hash
}

/// Weak, because compression changes the bytes and not the meaning.
fn etag(hash: &Xxh3, format: EventsFormat) -> String {
    let form = if format == EventsFormat::Ndjson { 'n' } else { 'j' };
    format!("W/\"{form}{:016x}\"", hash.digest())
}

fn link(parts: &Parts, name: &str, value: &str) -> String {
    format!("{}?{}", parts.uri.path(), with_parameter(parts.uri.query(), name, value))
}

/// An event of the log with its shard, for the formats.
pub(crate) fn push_line(out: &mut Vec<u8>, event: &Event) {
    push_event(out, event.shard, &event.record, Lines::One);
}
