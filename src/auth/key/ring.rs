//! Which key is in which state, and when does it change? No clock and no file in here: times come from outside.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use factum_storage::Timestamp;
use serde_json::Value;

use super::pair;
use super::pair::Pair;
use super::public::PublicKey;
use super::store::KeyStoreError;
use crate::auth::text::encode;
use crate::config::SigningAlgorithm;

/// What a key is for, at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is published, so that everybody knows it before it signs.
    Next,
    /// It signs.
    Active,
    /// It verifies what it has signed until the last of that has expired.
    Retiring,
}

impl KeyState {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retiring => "retiring",
        }
    }

    /// The one that is written so.
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Next, Self::Active, Self::Retiring].into_iter().find(|state| state.as_str() == text)
    }
}

/// What may be told of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// `kid`.
    pub id: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// What it is for.
    pub state: KeyState,
    /// When it was drawn.
    pub created_at: Timestamp,
    /// When it began to sign.
    pub activated_at: Option<Timestamp>,
    /// Until when it verifies, once it signs no more.
    pub verifies_until: Option<Timestamp>,
}

/// All keys of a server.
#[derive(Clone, Default)]
pub(super) struct Ring {
    pub(super) keys: Vec<Arc<Key>>,
    /// The longest time that a token of the active key may count.
    pub(super) token_ttl: Duration,
}

/// One key with its history.
pub(super) struct Key {
    pub(super) info: KeyInfo,
    /// The private key, which signs no more once the key retires, but is kept as long as the key is.
    pub(super) pkcs8: Vec<u8>,
    pair: Pair,
    public: Arc<PublicKey>,
    jwk: Value,
}

impl Key {
    /// Reads a private key.
    ///
    /// # Errors
    ///
    /// When it is none of its algorithm, or another than the one that its id says.
    pub(super) fn read(info: KeyInfo, pkcs8: Vec<u8>) -> Result<Self, KeyStoreError> {
        let pair = Pair::read(info.algorithm, &pkcs8)?;
        let members = pair.public_members();
        if thumbprint(&members) != info.id {
            return Err(KeyStoreError::Crypto("a private key is another than the one that it is called"));
        }
        let mut jwk = members.as_object().cloned().unwrap_or_default();
        let more = [("alg", info.algorithm.as_str()), ("kid", info.id.as_str()), ("use", "sig")];
        jwk.extend(more.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))));
        let public = PublicKey::of_jwk(&jwk).ok_or(KeyStoreError::Crypto("a key of this server cannot be read as a public key"))?;
        Ok(Self { info, pkcs8, pair, public: Arc::new(public), jwk: jwk.into() })
    }

    fn generate(algorithm: SigningAlgorithm, now: Timestamp) -> Result<Self, KeyStoreError> {
        let pkcs8 = pair::generate(algorithm)?;
        let id = thumbprint(&Pair::read(algorithm, &pkcs8)?.public_members());
        let info = KeyInfo { id, algorithm, state: KeyState::Next, created_at: now, activated_at: None, verifies_until: None };
        Self::read(info, pkcs8)
    }

    fn with(&self, change: impl FnOnce(&mut KeyInfo)) -> Result<Arc<Self>, KeyStoreError> {
        let mut info = self.info.clone();
        change(&mut info);
        Ok(Arc::new(Self::read(info, self.pkcs8.clone())?))
    }

    fn counts(&self, now: Timestamp) -> bool {
        self.info.verifies_until.is_none_or(|until| now < until)
    }
}

impl Ring {
    /// An active key and the next one.
    ///
    /// # Errors
    ///
    /// As [`pair::generate`].
    pub(super) fn generate(algorithm: SigningAlgorithm, now: Timestamp) -> Result<Self, KeyStoreError> {
        let mut ring = Self { keys: vec![Arc::new(Key::generate(algorithm, now)?)], token_ttl: Duration::ZERO };
        ring.rotate(algorithm, now)?;
        Ok(ring)
    }

    /// Tokens of the active key may count so long from now on. What it has signed before may count longer, and is not forgotten.
    pub(super) fn allow_tokens_of(&mut self, ttl: Duration) {
        self.token_ttl = self.token_ttl.max(ttl);
    }

