//! Which shape has the data of an event type? Versions of its schema go in one after the other, and stay.

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use http::Uri;

use crate::Error;
use crate::database::Format;
use crate::database::Kind;
use crate::http::Shared;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
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
use crate::http::request::require_json;
use crate::http::request::segment;
use crate::http::schema;
use crate::subscription::event_json::push_number;
use crate::subscription::json_text::push_string;

/// Register the next version of an event type's schema; data of that type is checked against it from then on.
#[utoipa::path(
    put, path = "/v1/schemas/{type}/{schema_version}", tag = "schemas",
    params(
        ("type" = String, Path, description = "The event type, percent-encoded", example = "OrderPlaced"),
        ("schema_version" = u16, Path, minimum = 1, description = "One more than the newest there is"),
        ("dry_run" = Option<bool>, Query, description = "Only check, and say what would change; the answer is 200"),
    ),
    request_body(content = schema::SchemaDocument, content_type = "application/json", description = "At most 256 KiB"),
    responses(
        (status = 201, description = "It is registered", body = schema::SchemaAnswer),
        (status = 200, description = "The same was registered before", body = schema::SchemaAnswer),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "`definition-exists`: the version is there with other content", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "`payload-too-large`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "`invalid-definition`: no JSON Schema, not the next version, or not compatible with the one before (`breaks`)", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "`too-many-requests`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn register(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let (event_type, schema_version) = schema_in_path(&parts.uri)?;
    refuse_conditions(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query())?;
    let dry_run = query.switch("dry_run")?;
    query.finish()?;
    require_json(&parts.headers)?;
    let body = read_at_most(&parts.headers, body, &app.settings, DEFINITION_BYTES_MAX).await?;
    let name = format!("{event_type}/{schema_version}");
    let change = app.database.define(Kind::Schema, &name, Format::Json, definition_text(&body)?, dry_run).await?;
    let mut out = Vec::with_capacity(128);
    push_head(&mut out, &event_type, schema_version);
    push_change(&mut out, change, dry_run);
    out.push(b'}');
    Ok(answer::whole(change_status(change, dry_run), answer::JSON, out))
}

/// List the event types that have a schema, by name.
#[utoipa::path(
    get, path = "/v1/schemas", tag = "schemas",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "Types with the newest version of their schema, and all there are", body = schema::SchemaList, headers(("Link" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let mut query = Query::parse(parts.uri.query())?;
    let page = PageOf::take_plain(&mut query, &parts)?;
    query.finish()?;
    let named = page.cut(types(&app).await.into_iter());
    let answer = page.answer(&parts, "schemas", named, |out, event_type, versions| {
        push_head(out, event_type, versions.last().copied().unwrap_or_default());
        push_versions(out, versions);
        out.push(b'}');
    });
    Ok(answer.into_response(&parts.headers).await)
}

/// List the versions of an event type's schema.
#[utoipa::path(
    get, path = "/v1/schemas/{type}", tag = "schemas",
    params(("type" = String, Path, description = "The event type, percent-encoded", example = "OrderPlaced")),
    responses(
        (status = 200, description = "The versions, oldest first", body = schema::SchemaVersions),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn versions(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let event_type = segment(&parts.uri, 2, "type")?;
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    let mut all = types(&app).await;
    let versions = all.remove(&event_type).ok_or_else(|| Error::DefinitionNotFound { what: format!("a schema of type {event_type}") })?;
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(b"{\"type\":");
    push_string(&mut out, &event_type);
    push_versions(&mut out, &versions);
    out.push(b'}');
    Ok(ReadAnswer::json(out).into_response(&parts.headers).await)
}

/// Read one version of an event type's schema as it was registered.
#[utoipa::path(
    get, path = "/v1/schemas/{type}/{schema_version}", tag = "schemas",
    params(
        ("type" = String, Path, description = "The event type, percent-encoded", example = "OrderPlaced"),
        ("schema_version" = u16, Path, minimum = 1),
        ("If-None-Match" = Option<String>, Header),
    ),
    responses(
        (status = 200, description = "The document, with its type and version", body = schema::RegisteredSchema, headers(("ETag" = String))),
        (status = 304, description = "Not modified"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`definition-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn schema(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let (event_type, schema_version) = schema_in_path(&parts.uri)?;
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    let definition = app.database.definition(Kind::Schema, &format!("{event_type}/{schema_version}")).await?;
    let mut out = Vec::with_capacity(definition.text.len() + 128);
    push_head(&mut out, &event_type, schema_version);
    out.push(b',');
    // It is an object with a member at least: that is how it came in.
    out.extend_from_slice(definition.text.trim_start().strip_prefix('{').unwrap_or("}").as_bytes());
    let etag = format!("\"{}\"", definition.version);
    Ok(ReadAnswer { etag: Some(etag), ..ReadAnswer::json(out) }.into_response(&parts.headers).await)
}

/// Each type with its versions, in order.
async fn types(app: &Shared) -> BTreeMap<String, Vec<u16>> {
    let mut types: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for definition in app.database.definitions(Kind::Schema).await {
        if let Some((event_type, version)) = definition.key.name.rsplit_once('/')
            && let Ok(version) = version.parse()
        {
            types.entry(event_type.to_owned()).or_default().push(version);
        }
    }
    types
}

fn schema_in_path(uri: &Uri) -> Result<(String, u16), Problem> {
    let event_type = segment(uri, 2, "type")?;
    let version = segment(uri, 3, "schema_version")?;
    // Only the usual form: `01` would be another name for the same version.
    let number = version.parse::<u16>().ok().filter(|number| *number > 0 && number.to_string() == version);
    let number = number.ok_or_else(|| Problem::malformed("schema_version", "must be a number from 1 to 65535"))?;
    Ok((event_type, number))
}

fn push_head(out: &mut Vec<u8>, event_type: &str, schema_version: u16) {
    out.extend_from_slice(b"{\"type\":");
    push_string(out, event_type);
    out.extend_from_slice(b",\"schema_version\":");
    push_number(out, u64::from(schema_version));
}

fn push_versions(out: &mut Vec<u8>, versions: &[u16]) {
    out.extend_from_slice(b",\"versions\":[");
    for (number, version) in versions.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        push_number(out, u64::from(*version));
    }
    out.push(b']');
}
