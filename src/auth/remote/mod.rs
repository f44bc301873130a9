//! Which keys has another issuer today? They are fetched in the background, and kept while its server is away.
//!
//! A token with a key that is not known fetches the set anew, once for all who wait for it, and not again within the cooldown: whoever
//! invents key ids makes no traffic. What is fetched takes the place of what there is only if it holds at least one usable key.

mod fetch;
mod guard;

use std::sync::Arc;
use std::time::Duration;

use factum_storage::Clock;
use factum_storage::Timestamp;
use parking_lot::RwLock;
use tokio::time::Instant;

pub(crate) use fetch::BadAddress;
use fetch::Source;

use super::key::PublicKey;
use crate::config::IssuerSettings;

/// Another issuer with the keys that it has.
pub(super) struct Remote {
    pub(super) issuer: String,
    pub(super) audience: String,
    source: Source,
    keys: RwLock<Keys>,
    clock: Arc<dyn Clock>,
    /// One fetch at a time; when a token with an unknown key has last caused one.
    fetching: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Keys {
    list: Arc<[(String, Arc<PublicKey>)]>,
    /// Counts the fetches that have succeeded.
    generation: u64,
    fetched_at: Option<Timestamp>,
}

impl Remote {
    /// Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// [`BadAddress`] for a place that may not be asked.
    pub(super) fn new(settings: &IssuerSettings, clock: Arc<dyn Clock>) -> Result<Self, BadAddress> {
        Ok(Self {
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            source: Source::new(settings)?,
            keys: RwLock::default(),
            clock,
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// Fetches the keys at once, and from time to time for as long as it is polled.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut wait = AGAIN_MIN;
        loop {
            let fetching = self.fetching.lock().await;
            let fetched = self.fetch().await;
            drop(fetching);
            wait = if fetched { EVERY } else { (wait * 2).min(AGAIN_MAX) };
            tokio::time::sleep(wait).await;
        }
    }

    /// The key of this id, as long as what was fetched may be used.
    pub(super) fn key(&self, id: &str) -> Option<Arc<PublicKey>> {
        let keys = self.keys.read();
        let fetched_at = keys.fetched_at?;
        let age = self.clock.now().as_micros().saturating_sub(fetched_at.as_micros());
        if age > i64::try_from(STALE_MAX.as_micros()).unwrap_or(i64::MAX) {
            return None;
        }
        keys.list.iter().find(|(own, _)| own == id).map(|(_, key)| Arc::clone(key))
    }

    /// Looks whether a key that is not known has come meanwhile. Says whether there are other keys than when it was called.
    pub(super) async fn look_again(&self) -> bool {
        let seen = self.keys.read().generation;
        let mut last = self.fetching.lock().await;
        if self.keys.read().generation != seen {
            return true;
        }
        if last.is_some_and(|last| last.elapsed() < COOLDOWN) {
            return false;
        }
        *last = Some(Instant::now());
        self.fetch().await
    }

    async fn fetch(&self) -> bool {
        match self.source.fetch().await {
            Ok(list) => {
                let mut keys = self.keys.write();
                *keys = Keys { list: list.into(), generation: keys.generation + 1, fetched_at: Some(self.clock.now()) };
                true
            }
            Err(error) => {
                tracing::warn!(issuer = self.issuer, %error, "the keys of an issuer could not be fetched; those before are used, if there are any");
                false
            }
        }
    }
}

/// Keys are looked at again so often, whether or not anybody needs others.
const EVERY: Duration = Duration::from_mins(10);
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_mins(1);
/// Tokens with unknown keys cause a fetch at most so often.
const COOLDOWN: Duration = Duration::from_secs(30);
/// Keys of a server that is away are used so long, and then no more.
const STALE_MAX: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;
    use std::sync::atomic::Ordering;

    use super::*;

    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn k4_keys_are_not_used_for_ever() {
        let settings = IssuerSettings {
            issuer: "i".into(),
            audience: "a".into(),
            jwks_url: "https://issuer.example/keys".into(),
            algorithms: crate::config::SigningAlgorithm::ALL.to_vec(),
            loopback_http: false,
        };
        let clock = Arc::new(Hand(AtomicI64::new(0)));
        let remote = Remote::new(&settings, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        assert!(remote.key("k").is_none());
        let key = Arc::new(PublicKey::of_secret(&[1; 32]).unwrap());
        *remote.keys.write() = Keys { list: Arc::new([("k".to_owned(), key)]), generation: 1, fetched_at: Some(clock.now()) };
        assert!(remote.key("k").is_some() && remote.key("other").is_none());
        clock.0.store(24 * 3_600 * 1_000_000, Ordering::Relaxed);
        assert!(remote.key("k").is_some());
        clock.0.store(24 * 3_600 * 1_000_000 + 1, Ordering::Relaxed);
        assert!(remote.key("k").is_none());
    }
}
