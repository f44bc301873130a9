//! How does a client get tokens, and how do they end before their time?

use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;

use factum_storage as storage;
use factum_storage::ExpectedVersion;
use factum_storage::Timestamp;
use serde_json::json;

use super::Auth;
use super::Registered;
use super::audit;
use super::key::random;
use super::policy::Patterns;
use super::policy::Principal;
use super::policy::Scope;
use super::policy::Scopes;
use super::refresh::Refresh;
use super::revocation;
use super::text::encode;
use super::token::OwnClaims;
use super::token::unsigned;
use super::verifier::ACCESS_TOKEN;
use crate::Error;

/// What a client says of itself, and from where.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Who it says that it is.
    pub client: String,
    /// The secret.
    pub secret: crate::config::Secret,
    /// Where the request comes from.
    pub address: Option<IpAddr>,
}

/// What a client wants.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// For what.
    pub grant: Grant,
    /// Scopes with spaces between them; without, all that there are for it.
    pub scope: Option<String>,
    /// Patterns with spaces between them; without, all that there are for it.
    pub streams: Option<String>,
}

/// For what a client gets a token.
#[derive(Clone, Debug)]
pub enum Grant {
    /// For itself.
    ClientCredentials,
    /// In exchange for this refresh token.
    Refresh(String),
}

/// What a client gets.
#[derive(Clone, Debug)]
pub struct TokenAnswer {
    /// The token.
    pub access_token: String,
    /// How long it counts.
    pub expires_in: Duration,
    /// What it may do.
    pub scopes: Scopes,
    /// With what to get the next one.
    pub refresh_token: Option<String>,
}

/// Why a client gets none, in the words of RFC 6749.
#[derive(Clone, Debug)]
pub enum GrantError {
    /// There is no such client, or it has another secret.
    InvalidClient,
    /// The refresh token is not one that counts.
    InvalidGrant,
    /// More than the client may have; the text says what.
    InvalidScope(String),
    /// Too many have failed, or enough are waiting.
    TooMany(Duration),
    /// What the database says.
    Failed(Error),
}

impl From<Error> for GrantError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Who wants to end or look at a token.
#[derive(Clone, Debug)]
pub enum Asker {
    /// This client: only for its own tokens.
    Client(String),
    /// Somebody with the scope `admin`, by this name: for every token.
    Administrator(String),
}

/// What a token comes to.
#[derive(Clone, Debug)]
pub struct Introspection {
    /// Who may do what with it.
    pub principal: Principal,
    /// Whether it is one to refresh with.
    pub is_refresh: bool,
}

impl Auth {
    /// Gives a client a token.
    ///
    /// # Errors
    ///
    /// [`GrantError`].
    ///
    /// # Cancellation
    ///
    /// A refresh token may be used up although nobody has got what it was exchanged for.
    pub async fn grant(&self, credentials: &Credentials, request: &TokenRequest) -> Result<TokenAnswer, GrantError> {
        let client = self.client_of(credentials).await?;
        match &request.grant {
            Grant::ClientCredentials => {
                let (scopes, streams) = within(request, client.scopes, &client.streams)?;
                let family = self.refresh_ttl.is_some().then(|| encode(random::<16>()));
                self.issue(&client, scopes, &streams, family.map(|family| (family, 0)))
            }
            Grant::Refresh(text) => self.refresh(&client, text, request).await,
        }
    }

    /// The client that these credentials are of, with its secret checked.
    ///
    /// # Errors
    ///
    /// [`GrantError::InvalidClient`], [`GrantError::TooMany`].
    pub async fn check_client(&self, credentials: &Credentials) -> Result<Asker, GrantError> {
        let client = self.client_of(credentials).await?;
        Ok(if client.scopes.contains(Scope::Admin) { Asker::Administrator(client.id) } else { Asker::Client(client.id) })
    }

    async fn client_of(&self, credentials: &Credentials) -> Result<Registered, GrantError> {
        let Credentials { client, secret, address } = credentials;
        let client: String = client.chars().take(CLIENT_CHARS_MAX).collect();
        let too_early = || self.attempts.wait(&client, *address, Instant::now()).map_or(Ok(()), |wait| Err(GrantError::TooMany(wait)));
        too_early()?;
        let place = self.secrets.place().await.map_err(|_| GrantError::TooMany(Duration::from_secs(1)))?;
        // Those who were waiting together are looked at one by one.
        too_early()?;
        self.look().await;
        let found = self.registered(&client);
        let hash = found.as_ref().map_or_else(|| self.secrets.nobody(), |found| found.secret.clone());
        let compared = place.is(secret.expose().to_owned(), hash).await;
        let (is_it, _place) = compared.map_err(|_| GrantError::TooMany(Duration::from_secs(1)))?;
        match found.filter(|_| is_it) {
            Some(found) => Ok(found),
            None => {
                self.attempts.failed(&client, *address, Instant::now());
                let from = address.map(|address| address.to_string());
                self.audit.asked(audit::CLIENT_REFUSED, &json!({ "client": client, "address": from }));
                Err(GrantError::InvalidClient)
            }
        }
    }

