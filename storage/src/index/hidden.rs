//! Which streams hide some of their events? Asked for every event of a scan, so it is answered from memory.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use parking_lot::RwLock;

use super::Map;
use super::StreamHead;

/// The streams that are deleted, tombstoned or under a retention, or were, each as it is now (not as it was when this was asked for).
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    /// Spares the lock while nobody hides anything.
    any: AtomicBool,
    streams: RwLock<Map<Arc<str>, StreamHead>>,
}

impl Hidden {
    /// The stream's head if it hides anything.
    pub(crate) fn get(&self, stream: &str) -> Option<StreamHead> {
        if self.is_empty() { None } else { self.streams.read().get(stream).copied() }
    }

    /// Whether no stream hides anything.
    pub(crate) fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    /// The streams that hide something, in no order; `None` if these are more than `max`.
    pub(crate) fn streams(&self, max: usize) -> Option<Vec<Arc<str>>> {
        if self.is_empty() {
            return Some(Vec::new());
        }
        let streams = self.streams.read();
        (streams.len() <= max).then(|| streams.keys().cloned().collect())
    }

    pub(super) fn set(&self, stream: &Arc<str>, head: StreamHead) {
        self.streams.write().insert(Arc::clone(stream), head);
        self.any.store(true, Ordering::Release);
    }

    pub(super) fn remove(&self, stream: &str) {
        if !self.is_empty() {
            self.streams.write().remove(stream);
        }
    }

    pub(super) fn clear(&self) {
        self.streams.write().clear();
        self.any.store(false, Ordering::Release);
    }
}
