//! How does a consumer get its share, and say what became of it?

use std::str::FromStr;
use std::time::Duration;

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::StatusCode;
use http::request::Parts;
use serde::Deserialize;

use super::stream;
use super::stream::push_delivery;
use crate::database::Acknowledged;
use crate::database::ConsumerOptions;
use crate::database::DeliveryId;
use crate::database::Nack;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::access::authorise_group;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::body::read_whole;
use crate::http::conditional::refuse_conditions;
use crate::http::decode::from_body;
use crate::http::feed::FeedFormat;
use crate::http::negotiate::EventsFormat;
use crate::http::negotiate::events_format;
use crate::http::problem::Problem;
use crate::http::query::LIMIT_DEFAULT;
use crate::http::query::Query;
use crate::http::request::require_json;
use crate::http::request::segment;
use crate::http::schema;
use crate::http::wire::Object;
use crate::http::wire::Text;
use crate::subscription::event_json::Lines;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;

/// Take part in a subscription: as a stream that stays open, or with `Accept: application/json` one batch at a time.
#[utoipa::path(
    get, path = "/v1/subscriptions/{name}/events", tag = "subscriptions",
    params(
        ("name" = String, Path, example = "mail"),
        ("max_in_flight" = Option<u64>, Query, minimum = 1, maximum = 100_000, description = "Of a stream: how many deliveries this consumer may have at once without an acknowledgement; default what the definition says"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000, description = "Of a batch: at most so many; default 100"),
        ("Prefer" = Option<String>, Header, description = "Of a batch: `wait=<seconds>` for the first delivery, 0 to 60; default 5"),
    ),
    responses(
        (status = 200, description = "Deliveries. What a stream has not acknowledged goes to others when it ends; a batch's deliveries stay out for the definition's `ack_timeout_ms`", content(
            (schema::Deliveries = "application/json"), (schema::Delivery = "application/x-ndjson"), (schema::Delivery = "text/event-stream"),
        )),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 406, description = "`not-acceptable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`subscription-failed`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn consume(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let name = segment(&parts.uri, 2, "name")?;
    authorise_group(&app, &Caller::of(&app, &parts), &name).await?;
    let mut query = Query::parse(parts.uri.query())?;
    let format = match events_format(&parts.headers)? {
        EventsFormat::Page => None,
        EventsFormat::Ndjson => Some(FeedFormat::Ndjson),
        EventsFormat::Sse => Some(FeedFormat::Sse),
    };
    // Each way has its own bound; who takes one for the other would wait for what does not come.
    let (other, why) = match format {
        Some(_) => ("limit", "is for a batch (Accept: application/json); a stream is bounded by max_in_flight"),
        None => ("max_in_flight", "is for a stream (Accept: application/x-ndjson or text/event-stream); a batch is bounded by limit"),
    };
    if query.text(other)?.is_some() {
        return Err(Problem::malformed(other, why));
    }
    if let Some(format) = format {
        let max_in_flight = query.parsed("max_in_flight", "must be a number from 1 to 100000")?;
        query.finish()?;
        let consumer = app.database.consume(&name, ConsumerOptions { max_in_flight }).await?;
        return Ok(stream::response(&app, consumer, format));
    }
    let limit = query.limit()?.unwrap_or(LIMIT_DEFAULT);
    query.finish()?;
    let wait = preferred_wait(&parts.headers)?;
    let closing = app.settings.closing.clone();
    let deliveries = tokio::select! {
        deliveries = app.database.pull(&name, limit, wait) => deliveries?,
        // A server that stops lets nobody wait for what does not come any more.
        () = closing.cancelled() => Vec::new(),
    };
    let mut out = Vec::with_capacity(deliveries.iter().map(|delivery| delivery.event.record.stored_bytes() + 400).sum::<usize>() + 64);
    out.extend_from_slice(b"{\"deliveries\":[");
    for (number, delivery) in deliveries.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push_delivery(&mut out, delivery, Lines::Any);
    }
    out.extend_from_slice(b"]}");
    Ok(ReadAnswer::json(out).into_response(&parts.headers).await)
}

