//! What was put aside, and what is to become of it?

use std::fmt;

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use http_body::Body as _;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::Visitor;

use super::deliveries::DELIVERIES_MAX;
use super::deliveries::orders;
use crate::database::ParkedEvent;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::access::authorise_group;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::body::read_whole;
use crate::http::decode::from_body;
use crate::http::negotiate::json_only;
use crate::http::problem::Problem;
use crate::http::query::LIMIT_DEFAULT;
use crate::http::query::Query;
use crate::http::query::with_parameter;
use crate::http::request::require_json;
use crate::http::request::segment;
use crate::http::schema;
use crate::http::wire::Object;
use crate::subscription::event_json::Lines;
use crate::subscription::event_json::push_event;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;
use crate::subscription::time::push_timestamp;

/// List the events that a subscription has put aside, in the order of the log.
#[utoipa::path(
    get, path = "/v1/subscriptions/{name}/parked", tag = "subscriptions",
    params(
        ("name" = String, Path, example = "mail"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "Parked events", body = schema::ParkedList, headers(("Link" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`subscription-failed`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn parked(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let name = segment(&parts.uri, 2, "name")?;
    authorise_group(&app, &Caller::of(&app, &parts), &name).await?;
    json_only(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query())?;
    let limit = query.limit()?.unwrap_or(LIMIT_DEFAULT);
    let after = query.text("after")?;
    let after = after.map(|text| place(&text).ok_or_else(|| Problem::malformed("after", PLACE_FORM))).transpose()?;
    query.finish()?;
    let page = app.database.parked(&name, after, limit).await?;
    let mut out = Vec::with_capacity(page.parked.len() * 512 + 64);
    out.extend_from_slice(b"{\"parked\":[");
    for (number, parked) in page.parked.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push_parked(&mut out, parked);
    }
    out.extend_from_slice(b"],\"next\":");
    let next = page.next.map(|(shard, position)| format!("{shard}-{position}"));
    match &next {
        Some(next) => push_string(&mut out, next),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    let link = next.map(|next| format!("{}?{}", parts.uri.path(), with_parameter(parts.uri.query(), "after", &next)));
    Ok(ReadAnswer { next: link, ..ReadAnswer::json(out) }.into_response(&parts.headers).await)
}

/// Have parked events given out again, in order and as if for the first time.
#[utoipa::path(
    post, path = "/v1/subscriptions/{name}/parked/replay", tag = "subscriptions",
    params(("name" = String, Path, example = "mail")),
    request_body(content = Option<schema::ParkedRequest>, content_type = "application/json", description = "Without one: all of them"),
    responses(
        (status = 200, description = "That is on disk", body = schema::ReplayAnswer),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`subscription-failed`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn replay(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (name, events) = which(&app, request).await?;
    let count = app.database.replay_parked(&name, events.as_deref()).await?;
    Ok(answer::whole(StatusCode::OK, answer::JSON, format!("{{\"replayed\":{count}}}")))
}

/// Count parked events as done: they never come again, and what they held back goes on.
#[utoipa::path(
    post, path = "/v1/subscriptions/{name}/parked/skip", tag = "subscriptions",
    params(("name" = String, Path, example = "mail")),
    request_body(content = Option<schema::ParkedRequest>, content_type = "application/json", description = "Without one: all of them"),
    responses(
        (status = 200, description = "That is on disk", body = schema::SkipAnswer),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`subscription-failed`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn skip(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (name, events) = which(&app, request).await?;
    let count = app.database.skip_parked(&name, events.as_deref()).await?;
    Ok(answer::whole(StatusCode::OK, answer::JSON, format!("{{\"skipped\":{count}}}")))
}

async fn which(app: &Shared, request: Request) -> Result<(String, Option<Vec<(u16, u64)>>), Problem> {
    let (parts, body) = request.into_parts();
    let name = orders(app, &parts).await?;
    // No body says nothing, whatever its label says; the media type of one that is there has to be right.
    if body.size_hint().lower() > 0 {
        require_json(&parts.headers)?;
    }
    let body = read_whole(&parts.headers, body, &app.settings).await?;
    if body.is_empty() {
        return Ok((name, None));
    }
    require_json(&parts.headers)?;
    let which = from_body::<Option<Object<WhichWire>>>(&body)?;
    let Some(events) = which.and_then(|which| which.0.events) else { return Ok((name, None)) };
    if events.len() > DELIVERIES_MAX {
        return Err(Problem::malformed("events", format!("at most {DELIVERIES_MAX} are allowed")));
    }
    Ok((name, Some(events.into_iter().map(|place| place.0).collect())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "parked events: a JSON object")]
struct WhichWire {
    #[serde(default)]
    events: Option<Vec<PlaceWire>>,
}

/// A parked event on the wire: its id; a plain number is taken too, for that is its position with one shard.
struct PlaceWire((u16, u64));

impl<'de> Deserialize<'de> for PlaceWire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlaceVisitor;
        impl Visitor<'_> for PlaceVisitor {
            type Value = PlaceWire;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of a parked event, such as 0-1042")
            }

            fn visit_u64<E: serde::de::Error>(self, position: u64) -> Result<Self::Value, E> {
                Ok(PlaceWire((0, position)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                place(text).map(PlaceWire).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(PlaceVisitor)
    }
}

fn place(text: &str) -> Option<(u16, u64)> {
    let (shard, position) = text.split_once('-')?;
    Some((shard.parse().ok()?, position.parse().ok()?))
}

fn push_parked(out: &mut Vec<u8>, parked: &ParkedEvent) {
    let place = format!("{{\"id\":\"{0}-{1}\",\"shard\":{0},\"position\":{1},\"stream\":", parked.shard, parked.position);
    out.extend_from_slice(place.as_bytes());
    push_string(out, &parked.stream);
    out.extend_from_slice(b",\"version\":");
    push_number(out, parked.version);
    out.extend_from_slice(b",\"type\":");
    match &parked.event {
        Some(event) => push_string(out, event.event_type()),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(format!(",\"attempts\":{},\"reason\":", parked.attempts).as_bytes());
    push_string(out, &parked.reason);
    out.extend_from_slice(b",\"parked_at\":\"");
    push_timestamp(out, parked.parked_at);
    out.extend_from_slice(b"\",\"event\":");
    match &parked.event {
        Some(event) => push_event(out, parked.shard, event, Lines::Any),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

const PLACE_FORM: &str = "must be the `next` of the page before, such as 0-1042";
