//! Is this token true, and does it still count? What was found once is remembered; whether it still counts is asked every time.

use std::sync::Arc;
use std::time::Duration;

use factum_storage::Timestamp;
use serde_json::Value;

use super::Auth;
use super::key::PublicKey;
use super::policy::ForeignToken;
use super::policy::OwnToken;
use super::policy::Principal;
use super::policy::TokenId;
use super::remote::Remote;
use super::token::Claims;
use super::token::Compact;
use super::token::Kind;
use super::token::Rejected;

/// Whose signature a token bears.
struct Signed {
    kind: Kind,
    /// The key, if it is one of this server's.
    key: Option<String>,
    foreign: Option<ForeignToken>,
}

/// Who may sign with the secret that both know.
pub(super) struct SharedSecret {
    pub(super) issuer: String,
    pub(super) key: PublicKey,
}

impl Auth {
    /// Who brings this token.
    ///
    /// # Errors
    ///
    /// [`Unauthenticated`], whatever is wrong with it.
    pub fn authenticate(&self, token: &str) -> Result<Arc<Principal>, Unauthenticated> {
        if let Some(principal) = self.known.find(token.as_bytes()) {
            return if self.is_live(&principal) { Ok(principal) } else { Err(Unauthenticated) };
        }
        match self.check(token) {
            Ok(principal) if self.is_live(&principal) => {
                let principal = Arc::new(principal);
                self.known.put(token.as_bytes(), &principal, self.clock.now());
                Ok(principal)
            }
            Ok(_) => {
                tracing::debug!("a token was refused: revoked");
                Err(Unauthenticated)
            }
            Err(Rejected(reason)) => {
                tracing::debug!(reason, "a token was refused");
                Err(Unauthenticated)
            }
        }
    }

    /// Who brings this token, if that was found before and it still counts: takes no time to speak of, and says nothing in the log.
    pub(crate) fn known(&self, token: &[u8]) -> Option<Arc<Principal>> {
        self.known.find(token).filter(|principal| self.is_live(principal))
    }

    /// Who brings this token; if it does not count, what others have written is looked at first, and if its issuer's key is not known, that
    /// is looked for within its bounds.
    ///
    /// # Errors
    ///
    /// As [`Auth::authenticate`].
    pub async fn authenticate_or_look(&self, token: &str) -> Result<Arc<Principal>, Unauthenticated> {
        let mut found = self.authenticate(token);
        if found.is_err() && self.look().await {
            found = self.authenticate(token);
        }
        match found {
            Err(Unauthenticated) => match self.unknown_key(token) {
                Some(remote) if remote.look_again().await => self.authenticate(token),
                Some(_) | None => Err(Unauthenticated),
            },
            found => found,
        }
    }

    /// Takes in what other servers have written to clients and revocations until now. Says whether there was anything.
    pub(super) async fn look(&self) -> bool {
        self.books.look(&self.database).await.unwrap_or_else(|error| {
            // Whoever looks from time to time tells of it, too, and what is known goes on.
            tracing::debug!(%error, "what others have written is not seen at the moment");
            false
        })
    }

    /// The issuer whose key the token names and nobody here knows.
    fn unknown_key(&self, token: &str) -> Option<&Remote> {
        let compact = Compact::read(token).ok().filter(|_| !self.remotes.is_empty())?;
        let remote = self.remote(compact.claims.get("iss")?.as_str()?)?;
        remote.key(compact.key.as_deref()?).is_none().then_some(remote)
    }

    fn remote(&self, issuer: &str) -> Option<&Remote> {
        self.remotes.iter().find(|remote| remote.issuer == issuer).map(AsRef::as_ref)
    }

    /// Whether a token that was true still counts: not expired, not revoked, its client and its key still there.
    #[must_use]
    pub fn is_live(&self, principal: &Principal) -> bool {
        let now = self.clock.now();
        let family = principal.own.as_ref().and_then(|own| own.family.as_deref());
        let is_revoked = self.books.revocations(|revocations| {
            revocations.has_token(&principal.token) || family.is_some_and(|family| revocations.has_family(family))
        });
        now < principal.expires_at
            && !is_revoked
            && principal.own.as_ref().is_none_or(|own| self.has_its_client(principal, own, now))
            && principal.foreign.as_ref().is_none_or(|foreign| self.has_its_key(principal, foreign))
    }

