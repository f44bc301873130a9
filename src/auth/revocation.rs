//! Which tokens count no more although they have not expired? The fold of `$tokens`.
//!
//! A refresh token says how often it was changed for another. Of each family that was ever refreshed, the number that is next is kept:
//! whoever brings an older one has a copy, and the whole family ends.

use std::collections::HashMap;

use bytes::Bytes;
use factum_storage::RecordedEvent;
use factum_storage::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use super::policy::TokenId;

/// What was revoked, and how far families of refresh tokens are.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    tokens: HashMap<TokenId, Timestamp>,
    families: HashMap<String, Family>,
}

#[derive(Clone, Copy, Debug)]
struct Family {
    /// The number of the refresh token that is next; `None`: the family has ended.
    next: Option<u32>,
    expires_at: Timestamp,
}

impl Revocations {
    pub(super) fn has_token(&self, id: &TokenId) -> bool {
        self.tokens.contains_key(id)
    }

    pub(super) fn has_family(&self, family: &str) -> bool {
        self.families.get(family).is_some_and(|family| family.next.is_none())
    }

    /// The number of the family's refresh token that is next; `None`: it has ended.
    pub(super) fn next(&self, family: &str) -> Option<u32> {
        self.families.get(family).map_or(Some(0), |family| family.next)
    }

    /// Forgets what has expired by itself.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.tokens.retain(|_, until| now < *until);
        self.families.retain(|_, family| now < family.expires_at);
    }

    /// Takes the next event.
    ///
    /// # Errors
    ///
    /// What is wrong with its data; the event then changes nothing.
    pub(super) fn apply(&mut self, event: &RecordedEvent) -> Result<(), String> {
        match event.event_type() {
            TOKEN_REVOKED => {
                let data: TokenData = serde_json::from_slice(event.data()).map_err(|error| error.to_string())?;
                let id = TokenId { issuer: data.issuer, id: data.id };
                self.tokens.insert(id, Timestamp::from_micros(data.expires_at));
            }
            FAMILY_REVOKED | REFRESHED => {
                let data: FamilyData = serde_json::from_slice(event.data()).map_err(|error| error.to_string())?;
                let before = self.families.get(&data.family).copied();
                let has_ended = before.is_some_and(|before| before.next.is_none());
                let next = if event.event_type() == REFRESHED && !has_ended { data.next } else { None };
                let until = before.map_or(data.expires_at, |before| before.expires_at.as_micros().max(data.expires_at));
                self.families.insert(data.family, Family { next, expires_at: Timestamp::from_micros(until) });
            }
            other => return Err(format!("unknown type {other:?}")),
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct TokenData {
    issuer: String,
    id: String,
    expires_at: i64,
}

#[derive(Serialize, Deserialize)]
struct FamilyData {
    family: String,
    next: Option<u32>,
    expires_at: i64,
}

/// The data of an event that revokes an access token, which would have expired then.
pub(super) fn token_data(token: &TokenId, expires_at: Timestamp) -> Bytes {
    let data = TokenData { issuer: token.issuer.clone(), id: token.id.clone(), expires_at: expires_at.as_micros() };
    serde_json::to_vec(&data).expect("text is JSON").into()
}

/// The data of an event that moves a family on, or ends it (`next` is `None`).
pub(super) fn family_data(family: &str, next: Option<u32>, expires_at: Timestamp) -> Bytes {
    let data = FamilyData { family: family.to_owned(), next, expires_at: expires_at.as_micros() };
    serde_json::to_vec(&data).expect("text is JSON").into()
}

/// Where revocations are kept.
pub(super) const STREAM: &str = "$tokens";
pub(super) const TOKEN_REVOKED: &str = "TokenRevoked";
pub(super) const FAMILY_REVOKED: &str = "FamilyRevoked";
pub(super) const REFRESHED: &str = "Refreshed";
