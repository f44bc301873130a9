//! What is known of a stream, and how does one end it or thin it out?

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use factum_storage::Retention;
use factum_storage::StreamInfo;
use factum_storage::StreamName;
use factum_storage::Version;
use http::StatusCode;

use crate::database::AppendResult;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::access::authorise_ends;
use crate::http::access::authorise_read;
use crate::http::answer;
use crate::http::answer::FACTUM_POSITION;
use crate::http::answer::ReadAnswer;
use crate::http::answer::cursor_text;
use crate::http::append::etag;
use crate::http::body::read_whole;
use crate::http::conditional::refuse_conditions;
use crate::http::decode::from_body;
use crate::http::negotiate::json_only;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::request::require_json;
use crate::http::request::stream_in_path;
use crate::http::schema;
use crate::http::wire::Object;
use crate::http::wire::RetentionWire;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;
use crate::subscription::time::duration_text;
use crate::subscription::time::parse_duration_us;
use crate::subscription::time::push_timestamp;

/// What there is to know of a stream.
#[utoipa::path(
    get, path = "/v1/streams/{stream}", tag = "streams",
    params(("stream" = String, Path, example = "order-42"), ("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "The stream", body = schema::Stream, headers(("ETag" = String), ("Factum-Position" = String))),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`stream-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 410, description = "`stream-deleted`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn stream(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let stream = stream_in_path(&parts.uri)?;
    authorise_read(&Caller::of(&app, &parts), &stream)?;
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    let (shard, info, cursor) = app.database.stream(&stream).await?;
    let mut body = Vec::with_capacity(256);
    push_stream(&mut body, shard, &info);
    let answer =
        ReadAnswer { etag: String::from_utf8(etag(info.version.get())).ok(), cursor: Some(cursor_text(&cursor)), ..ReadAnswer::json(body) };
    Ok(answer.into_response(&parts.headers).await)
}

fn push_stream(out: &mut Vec<u8>, shard: u16, info: &StreamInfo) {
    out.extend_from_slice(b"{\"stream\":");
    push_string(out, info.stream.as_str());
    out.extend_from_slice(b",\"category\":");
    push_string(out, info.stream.category());
    out.extend_from_slice(b",\"version\":");
    push_number(out, info.version.get());
    out.extend_from_slice(b",\"first_version\":");
    push_number(out, info.first_version.get());
    out.extend_from_slice(b",\"created_at\":\"");
    push_timestamp(out, info.created_at);
    out.extend_from_slice(b"\",\"updated_at\":\"");
    push_timestamp(out, info.updated_at);
    out.extend_from_slice(b"\",\"shard\":");
    push_number(out, u64::from(shard));
    out.push(b'}');
}

/// Delete a stream: softly, or for ever.
#[utoipa::path(
    delete, path = "/v1/streams/{stream}", tag = "streams",
    params(
        ("stream" = String, Path, example = "order-42"),
        ("permanent" = Option<bool>, Query, description = "End it for ever: 410 from then on. Without it, a later append goes on at the next version"),
    ),
    responses(
        (status = 204, description = "Deleted", headers(("Factum-Position" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`stream-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 410, description = "`stream-deleted`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn delete(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let stream = stream_in_path(&parts.uri)?;
    authorise_ends(&Caller::of(&app, &parts), &stream)?;
    refuse_conditions(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query())?;
    let permanent = query.switch("permanent")?;
    query.finish()?;
    let result = app.database.delete_stream(stream, permanent).await?;
    let mut response = answer::empty(StatusCode::NO_CONTENT);
    answer::set(response.headers_mut(), FACTUM_POSITION, cursor_text(&result.cursor));
    Ok(response)
}

/// Set what hides a stream's old events, in place of what was set before.
#[utoipa::path(
    put, path = "/v1/streams/{stream}/retention", tag = "streams",
    params(("stream" = String, Path, example = "order-42")),
    request_body(content = RetentionWire, content_type = "application/json"),
    responses(
        (status = 200, description = "Set", body = schema::Retention, headers(("Factum-Position" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`stream-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 410, description = "`stream-deleted`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn set_retention(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let stream = stream_in_path(&parts.uri)?;
    authorise_ends(&Caller::of(&app, &parts), &stream)?;
    refuse_conditions(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    require_json(&parts.headers)?;
    let body = read_whole(&parts.headers, body, &app.settings).await?;
    let retention = read_retention(&from_body::<Object<RetentionWire<'_>>>(&body)?.0)?;
    let result = app.database.set_retention(stream.clone(), retention).await?;
    Ok(retention_answer(&stream, retention, &result))
}

fn read_retention(wire: &RetentionWire<'_>) -> Result<Retention, Problem> {
    if wire.max_count == Some(0) {
        return Err(Problem::malformed("max_count", "must be at least 1; delete the stream to hide all of it"));
    }
    let max_age_us =
        wire.max_age.as_ref().map(|text| parse_duration_us(&text.0).map_err(|detail| Problem::malformed("max_age", detail))).transpose()?;
    if max_age_us == Some(0) {
        return Err(Problem::malformed("max_age", "must be longer than nothing"));
    }
    Ok(Retention { max_count: wire.max_count, max_age_us, before_version: wire.before_version.map(Version::new) })
}

fn retention_answer(stream: &StreamName, retention: Retention, result: &AppendResult) -> Response {
    let number = |value: Option<u64>| value.map_or_else(|| "null".to_owned(), |value| value.to_string());
    let mut body = Vec::with_capacity(128);
    body.extend_from_slice(b"{\"stream\":");
    push_string(&mut body, stream.as_str());
    body.extend_from_slice(format!(",\"max_count\":{},\"max_age\":", number(retention.max_count)).as_bytes());
    match retention.max_age_us {
        Some(us) => push_string(&mut body, &duration_text(us)),
        None => body.extend_from_slice(b"null"),
    }
    body.extend_from_slice(format!(",\"before_version\":{}}}", number(retention.before_version.map(Version::get))).as_bytes());
    let mut response = answer::whole(StatusCode::OK, answer::JSON, body);
    answer::set(response.headers_mut(), FACTUM_POSITION, cursor_text(&result.cursor));
    response
}
