//! What does somebody need to know who has to do with tokens of this server? Its public keys, and where its endpoints are.

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use http::HeaderValue;
use http::header;
use serde_json::json;

use crate::auth::policy::Scope;
use crate::http::Shared;
use crate::http::answer::ReadAnswer;
use crate::http::oauth::enabled;
use crate::http::problem::Problem;
use crate::http::schema;

/// The public keys that tokens of this server are checked with (RFC 7517), the next one among them before it signs.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "identity",
    params(("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "A JWK set; keep it for five minutes, and fetch it again for a `kid` that is not in it", body = schema::KeySet, headers(("ETag" = String), ("Cache-Control" = String))),
        (status = 304, description = "Not modified"),
        (status = 404, description = "`path-not-found`: authentication is off", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn jwks(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let body = enabled(&app)?.jwks().to_string().into_bytes();
    Ok(cached(&parts.headers, body).await)
}

/// Where this server's endpoints are, and what they take (RFC 8414).
#[utoipa::path(
    get, path = "/.well-known/oauth-authorization-server", tag = "identity",
    params(("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "The metadata", body = serde_json::Value, headers(("ETag" = String), ("Cache-Control" = String))),
        (status = 304, description = "Not modified"),
        (status = 404, description = "`path-not-found`: authentication is off", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn metadata(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let auth = enabled(&app)?;
    let at = |path: &str| format!("{}{path}", auth.issuer().trim_end_matches('/'));
    let methods = ["client_secret_basic", "client_secret_post"];
    let grants: &[&str] = if auth.has_refresh() { &["client_credentials", "refresh_token"] } else { &["client_credentials"] };
    let body = json!({
        "issuer": auth.issuer(),
        "token_endpoint": at("/oauth/token"),
        "revocation_endpoint": at("/oauth/revoke"),
        "introspection_endpoint": at("/oauth/introspect"),
        "jwks_uri": at("/.well-known/jwks.json"),
        "scopes_supported": Scope::ALL.map(Scope::as_str),
        "grant_types_supported": grants,
        // There is no endpoint that a person is sent to.
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods,
    });
    Ok(cached(&parts.headers, body.to_string().into_bytes()).await)
}

async fn cached(headers: &HeaderMap, body: Vec<u8>) -> Response {
    let etag = Some(format!("W/\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body)));
    let mut response = ReadAnswer { etag, ..ReadAnswer::json(body) }.into_response(headers).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
