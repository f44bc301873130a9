//! How does a client get tokens, and end them? The one corner of the interface that speaks as RFC 6749, 7009 and 7662 say.

use std::time::Duration;

use axum::extract::Request;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use http::request::Parts;
use serde_json::Value;
use serde_json::json;

use crate::auth::Asker;
use crate::auth::Auth;
use crate::auth::Credentials;
use crate::auth::Grant;
use crate::auth::GrantError;
use crate::auth::Introspection;
use crate::auth::TokenRequest;
use crate::auth::policy::Scope;
use crate::config::Secret;
use crate::http::Shared;
use crate::http::access;
use crate::http::access::Sender;
use crate::http::answer;
use crate::http::body::read_at_most;
use crate::http::problem::Problem;
use crate::http::problem::Slug;
use crate::http::query::Query;
use crate::http::query::percent_decode;
use crate::http::request::media_type;
use crate::http::schema;

/// Get an access token: with a client's name and secret (`Authorization: Basic`, or `client_id` and `client_secret` in the form).
#[utoipa::path(
    post, path = "/oauth/token", tag = "identity",
    params(("Authorization" = Option<String>, Header, description = "`Basic` with name and secret; or both in the form")),
    request_body(content = schema::TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token", body = schema::Token),
        (status = 400, description = "`invalid_request`, `invalid_grant`, `invalid_scope`, `unsupported_grant_type`", body = schema::OAuthFault),
        (status = 401, description = "`invalid_client`", body = schema::OAuthFault),
        (status = 404, description = "`path-not-found`: authentication is off", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "`temporarily_unavailable`: too many have failed; see `Retry-After`", body = schema::OAuthFault),
        (status = 503, description = "`server_error`: the log can't be written", body = schema::OAuthFault),
    ),
)]
pub(crate) async fn token(State(app): State<Shared>, request: Request) -> Result<Response, Fault> {
    let auth = enabled(&app)?;
    let answered = grant(&app, auth, request).await;
    access::granted(answered.as_ref().map_or_else(|fault| fault.error, |_| "issued"));
    answered
}

async fn grant(app: &Shared, auth: &Auth, request: Request) -> Result<Response, Fault> {
    let (parts, mut form) = read_form(app, request).await?;
    let credentials = credentials(&parts, &mut form)?;
    let grant = match take(&mut form, "grant_type")?.as_deref() {
        Some("client_credentials") => Grant::ClientCredentials,
        Some("refresh_token") => Grant::Refresh(take(&mut form, "refresh_token")?.ok_or_else(|| invalid("refresh_token is missing"))?),
        Some(_) => return Err(Fault::of(StatusCode::BAD_REQUEST, "unsupported_grant_type", "client_credentials or refresh_token")),
        None => return Err(invalid("grant_type is missing")),
    };
    let request = TokenRequest { grant, scope: take(&mut form, "scope")?, streams: take(&mut form, "streams")? };
    let issued = auth.grant(&credentials, &request).await?;
    let mut body = json!({
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in.as_secs(),
        "scope": issued.scopes.to_string(),
    });
    if let (Some(map), Some(refresh)) = (body.as_object_mut(), issued.refresh_token) {
        map.insert("refresh_token".to_owned(), refresh.into());
    }
    Ok(unstored(StatusCode::OK, &body))
}

/// End a token before its time (RFC 7009): an access token alone, a refresh token with everything that came of it. A client may end its
/// own; one with the scope `admin`, or whoever brings a token with it, every one.
#[utoipa::path(
    post, path = "/oauth/revoke", tag = "identity",
    params(("Authorization" = Option<String>, Header, description = "`Basic` with a client's name and secret, or `Bearer` with a token that has the scope `admin`")),
    request_body(content = schema::TokenOfForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "It does not count, whether or not it did before"),
        (status = 400, description = "`invalid_request`", body = schema::OAuthFault),
        (status = 401, description = "`invalid_client`, `invalid_token`", body = schema::OAuthFault),
        (status = 404, description = "`path-not-found`: authentication is off", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "`temporarily_unavailable`", body = schema::OAuthFault),
        (status = 503, description = "`server_error`", body = schema::OAuthFault),
    ),
)]
pub(crate) async fn revoke(State(app): State<Shared>, request: Request) -> Result<Response, Fault> {
    let auth = enabled(&app)?;
    let (parts, mut form) = read_form(&app, request).await?;
    let asker = asker(auth, &parts, &mut form).await?;
    let token = take(&mut form, "token")?.ok_or_else(|| invalid("token is missing"))?;
    auth.revoke(&asker, &token).await.map_err(GrantError::Failed)?;
    Ok(unstored(StatusCode::OK, &json!({})))
}

