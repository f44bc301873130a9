//! What do the claims say, and do they hold now? Every one that is looked at has one type and its bounds.

use factum_storage::Timestamp;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::Rejected;
use crate::auth::policy::Patterns;
use crate::auth::policy::Scope;
use crate::auth::policy::Scopes;

/// Whose token it is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of this server: `typ` must say so.
    Own,
    /// One of somebody else, who may not know of `at+jwt`.
    Foreign,
}

/// What a token says, as far as it is of use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) subject: String,
    pub(crate) client: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) scopes: Scopes,
    pub(crate) streams: Patterns,
    pub(crate) expires_at: Timestamp,
    pub(crate) own: Option<(u64, Option<String>)>,
}

/// What a token of this server says.
pub(crate) struct OwnClaims<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) client: &'a str,
    pub(crate) client_version: u64,
    pub(crate) id: &'a str,
    pub(crate) scopes: Scopes,
    pub(crate) streams: &'a Patterns,
    pub(crate) family: Option<&'a str>,
    pub(crate) issued_at_s: i64,
    pub(crate) expires_at_s: i64,
}

impl Claims {
    /// Reads and checks the claims of a token whose signature holds and whose issuer is known.
    ///
    /// # Errors
    ///
    /// [`Rejected`] says which claim.
    pub(crate) fn read(claims: &Map<String, Value>, kind: Kind, audience: &str, now: Timestamp) -> Result<Self, Rejected> {
        check_audience(claims, audience)?;
        if kind == Kind::Foreign && is_about_identity(claims) {
            return Err(Rejected("a token that says who somebody is, not what they may do"));
        }
        let expires_at_s = check_times(claims, now.as_micros().div_euclid(SECOND))?;
        let client = text(claims, "client_id")?.or(text(claims, "azp")?);
        let subject = text(claims, "sub")?.or_else(|| client.clone()).ok_or(Rejected("no sub"))?;
        let own = match kind {
            Kind::Own => {
                let version = claims.get("client_version").and_then(Value::as_u64).ok_or(Rejected("no client_version"))?;
                Some((version, text(claims, "family")?))
            }
            Kind::Foreign => None,
        };
        Ok(Self {
            subject,
            client,
            id: text(claims, "jti")?,
            scopes: scopes(claims)?,
            streams: streams(claims)?,
            expires_at: Timestamp::from_micros(expires_at_s.saturating_mul(SECOND)),
            own,
        })
    }
}

impl OwnClaims<'_> {
    /// As they stand in the token.
    pub(crate) fn to_json(&self) -> Value {
        let mut claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": self.client,
            "client_id": self.client,
            "client_version": self.client_version,
            "jti": self.id,
            "iat": self.issued_at_s,
            "exp": self.expires_at_s,
            "scope": self.scopes.to_string(),
        });
        if let Some(map) = claims.as_object_mut() {
            if !self.streams.are_all() {
                map.insert("streams".to_owned(), self.streams.texts().into());
            }
            map.extend(self.family.map(|family| ("family".to_owned(), family.into())));
        }
        claims
    }
}

fn check_audience(claims: &Map<String, Value>, audience: &str) -> Result<(), Rejected> {
    let is_meant = match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(list)) => list.iter().all(Value::is_string) && list.iter().any(|one| one == audience),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    };
    if is_meant { Ok(()) } else { Err(Rejected("for another audience")) }
}

/// What identity providers put into tokens for who logs in, and never into those for an interface.
fn is_about_identity(claims: &Map<String, Value>) -> bool {
    ["nonce", "at_hash", "c_hash", "s_hash"].iter().any(|name| claims.contains_key(*name))
        || claims.get("token_use").is_some_and(|usage| usage != "access")
        || claims.get("typ").is_some_and(|typ| typ == "ID" || typ == "Refresh" || typ == "Offline")
}

/// Gives `exp`.
fn check_times(claims: &Map<String, Value>, now_s: i64) -> Result<i64, Rejected> {
    let expires = seconds(claims, "exp")?.ok_or(Rejected("no exp"))?;
    if expires <= now_s {
        return Err(Rejected("expired"));
    }
    if expires - now_s > LIFE_S_MAX {
        return Err(Rejected("exp too far away"));
    }
    for (name, why) in [("nbf", "not valid yet"), ("iat", "issued in the future")] {
        if seconds(claims, name)?.is_some_and(|time| time > now_s + SKEW_S) {
            return Err(Rejected(why));
        }
    }
    Ok(expires)
}

/// A whole number of seconds since 1970. A text, a fraction or less than nothing is none, and an error: not a claim that is absent.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, Rejected> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => {
            value.as_i64().filter(|seconds| (0..=SECONDS_MAX).contains(seconds)).map(Some).ok_or(Rejected("a time that is none"))
        }
    }
}

fn text(claims: &Map<String, Value>, name: &str) -> Result<Option<String>, Rejected> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if (1..=TEXT_BYTES_MAX).contains(&text.len()) => Ok(Some(text.clone())),
        Some(_) => Err(Rejected("a claim that is no short text")),
    }
}

/// `scope`; `scp` (Azure, Okta) and `permissions` (Auth0) say the same elsewhere.
fn scopes(claims: &Map<String, Value>) -> Result<Scopes, Rejected> {
    let mut all = Scopes::NONE;
    for name in ["scope", "scp", "permissions"] {
        let found = match claims.get(name) {
            None => continue,
            Some(Value::String(text)) => Scopes::known_in(text),
            Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
                list.iter().filter_map(|one| one.as_str().and_then(Scope::parse)).collect()
            }
            Some(_) => return Err(Rejected("scopes that are none")),
        };
        all = found.iter().fold(all, Scopes::with);
    }
    Ok(all)
}

fn streams(claims: &Map<String, Value>) -> Result<Patterns, Rejected> {
    let texts: Vec<&str> = match claims.get("streams") {
        None => return Ok(Patterns::all()),
        Some(Value::String(text)) => text.split(' ').filter(|text| !text.is_empty()).collect(),
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => list.iter().filter_map(Value::as_str).collect(),
        Some(_) => return Err(Rejected("streams that are none")),
    };
    Patterns::parse(texts.into_iter()).map_err(|_| Rejected("streams that are none"))
}

const SECOND: i64 = 1_000_000;
/// Clocks of two machines may differ by so much.
const SKEW_S: i64 = 30;
/// A token that counts for longer is a mistake.
const LIFE_S_MAX: i64 = 10 * 366 * 86_400;
/// The year 9999.
const SECONDS_MAX: i64 = 253_402_300_799;
const TEXT_BYTES_MAX: usize = 256;
