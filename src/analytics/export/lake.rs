//! How is a lake read and written, when its store may fail, be slow, or lose answers?
//!
//! Every call is tried until it succeeds or the export is told to stop: what is being written stays in memory meanwhile, and a lake that
//! comes back is caught up with. Objects are made only where there is none of their name, so that whoever was first is found by whoever
//! comes later: a lost answer, a crash, or a writer that did not know that it was none any more.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::PutMode;
use object_store::PutOptions;
use object_store::PutPayload;
use object_store::path::Path;
use uuid::Uuid;

use super::control::Told;
use super::fault::Fault;
use super::fault::chain;
use super::status::Status;

/// A lake that is written to.
#[derive(Clone)]
pub(super) struct Lake {
    store: Arc<dyn ObjectStore>,
    status: Arc<Status>,
    told: Told,
}

/// What came of making an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// It is there, and it is this.
    This,
    /// There was one already: this one.
    Other(Bytes),
}

impl Lake {
    pub(super) fn new(store: Arc<dyn ObjectStore>, status: Arc<Status>, told: Told) -> Self {
        Self { store, status, told }
    }

    /// Checks that of several who make an object of one name exactly one is told that it did.
    ///
    /// # Errors
    ///
    /// [`Fault::Lasting`] if that is not so: two writers could not be told apart.
    pub(super) async fn probe(&self) -> Result<(), Fault> {
        let path = Path::from(format!("{FOLDER}/{PROBE_BEGINS}{}", Uuid::now_v7().as_simple()));
        let first = self.make(&path, Bytes::from_static(b"0")).await?;
        let second = self.make_once(&path, Bytes::from_static(b"second")).await?;
        let racing = Path::from(format!("{path}-race"));
        let race = (0..PROBE_WRITERS).map(|number| self.make_once(&racing, Bytes::from(number.to_string())));
        let winners = futures::future::try_join_all(race).await?.into_iter().filter(|made| *made).count();
        self.remove(&path).await?;
        self.remove(&racing).await?;
        if first == Made::This && !second && winners <= 1 {
            return Ok(());
        }
        let found = if second { "the second of two objects of one name took the place of the first" } else { "several writers won a race" };
        Err(Fault::Lasting(format!(
            "the store does not honour conditional creates (If-None-Match), so that two writers could not be told apart: {found}; \
             another store or a newer version of it is needed"
        )))
    }

    /// Whether the object was made by this call, as the store says. A lost answer counts as no.
    async fn make_once(&self, path: &Path, bytes: Bytes) -> Result<bool, Fault> {
        let made = self.persist("create", || async {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.store.put_opts(path, PutPayload::from(bytes.clone()), options).await {
                Ok(_) => Ok(true),
                Err(error) if is_taken(&error) => Ok(false),
                Err(error) => Err(error),
            }
        });
        made.await
    }

    /// Makes an object, unless there is one of its name.
    pub(super) async fn make(&self, path: &Path, bytes: Bytes) -> Result<Made, Fault> {
        let made = self.persist("write", || async {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.store.put_opts(path, PutPayload::from(bytes.clone()), options).await {
                Ok(_) => Ok(Made::This),
                // Whether it is this one, from a try whose answer was lost, only its content says.
                Err(error) if is_taken(&error) => match self.store.get(path).await?.bytes().await? {
                    there if there == bytes => Ok(Made::This),
                    there => Ok(Made::Other(there)),
                },
                Err(error) => Err(error),
            }
        });
        made.await
    }

    /// Puts an object in the place of whatever has its name.
    pub(super) async fn replace(&self, path: &Path, bytes: Bytes) -> Result<(), Fault> {
        self.persist("write", || async { self.store.put(path, PutPayload::from(bytes.clone())).await.map(drop) }).await
    }

    /// An object; `None` if there is none.
    pub(super) async fn read(&self, path: &Path) -> Result<Option<Bytes>, Fault> {
        let read = self.persist("read", || async {
            match self.store.get(path).await {
                Ok(found) => found.bytes().await.map(Some),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        });
        read.await
    }

    /// The objects below a folder.
    pub(super) async fn list(&self, folder: Option<&Path>) -> Result<Vec<ObjectMeta>, Fault> {
        self.persist("list", || async { self.store.list(folder).try_collect().await }).await
    }

    /// Takes an object away; one that is not there is none.
    pub(super) async fn remove(&self, path: &Path) -> Result<(), Fault> {
        let removed = self.persist("delete", || async { absent_is_done(self.store.delete(path).await) });
        removed.await
    }

    /// Gives an object another name; one that is not there is taken as moved.
    pub(super) async fn rename(&self, from: &Path, to: &Path) -> Result<(), Fault> {
        let renamed = self.persist("rename", || async { absent_is_done(self.store.rename(from, to).await) });
        renamed.await
    }

    /// Tries until it succeeds.
    async fn persist<T, F>(&self, act: &'static str, mut attempt: impl FnMut() -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, object_store::Error>>,
    {
        let mut attempts = 0_u32;
        loop {
            if self.told.is_stopped() {
                return Err(Fault::Stopped);
            }
            let reason = match tokio::time::timeout(ATTEMPT_TIMEOUT, attempt()).await {
                Ok(Ok(done)) => {
                    if attempts > 0 {
                        self.status.is_answered();
                    }
                    return Ok(done);
                }
                Ok(Err(error)) if is_lasting(&error) => return Err(Fault::Lasting(format!("can't {act}: {}", chain(&error)))),
                Ok(Err(error)) => format!("can't {act}: {}", chain(&error)),
                Err(_elapsed) => format!("can't {act}: no answer within {} s", ATTEMPT_TIMEOUT.as_secs()),
            };
            attempts = attempts.saturating_add(1);
            self.status.set_retrying(&reason, attempts);
            self.told.pause(backoff(attempts)).await;
        }
    }
}

fn absent_is_done(result: Result<(), object_store::Error>) -> Result<(), object_store::Error> {
    match result {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        other => other,
    }
}

/// Left behind by somebody who was stopped while he tried the store.
pub(super) fn is_probe(path: &Path) -> bool {
    path.filename().is_some_and(|name| name.starts_with(PROBE_BEGINS))
}

/// There is an object of that name.
fn is_taken(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })
}

/// It will be the same next time.
fn is_lasting(error: &object_store::Error) -> bool {
    use object_store::Error;
    matches!(
        error,
        Error::NotImplemented { .. } | Error::NotSupported { .. } | Error::InvalidPath { .. } | Error::UnknownConfigurationKey { .. }
    )
}

/// Longer each time, and never quite the same: those who fail together are not to come back together.
fn backoff(attempts: u32) -> Duration {
    let full = RETRY_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(RETRY_MAX);
    let [.., byte] = *Uuid::now_v7().as_bytes();
    full.mul_f64(0.5 + f64::from(byte) / 512.0)
}

/// Where the lake keeps what is not for readers of files.
pub(super) const FOLDER: &str = "_factum";
const PROBE_BEGINS: &str = "probe-";
const PROBE_WRITERS: usize = 4;
/// A large file over a slow line takes its time.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(120);
const RETRY_FIRST: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });
const RETRY_MAX: Duration = Duration::from_secs(15);
