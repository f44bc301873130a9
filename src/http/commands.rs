//! `POST …/commands/{name}`: what can an aggregate be told to do? Its category decides, and what it decided is stored or nothing is.

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use http::HeaderName;
use http::StatusCode;
use http::header;
use serde_json::Map;
use serde_json::Value;

use crate::database::CommandRequest;
use crate::database::CommandResult;
use crate::database::Version;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::access::authorise_aggregate;
use crate::http::access::authorise_write;
use crate::http::aggregates::aggregate_in_path;
use crate::http::aggregates::state_etag;
use crate::http::answer;
use crate::http::answer::FACTUM_POSITION;
use crate::http::answer::cursor_text;
use crate::http::body::read_at_most;
use crate::http::conditional::refuse_conditions;
use crate::http::decode::from_body;
use crate::http::ids::idempotency_key;
use crate::http::ids::short_text;
use crate::http::new_events::DEPTH_MAX;
use crate::http::new_events::cause;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::request::require_json;
use crate::http::request::segment;
use crate::http::schema;
use crate::subscription::event_json::push_events;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::is_deeper_than;

/// Tell an aggregate to do something: its category's `decide` says which events that makes, and they are stored.
#[utoipa::path(
    post, path = "/v1/aggregates/{category}/{id}/commands/{name}", tag = "aggregates",
    params(
        ("category" = String, Path, example = "order"),
        ("id" = String, Path, description = "What stands behind `<category>-` in the stream's name; it need not have events yet", example = "42"),
        ("name" = String, Path, description = "A function of the module's `decide`", example = "cancel"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters: the same key makes a retry harmless"),
        ("Correlation-Id" = Option<String>, Header, description = "1 to 255 characters: `correlation_id` of the events' metadata"),
        ("traceparent" = Option<String>, Header, description = "W3C trace context; stored in the metadata"),
    ),
    request_body(content = Value, content_type = "application/json", description = "The command: any JSON; an empty body is `{}`"),
    responses(
        (status = 201, description = "Events were stored", body = schema::CommandAnswer, headers(("ETag" = String), ("Factum-Position" = String))),
        (status = 200, description = "Nothing was stored: no events came of it, or it was done before under this key (`duplicate`)", body = schema::CommandAnswer),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: a category of the system", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`command-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`wrong-expected-version`: every try lost its race; `event-id-reused`: the key was used for another command", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 410, description = "`stream-deleted`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "`command-rejected` with the module's `code` and `reason`; `script-failed`, `history-unreadable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "`too-many-requests`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn command(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let (category, id) = aggregate_in_path(&parts.uri)?;
    let caller = Caller::of(&app, &parts);
    authorise_write(&caller, &authorise_aggregate(&caller, &category, &id)?)?;
    let command = segment(&parts.uri, 5, "name")?;
    refuse_conditions(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    require_json(&parts.headers)?;
    let idempotency_key = idempotency_key(&parts.headers)?.map(str::to_owned);
    let correlation_id = short_text(&parts.headers, &CORRELATION_ID, "Correlation-Id")?.map(str::to_owned);
    let input = read_at_most(&parts.headers, body, &app.settings, app.settings.event_bytes_max).await?;
    if !input.is_empty() {
        from_body::<serde::de::IgnoredAny>(&input)?;
        if is_deeper_than(&input, DEPTH_MAX) {
            return Err(Problem::malformed("body", format!("is nested deeper than {DEPTH_MAX} levels")));
        }
    }
    let metadata = metadata(&parts.headers);
    let request = CommandRequest { category: category.clone(), id, command, input, idempotency_key, correlation_id, metadata };
    let done = app.database.command(request).await?;
    Ok(answered(&done, &app.database.definition_hash(&category)))
}

/// What the events carry beside what identifies the command.
fn metadata(headers: &HeaderMap) -> Map<String, Value> {
    cause(headers).map(|text| ("traceparent".to_owned(), Value::from(text))).into_iter().collect()
}

fn answered(done: &CommandResult, definition_hash: &[u8; 32]) -> Response {
    let mut out = Vec::with_capacity(done.state.len() + 256);
    out.extend_from_slice(b"{\"version\":");
    push_number(&mut out, done.version.get());
    out.extend_from_slice(b",\"events\":");
    push_events(&mut out, done.events.iter().map(|event| (done.shard, event)));
    out.extend_from_slice(b",\"state\":");
    out.extend_from_slice(&done.state);
    out.extend_from_slice(b",\"cursor\":\"");
    answer::push_cursor(&mut out, &done.cursor);
    out.push(b'"');
    if done.duplicate {
        out.extend_from_slice(b",\"duplicate\":true");
    }
    out.push(b'}');
    let is_stored = !done.events.is_empty() && !done.duplicate;
    let mut response = answer::whole(if is_stored { StatusCode::CREATED } else { StatusCode::OK }, answer::JSON, out);
    let headers = response.headers_mut();
    // An aggregate without events has no state that could be read.
    if done.version > Version::ZERO {
        answer::set(headers, header::ETAG, state_etag(done.version, definition_hash));
    }
    answer::set(headers, FACTUM_POSITION, cursor_text(&done.cursor));
    response
}

const CORRELATION_ID: HeaderName = HeaderName::from_static("correlation-id");
