//! How are a category's events to be folded, and what does it decide? Definitions go in, and are told again as they were written.

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::StatusCode;

use crate::database::Change;
use crate::database::Definition;
use crate::database::Format;
use crate::database::Kind;
use crate::http::Shared;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::answer::push_texts;
use crate::http::body::read_at_most;
use crate::http::conditional::refuse_conditions;
use crate::http::listings::PageOf;
use crate::http::negotiate::json_only;
use crate::http::negotiate::wants_module;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::request::media_type;
use crate::http::request::segment;
use crate::http::request::unsupported;
use crate::http::schema;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;
use crate::subscription::time::push_timestamp;

/// Define a category: how its events are folded, and which commands it decides.
#[utoipa::path(
    put, path = "/v1/aggregates/{category}", tag = "aggregates",
    params(
        ("category" = String, Path, description = "What stands before the first `-` of its streams' names", example = "order"),
        ("dry_run" = Option<bool>, Query, description = "Only check, and say what would change; the answer is 200, and has no `commands`"),
    ),
    request_body(
        description = "A JavaScript module (also as `application/javascript`), or a definition that merges each event's data; at most 256 KiB",
        content((String = "text/javascript"), (schema::MergingDefinition = "application/json")),
    ),
    responses(
        (status = 201, description = "The category is defined", body = schema::DefinitionAnswer),
        (status = 200, description = "It was defined already: `changed`, or the `same`", body = schema::DefinitionAnswer),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: a category of the system", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "`invalid-definition` with line and column; what was in force before still is", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "`too-many-requests`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn define(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let category = segment(&parts.uri, 2, "category")?;
    refuse_conditions(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query())?;
    let dry_run = query.switch("dry_run")?;
    query.finish()?;
    let format = match media_type(&parts.headers).as_str() {
        "text/javascript" | "application/javascript" => Format::Javascript,
        "application/json" => Format::Json,
        _ => return Err(unsupported("text/javascript, application/javascript or application/json")),
    };
    let body = read_at_most(&parts.headers, body, &app.settings, DEFINITION_BYTES_MAX).await?;
    let change = app.database.define(Kind::Aggregate, &category, format, definition_text(&body)?, dry_run).await?;
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"category\":");
    push_string(&mut out, &category);
    push_change(&mut out, change, dry_run);
    out.extend_from_slice(b",\"format\":\"");
    out.extend_from_slice(format_name(format).as_bytes());
    out.push(b'"');
    if !dry_run {
        out.extend_from_slice(b",\"commands\":");
        push_texts(&mut out, &app.database.commands(&category));
    }
    out.push(b'}');
    Ok(answer::whole(change_status(change, dry_run), answer::JSON, out))
}

/// List the categories that are defined, by name.
#[utoipa::path(
    get, path = "/v1/aggregates", tag = "aggregates",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "Categories", body = schema::DefinitionList, headers(("Link" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let mut query = Query::parse(parts.uri.query())?;
    let page = PageOf::take_plain(&mut query, &parts)?;
    query.finish()?;
    let all = app.database.definitions(Kind::Aggregate).await;
    let named = page.cut(all.into_iter().map(|definition| (definition.key.name.clone(), definition)));
    let answer = page.answer(&parts, "aggregates", named, |out, name, definition| {
        push_head(out, definition);
        push_rest(out, &app.database.commands(name), definition);
    });
    Ok(answer.into_response(&parts.headers).await)
}

/// Read a category's definition as it was written.
#[utoipa::path(
    get, path = "/v1/aggregates/{category}", tag = "aggregates",
    params(("category" = String, Path, example = "order"), ("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "The definition; with `Accept: text/javascript` the module itself", content(
            (schema::DefinitionDocument = "application/json"), (String = "text/javascript"),
        ), headers(("ETag" = String))),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 406, description = "`not-acceptable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn definition(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let category = segment(&parts.uri, 2, "category")?;
    Query::parse(parts.uri.query())?.finish()?;
    let definition = app.database.definition(Kind::Aggregate, &category).await?;
    let version = definition.version;
    if wants_module(&parts.headers, definition.format == Format::Javascript)? {
        let content_type = HeaderValue::from_static("text/javascript; charset=utf-8");
        let answer =
            ReadAnswer { content_type, etag: Some(format!("\"{version}-module\"")), ..ReadAnswer::json(definition.text.into_bytes()) };
        return Ok(answer.into_response(&parts.headers).await);
    }
    let mut out = Vec::with_capacity(definition.text.len() + 256);
    push_head(&mut out, &definition);
    out.extend_from_slice(b",\"definition\":");
    push_string(&mut out, &definition.text);
    push_rest(&mut out, &app.database.commands(&category), &definition);
    let answer = ReadAnswer { etag: Some(format!("\"{version}\"")), ..ReadAnswer::json(out) };
    Ok(answer.into_response(&parts.headers).await)
}

/// End a category's definition: its events are merged again, as those of a category that nobody has defined.
#[utoipa::path(
    delete, path = "/v1/aggregates/{category}", tag = "aggregates",
    params(("category" = String, Path, example = "order")),
    responses(
        (status = 204, description = "It has ended; its events are as they were"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn remove(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let category = segment(&parts.uri, 2, "category")?;
    json_only(&parts.headers)?;
    refuse_conditions(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    app.database.remove_definition(Kind::Aggregate, &category).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

fn push_head(out: &mut Vec<u8>, definition: &Definition) {
    out.extend_from_slice(b"{\"category\":");
    push_string(out, &definition.key.name);
    out.extend_from_slice(b",\"format\":\"");
    out.extend_from_slice(format_name(definition.format).as_bytes());
    out.push(b'"');
}

fn push_rest(out: &mut Vec<u8>, commands: &[String], definition: &Definition) {
    out.extend_from_slice(b",\"commands\":");
    push_texts(out, commands);
    out.extend_from_slice(b",\"version\":");
    push_number(out, definition.version.get());
    out.extend_from_slice(b",\"defined_at\":\"");
    push_timestamp(out, definition.defined_at);
    out.extend_from_slice(b"\"}");
}

/// What a definition changed, as a member.
pub(crate) fn push_change(out: &mut Vec<u8>, change: Change, dry_run: bool) {
    let name = match change {
        Change::Created => "created",
        Change::Changed => "changed",
        Change::Same => "same",
    };
    out.extend_from_slice(format!(",\"change\":\"{name}\"").as_bytes());
    if dry_run {
        out.extend_from_slice(b",\"dry_run\":true");
    }
}

/// 201 for what was not there before.
pub(crate) fn change_status(change: Change, dry_run: bool) -> StatusCode {
    match change {
        Change::Created if !dry_run => StatusCode::CREATED,
        Change::Created | Change::Changed | Change::Same => StatusCode::OK,
    }
}

/// A definition's text.
///
/// # Errors
///
/// 400 if it is not UTF-8.
pub(crate) fn definition_text(body: &Bytes) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| Problem::malformed("body", format!("is not UTF-8 at byte {}", error.valid_up_to())))
}

/// The name that answers give a format.
pub(crate) fn format_name(format: Format) -> &'static str {
    match format {
        Format::Javascript => "javascript",
        Format::Json => "json",
        Format::Toml => "toml",
    }
}

/// As long as a module may be.
pub(crate) const DEFINITION_BYTES_MAX: usize = 256 << 10;
