//! How does every server that shares a log know the same clients and revocations? It folds their streams at start, and follows them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use factum_storage::ExpectedVersion;
use factum_storage::RecordedEvent;
use factum_storage::StreamName;
use factum_storage::Timestamp;
use factum_storage::Version;
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::client;
use super::client::Clients;
use super::revocation;
use super::revocation::Revocations;
use crate::Database;
use crate::Error;
use crate::subscription::FeedItem;

/// What the streams say, as far as they were read.
pub(super) struct Books {
    clients: Book<Clients>,
    revocations: Book<Revocations>,
    /// Counts what was taken in: whoever lets somebody stay for long looks again.
    changes: watch::Sender<u64>,
}

/// The fold of one stream.
struct Book<T> {
    stream: StreamName,
    fold: RwLock<T>,
    version: watch::Sender<Version>,
    apply: fn(&mut T, &RecordedEvent) -> Result<(), String>,
}

impl Books {
    /// Reads both streams to their ends.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`]: nobody is let in by what can't be read.
    pub(super) async fn open(database: &Database) -> Result<Arc<Self>, Error> {
        let books = Self {
            clients: Book::new(client::STREAM, Clients::apply),
            revocations: Book::new(revocation::STREAM, Revocations::apply),
            changes: watch::Sender::new(0),
        };
        for event in database.read_from_system(&books.clients.stream).await? {
            books.clients.take(&event);
        }
        for event in database.read_from_system(&books.revocations.stream).await? {
            books.revocations.take(&event);
        }
        Ok(Arc::new(books))
    }

    /// Follows both streams until the set is dropped.
    pub(super) fn follow(self: &Arc<Self>, database: &Database, tasks: &mut JoinSet<()>) {
        let (books, stored) = (Arc::clone(self), database.as_stored());
        tasks.spawn(async move { books.clients.follow(&stored, &books.changes).await });
        let (books, stored) = (Arc::clone(self), database.as_stored());
        tasks.spawn(async move { books.revocations.follow(&stored, &books.changes).await });
    }

    /// Looks at the clients.
    pub(super) fn clients<T>(&self, look: impl FnOnce(&Clients) -> T) -> T {
        look(&self.clients.fold.read())
    }

    /// Looks at the revocations.
    pub(super) fn revocations<T>(&self, look: impl FnOnce(&Revocations) -> T) -> T {
        look(&self.revocations.fold.read())
    }

    /// Tells of everything that is taken in from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Forgets revocations of what has expired by itself.
    pub(super) fn forget(&self, now: Timestamp) {
        self.revocations.fold.write().forget(now);
    }

    /// How far the revocations were read.
    pub(super) fn revocations_version(&self) -> Version {
        *self.revocations.version.borrow()
    }

    /// Appends to `$clients` and returns once this server knows it.
    ///
    /// # Errors
    ///
    /// As [`Database::append`].
    pub(super) async fn write_client(&self, database: &Database, event_type: &'static str, data: Bytes) -> Result<(), Error> {
        let version = database.append_to_system(&self.clients.stream, vec![(event_type, data)], ExpectedVersion::Any).await?;
        self.clients.reach(version).await
    }

    /// Appends to `$tokens` and returns once this server knows it.
    ///
    /// # Errors
    ///
    /// As [`Database::append`].
    pub(super) async fn write_revocation(
        &self,
        database: &Database,
        event_type: &'static str,
        data: Bytes,
        expected: ExpectedVersion,
    ) -> Result<(), Error> {
        let version = database.append_to_system(&self.revocations.stream, vec![(event_type, data)], expected).await?;
        self.revocations.reach(version).await
    }

    /// Waits until more of the revocations than that is known.
    pub(super) async fn revocations_behind(&self, version: Version) -> Result<(), Error> {
        self.revocations.reach(version.next()).await
    }
}

impl<T> Book<T>
where
    T: Default + Send + Sync,
{
    fn new(stream: &str, apply: fn(&mut T, &RecordedEvent) -> Result<(), String>) -> Self {
        let stream = StreamName::new(stream).expect("the name keeps the rules");
        Self { stream, fold: RwLock::default(), version: watch::Sender::new(Version::ZERO), apply }
    }

    fn take(&self, event: &RecordedEvent) {
        if event.version() <= *self.version.borrow() {
            return;
        }
        if let Err(detail) = (self.apply)(&mut self.fold.write(), event) {
            tracing::error!(stream = %self.stream, version = event.version().get(), detail, "an event can't be read and is left out");
        }
        self.version.send_replace(event.version());
    }

    async fn follow(&self, database: &Database, changes: &watch::Sender<u64>) {
        loop {
            let from = self.version.borrow().next();
            let error = match database.follow_stream(&self.stream, from) {
                Ok(mut feed) => loop {
                    match feed.next().await {
                        Ok(FeedItem::Events(events)) => {
                            events.iter().for_each(|(event, _)| self.take(&event.record));
                            changes.send_modify(|count| *count += 1);
                        }
                        Ok(FeedItem::CaughtUp(_) | FeedItem::FellBehind(_)) => {}
                        Err(error) => break error,
                    }
                },
                Err(error) => error,
            };
            if matches!(error, Error::Unavailable { .. }) {
                return;
            }
            tracing::error!(stream = %self.stream, %error, "what was revoked or changed is not seen at the moment");
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn reach(&self, version: Version) -> impl Future<Output = Result<(), Error>> + use<T> {
        let mut known = self.version.subscribe();
        let stream = self.stream.to_string();
        async move {
            match tokio::time::timeout(REACH, known.wait_for(|known| *known >= version)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(Error::Unavailable {
                    shard: 0,
                    detail: format!("what was written to {stream} is on disk, and was not read back in time"),
                }),
            }
        }
    }
}

const AGAIN: Duration = Duration::from_secs(1);
/// Events come back within milliseconds.
const REACH: Duration = Duration::from_secs(10);
