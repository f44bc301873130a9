//! Is this the client's secret? Argon2id, a few at a time and beside the runtime's threads: guessing is slow, and slows nobody else.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use argon2::Argon2;
use argon2::PasswordHasher;
use argon2::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use super::key::random;
use super::text::encode;

/// Where secrets are hashed and compared.
pub(super) struct Secrets {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Compared with when there is no such client, so that an answer takes as long as if there were.
    nobody: String,
}

/// Enough others wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// A place to hash or compare one secret.
pub(super) struct Place(OwnedSemaphorePermit);

impl Secrets {
    pub(super) async fn new() -> Result<Self, Busy> {
        let secrets = Self { places: Arc::new(Semaphore::new(AT_ONCE)), waiting: AtomicUsize::new(0), nobody: String::new() };
        let nobody = secrets.place().await?.hash(encode(random::<32>())).await?;
        Ok(Self { nobody, ..secrets })
    }

    /// Waits for a place.
    ///
    /// # Errors
    ///
    /// [`Busy`].
    pub(super) async fn place(&self) -> Result<Place, Busy> {
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            return Err(Busy);
        }
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Busy);
        drop(waiting);
        place.map(Place)
    }

    /// What a secret is compared with that belongs to nobody.
    pub(super) fn nobody(&self) -> String {
        self.nobody.clone()
    }
}

impl Place {
    /// The hash of a secret, to be kept.
    ///
    /// # Errors
    ///
    /// [`Busy`] when the server is stopping.
    pub(super) async fn hash(self, secret: String) -> Result<String, Busy> {
        let hashed = tokio::task::spawn_blocking(move || {
            let Self(_place) = self;
            Argon2::default().hash_password(secret.as_bytes()).map(|hash| hash.to_string())
        });
        hashed.await.map_err(|_| Busy)?.map_err(|_| Busy)
    }

    /// Whether it is the secret of this hash. Gives the place back for what is to be done about the answer.
    ///
    /// # Errors
    ///
    /// [`Busy`] when the server is stopping.
    pub(super) async fn is(self, secret: String, hash: String) -> Result<(bool, Self), Busy> {
        let compared = tokio::task::spawn_blocking(move || {
            let is_it = PasswordHash::new(&hash).is_ok_and(|hash| Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok());
            (is_it, self)
        });
        compared.await.map_err(|_| Busy)
    }
}

/// Counts one who waits, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Each takes 19 MiB and some 20 ms of a core.
const AT_ONCE: usize = 2;
const WAITING_MAX: usize = 64;
/// A secret that the server draws, and the shortest that it takes.
pub(super) const SECRET_CHARS_MIN: usize = 16;
pub(super) const SECRET_BYTES_MAX: usize = 256;