/// Ask what a token comes to (RFC 7662). A client may ask about its own; one with the scope `admin`, or whoever brings a token with it,
/// about every one.
#[utoipa::path(
    post, path = "/oauth/introspect", tag = "identity",
    params(("Authorization" = Option<String>, Header, description = "`Basic` with a client's name and secret, or `Bearer` with a token that has the scope `admin`")),
    request_body(content = schema::TokenOfForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "`active`, and what else there is to say if it is", body = schema::Introspection),
        (status = 400, description = "`invalid_request`", body = schema::OAuthFault),
        (status = 401, description = "`invalid_client`, `invalid_token`", body = schema::OAuthFault),
        (status = 404, description = "`path-not-found`: authentication is off", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "`temporarily_unavailable`", body = schema::OAuthFault),
    ),
)]
pub(crate) async fn introspect(State(app): State<Shared>, request: Request) -> Result<Response, Fault> {
    let auth = enabled(&app)?;
    let (parts, mut form) = read_form(&app, request).await?;
    let asker = asker(auth, &parts, &mut form).await?;
    let token = take(&mut form, "token")?.ok_or_else(|| invalid("token is missing"))?;
    let body = auth.introspect(&asker, &token).map_or_else(|| json!({ "active": false }), |found| introspected(&found));
    Ok(unstored(StatusCode::OK, &body))
}

fn introspected(found: &Introspection) -> Value {
    let principal = &found.principal;
    let mut body = json!({
        "active": true,
        "scope": principal.scopes.to_string(),
        "sub": principal.subject,
        "iss": principal.token.issuer,
        "jti": principal.token.id,
        "exp": principal.expires_at.as_micros().div_euclid(1_000_000),
        "token_type": if found.is_refresh { "refresh_token" } else { "Bearer" },
    });
    if let Some(map) = body.as_object_mut() {
        map.extend(principal.client.as_ref().map(|client| ("client_id".to_owned(), client.as_str().into())));
        if !principal.streams.are_all() {
            map.insert("streams".to_owned(), principal.streams.texts().into());
        }
    }
    body
}

/// A refusal in the words of RFC 6749.
pub(crate) struct Fault {
    error: &'static str,
    response: Box<Response>,
}

impl Fault {
    fn of(status: StatusCode, error: &'static str, description: &str) -> Self {
        let mut response = unstored(status, &json!({ "error": error, "error_description": description }));
        if status == StatusCode::UNAUTHORIZED {
            let scheme = if error == "invalid_token" { "Bearer" } else { "Basic realm=\"factum\"" };
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        Self { error, response: Box::new(response) }
    }

    fn too_many(wait: Duration) -> Self {
        let mut fault =
            Self::of(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", "too many attempts; wait for Retry-After seconds");
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
        fault.response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        fault
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        let response = Box::new(problem.into_response());
        let error = if response.status().is_server_error() { "server_error" } else { "invalid_request" };
        Self { error, response }
    }
}

impl From<GrantError> for Fault {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::InvalidClient => {
                Self::of(StatusCode::UNAUTHORIZED, "invalid_client", "there is no such client, or its secret is another")
            }
            GrantError::InvalidGrant => Self::of(StatusCode::BAD_REQUEST, "invalid_grant", "the refresh token does not count"),
            GrantError::InvalidScope(detail) => Self::of(StatusCode::BAD_REQUEST, "invalid_scope", &detail),
            GrantError::TooMany(wait) => Self::too_many(wait),
            GrantError::Failed(error) => {
                // What the database says of itself has its own answers; they are known to be retried.
                let problem = Problem::from(error);
                tracing::error!(slug = problem.slug().entry().slug, cause = problem.cause(), "tokens cannot be issued or ended");
                let mut fault = Self::of(StatusCode::SERVICE_UNAVAILABLE, "server_error", "the log cannot be written at the moment");
                fault.response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(1));
                fault
            }
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        *self.response
    }
}

