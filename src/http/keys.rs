//! Which keys sign tokens, and how do others take their place?

use axum::extract::Request;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::auth::KeyInfo;
use crate::auth::KeyStoreError;
use crate::http::Shared;
use crate::http::answer;
use crate::http::answer::ReadAnswer;
use crate::http::conditional::refuse_conditions;
use crate::http::oauth::enabled;
use crate::http::problem::Problem;
use crate::http::problem::Slug;
use crate::http::query::Query;
use crate::http::schema;
use crate::subscription::json_text::push_string;
use crate::subscription::time::push_timestamp;

/// List the keys that sign and verify tokens of this server. Private keys are in no answer.
#[utoipa::path(
    get, path = "/v1/keys", tag = "identity",
    responses(
        (status = 200, description = "Keys, in the order in which they were made", body = schema::KeyList),
        (status = 404, description = "`path-not-found`: authentication is off", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Query::parse(parts.uri.query())?.finish()?;
    let keys = enabled(&app)?.key_infos();
    Ok(ReadAnswer::json(keys_json(&keys)).into_response(&parts.headers).await)
}

/// Let the next key sign. The one before verifies what it has signed until the last of that has expired, and nobody is logged out.
#[utoipa::path(
    post, path = "/v1/keys/rotate", tag = "identity",
    responses(
        (status = 200, description = "Keys, as they are now", body = schema::KeyList),
        (status = 404, description = "`path-not-found`: authentication is off", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "`too-many-requests`: enough keys are retiring", body = schema::ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "`internal-error`: the keys can't be written; those before are in use", body = schema::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn rotate(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Query::parse(parts.uri.query())?.finish()?;
    refuse_conditions(&parts.headers)?;
    let keys = enabled(&app)?.rotate_keys().await.map_err(|error| match error {
        KeyStoreError::TooMany(_) => Problem::new(Slug::TooManyRequests, error.to_string()),
        KeyStoreError::Io { .. }
        | KeyStoreError::Short(_)
        | KeyStoreError::Unreadable { .. }
        | KeyStoreError::Crypto(_)
        | KeyStoreError::Interrupted(_) => {
            let cause = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
            Problem::new(Slug::InternalError, "the keys could not be changed").caused_by(&format!("{error}{cause}"))
        }
    })?;
    tracing::info!("the keys that sign tokens were changed");
    Ok(answer::whole(StatusCode::OK, answer::JSON, keys_json(&keys)))
}

fn keys_json(keys: &[KeyInfo]) -> Vec<u8> {
    let mut out = Vec::with_capacity(keys.len() * 200 + 16);
    out.extend_from_slice(b"{\"keys\":[");
    for (number, key) in keys.iter().enumerate() {
        out.extend_from_slice(if number > 0 { b",{\"kid\":" } else { b"{\"kid\":" });
        push_string(&mut out, &key.id);
        out.extend_from_slice(format!(",\"algorithm\":\"{}\",\"state\":\"{}\"", key.algorithm.as_str(), key.state.as_str()).as_bytes());
        for (name, time) in
            [("created_at", Some(key.created_at)), ("activated_at", key.activated_at), ("verifies_until", key.verifies_until)]
        {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            match time {
                Some(time) => {
                    out.push(b'"');
                    push_timestamp(&mut out, time);
                    out.push(b'"');
                }
                None => out.extend_from_slice(b"null"),
            }
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}
