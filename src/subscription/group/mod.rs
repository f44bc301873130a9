//! Who works on which event when several share the work? Consumer groups: durable, competing, at least once, in order.
//!
//! [`Groups`] knows all of them. A group without consumers is a line in a map; its first consumer begins a session: books in memory
//! (`books`), a worker that reads the log into them (`worker`), and a place in the queue of the one writer (`writer`, `store`).

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::shard::Router;
use crate::subscription::Cursor;
use crate::subscription::Reshape;

mod books;
mod consumer;
mod lane;
mod marks;
mod parked;
mod session;
mod status;
mod store;
mod terms;
mod worker;
mod writer;

pub use books::Nack;
pub use consumer::Consumer;
pub use consumer::ConsumerOptions;
pub use consumer::Delivery;
pub use parked::ParkedEvent;
pub use parked::ParkedPage;
pub use session::DeliveryId;
pub use status::GroupState;
pub use status::GroupStatus;
pub use terms::Begin;
pub use terms::Ordering;
pub use terms::Terms;

use books::Books;
use session::Session;
use store::ProgressFile;
use store::Shards;
use store::broken;
use writer::Writer;

/// All consumer groups of a database.
pub(crate) struct Groups {
    shared: Arc<Shared>,
    groups: Mutex<HashMap<String, Arc<Group>>>,
}

/// What all groups have in common.
struct Shared {
    router: Arc<Router>,
    reshape: Option<Arc<dyn Reshape>>,
    store: Arc<ProgressFile>,
    writer: Arc<Writer>,
    /// Sessions end.
    closing: CancellationToken,
    sessions: TaskTracker,
}

/// One group.
struct Group {
    name: Arc<str>,
    terms: Mutex<Arc<Terms>>,
    /// The session, if there is one. Held while one begins or ends.
    slot: tokio::sync::Mutex<Option<Arc<Session>>>,
    /// Why there is none.
    failure: Mutex<Option<Error>>,
    /// It was ended, and nobody may begin anything.
    has_ended: std::sync::atomic::AtomicBool,
}

/// What became of acknowledgements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// So many were out, and are settled.
    pub acknowledged: u64,
    /// These were settled before, or given to somebody else since.
    pub unknown: Vec<DeliveryId>,
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.shared.closing.cancel();
    }
}

impl Groups {
    /// Groups whose progress is in a folder, or in memory. Nothing is read or made before the first group is.
    pub(crate) fn new(router: Arc<Router>, reshape: Option<Arc<dyn Reshape>>, folder: Option<&Path>) -> Self {
        let store = Arc::new(ProgressFile::new(folder));
        let writer = Arc::new(Writer::new(Arc::clone(&store)));
        let closing = CancellationToken::new();
        let sessions = TaskTracker::new();
        let (all_over, is_closing) = (sessions.clone(), closing.clone());
        // No line of this waits for anything while there is no group.
        tokio::spawn(Arc::clone(&writer).run(async move {
            is_closing.cancelled().await;
            all_over.close();
            all_over.wait().await;
        }));
        let shared = Arc::new(Shared { router, reshape, store, writer, closing, sessions });
        Self { shared, groups: Mutex::default() }
    }