/// An answer that no cache keeps.
fn unstored(status: StatusCode, body: &Value) -> Response {
    let mut response = answer::whole(status, answer::JSON, Bytes::from(body.to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// Who lets people in here.
///
/// # Errors
///
/// 404 where nobody is asked.
pub(crate) fn enabled(app: &Shared) -> Result<&Auth, Problem> {
    app.auth.as_deref().ok_or_else(|| Problem::new(Slug::PathNotFound, "authentication is off here; `auth.enabled = true` turns it on"))
}

async fn read_form(app: &Shared, request: Request) -> Result<(Parts, Query), Fault> {
    let (parts, body) = request.into_parts();
    if parts.uri.query().is_some_and(|query| !query.is_empty()) {
        // Secrets in addresses end up in logs.
        return Err(invalid("parameters stand in the body, not in the address"));
    }
    if media_type(&parts.headers) != "application/x-www-form-urlencoded" {
        return Err(invalid("Content-Type must be application/x-www-form-urlencoded"));
    }
    let body = read_at_most(&parts.headers, body, &app.settings, FORM_BYTES_MAX).await?;
    let text = std::str::from_utf8(&body).map_err(|_| invalid("the form is not UTF-8"))?;
    let form = Query::parse(Some(text)).map_err(|_| invalid("the form cannot be read"))?;
    Ok((parts, form))
}

/// A parameter; what is empty counts as not there, as RFC 6749 has it.
fn take(form: &mut Query, name: &str) -> Result<Option<String>, Fault> {
    Ok(form.text(name).map_err(|_| invalid("a parameter is given more than once"))?.filter(|text| !text.is_empty()))
}

async fn asker(auth: &Auth, parts: &Parts, form: &mut Query) -> Result<Asker, Fault> {
    let is_bearer =
        single(&parts.headers)?.is_some_and(|value| value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer ")));
    if !is_bearer {
        return Ok(auth.check_client(&credentials(parts, form)?).await?);
    }
    let refused = Fault::of(StatusCode::UNAUTHORIZED, "invalid_token", "this needs a token that counts and has the scope admin");
    match access::authenticate(auth, &parts.headers).await {
        Ok(principal) if principal.scopes.contains(Scope::Admin) && principal.streams.are_all() => {
            Ok(Asker::Administrator(principal.client.as_ref().unwrap_or(&principal.subject).clone()))
        }
        Ok(_) | Err(_) => Err(refused),
    }
}

fn credentials(parts: &Parts, form: &mut Query) -> Result<Credentials, Fault> {
    let address = Sender::address(&parts.extensions);
    let (id, secret) = (take(form, "client_id")?, take(form, "client_secret")?);
    match (single(&parts.headers)?, id, secret) {
        (Some(value), id, None) => {
            let (client, secret) = basic(value).ok_or(GrantError::InvalidClient)?;
            if id.is_some_and(|id| id != client) {
                return Err(invalid("client_id is another than that of the Authorization header"));
            }
            Ok(Credentials { client, secret: Secret::new(secret), address })
        }
        (Some(_), _, Some(_)) => Err(invalid("the client authenticates in two ways at once")),
        (None, Some(client), Some(secret)) => Ok(Credentials { client, secret: Secret::new(secret), address }),
        (None, _, _) => Err(GrantError::InvalidClient.into()),
    }
}

fn single(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(invalid("Authorization is given more than once"));
    }
    first.map(|value| value.to_str().map_err(|_| invalid("Authorization is not ASCII"))).transpose()
}

/// Name and secret, each of them form-encoded before they were put together (RFC 6749, 2.3.1).
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (client, secret) = text.split_once(':')?;
    Some((percent_decode(client, true).ok()?, percent_decode(secret, true).ok()?))
}

fn invalid(description: &str) -> Fault {
    Fault::of(StatusCode::BAD_REQUEST, "invalid_request", description)
}

/// A refresh token with all the patterns that there may be, and the rest of the form.
const FORM_BYTES_MAX: usize = 64 << 10;
