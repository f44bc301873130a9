//! What may an administrator do? Make, change and end clients, and rotate keys.

use serde_json::Value;

use super::Auth;
use super::Client;
use super::Registered;
use super::audit;
use super::audit::Call;
use super::client;
use super::key::KeyInfo;
use super::key::KeyStoreError;
use super::key::random;
use super::policy::Patterns;
use super::policy::Principal;
use super::policy::Scopes;
use super::secret::SECRET_BYTES_MAX;
use super::secret::SECRET_CHARS_MIN;
use super::text::encode;
use crate::Error;
use crate::config::Secret;

/// What a client is to be.
#[derive(Clone, Debug)]
pub struct ClientTerms {
    /// Its secret. Without one a client keeps what it has, and a new one gets one.
    pub secret: Option<Secret>,
    /// What its tokens may do at most.
    pub scopes: Scopes,
    /// To which streams.
    pub streams: Patterns,
}

/// What has become of it.
#[derive(Clone, Debug)]
pub struct ClientChange {
    /// As it is now.
    pub client: Client,
    /// Whether there was none of this name.
    pub is_new: bool,
    /// The secret that was drawn for it. It is told once and kept nowhere.
    pub drawn_secret: Option<Secret>,
}

/// Why a client is not made or changed.
#[derive(Clone, Debug)]
pub enum ClientError {
    /// `field` breaks a rule; `detail` says which.
    Invalid {
        /// Of the request.
        field: &'static str,
        /// In words.
        detail: String,
    },
    /// There is none of this name.
    NotFound,
    /// Enough secrets are being hashed.
    Busy,
    /// What the database says.
    Failed(Error),
}

impl From<Error> for ClientError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Auth {
    /// `iss` of the tokens that this server issues.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Remembers a call that has changed something, or was to.
    pub async fn remember_call(&self, principal: &Principal, call: &Call, status: u16) {
        self.audit.changed(audit::CALLED, &audit::call_data(principal, call, status)).await;
    }

    /// Remembers a call that the token does not allow.
    pub fn remember_denied(&self, principal: &Principal, call: &Call) {
        self.audit.asked(audit::DENIED, &audit::call_data(principal, call, 403));
    }

    /// Returns once what is to be remembered is on disk.
    pub async fn flush(&self) {
        self.audit.flush().await;
    }

    /// Whether there are refresh tokens.
    #[must_use]
    pub fn has_refresh(&self) -> bool {
        self.refresh_ttl.is_some()
    }

    /// The client of this name.
    #[must_use]
    pub fn client(&self, id: &str) -> Option<Client> {
        self.books.clients(|clients| clients.get(id).cloned())
    }

    /// Clients by name, after one (exclusive). The one of the settings is not among them.
    #[must_use]
    pub fn clients(&self, after: Option<&str>, limit: usize) -> Vec<Client> {
        self.books.clients(|clients| {
            clients.list().filter(|client| after.is_none_or(|after| client.id.as_str() > after)).take(limit).cloned().collect()
        })
    }

    /// Makes a client, or changes it. Tokens that may do more than the client may end by that; a new secret alone ends none.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn put_client(&self, id: &str, terms: ClientTerms) -> Result<ClientChange, ClientError> {
        let invalid = |field, detail: String| ClientError::Invalid { field, detail };
        if !client::is_name(id) {
            return Err(invalid("id", "must be 1 to 100 letters, digits, - . and _".to_owned()));
        }
        if self.bootstrap.as_ref().is_some_and(|bootstrap| bootstrap.id == id) {
            return Err(invalid("id", "is the client of auth.bootstrap_client_id, which stands in the settings".to_owned()));
        }
        if let Some(secret) = &terms.secret
            && (secret.expose().chars().count() < SECRET_CHARS_MIN || secret.expose().len() > SECRET_BYTES_MAX)
        {
            return Err(invalid(
                "secret",
                format!("must have at least {SECRET_CHARS_MIN} characters and at most {SECRET_BYTES_MAX} bytes"),
            ));
        }
        let _changing = self.changing.lock().await;
        self.look().await;
        let before = self.client(id);
        if before.is_none() && self.books.clients(|clients| clients.list().count()) >= CLIENTS_MAX {
            return Err(invalid("id", format!("would be one more than the {CLIENTS_MAX} clients that there may be")));
        }
        let drawn_secret = (before.is_none() && terms.secret.is_none()).then(|| Secret::new(encode(random::<32>())));
        let hash = match (terms.secret.as_ref().or(drawn_secret.as_ref()), &before) {
            (Some(secret), _) => {
                let place = self.secrets.place().await.map_err(|_| ClientError::Busy)?;
                place.hash(secret.expose().to_owned()).await.map_err(|_| ClientError::Busy)?
            }
            (None, Some(before)) => before.secret.clone(),
            (None, None) => return Err(ClientError::NotFound),
        };
        let data = client::defined_data(id, &hash, terms.scopes, &terms.streams);
        self.books.write_client(&self.database, client::DEFINED, data).await?;
        let client = self.client(id).ok_or(ClientError::NotFound)?;
        Ok(ClientChange { client, is_new: before.is_none(), drawn_secret })
    }

    /// Ends a client with all its tokens.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`], [`ClientError::Failed`].
    pub async fn remove_client(&self, id: &str) -> Result<(), ClientError> {
        let _changing = self.changing.lock().await;
        self.look().await;
        if self.client(id).is_none() {
            return Err(ClientError::NotFound);
        }
        Ok(self.books.write_client(&self.database, client::REMOVED, client::removed_data(id)).await?)
    }

    /// Lets the next key sign. What was signed before still counts.
    ///
    /// # Errors
    ///
    /// [`KeyStoreError`].
    pub async fn rotate_keys(&self) -> Result<Vec<KeyInfo>, KeyStoreError> {
        self.keys.rotate(self.clock.now()).await?;
        Ok(self.key_infos())
    }

    /// All keys, for people.
    #[must_use]
    pub fn key_infos(&self) -> Vec<KeyInfo> {
        self.keys.infos(self.clock.now())
    }

    /// The public keys as a JWK set.
    #[must_use]
    pub fn jwks(&self) -> Value {
        self.keys.jwks(self.clock.now())
    }

    /// The client of this name, from the settings or from the stream.
    pub(super) fn registered(&self, id: &str) -> Option<Registered> {
        if let Some(bootstrap) = self.bootstrap.as_ref().filter(|bootstrap| bootstrap.id == id) {
            return Some(bootstrap.clone());
        }
        let client = self.client(id)?;
        let Client { id, scopes, streams, version, secret, .. } = client;
        Some(Registered { id, scopes, streams, version, secret })
    }
}

const CLIENTS_MAX: usize = 10_000;