    async fn refresh(&self, client: &Registered, text: &str, request: &TokenRequest) -> Result<TokenAnswer, GrantError> {
        let ttl = self.refresh_ttl.ok_or(GrantError::InvalidGrant)?;
        let refresh = Refresh::read(text, &self.sealing).ok_or(GrantError::InvalidGrant)?;
        let is_its = refresh.client == client.id && refresh.client_version == client.version;
        if !is_its || refresh.expires_at <= seconds(self.clock.now()) {
            return Err(GrantError::InvalidGrant);
        }
        let had = Patterns::parse(refresh.streams.iter().map(String::as_str)).map_err(|_| GrantError::InvalidGrant)?;
        if !client.streams.contain(&had) {
            return Err(GrantError::InvalidGrant);
        }
        let (scopes, streams) = within(request, client.scopes.and(Scopes::known_in(&refresh.scope)), &had)?;
        self.use_up(&refresh, ttl).await?;
        let number = refresh.number.checked_add(1).ok_or(GrantError::InvalidGrant)?;
        self.issue(client, scopes, &streams, Some((refresh.family, number)))
    }

    /// Moves the family on, which only one can do. Who comes second has a copy, and ends it.
    async fn use_up(&self, refresh: &Refresh, ttl: Duration) -> Result<(), GrantError> {
        for _try in 0..USE_TRIES {
            let known = self.books.revocations_version();
            let next = self.books.revocations(|revocations| revocations.next(&refresh.family)).ok_or(GrantError::InvalidGrant)?;
            if refresh.number != next {
                tracing::warn!(client = refresh.client, "a refresh token was used twice: all that came of it are revoked");
                self.end_family(refresh).await?;
                let data = json!({ "client": refresh.client, "family": refresh.family, "reason": "used twice" });
                self.audit.changed(audit::TOKEN_ENDED, &data).await;
                return Err(GrantError::InvalidGrant);
            }
            let data = revocation::family_data(&refresh.family, next.checked_add(1), later(self.clock.now(), ttl));
            let expected = ExpectedVersion::Exact(known);
            match self.books.write_revocation(&self.database, revocation::REFRESHED, data, expected).await {
                Err(Error::Storage(storage::Error::Conflict(_))) => self.books.revocations_behind(&self.database, known).await?,
                done => return Ok(done?),
            }
        }
        Err(GrantError::TooMany(Duration::from_secs(1)))
    }

    async fn end_family(&self, refresh: &Refresh) -> Result<(), Error> {
        let expires = Timestamp::from_micros(refresh.expires_at.saturating_mul(SECOND));
        // Access tokens of the family may count for longer than its last refresh token.
        let until = expires.max(later(self.clock.now(), self.token_ttl));
        let data = revocation::family_data(&refresh.family, None, until);
        self.books.write_revocation(&self.database, revocation::FAMILY_REVOKED, data, ExpectedVersion::Any).await
    }

    fn issue(
        &self,
        client: &Registered,
        scopes: Scopes,
        streams: &Patterns,
        family: Option<(String, u32)>,
    ) -> Result<TokenAnswer, GrantError> {
        let issued_at_s = seconds(self.clock.now());
        let lasting = |ttl: Duration| issued_at_s.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
        let id = encode(random::<16>());
        let claims = OwnClaims {
            issuer: &self.issuer,
            audience: &self.audience,
            client: &client.id,
            client_version: client.version,
            id: &id,
            scopes,
            streams,
            family: family.as_ref().map(|(family, _)| family.as_str()),
            issued_at_s,
            expires_at_s: lasting(self.token_ttl),
        };
        let claims = claims.to_json();
        let signed = self.keys.sign(|algorithm, key| {
            let header = json!({ "alg": algorithm.as_str(), "kid": key, "typ": ACCESS_TOKEN });
            unsigned(&header, &claims)
        });
        let (message, signature) = signed.map_err(|error| Error::Unavailable { shard: 0, detail: error.to_string() })?;
        let data = json!({
            "client": client.id,
            "token": id,
            "family": family.as_ref().map(|(family, _)| family),
            "scope": scopes.to_string(),
            "streams": streams.texts(),
        });
        self.audit.asked(audit::TOKEN_ISSUED, &data);
        let refresh = family.zip(self.refresh_ttl).map(|((family, number), ttl)| Refresh {
            family,
            number,
            client: client.id.clone(),
            client_version: client.version,
            scope: scopes.to_string(),
            streams: streams.texts(),
            expires_at: lasting(ttl),
        });
        Ok(TokenAnswer {
            access_token: format!("{message}.{}", encode(signature)),
            expires_in: self.token_ttl,
            scopes,
            refresh_token: refresh.map(|refresh| refresh.write(&self.sealing)),
        })
    }