    /// Ends all sessions, with what they have to store.
    pub(crate) async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.sessions.close();
        self.shared.sessions.wait().await;
        self.shared.store.close();
    }

    /// All that there are.
    pub(crate) fn names(&self) -> Vec<String> {
        self.groups.lock().keys().cloned().collect()
    }

    /// The cursor at which a new group with these terms begins.
    ///
    /// # Errors
    ///
    /// [`Error::BadCursor`]; [`Error::ShardFailed`] if it is to begin at the end, and that is not known.
    pub(crate) fn beginning(&self, terms: &Terms) -> Result<Cursor, Error> {
        match &terms.after {
            Begin::Start => Ok(Cursor::start(&self.shared.router)),
            Begin::End => {
                // Where an absent shard ends, nobody knows: a group that began there would be given all of it later.
                self.shared.router.shards().iter().try_for_each(|shard| shard.check_open())?;
                Ok(Cursor::end(&self.shared.router))
            }
            Begin::Cursor(text) => {
                let cursor = Cursor::parse(text, &self.shared.router)?;
                cursor.check(&self.shared.router, 0)?;
                Ok(cursor)
            }
        }
    }

    /// Makes the place where a new group's progress is kept; on disk when this returns. What an earlier one of this name left is gone.
    ///
    /// # Errors
    ///
    /// [`Error::SubscriptionFailed`], [`Error::BadCursor`].
    pub(crate) async fn prepare(&self, name: &str, terms: &Terms) -> Result<(), Error> {
        let beginning: Vec<u64> = self.beginning(terms)?.positions().iter().map(|position| position.get()).collect();
        let owned = name.to_owned();
        self.shared.in_store(name, move |store| store.begin(&owned, &beginning)).await
    }

    /// Puts a definition in force. Consumers go on under the new terms.
    pub(crate) async fn define(&self, name: &str, terms: Terms) {
        let group = {
            let mut groups = self.groups.lock();
            let make = || {
                Arc::new(Group {
                    name: name.into(),
                    terms: Mutex::default(),
                    slot: tokio::sync::Mutex::default(),
                    failure: Mutex::default(),
                    has_ended: false.into(),
                })
            };
            Arc::clone(groups.entry(name.to_owned()).or_insert_with(make))
        };
        *group.terms.lock() = Arc::new(terms);
        group.stop().await;
    }

    /// Puts in force what was accepted before. In memory its progress may be gone with the process that had it: it begins anew then.
    ///
    /// # Errors
    ///
    /// As [`Groups::prepare`].
    pub(crate) async fn revive(&self, name: &str, terms: Terms) -> Result<(), Error> {
        if self.shared.store.is_in_memory() {
            tracing::warn!(subscription = name, "its progress was in memory, and is gone: it begins anew");
            self.prepare(name, &terms).await?;
        }
        self.define(name, terms).await;
        Ok(())
    }

    /// Ends a group and forgets its progress.
    ///
    /// # Errors
    ///
    /// [`Error::SubscriptionFailed`]: it has ended, and its progress is still in the file; a new one of this name does not see it.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Error> {
        let removed = self.groups.lock().remove(name);
        if let Some(group) = removed {
            group.has_ended.store(true, std::sync::atomic::Ordering::Release);
            group.stop().await;
        }
        let owned = name.to_owned();
        self.shared.in_store(name, move |store| store.forget(&owned)).await
    }

    /// Takes part in a group.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`], [`Error::SubscriptionFailed`].
    pub(crate) async fn consume(&self, name: &str, options: ConsumerOptions) -> Result<Consumer, Error> {
        Consumer::new(Arc::clone(&self.shared), self.group(name)?, options).joined().await
    }

    /// Takes one batch, whose deliveries stay out until they are acknowledged or their time is over.
    ///
    /// # Errors
    ///
    /// As [`Groups::consume`].
    pub(crate) async fn pull(&self, name: &str, limit: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let options = ConsumerOptions { max_in_flight: Some(limit) };
        let consumer = Consumer::new(Arc::clone(&self.shared), self.group(name)?, options).detaching();
        consumer.joined().await?.pull(limit, wait).await
    }

    /// Says that deliveries are done; that is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`]; [`Error::SubscriptionFailed`]: they may come again.
    pub(crate) async fn acknowledge(&self, name: &str, deliveries: &[DeliveryId]) -> Result<Acknowledged, Error> {
        self.settle(name, deliveries, |books, number, now| books.ack(number, now.instant)).await
    }

    /// Says that deliveries did not get done; what that means for them is on disk when this returns.
    ///
    /// # Errors
    ///
    /// As [`Groups::acknowledge`].
    pub(crate) async fn reject(&self, name: &str, deliveries: &[DeliveryId], action: Nack, reason: &str) -> Result<Acknowledged, Error> {
        self.settle(name, deliveries, |books, number, now| books.nack(number, &action, reason, now)).await
    }

    async fn settle(
        &self,
        name: &str,
        deliveries: &[DeliveryId],
        each: impl Fn(&mut Books, u64, books::Now) -> bool,
    ) -> Result<Acknowledged, Error> {
        let group = self.group(name)?;
        let Some(session) = group.slot.lock().await.clone() else {
            return Ok(Acknowledged { acknowledged: 0, unknown: deliveries.to_vec() });
        };
        let answer = session.with(|books, now| {
            let mut answer = Acknowledged::default();
            for delivery in deliveries {
                if delivery.session == session.id && each(books, delivery.number, now) {
                    answer.acknowledged += 1;
                } else {
                    answer.unknown.push(*delivery);
                }
            }
            answer
        });
        // A session that has ended has given all of its deliveries back.
        let answer = answer.unwrap_or_else(|| Acknowledged { acknowledged: 0, unknown: deliveries.to_vec() });
        if answer.acknowledged > 0 {
            session.durable(&self.shared.writer).await?;
        }
        Ok(answer)
    }

    fn group(&self, name: &str) -> Result<Arc<Group>, Error> {
        self.groups.lock().get(name).cloned().ok_or_else(|| not_found(name))
    }
}

