//! Which clients get tokens here, and for what?

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::auth::Client;
use crate::auth::ClientError;
use crate::auth::ClientTerms;
use crate::auth::policy::Patterns;
use crate::auth::policy::Scope;
use crate::auth::policy::Scopes;
use crate::config::Secret;
use crate::http::Shared;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::answer::push_texts;
use crate::http::body::read_at_most;
use crate::http::conditional::refuse_conditions;
use crate::http::decode::from_body;
use crate::http::listings::PageOf;
use crate::http::negotiate::json_only;
use crate::http::oauth::enabled;
use crate::http::problem::Problem;
use crate::http::problem::Slug;
use crate::http::query::Query;
use crate::http::request::require_json;
use crate::http::request::segment;
use crate::http::schema;
use crate::http::wire::Object;
use crate::http::wire::Text;
use crate::subscription::json_text::push_string;
use crate::subscription::time::push_timestamp;

/// What a client is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a client: a JSON object")]
#[schema(as = ClientTerms)]
pub(crate) struct ClientWire<'a> {
    /// At least 16 characters. Without one a client keeps what it has, and a new one gets one, which the answer tells once.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    secret: Option<Text<'a>>,
    /// What its tokens may do at most.
    #[serde(borrow)]
    #[schema(value_type = Vec<String>, example = json!(["events:read", "events:append"]))]
    scopes: Vec<Text<'a>>,
    /// To which streams: names, or beginnings with `*` behind them. Default: all.
    #[serde(borrow)]
    #[schema(value_type = Option<Vec<String>>, example = json!(["order-*"]))]
    streams: Option<Vec<Text<'a>>>,
}

/// Make a client, or change it. Tokens that may do more than the client may end by that; a new secret alone ends none.
#[utoipa::path(
    put, path = "/v1/clients/{id}", tag = "identity",
    params(("id" = String, Path, description = "1 to 100 letters, digits, `-`, `.` and `_`", example = "mail")),
    request_body(content = ClientWire, content_type = "application/json"),
    responses(
        (status = 201, description = "Made; with `secret` if one was drawn", body = schema::Client),
        (status = 200, description = "Changed", body = schema::Client),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`path-not-found`: authentication is off", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "`too-many-requests`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "`storage-full`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn put(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let auth = enabled(&app)?;
    let (parts, body) = request.into_parts();
    let id = segment(&parts.uri, 2, "id")?;
    Query::parse(parts.uri.query())?.finish()?;
    refuse_conditions(&parts.headers)?;
    require_json(&parts.headers)?;
    let body = read_at_most(&parts.headers, body, &app.settings, CLIENT_BYTES_MAX).await?;
    let Object(wire) = from_body::<Object<ClientWire<'_>>>(&body)?;
    let done = auth.put_client(&id, terms(&wire)?).await?;
    let mut out = Vec::with_capacity(256);
    push_client(&mut out, &done.client, done.drawn_secret.as_ref());
    let status = if done.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = answer::whole(status, answer::JSON, out);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn terms(wire: &ClientWire<'_>) -> Result<ClientTerms, Problem> {
    let mut scopes = Scopes::NONE;
    for (index, text) in wire.scopes.iter().enumerate() {
        let known = || Scope::ALL.map(Scope::as_str).join(", ");
        let scope =
            Scope::parse(&text.0).ok_or_else(|| Problem::malformed(&format!("scopes[{index}]"), format!("must be one of {}", known())))?;
        scopes = scopes.with(scope);
    }
    let streams = match &wire.streams {
        None => Patterns::all(),
        Some(texts) => {
            Patterns::parse(texts.iter().map(|text| &*text.0)).map_err(|error| Problem::malformed("streams", error.to_string()))?
        }
    };
    Ok(ClientTerms { secret: wire.secret.as_ref().map(|secret| Secret::new(secret.0.as_ref())), scopes, streams })
}

/// List clients by name. The one that stands in the settings is not among them.
#[utoipa::path(
    get, path = "/v1/clients", tag = "identity",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10000),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "Clients", body = schema::ClientList, headers(("Link" = String))),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`path-not-found`: authentication is off", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let auth = enabled(&app)?;
    let (parts, _) = request.into_parts();
    let mut query = Query::parse(parts.uri.query())?;
    let page = PageOf::take_plain(&mut query, &parts)?;
    query.finish()?;
    let named = page.cut(auth.clients(None, usize::MAX).into_iter().map(|client| (client.id.clone(), client)));
    let answer = page.answer(&parts, "clients", named, |out, _, client| push_client(out, client, None));
    Ok(answer.into_response(&parts.headers).await)
}

/// Read what a client may do.
#[utoipa::path(
    get, path = "/v1/clients/{id}", tag = "identity",
    params(("id" = String, Path, example = "mail")),
    responses(
        (status = 200, description = "The client", body = schema::Client),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`client-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn client(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let auth = enabled(&app)?;
    let (parts, _) = request.into_parts();
    let id = segment(&parts.uri, 2, "id")?;
    json_only(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    let client = auth.client(&id).ok_or(ClientError::NotFound)?;
    let mut out = Vec::with_capacity(256);
    push_client(&mut out, &client, None);
    Ok(ReadAnswer::json(out).into_response(&parts.headers).await)
}

/// End a client with all its tokens.
#[utoipa::path(
    delete, path = "/v1/clients/{id}", tag = "identity",
    params(("id" = String, Path, example = "mail")),
    responses(
        (status = 204, description = "It has ended"),
        (status = 400, description = "`malformed-request`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`client-not-found`", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "`store-read-only`, `shard-unavailable`", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn remove(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let auth = enabled(&app)?;
    let (parts, _) = request.into_parts();
    let id = segment(&parts.uri, 2, "id")?;
    refuse_conditions(&parts.headers)?;
    Query::parse(parts.uri.query())?.finish()?;
    auth.remove_client(&id).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Invalid { field, detail } => Self::malformed(field, detail),
            ClientError::NotFound => Self::new(Slug::ClientNotFound, "there is no client of this name"),
            ClientError::Busy => Self::new(Slug::TooManyRequests, "enough secrets are being hashed"),
            ClientError::Failed(error) => error.into(),
        }
    }
}

fn push_client(out: &mut Vec<u8>, client: &Client, secret: Option<&Secret>) {
    out.extend_from_slice(b"{\"id\":");
    push_string(out, &client.id);
    if let Some(secret) = secret {
        out.extend_from_slice(b",\"secret\":");
        push_string(out, secret.expose());
    }
    out.extend_from_slice(b",\"scopes\":");
    push_texts(out, &client.scopes.iter().map(|scope| scope.to_string()).collect::<Vec<_>>());
    out.extend_from_slice(b",\"streams\":");
    push_texts(out, &client.streams.texts());
    for (name, time) in [("created_at", client.created_at), ("updated_at", client.updated_at)] {
        out.extend_from_slice(format!(",\"{name}\":\"").as_bytes());
        push_timestamp(out, time);
        out.push(b'"');
    }
    out.push(b'}');
}

/// All the patterns that there may be, and some escapes.
const CLIENT_BYTES_MAX: usize = 64 << 10;