    /// Ends a token before its time: an access token alone, a refresh token with all that comes and came of it. One that does not count
    /// anyway, or is not the asker's, is left alone. Returns once nobody is let in by it here.
    ///
    /// # Errors
    ///
    /// As [`crate::Database::append`].
    pub async fn revoke(&self, asker: &Asker, token: &str) -> Result<(), Error> {
        if let Some(refresh) = Refresh::read(token, &self.sealing) {
            let is_new = self.books.revocations(|revocations| !revocations.has_family(&refresh.family));
            if is_new && asker.may_see(Some(&refresh.client)) {
                self.end_family(&refresh).await?;
                let data = json!({ "client": refresh.client, "family": refresh.family, "by": asker.name() });
                self.audit.changed(audit::TOKEN_ENDED, &data).await;
            }
            return Ok(());
        }
        let Ok(principal) = self.check(token) else { return Ok(()) };
        let is_new = self.books.revocations(|revocations| !revocations.has_token(&principal.token));
        if !is_new || !asker.may_see(own_client(&principal)) {
            return Ok(());
        }
        let data = revocation::token_data(&principal.token, principal.expires_at);
        self.books.write_revocation(&self.database, revocation::TOKEN_REVOKED, data, ExpectedVersion::Any).await?;
        let data = json!({
            "client": principal.client,
            "issuer": principal.token.issuer,
            "token": principal.token.id,
            "by": asker.name(),
        });
        self.audit.changed(audit::TOKEN_ENDED, &data).await;
        Ok(())
    }

    /// What a token comes to, if it counts and the asker may know.
    #[must_use]
    pub fn introspect(&self, asker: &Asker, token: &str) -> Option<Introspection> {
        if let Some(refresh) = Refresh::read(token, &self.sealing) {
            let principal = self.refreshable(refresh)?;
            return asker.may_see(own_client(&principal)).then_some(Introspection { principal, is_refresh: true });
        }
        let principal = self.check(token).ok().filter(|principal| self.is_live(principal))?;
        asker.may_see(own_client(&principal)).then_some(Introspection { principal, is_refresh: false })
    }

    /// Who a refresh token would be exchanged for, if it is the next one of its family.
    fn refreshable(&self, refresh: Refresh) -> Option<Principal> {
        let client = self.registered(&refresh.client).filter(|client| client.version == refresh.client_version)?;
        let is_next = self.books.revocations(|revocations| revocations.next(&refresh.family)) == Some(refresh.number);
        let streams = Patterns::parse(refresh.streams.iter().map(String::as_str)).ok()?;
        let counts = is_next && seconds(self.clock.now()) < refresh.expires_at && client.streams.contain(&streams);
        counts.then(|| Principal {
            subject: client.id.clone(),
            client: Some(client.id),
            scopes: client.scopes.and(Scopes::known_in(&refresh.scope)),
            streams,
            token: super::policy::TokenId { issuer: self.issuer.clone(), id: format!("{}.{}", refresh.family, refresh.number) },
            own: Some(super::policy::OwnToken { key: String::new(), client_version: client.version, family: Some(refresh.family) }),
            foreign: None,
            expires_at: Timestamp::from_micros(refresh.expires_at.saturating_mul(SECOND)),
        })
    }
}

impl Asker {
    /// For who reads what was done.
    fn name(&self) -> &str {
        match self {
            Self::Client(name) | Self::Administrator(name) => name,
        }
    }

    fn may_see(&self, client: Option<&str>) -> bool {
        match self {
            Self::Administrator(_) => true,
            Self::Client(own) => client == Some(own),
        }
    }
}

/// The client of this server that a token is of.
fn own_client(principal: &Principal) -> Option<&str> {
    principal.own.as_ref().and(principal.client.as_deref())
}

/// What is asked for, if that is no more than there is.
fn within(request: &TokenRequest, scopes: Scopes, streams: &Patterns) -> Result<(Scopes, Patterns), GrantError> {
    let mut asked = Scopes::NONE;
    for text in request.scope.as_deref().unwrap_or_default().split(' ').filter(|text| !text.is_empty()) {
        match Scope::parse(text).filter(|scope| scopes.contains(*scope)) {
            Some(scope) => asked = asked.with(scope),
            None => return Err(GrantError::InvalidScope("a scope is not one of the client's".to_owned())),
        }
    }
    let texts: Vec<&str> = request.streams.as_deref().unwrap_or_default().split(' ').filter(|text| !text.is_empty()).collect();
    let narrower = match texts.as_slice() {
        [] => streams.clone(),
        _ => Patterns::parse(texts.into_iter()).map_err(|error| GrantError::InvalidScope(format!("streams: {error}")))?,
    };
    if !streams.contain(&narrower) {
        return Err(GrantError::InvalidScope("streams: one of them is not the client's".to_owned()));
    }
    Ok((if request.scope.is_some() { asked } else { scopes }, narrower))
}

fn seconds(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(SECOND)
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_micros(time.as_micros().saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
}

const SECOND: i64 = 1_000_000;
/// Longer names are nobody's, and are not kept to be counted.
const CLIENT_CHARS_MAX: usize = 100;
/// Others may write to the stream at the same time.
const USE_TRIES: usize = 8;
