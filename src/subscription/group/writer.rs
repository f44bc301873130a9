//! How do many acknowledgements cost one sync? What came while the last commit was written is the next commit.

use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::session::Session;
use super::store::Change;
use super::store::ProgressFile;

/// The one who writes for all groups.
pub(super) struct Writer {
    store: Arc<ProgressFile>,
    /// Sessions with something to store, each once.
    queue: Mutex<Vec<Arc<Session>>>,
    queued: Notify,
}

impl Writer {
    pub(super) fn new(store: Arc<ProgressFile>) -> Self {
        Self { store, queue: Mutex::new(Vec::new()), queued: Notify::new() }
    }

    /// What a session's books say now will be stored.
    pub(super) fn mark(&self, session: &Arc<Session>) {
        if session.enter_queue() {
            self.queue.lock().push(Arc::clone(session));
            self.queued.notify_one();
        }
    }

    /// Writes until `stop` is done: then nobody is there any more who could mark anything.
    pub(super) async fn run(self: Arc<Self>, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = self.queued.notified() => {}
                () = &mut stop => return,
            }
            let marked = std::mem::take(&mut *self.queue.lock());
            if !marked.is_empty() {
                self.write(marked).await;
            }
        }
    }

    async fn write(&self, marked: Vec<Arc<Session>>) {
        let mut batch: Vec<(Arc<str>, Vec<Change>)> = Vec::with_capacity(marked.len());
        let mut reached = Vec::with_capacity(marked.len());
        for session in marked {
            // Before the books are read: what is changed from now on is marked again.
            session.leave_queue();
            let (through, changes) = session.books.lock().changes();
            if !changes.is_empty() {
                batch.push((Arc::clone(&session.name), changes));
            }
            reached.push((session, through));
        }
        let mut committed = Ok(());
        if !batch.is_empty() {
            let store = Arc::clone(&self.store);
            let written = tokio::task::spawn_blocking(move || store.commit(&batch)).await;
            committed = written.unwrap_or_else(|error| Err(format!("writing the progress has not come to its end: {error}").into()));
        }
        for (session, through) in reached {
            session.stored.send_modify(|stored| match &committed {
                Ok(()) => stored.through = stored.through.max(through),
                Err(why) => stored.failure = Some(Arc::clone(why)),
            });
            if committed.is_err() {
                session.stirred.notify_one();
            }
        }
    }
}
