//! How do any number of followers learn of a commit, at one read of the log and at next to no cost to the writer?
//!
//! The writer only says that it has committed, and only if somebody follows. A thread of its own reads what is new
//! into the [`Ring`], once for all followers, and then wakes them.

use std::sync::Arc;

use factum_storage as storage;
use parking_lot::Condvar;
use parking_lot::Mutex;
use parking_lot::RwLock;
use storage::Direction;
use storage::Filter;
use storage::Position;
use storage::Reader;
use storage::RecordedEvent;
use tokio::sync::watch;

use super::ring::Ring;
use super::ring::RingSlice;

/// The live end of a shard's log.
pub(super) struct Live {
    shard: u16,
    reader: Reader,
    state: Mutex<State>,
    changed: Condvar,
    ring: RwLock<Ring>,
    /// Whether the shard is closed; sent anew for every commit.
    published: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    followers: usize,
    /// Something was committed since the thread looked last.
    is_new: bool,
    is_closed: bool,
}

impl Live {
    pub(super) fn new(shard: u16, reader: Reader, ring_bytes_max: usize) -> Self {
        let (published, _) = watch::channel(false);
        let ring = RwLock::new(Ring::new(ring_bytes_max));
        Self { shard, reader, state: Mutex::default(), changed: Condvar::new(), ring, published }
    }

    /// Called by the writer after each commit.
    pub(super) fn committed(&self) {
        // The lock orders this commit against a follower that begins at the same time:
        // either it is counted here, or it finds the commit when it looks where the log ends.
        let mut state = self.state.lock();
        if state.followers > 0 && !state.is_new {
            state.is_new = true;
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Wakes all followers for the last time, and ends [`Live::run`].
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_one();
        self.published.send_replace(true);
    }

    /// Publishes commits until [`Live::close`].
    pub(super) fn run(&self) {
        let mut has_failed = false;
        loop {
            {
                let mut state = self.state.lock();
                while !state.is_new && !state.is_closed {
                    self.changed.wait(&mut state);
                }
                if state.is_closed {
                    return;
                }
                state.is_new = false;
            }
            self.fill(&mut has_failed);
            self.published.send_modify(|_| {});
        }
    }

    /// Reads what is new into the ring.
    fn fill(&self, has_failed: &mut bool) {
        let everything = Filter { include_system: true, ..Filter::default() };
        let target = self.reader.committed();
        loop {
            let after = self.ring.read().end();
            if after >= target {
                return;
            }
            // A bulk load would only run through the ring: its followers read from disk until it is over.
            if target.get() - after.get() > FILL_EVENTS_MAX {
                self.ring.write().reset(target);
                return;
            }
            match self.reader.read_events(&everything, after, Direction::Forward, FILL_PAGE_EVENTS, FILL_PAGE_BYTES) {
                Ok(slice) if slice.through > after => self.ring.write().extend(after, slice.events, slice.through),
                Ok(_) => self.ring.write().reset(target),
                Err(error) => {
                    // Its followers go to the disk for it and are told there; the log of the server needs it once.
                    if !std::mem::replace(has_failed, true) {
                        tracing::error!(shard = self.shard, %error, "what was just committed can't be read");
                    }
                    self.ring.write().reset(target);
                }
            }
        }
    }
}

/// One follower's place at the live end. Keeps the ring filled while it exists.
pub(crate) struct Follower {
    live: Arc<Live>,
    published: watch::Receiver<bool>,
    /// Where the log ended when the follower began.
    began: Position,
}

impl Follower {
    pub(super) fn new(live: &Arc<Live>) -> Self {
        let mut state = live.state.lock();
        state.followers += 1;
        let began = live.reader.committed();
        if state.followers == 1 {
            live.ring.write().reset(began);
        }
        drop(state);
        Self { live: Arc::clone(live), published: live.published.subscribe(), began }
    }

    /// Wanted events behind `after` from memory; `None` if they have to be read from disk.
    /// What is published from this call on ends the next [`Follower::changed`].
    pub(crate) fn read(
        &mut self,
        after: Position,
        wanted: impl Fn(&RecordedEvent) -> bool,
        events_max: usize,
        bytes_max: usize,
    ) -> Option<RingSlice> {
        self.published.mark_unchanged();
        let ring = self.live.ring.read();
        // Deletes from before the follower began must be in effect for it; the ring knows them once it reaches that far.
        let is_stale = after < self.began && ring.end() < self.began;
        if is_stale { None } else { ring.read(after, wanted, events_max, bytes_max) }
    }

    /// Waits until something was published since the last [`Follower::read`], or the shard is closed.
    pub(crate) async fn changed(&mut self) {
        if !self.is_closed() && self.published.changed().await.is_err() {
            // The sender lives in `self.live`, so it can't be gone.
            tracing::error!(shard = self.live.shard, "the live end of the log is gone");
        }
    }

    /// Whether the shard is closed.
    pub(crate) fn is_closed(&self) -> bool {
        *self.published.borrow()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.live.state.lock();
        state.followers -= 1;
        if state.followers == 0 {
            // Nobody needs the memory any more.
            let end = self.live.ring.read().end();
            self.live.ring.write().reset(end);
        }
    }
}

/// A ring that is further behind than this begins anew at the end.
const FILL_EVENTS_MAX: u64 = 100_000;
const FILL_PAGE_EVENTS: usize = 4_096;
const FILL_PAGE_BYTES: usize = 1 << 20;