    /// Makes another next key.
    ///
    /// # Errors
    ///
    /// As [`pair::generate`].
    pub(super) fn replace_next(&mut self, algorithm: SigningAlgorithm, now: Timestamp) -> Result<(), KeyStoreError> {
        self.keys.retain(|key| key.info.state != KeyState::Next);
        self.keys.push(Arc::new(Key::generate(algorithm, now)?));
        Ok(())
    }

    /// `next` signs, `active` retires, and there is another next one.
    ///
    /// # Errors
    ///
    /// As [`pair::generate`].
    pub(super) fn rotate(&mut self, algorithm: SigningAlgorithm, now: Timestamp) -> Result<(), KeyStoreError> {
        let retiring = self.keys.iter().filter(|key| key.info.state == KeyState::Retiring).count();
        if retiring >= RETIRING_MAX {
            return Err(KeyStoreError::TooMany(RETIRING_MAX));
        }
        let until = plus(now, self.token_ttl.saturating_add(GRACE));
        let mut keys = Vec::with_capacity(self.keys.len() + 1);
        for key in &self.keys {
            keys.push(match key.info.state {
                KeyState::Next => key.with(|info| (info.state, info.activated_at) = (KeyState::Active, Some(now)))?,
                KeyState::Active => key.with(|info| (info.state, info.verifies_until) = (KeyState::Retiring, Some(until)))?,
                KeyState::Retiring => Arc::clone(key),
            });
        }
        keys.push(Arc::new(Key::generate(algorithm, now)?));
        self.keys = keys;
        Ok(())
    }

    /// Whether the active key signs for longer than that.
    pub(super) fn is_older_than(&self, age: Duration, now: Timestamp) -> bool {
        self.active().and_then(|key| key.info.activated_at).is_some_and(|since| plus(since, age) <= now)
    }

    pub(super) fn signs_with(&self) -> Option<SigningAlgorithm> {
        self.active().map(|key| key.info.algorithm)
    }

    pub(super) fn has_gone(&self, now: Timestamp) -> bool {
        self.keys.iter().any(|key| !key.counts(now))
    }

    pub(super) fn drop_gone(&mut self, now: Timestamp) {
        self.keys.retain(|key| key.counts(now));
    }

    pub(super) fn public(&self, id: &str, now: Timestamp) -> Option<Arc<PublicKey>> {
        self.find(id, now).map(|key| Arc::clone(&key.public))
    }

    /// The key that verifies what bears this id, while it does.
    pub(super) fn find(&self, id: &str, now: Timestamp) -> Option<&Key> {
        // One that has not signed yet has signed nothing that could be right.
        let is_it = |key: &&Key| key.info.id == id && key.info.state != KeyState::Next && key.counts(now);
        self.keys.iter().map(AsRef::as_ref).find(is_it)
    }

    pub(super) fn sign(&self, head: impl FnOnce(SigningAlgorithm, &str) -> String) -> Result<(String, Vec<u8>), KeyStoreError> {
        let key = self.active().ok_or(KeyStoreError::Crypto("there is no active key"))?;
        let message = head(key.info.algorithm, &key.info.id);
        let signature = key.pair.sign(message.as_bytes())?;
        Ok((message, signature))
    }

    pub(super) fn infos(&self, now: Timestamp) -> Vec<KeyInfo> {
        self.keys.iter().filter(|key| key.counts(now)).map(|key| key.info.clone()).collect()
    }

    pub(super) fn jwks(&self, now: Timestamp) -> Value {
        let keys: Vec<&Value> = self.keys.iter().filter(|key| key.counts(now)).map(|key| &key.jwk).collect();
        serde_json::json!({ "keys": keys })
    }

    fn active(&self) -> Option<&Arc<Key>> {
        self.keys.iter().find(|key| key.info.state == KeyState::Active)
    }
}

/// RFC 7638: the hash of the required members, in the order of their names and without white space.
fn thumbprint(members: &Value) -> String {
    encode(digest::digest(&digest::SHA256, members.to_string().as_bytes()))
}

fn plus(time: Timestamp, more: Duration) -> Timestamp {
    Timestamp::from_micros(time.as_micros().saturating_add(i64::try_from(more.as_micros()).unwrap_or(i64::MAX)))
}

/// A token that is signed while the ring changes counts from a moment later than the change.
const GRACE: Duration = Duration::from_mins(1);
/// Somebody who rotates in a loop fills neither the file nor the key set that everybody fetches.
const RETIRING_MAX: usize = 16;