    /// Returns once the token counts no more.
    pub async fn until_ended(&self, principal: &Principal) {
        let mut changes = self.books.changes();
        while self.is_live(principal) {
            let left = principal.expires_at.as_micros().saturating_sub(self.clock.now().as_micros());
            let left = Duration::from_micros(u64::try_from(left).unwrap_or(0)).clamp(LOOK_AGAIN_MIN, LOOK_AGAIN_MAX);
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// What the token says, if its signature holds, whether or not it was revoked.
    pub(super) fn check(&self, token: &str) -> Result<Principal, Rejected> {
        let compact = Compact::read(token)?;
        let issuer = compact.claims.get("iss").and_then(Value::as_str).ok_or(Rejected("no issuer"))?.to_owned();
        let now = self.clock.now();
        let Signed { kind, key: key_id, foreign } = self.check_signature(&compact, &issuer, now)?;
        let audience = self.remote(&issuer).map_or(&self.audience, |remote| &remote.audience);
        let claims = Claims::read(&compact.claims, kind, audience, now)?;
        let own = match (claims.own, key_id) {
            (Some((client_version, family)), Some(key)) => Some(OwnToken { key, client_version, family }),
            (Some(_) | None, _) => None,
        };
        if kind == Kind::Own && (own.is_none() || claims.id.is_none()) {
            return Err(Rejected("one of this server's without its marks"));
        }
        let id = claims.id.unwrap_or_else(|| blake3::hash(token.as_bytes()).to_hex().to_string());
        Ok(Principal {
            subject: claims.subject,
            client: claims.client,
            scopes: claims.scopes,
            streams: claims.streams,
            token: TokenId { issuer, id },
            own,
            foreign,
            expires_at: claims.expires_at,
        })
    }

    /// Only keys of the issuer that the token names are tried, and each with its own algorithm alone.
    fn check_signature(&self, compact: &Compact<'_>, issuer: &str, now: Timestamp) -> Result<Signed, Rejected> {
        let holds = |key: &PublicKey| {
            let holds = key.verifies(&compact.algorithm, compact.signed.as_bytes(), compact.signature);
            if holds { Ok(()) } else { Err(Rejected("the signature does not hold")) }
        };
        if issuer == self.issuer {
            if compact.typ.as_deref() != Some(ACCESS_TOKEN) {
                return Err(Rejected("not an access token"));
            }
            let id = compact.key.clone().ok_or(Rejected("no kid"))?;
            let key = self.keys.public(&id, now).ok_or(Rejected("unknown key"))?;
            holds(&key)?;
            return Ok(Signed { kind: Kind::Own, key: Some(id), foreign: None });
        }
        if !matches!(compact.typ.as_deref(), None | Some("jwt" | ACCESS_TOKEN)) {
            return Err(Rejected("not an access token"));
        }
        if let Some(remote) = self.remote(issuer) {
            let id = compact.key.clone().ok_or(Rejected("no kid"))?;
            let key = remote.key(&id).ok_or(Rejected("unknown key"))?;
            holds(&key)?;
            let foreign = Some(ForeignToken { key: id, thumbprint: key.thumbprint() });
            return Ok(Signed { kind: Kind::Foreign, key: None, foreign });
        }
        let shared = self.shared_secret.as_ref().filter(|shared| shared.issuer == issuer);
        holds(&shared.ok_or(Rejected("unknown issuer"))?.key)?;
        Ok(Signed { kind: Kind::Foreign, key: None, foreign: None })
    }

    /// Whether its issuer still shows the very key that has signed it.
    fn has_its_key(&self, principal: &Principal, foreign: &ForeignToken) -> bool {
        let key = self.remote(&principal.token.issuer).and_then(|remote| remote.key(&foreign.key));
        key.is_some_and(|key| key.thumbprint() == foreign.thumbprint)
    }

    fn has_its_client(&self, principal: &Principal, own: &OwnToken, now: Timestamp) -> bool {
        let Some(id) = &principal.client else { return false };
        let is_allowed = |(scopes, streams, version): (_, &super::policy::Patterns, u64)| {
            version == own.client_version
                && super::policy::Scopes::contains_all(scopes, principal.scopes)
                && streams.contain(&principal.streams)
        };
        let is_allowed = match self.bootstrap.as_ref().filter(|bootstrap| bootstrap.id == *id) {
            Some(bootstrap) => is_allowed((bootstrap.scopes, &bootstrap.streams, bootstrap.version)),
            None => self
                .books
                .clients(|clients| clients.get(id).is_some_and(|client| is_allowed((client.scopes, &client.streams, client.version)))),
        };
        is_allowed && self.keys.verifies(&own.key, now)
    }
}

/// The token is not one that counts. Nobody is told why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthenticated;

/// `typ` of access tokens (RFC 9068).
pub(super) const ACCESS_TOKEN: &str = "at+jwt";
/// A clock that was set does not make anybody wait for long.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(60);
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(1);
