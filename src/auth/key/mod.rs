//! Which keys sign, which verify, and where do they lie? One ring of them, in one file that is written whole or not at all.
//!
//! A key is `next` (published, signs nothing yet), then `active` (signs), then `retiring` (verifies what it has signed), then gone.
//! Every step is one replacement of the file: whoever is killed between two steps finds the one or the other.

mod pair;
mod public;
mod ring;
mod seal;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use factum_storage::Timestamp;
use parking_lot::RwLock;

pub(crate) use public::PublicKey;
pub use ring::KeyInfo;
pub use ring::KeyState;
use ring::Ring;
pub(crate) use seal::SealingKey;
pub(crate) use seal::random;
use store::KeyStore;
pub use store::KeyStoreError;

use crate::config::SigningAlgorithm;

/// This server's keys.
pub(crate) struct Keys {
    ring: RwLock<Arc<Ring>>,
    store: KeyStore,
    algorithm: SigningAlgorithm,
    rotate_every: Option<Duration>,
    /// One change at a time, from reading the ring to having it on disk.
    change: tokio::sync::Mutex<()>,
}

/// How keys are kept.
pub(crate) struct KeyOptions {
    pub(crate) algorithm: SigningAlgorithm,
    pub(crate) rotate_every: Option<Duration>,
    /// How long what is signed now may count.
    pub(crate) token_ttl: Duration,
}

impl Keys {
    /// Reads the ring, or makes a new one. What the settings want otherwise than the ring has it is done at once.
    ///
    /// # Errors
    ///
    /// [`KeyStoreError`]: the file can't be read, written or opened with the key that there is.
    pub(crate) async fn open(store: KeyStore, options: KeyOptions, now: Timestamp) -> Result<Self, KeyStoreError> {
        let KeyOptions { algorithm, rotate_every, token_ttl } = options;
        let (store, found) = on_disk(store, KeyStore::read).await;
        let keys =
            Self { ring: RwLock::new(Arc::new(Ring::default())), store, algorithm, rotate_every, change: tokio::sync::Mutex::default() };
        let mut ring = match found? {
            Some(ring) => ring,
            None => Ring::generate(algorithm, now)?,
        };
        ring.allow_tokens_of(token_ttl);
        if ring.signs_with() != Some(algorithm) {
            ring.replace_next(algorithm, now)?;
            ring.rotate(algorithm, now)?;
        }
        keys.put(ring).await?;
        Ok(keys)
    }

    /// Lets the next key sign, and makes another one for the time after.
    ///
    /// # Errors
    ///
    /// [`KeyStoreError`]; the ring is as it was then.
    pub(crate) async fn rotate(&self, now: Timestamp) -> Result<(), KeyStoreError> {
        let _change = self.change.lock().await;
        let mut ring = Ring::clone(&self.ring());
        ring.drop_gone(now);
        ring.rotate(self.algorithm, now)?;
        self.put(ring).await
    }

    /// Does what is due: a rotation on schedule, and away with keys whose tokens have all expired. Says whether anything was.
    ///
    /// # Errors
    ///
    /// As [`Keys::rotate`].
    pub(crate) async fn keep(&self, now: Timestamp) -> Result<bool, KeyStoreError> {
        if self.rotate_every.is_some_and(|every| self.ring().is_older_than(every, now)) {
            self.rotate(now).await?;
            return Ok(true);
        }
        if !self.ring().has_gone(now) {
            return Ok(false);
        }
        let _change = self.change.lock().await;
        let mut ring = Ring::clone(&self.ring());
        ring.drop_gone(now);
        self.put(ring).await?;
        Ok(true)
    }

    /// The key that verifies what bears this id, while it does.
    pub(crate) fn public(&self, id: &str, now: Timestamp) -> Option<Arc<PublicKey>> {
        self.ring().public(id, now)
    }

    /// Whether there is a key that verifies what bears this id.
    pub(crate) fn verifies(&self, id: &str, now: Timestamp) -> bool {
        self.ring.read().find(id, now).is_some()
    }

    /// Signs with the active key: what `head` makes of its algorithm and id, and the signature.
    ///
    /// # Errors
    ///
    /// What the key says, which never happens to one that was made or read well.
    pub(crate) fn sign(&self, head: impl FnOnce(SigningAlgorithm, &str) -> String) -> Result<(String, Vec<u8>), KeyStoreError> {
        self.ring().sign(head)
    }

    /// All keys, for people.
    pub(crate) fn infos(&self, now: Timestamp) -> Vec<KeyInfo> {
        self.ring().infos(now)
    }

    /// The public keys as a JWK set.
    pub(crate) fn jwks(&self, now: Timestamp) -> serde_json::Value {
        self.ring().jwks(now)
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read())
    }

    /// On disk first, then in use: what signs is always there after a restart.
    async fn put(&self, ring: Ring) -> Result<(), KeyStoreError> {
        let ring = Arc::new(ring);
        let (store, written) = (self.store.clone(), Arc::clone(&ring));
        let (_, done) = on_disk(store, move |store| store.write(&written)).await;
        done?;
        *self.ring.write() = ring;
        Ok(())
    }
}

/// Opens the place where keys are kept.
///
/// # Errors
///
/// As [`KeyStore::open`].
pub(crate) async fn open_store(folder: Option<std::path::PathBuf>, key: Option<Vec<u8>>) -> Result<(KeyStore, SealingKey), KeyStoreError> {
    let ((), opened) = on_disk((), move |()| KeyStore::open(folder, key)).await;
    opened
}

/// Runs what waits for a disk beside the runtime's own threads.
async fn on_disk<S: Clone + Send + 'static, T: Send + 'static>(
    store: S,
    work: impl FnOnce(&S) -> Result<T, KeyStoreError> + Send + 'static,
) -> (S, Result<T, KeyStoreError>) {
    let kept = store.clone();
    match tokio::task::spawn_blocking(move || work(&store)).await {
        Ok(done) => (kept, done),
        Err(error) => (kept, Err(KeyStoreError::Interrupted(error.to_string()))),
    }
}
