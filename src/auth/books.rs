//! How does every server that shares a log know the same clients and revocations? It folds their streams at start, and takes in what came
//! since: at once what it has written itself, and within a moment what others have.
//!
//! Nothing follows the two streams: whoever follows a log is woken by every commit, whatever it is about, and these change seldom. Where
//! they end is looked up a few times a second instead, and what stands there is read only if that has moved.

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
use tokio::time::MissedTickBehavior;

use super::client;
use super::client::Clients;
use super::revocation;
use super::revocation::Revocations;
use crate::Database;
use crate::Error;

/// What the streams say, as far as they were read.
pub(super) struct Books {
    clients: Book<Clients>,
    revocations: Book<Revocations>,
    /// Counts what was taken in: whoever lets somebody stay for long looks again.
    changes: watch::Sender<u64>,
}

/// What one stream says.
struct Book<T> {
    stream: StreamName,
    read: RwLock<Read<T>>,
    apply: fn(&mut T, &RecordedEvent) -> Result<(), String>,
}

/// The fold of a stream, and up to which version (inclusive) it goes.
#[derive(Default)]
struct Read<T> {
    fold: T,
    version: Version,
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
        books.catch_up(&books.clients, database).await?;
        books.catch_up(&books.revocations, database).await?;
        Ok(Arc::new(books))
    }

    /// Takes in what others write, until the database closes.
    pub(super) async fn keep(self: Arc<Self>, database: Database) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            match self.look(&database).await {
                Ok(_) => {}
                Err(Error::Unavailable { .. }) => return,
                Err(error) => {
                    tracing::error!(%error, "what was revoked or changed is not seen at the moment");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Takes in what others have written until now. Says whether there was anything.
    ///
    /// # Errors
    ///
    /// As [`Database::stream`].
    pub(super) async fn look(&self, database: &Database) -> Result<bool, Error> {
        // One that fails is no reason not to look at the other.
        let clients = self.look_at(&self.clients, database).await;
        let revocations = self.look_at(&self.revocations, database).await?;
        Ok(clients? || revocations)
    }

    async fn look_at<T>(&self, book: &Book<T>, database: &Database) -> Result<bool, Error> {
        let has_more = database.version_in_system(&book.stream)? > book.version();
        if has_more {
            self.catch_up(book, database).await?;
        }
        Ok(has_more)
    }

    async fn catch_up<T>(&self, book: &Book<T>, database: &Database) -> Result<(), Error> {
        let events = database.read_from_system(&book.stream, book.version().next()).await?;
        if !events.is_empty() {
            events.iter().for_each(|event| book.take(event));
            self.changes.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// Returns once a version is known that is on disk already.
    async fn reach<T>(&self, book: &Book<T>, version: Version, database: &Database) -> Result<(), Error> {
        if book.version() >= version {
            return Ok(());
        }
        self.catch_up(book, database).await?;
        if book.version() < version {
            let detail = format!("what was written to {} is on disk, and was not read back", book.stream);
            return Err(Error::Unavailable { shard: 0, detail });
        }
        Ok(())
    }

    /// Looks at the clients.
    pub(super) fn clients<T>(&self, look: impl FnOnce(&Clients) -> T) -> T {
        look(&self.clients.read.read().fold)
    }

    /// Looks at the revocations.
    pub(super) fn revocations<T>(&self, look: impl FnOnce(&Revocations) -> T) -> T {
        look(&self.revocations.read.read().fold)
    }

    /// Tells of everything that is taken in from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Forgets revocations of what has expired by itself.
    pub(super) fn forget(&self, now: Timestamp) {
        self.revocations.read.write().fold.forget(now);
    }

    /// How far the revocations were read.
    pub(super) fn revocations_version(&self) -> Version {
        self.revocations.version()
    }

    /// Appends to `$clients` and returns once this server knows it.
    ///
    /// # Errors
    ///
    /// As [`Database::append`].
    pub(super) async fn write_client(&self, database: &Database, event_type: &'static str, data: Bytes) -> Result<(), Error> {
        let version = database.append_to_system(&self.clients.stream, vec![(event_type, data)], ExpectedVersion::Any).await?;
        self.reach(&self.clients, version, database).await
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
        self.reach(&self.revocations, version, database).await
    }

    /// Returns once more of the revocations than that is known, which others have written.
    ///
    /// # Errors
    ///
    /// As [`Database::stream`].
    pub(super) async fn revocations_behind(&self, database: &Database, version: Version) -> Result<(), Error> {
        self.reach(&self.revocations, version.next(), database).await
    }
}

impl<T> Book<T> {
    fn new(stream: &str, apply: fn(&mut T, &RecordedEvent) -> Result<(), String>) -> Self
    where
        T: Default,
    {
        let stream = StreamName::new(stream).expect("the name keeps the rules");
        Self { stream, read: RwLock::default(), apply }
    }

    fn version(&self) -> Version {
        self.read.read().version
    }

    fn take(&self, event: &RecordedEvent) {
        let mut read = self.read.write();
        // Under the lock: several may read the same events at once, and each of them counts once.
        if event.version() <= read.version {
            return;
        }
        if let Err(detail) = (self.apply)(&mut read.fold, event) {
            tracing::error!(stream = %self.stream, version = event.version().get(), detail, "an event can't be read and is left out");
        }
        read.version = event.version();
    }
}

/// A revocation that another server has written counts within a second, with room for a busy machine.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::policy::TokenId;
    use super::*;

    fn token() -> TokenId {
        TokenId { issuer: "i".to_owned(), id: "t".to_owned() }
    }

    fn is_revoked(books: &Books) -> bool {
        books.revocations(|revocations| revocations.has_token(&token()))
    }

    async fn revoke(books: &Books, database: &Database) {
        let data = revocation::token_data(&token(), Timestamp::from_micros(i64::MAX));
        books.write_revocation(database, revocation::TOKEN_REVOKED, data, ExpectedVersion::Any).await.unwrap();
    }

    async fn two_servers() -> (Database, Arc<Books>, Arc<Books>) {
        let database = Database::in_memory().await.unwrap();
        let (own, others) = (Books::open(&database).await.unwrap(), Books::open(&database).await.unwrap());
        (database, own, others)
    }

    #[tokio::test]
    async fn j15_what_a_server_revokes_it_knows_at_once_and_others_when_they_look() {
        let (database, own, others) = two_servers().await;
        let mut changes = (own.changes(), others.changes());
        revoke(&own, &database).await;
        assert!(is_revoked(&own) && changes.0.has_changed().unwrap());
        assert!(!is_revoked(&others) && !changes.1.has_changed().unwrap());
        assert!(others.look(&database).await.unwrap());
        assert!(is_revoked(&others) && changes.1.has_changed().unwrap());
        changes.1.mark_unchanged();
        assert!(!others.look(&database).await.unwrap());
        assert!(!changes.1.has_changed().unwrap(), "nobody is woken for nothing");
    }

    #[tokio::test]
    async fn j15_what_others_revoke_is_known_within_a_second_without_being_asked() {
        let (database, own, others) = two_servers().await;
        let keeping = tokio::spawn(Arc::clone(&others).keep(database.clone()));
        let mut changes = others.changes();
        revoke(&own, &database).await;
        tokio::time::timeout(Duration::from_secs(1), changes.changed()).await.expect("in time").unwrap();
        assert!(is_revoked(&others));
        database.close().await.unwrap();
        keeping.await.expect("it ends with the database");
    }

    #[tokio::test]
    async fn each_event_counts_once_however_many_read_it() {
        let (database, books, _) = two_servers().await;
        let book: Book<Vec<u64>> = Book::new("$counted", |seen, event| {
            seen.push(event.version().get());
            Ok(())
        });
        for written in 1..=20 {
            let event = vec![("Counted", Bytes::from_static(b"{}"))];
            database.append_to_system(&book.stream, event, ExpectedVersion::Exact(Version::new(written - 1))).await.unwrap();
            let reached = Version::new(written);
            let several = (0..4).map(|_| books.reach(&book, reached, &database));
            futures::future::try_join_all(several).await.unwrap();
        }
        assert_eq!(book.read.read().fold, (1..=20).collect::<Vec<_>>());
        assert!(books.reach(&book, Version::new(21), &database).await.is_err(), "it is not there");
    }
}