/// How long the client wants to wait for the first delivery.
fn preferred_wait(headers: &HeaderMap) -> Result<Duration, Problem> {
    let preferences = headers.get_all(HeaderName::from_static("prefer")).iter().filter_map(|value| value.to_str().ok());
    let wait = preferences.flat_map(|value| value.split([',', ';'])).find_map(|one| one.trim().strip_prefix("wait="));
    let Some(text) = wait else { return Ok(WAIT_DEFAULT) };
    let seconds = text.parse().ok().filter(|seconds| *seconds <= WAIT_SECONDS_MAX);
    seconds.map(Duration::from_secs).ok_or_else(|| Problem::malformed("Prefer", "wait must be a number of seconds from 0 to 60"))
}

/// Say that deliveries are done: their events never come again.
#[utoipa::path(
    post, path = "/v1/subscriptions/{name}/ack", tag = "subscriptions",
    params(("name" = String, Path, example = "mail")),
    request_body(content = schema::AckRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "That is on disk", body = schema::AckAnswer),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`subscription-failed`: they may come again", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn acknowledge(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (name, body) = verdict(&app, request).await?;
    let wire = from_body::<Object<AckWire<'_>>>(&body)?.0;
    let done = app.database.acknowledge(&name, &delivery_ids(&wire.deliveries)?).await?;
    Ok(settled(&done))
}

/// Say that deliveries did not get done, and what is to become of their events.
#[utoipa::path(
    post, path = "/v1/subscriptions/{name}/nack", tag = "subscriptions",
    params(("name" = String, Path, example = "mail")),
    request_body(content = schema::NackRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "That is on disk", body = schema::AckAnswer),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`subscription-failed`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn reject(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (name, body) = verdict(&app, request).await?;
    let wire = from_body::<Object<NackWire<'_>>>(&body)?.0;
    let action = match &*wire.action.0 {
        "retry" => Nack::Retry,
        "park" => Nack::Park,
        "skip" => Nack::Skip,
        _ => return Err(Problem::malformed("action", "must be retry, park or skip")),
    };
    let reason = wire.reason.map(|reason| reason.0).unwrap_or_default();
    let done = app.database.negative_acknowledge(&name, &delivery_ids(&wire.deliveries)?, action, &reason).await?;
    Ok(settled(&done))
}

/// Which subscription something is said to: without conditions and parameters.
pub(super) async fn orders(app: &Shared, parts: &Parts) -> Result<String, Problem> {
    let name = segment(&parts.uri, 2, "name")?;
    authorise_group(app, &Caller::of(app, parts), &name).await?;
    refuse_conditions(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    Ok(name)
}

/// The name and body of what a consumer says.
async fn verdict(app: &Shared, request: Request) -> Result<(String, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let name = orders(app, &parts).await?;
    require_json(&parts.headers)?;
    Ok((name, read_whole(&parts.headers, body, &app.settings).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "deliveries: a JSON object")]
struct AckWire<'a> {
    #[serde(borrow)]
    deliveries: Vec<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "deliveries and an action: a JSON object")]
struct NackWire<'a> {
    #[serde(borrow)]
    deliveries: Vec<Text<'a>>,
    #[serde(borrow)]
    action: Text<'a>,
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
}

fn delivery_ids(texts: &[Text<'_>]) -> Result<Vec<DeliveryId>, Problem> {
    if texts.len() > DELIVERIES_MAX {
        return Err(Problem::malformed("deliveries", format!("at most {DELIVERIES_MAX} are allowed")));
    }
    let read = |(index, text): (usize, &Text<'_>)| {
        DeliveryId::from_str(&text.0).map_err(|detail| Problem::malformed(&format!("deliveries[{index}]"), detail))
    };
    texts.iter().enumerate().map(read).collect()
}

fn settled(done: &Acknowledged) -> Response {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(b"{\"acknowledged\":");
    push_number(&mut out, done.acknowledged);
    out.extend_from_slice(b",\"unknown\":[");
    for (number, delivery) in done.unknown.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push_string(&mut out, &delivery.to_string());
    }
    out.extend_from_slice(b"]}");
    answer::whole(StatusCode::OK, answer::JSON, out)
}

/// As many as one request may settle.
pub(super) const DELIVERIES_MAX: usize = 10_000;
const WAIT_DEFAULT: Duration = Duration::from_secs(5);
const WAIT_SECONDS_MAX: u64 = 60;
