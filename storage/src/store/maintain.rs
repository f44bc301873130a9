//! What does a background thread do for a store?

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::Error;
use crate::log::seal::Need;

use super::Reader;
use super::Shared;

/// What a background thread does for a store: zeroing the next segment, sealing full ones, flushing the index, trimming.
/// Each call does one piece of work and returns; the thread decides when.
pub struct Maintainer {
    shared: Arc<Shared>,
}

impl Maintainer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Does the most urgent piece of work; `false` if there was none.
    ///
    /// # Errors
    ///
    /// What the disk says. Nothing is lost by it; call again later.
    pub fn step(&self) -> Result<bool, Error> {
        let shared = &self.shared;
        if shared.index_is_broken.load(Ordering::Acquire) || shared.index.needs_rebuild() {
            shared.rebuild()?;
            return Ok(true);
        }
        if shared.log.prepare(shared.options.segment_bytes)? || shared.log.seal_next()? {
            return Ok(true);
        }
        if shared.index.pending_events() >= shared.options.index_flush_events {
            self.flush_index()?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Flushes the index whatever it is behind.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn flush_index(&self) -> Result<(), Error> {
        // A poisoned log may not hold what the index believes, and a damaged one keeps its evidence.
        if self.shared.log.refuses_appends().is_some() { Ok(()) } else { self.shared.index.flush() }
    }

    /// Gives back the disk of sealed segments in which no event is visible any more. Returns the bytes that came back.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn trim(&self) -> Result<u64, Error> {
        if self.shared.log.refuses_appends().is_some() || self.shared.index()?.hidden().is_empty() {
            return Ok(0);
        }
        // A hidden event is gone only when what hides it is durable in the index's log, which every commit is.
        let reader = Reader::new(Arc::clone(&self.shared));
        self.shared.log.trim(&mut |event| {
            if event.is_control() {
                return Ok(Need::Kept);
            }
            if reader.is_visible(event)? {
                return Ok(Need::Visible);
            }
            // The last event of a stream that may go on, softly deleted or not, is what tells a rebuilt index its version.
            let head = self.shared.index()?.head(event.stream())?;
            let is_last = head.is_some_and(|head| head.version == event.version() && !head.is_tombstoned);
            Ok(if is_last { Need::Kept } else { Need::Gone })
        })
    }
}
