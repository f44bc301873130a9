//! How does an export fare?

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use factum_storage::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::published::Published;
use crate::subscription::Cursor;

/// What an export does just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportState {
    /// It follows the log.
    Running,
    /// The lake does not answer, or says no for the moment: it is tried again.
    Retrying,
    /// It stands still until somebody does something about it.
    Failed,
}

/// Why an export does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportFailure {
    /// Why.
    pub reason: String,
    /// How often it was tried in a row.
    pub attempts: u32,
}

/// What an export tells while it works.
#[derive(Debug)]
pub(crate) struct Status {
    inner: Mutex<Inner>,
    /// All events up to here that are wanted are in the lake.
    reached: watch::Sender<Cursor>,
    /// What readers of the lake may use.
    published: watch::Sender<Option<Arc<Published>>>,
}

#[derive(Debug)]
struct Inner {
    state: ExportState,
    failure: Option<ExportFailure>,
    /// Published events of the last seconds: since when, and how many.
    recent: VecDeque<(Instant, u64)>,
    last_recorded_at: Option<Timestamp>,
    /// Something in the lake can't be read; the export goes on all the same.
    damage: Option<String>,
    /// What the lake knows this writer by.
    writer: Option<Uuid>,
}

impl Status {
    pub(super) fn new(start: Cursor) -> Self {
        let inner = Inner {
            state: ExportState::Running,
            failure: None,
            recent: VecDeque::new(),
            last_recorded_at: None,
            damage: None,
            writer: None,
        };
        Self { inner: Mutex::new(inner), reached: watch::channel(start).0, published: watch::channel(None).0 }
    }

    /// All events up to here that are wanted are in the lake.
    pub(crate) fn reached(&self) -> Cursor {
        self.reached.borrow().clone()
    }

    pub(crate) fn watch_reached(&self) -> watch::Receiver<Cursor> {
        self.reached.subscribe()
    }

    /// What the newest manifest says; `None` before one was read.
    pub(crate) fn published(&self) -> Option<Arc<Published>> {
        self.published.borrow().clone()
    }

    #[cfg(test)]
    pub(super) fn watch_published(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.published.subscribe()
    }

    pub(super) fn set_reached(&self, cursor: Cursor) {
        self.reached.send_if_modified(|before| std::mem::replace(before, cursor.clone()) != cursor);
    }

    pub(super) fn set_published(&self, published: Arc<Published>) {
        self.published.send_replace(Some(published));
    }

    /// Events have been published.
    pub(super) fn count(&self, events: u64, last_recorded_at: Timestamp) {
        let mut inner = self.inner.lock();
        let now = Instant::now();
        inner.recent.push_back((now, events));
        while inner.recent.len() > RECENT_MAX || inner.recent.front().is_some_and(|(since, _)| now.duration_since(*since) > WINDOW) {
            inner.recent.pop_front();
        }
        inner.last_recorded_at = Some(last_recorded_at);
    }

    /// It goes on; a failure that is over is forgotten.
    pub(super) fn is_answered(&self) {
        let mut inner = self.inner.lock();
        (inner.state, inner.failure) = (ExportState::Running, None);
    }

    pub(super) fn set_retrying(&self, reason: &str, attempts: u32) {
        if attempts == 1 {
            tracing::warn!(reason, "the lake of an export does not answer; it is tried again");
        }
        self.set_failure(ExportState::Retrying, reason, attempts);
    }

    pub(super) fn set_failure(&self, state: ExportState, reason: &str, attempts: u32) {
        let mut inner = self.inner.lock();
        (inner.state, inner.failure) = (state, Some(ExportFailure { reason: reason.to_owned(), attempts }));
    }

    pub(super) fn set_writer(&self, writer: Uuid) {
        self.inner.lock().writer = Some(writer);
    }

    /// What the lake knows this writer by; `None` before it has taken the lake over.
    pub(super) fn writer(&self) -> Option<Uuid> {
        self.inner.lock().writer
    }

    pub(super) fn set_damage(&self, reason: String) {
        self.inner.lock().damage = Some(reason);
    }

    /// What it does, and what is wrong: also if it goes on all the same.
    pub(crate) fn state(&self) -> (ExportState, Option<ExportFailure>) {
        let inner = self.inner.lock();
        let damage = || inner.damage.clone().map(|reason| ExportFailure { reason, attempts: 1 });
        (inner.state, inner.failure.clone().or_else(damage))
    }

    /// When the newest event in the lake was recorded, as far as this process has put it there.
    pub(crate) fn last_recorded_at(&self) -> Option<Timestamp> {
        self.inner.lock().last_recorded_at
    }

    /// Over the last seconds.
    pub(crate) fn events_per_second(&self) -> f64 {
        let inner = self.inner.lock();
        let now = Instant::now();
        let recent = inner.recent.iter().filter(|(since, _)| now.duration_since(*since) <= WINDOW);
        let events: u64 = recent.map(|(_, count)| count).sum();
        f64::from(u32::try_from(events).unwrap_or(u32::MAX)) / WINDOW.as_secs_f64()
    }
}

/// An export publishes in bursts: over less than this its pace would jump.
const WINDOW: Duration = Duration::from_secs(60);
const RECENT_MAX: usize = 1_000;
