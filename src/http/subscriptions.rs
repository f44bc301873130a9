//! Which consumer groups are there, what do their definitions say, and how are they?

mod deliveries;
mod parked;
mod stream;

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::database::Format;
use crate::database::GroupStatus;
use crate::database::Kind;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::access::authorise_group;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::answer::push_cursor;
use crate::http::answer::push_texts;
use crate::http::body::read_at_most;
use crate::http::conditional::refuse_conditions;
use crate::http::definitions::DEFINITION_BYTES_MAX;
use crate::http::definitions::change_status;
use crate::http::definitions::definition_text;
use crate::http::definitions::push_change;
use crate::http::listings::PageOf;
use crate::http::negotiate::json_only;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::request::media_type;
use crate::http::request::segment;
use crate::http::request::unsupported;
use crate::http::schema;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;

pub(crate) use deliveries::*;
pub(crate) use parked::*;

/// Define a subscription: which events its consumers share. A changed one keeps its progress.
#[utoipa::path(
    put, path = "/v1/subscriptions/{name}", tag = "subscriptions",
    params(
        ("name" = String, Path, example = "mail"),
        ("dry_run" = Option<bool>, Query, description = "Only check, and say what would change; the answer is 200"),
    ),
    request_body(description = "At most 256 KiB; everything may be left out", content(
        (schema::SubscriptionDefinition = "application/json"), (String = "application/toml"),
    )),
    responses(
        (status = 201, description = "It is defined", body = schema::SubscriptionAnswer),
        (status = 200, description = "It was defined already: `changed`, or the `same`", body = schema::SubscriptionAnswer),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "`invalid-definition` with line and column or `pointer`; what was in force before still is", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`subscription-failed`, `store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn define(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let name = segment(&parts.uri, 2, "name")?;
    refuse_conditions(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query())?;
    let dry_run = query.switch("dry_run")?;
    query.finish()?;
    let (format, format_name) = match media_type(&parts.headers).as_str() {
        "application/json" => (Format::Json, "json"),
        "application/toml" => (Format::Toml, "toml"),
        _ => return Err(unsupported("application/json or application/toml")),
    };
    let body = read_at_most(&parts.headers, body, &app.settings, DEFINITION_BYTES_MAX).await?;
    let change = app.database.define(Kind::Subscription, &name, format, definition_text(&body)?, dry_run).await?;
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(b"{\"name\":");
    push_string(&mut out, &name);
    push_change(&mut out, change, dry_run);
    out.extend_from_slice(format!(",\"format\":\"{format_name}\"}}").as_bytes());
    Ok(answer::whole(change_status(change, dry_run), answer::JSON, out))
}

/// List subscriptions by name, and how they are.
#[utoipa::path(
    get, path = "/v1/subscriptions", tag = "subscriptions",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "Subscriptions", body = schema::SubscriptionList, headers(("Link" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let mut query = Query::parse(parts.uri.query())?;
    let page = PageOf::take_plain(&mut query, &parts)?;
    query.finish()?;
    let all = app.database.definitions(Kind::Subscription).await;
    let mut named = Vec::new();
    for (name, ()) in page.cut(all.into_iter().map(|definition| (definition.key.name, ()))) {
        match app.database.subscription_status(&name).await {
            Ok(status) => named.push((name, status)),
            // It was ended meanwhile.
            Err(crate::Error::DefinitionNotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let answer = page.answer(&parts, "subscriptions", named, |out, _, status| push_status(out, status));
    Ok(answer.into_response(&parts.headers).await)
}

/// Read how a subscription is, and what its definition says.
#[utoipa::path(
    get, path = "/v1/subscriptions/{name}", tag = "subscriptions",
    params(("name" = String, Path, example = "mail")),
    responses(
        (status = 200, description = "The subscription", body = schema::Subscription, headers(("Factum-Position" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 406, description = "`not-acceptable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn status(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let name = segment(&parts.uri, 2, "name")?;
    authorise_group(&app, &Caller::of(&app, &parts), &name).await?;
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    let status = app.database.subscription_status(&name).await?;
    let mut out = Vec::with_capacity(512);
    push_status(&mut out, &status);
    let answer = ReadAnswer { cursor: status.checkpoint.as_ref().map(answer::cursor_text), ..ReadAnswer::json(out) };
    Ok(answer.into_response(&parts.headers).await)
}

/// End a subscription and forget its progress. Its consumers are told.
#[utoipa::path(
    delete, path = "/v1/subscriptions/{name}", tag = "subscriptions",
    params(("name" = String, Path, example = "mail")),
    responses(
        (status = 204, description = "It has ended; its events are as they were"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`subscription-failed`, `store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn remove(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let name = segment(&parts.uri, 2, "name")?;
    json_only(&parts.headers)?;
    refuse_conditions(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    app.database.remove_definition(Kind::Subscription, &name).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

fn push_status(out: &mut Vec<u8>, status: &GroupStatus) {
    out.extend_from_slice(b"{\"name\":");
    push_string(out, &status.name);
    out.extend_from_slice(format!(",\"state\":\"{}\"", status.state.as_str()).as_bytes());
    if let Some(error) = &status.error {
        out.extend_from_slice(b",\"error\":");
        push_string(out, error);
    }
    out.extend_from_slice(b",\"checkpoint\":");
    match &status.checkpoint {
        Some(cursor) => {
            out.push(b'"');
            push_cursor(out, cursor);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"head\":\"");
    push_cursor(out, &status.head);
    out.push(b'"');
    let terms = &status.terms;
    let numbers = [
        ("lag", status.lag),
        ("in_flight", status.in_flight),
        ("parked", status.parked),
        ("retrying", status.retrying),
        ("held_back", status.held_back),
        ("consumers", status.consumers),
        ("max_in_flight", terms.max_in_flight as u64),
        ("ack_timeout_ms", u64::try_from(terms.ack_timeout.as_millis()).unwrap_or(u64::MAX)),
        ("max_attempts", u64::from(terms.max_attempts)),
    ];
    for (name, number) in numbers {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        push_number(out, number);
    }
    out.extend_from_slice(b",\"filter\":{\"categories\":");
    push_texts(out, &terms.filter.categories);
    out.extend_from_slice(b",\"types\":");
    push_texts(out, &terms.filter.types);
    out.extend_from_slice(b",\"tags\":");
    push_texts(out, &terms.filter.tags);
    if let Some(prefix) = &terms.filter.stream_prefix {
        out.extend_from_slice(b",\"stream_prefix\":");
        push_string(out, prefix);
    }
    out.extend_from_slice(b"},\"after\":");
    push_string(out, terms.after.as_str());
    out.extend_from_slice(format!(",\"ordering\":\"{}\"}}", terms.ordering.as_str()).as_bytes());
}