impl Shared {
    /// The session of a group; begins one if there is none.
    async fn session(self: &Arc<Self>, group: &Arc<Group>) -> Result<Arc<Session>, Error> {
        let mut slot = group.slot.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| !session.finished.is_cancelled()) {
            return Ok(Arc::clone(session));
        }
        if group.has_ended.load(std::sync::atomic::Ordering::Acquire) {
            return Err(not_found(&group.name));
        }
        if self.closing.is_cancelled() {
            return Err(Error::Unavailable { shard: 0, detail: "the database is closed".to_owned() });
        }
        let begun = self.begin(group).await;
        *group.failure.lock() = begun.as_ref().err().cloned();
        let session = begun?;
        *slot = Some(Arc::clone(&session));
        Ok(session)
    }

    async fn begin(self: &Arc<Self>, group: &Arc<Group>) -> Result<Arc<Session>, Error> {
        let (name, shards) = (Arc::clone(&group.name), Shards::of(&self.router));
        let progress = self.in_store(&group.name, move |store| store.load(&name, shards)).await?;
        let cursor = |positions: &[u64]| Cursor::of(&self.router, positions.iter().copied().map(factum_storage::Position::new).collect());
        let after = cursor(&progress.checkpoints);
        // The log of an older backup: what is appended to it would be skipped.
        cursor(&progress.reach()).check(&self.router, 0).map_err(|error| {
            broken(&group.name, &format!("its progress is ahead of the log ({error}); was the log put back from a backup without it?"))
        })?;
        let terms = Arc::clone(&group.terms.lock());
        let books = Books::new(Arc::clone(&terms), progress);
        let session = Arc::new(Session::new(Arc::clone(&group.name), terms, books));
        self.sessions.spawn(worker::run(Arc::clone(self), Arc::clone(group), Arc::clone(&session), after));
        Ok(session)
    }

    /// Runs what waits for the disk beside the runtime's own threads.
    async fn in_store<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&ProgressFile) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.unwrap_or_else(|error| Err(broken(name, &format!("reading or writing its progress has not come to its end: {error}"))))
    }
}

impl Group {
    /// Ends the session, if there is one; returns when it has stored what it had to.
    async fn stop(&self) {
        let session = self.slot.lock().await.clone();
        if let Some(session) = session {
            session.stop.cancel();
            session.finished.cancelled().await;
        }
    }
}

fn not_found(name: &str) -> Error {
    Error::DefinitionNotFound { what: format!("subscription {name}") }
}
