//! How do any number of followers learn of a commit, at one read of the log and at next to no cost to the writer?
//!
//! The writer only says that it has committed, and only if somebody follows. A thread of its own reads what is new
//! into the [`Ring`], once for all followers, and then wakes them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use factum_storage as storage;
use parking_lot::Condvar;
use parking_lot::Mutex;
use parking_lot::RwLock;
use storage::Direction;
use storage::Filter;
use storage::Position;
use storage::Reader;
use storage::RecordedEvent;
use tokio::sync::Notify;

use super::interest::Interest;
use super::interest::Interested;
use super::meters::Meters;
use super::ring::Ring;
use super::ring::RingSlice;

/// The live end of a shard's log.
pub(super) struct Live {
    shard: u16,
    origin: Origin,
    state: Mutex<State>,
    changed: Condvar,
    ring: RwLock<Ring>,
    /// Held while something is published: whoever begins to follow finds it in the ring or is woken for it. Taken before `state`.
    interested: Mutex<Interested<Arc<Place>>>,
    /// Everybody who may want something of what lies up to here was woken.
    published: AtomicU64,
    next_follower: AtomicU64,
    is_closed: AtomicBool,
    meters: Arc<Meters>,
}

/// Where events come from.
enum Origin {
    /// A log of this process, which is read when its writer says so.
    Log(Reader),
    /// Another server, which sends them. So far its log was seen to reach.
    Another(Arc<AtomicU64>),
}

impl Origin {
    fn committed(&self) -> Position {
        match self {
            Self::Log(reader) => reader.committed(),
            Self::Another(end) => Position::new(end.load(Ordering::Acquire)),
        }
    }
}

#[derive(Default)]
struct State {
    followers: usize,
    /// Something was committed since the thread looked last.
    is_new: bool,
    is_closed: bool,
}

/// What came of looking at what was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    Nothing,
    ForNobody,
    ForSome,
}

/// Where a follower is, and how to wake it.
#[derive(Default)]
struct Place {
    bell: Notify,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// It has read the ring to its end, which was here.
    end: Option<Position>,
    /// Something that it may want lies behind this position, and was published since.
    wanted_behind: Option<Position>,
}

impl Place {
    fn wake(&self, behind: Position) {
        // What it was woken for first, it has not read yet.
        self.seen.lock().wanted_behind.get_or_insert(behind);
        self.bell.notify_one();
    }
}

impl Live {
    pub(super) fn new(shard: u16, reader: Reader, ring_bytes_max: usize, meters: Arc<Meters>) -> Self {
        Self::of(shard, Origin::Log(reader), ring_bytes_max, meters)
    }

    /// The live end of a log that another server has. Nobody runs it: what is sent is given to [`Live::arrived`].
    pub(super) fn of_another(shard: u16, end: Arc<AtomicU64>, ring_bytes_max: usize, meters: Arc<Meters>) -> Self {
        Self::of(shard, Origin::Another(end), ring_bytes_max, meters)
    }

    fn of(shard: u16, origin: Origin, ring_bytes_max: usize, meters: Arc<Meters>) -> Self {
        Self {
            shard,
            origin,
            state: Mutex::default(),
            changed: Condvar::new(),
            ring: RwLock::new(Ring::new(ring_bytes_max)),
            interested: Mutex::default(),
            published: AtomicU64::new(0),
            next_follower: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            meters,
        }
    }

    /// How many follow.
    pub(super) fn followers(&self) -> usize {
        self.state.lock().followers
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
        self.is_closed.store(true, Ordering::Release);
        self.interested.lock().all().iter().for_each(|place| place.bell.notify_one());
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
            if self.fill(&mut has_failed) == Filled::ForNobody {
                self.rest();
            }
        }
    }

    /// What was written last was for nobody: what comes next is looked at in larger portions, and meanwhile the writer tells nobody of it.
    fn rest(&self) {
        let until = Instant::now() + REST;
        let mut state = self.state.lock();
        state.is_new = true;
        while !state.is_closed && !self.changed.wait_until(&mut state, until).timed_out() {}
    }

    /// Takes what another server has sent, in order and without a gap, up to `through`. What the ring has passed already is left out.
    pub(super) fn arrived(&self, mut events: Vec<RecordedEvent>, through: Position) {
        if self.state.lock().followers == 0 {
            return;
        }
        let end = self.ring.read().end();
        if through > end {
            events.retain(|event| event.position() > end);
            self.publish(end, events, through);
        }
    }

    /// Reads what is new into the ring.
    fn fill(&self, has_failed: &mut bool) -> Filled {
        let Origin::Log(reader) = &self.origin else { return Filled::Nothing };
        let everything = Filter { include_system: true, ..Filter::default() };
        let target = reader.committed();
        let mut filled = Filled::Nothing;
        loop {
            let after = self.ring.read().end();
            if after >= target {
                return filled;
            }
            // A bulk load would only run through the ring: its followers read from disk until it is over.
            if target.get() - after.get() > FILL_EVENTS_MAX {
                self.reset(after, target);
                return Filled::ForSome;
            }
            match reader.read_events(&everything, after, Direction::Forward, FILL_PAGE_EVENTS, FILL_PAGE_BYTES) {
                Ok(slice) if slice.through > after => {
                    let is_for_some = self.publish(after, slice.events, slice.through) || filled == Filled::ForSome;
                    filled = if is_for_some { Filled::ForSome } else { Filled::ForNobody };
                }
                Ok(_) => self.reset(after, target),
                Err(error) => {
                    // Its followers go to the disk for it and are told there; the log of the server needs it once.
                    if !std::mem::replace(has_failed, true) {
                        tracing::error!(shard = self.shard, %error, "what was just committed can't be read");
                    }
                    self.reset(after, target);
                }
            }
        }
    }

    /// Puts into the ring what was read behind `after` up to `through`, and wakes who may want some of it, if there is anybody.
    fn publish(&self, after: Position, events: Vec<RecordedEvent>, through: Position) -> bool {
        let interested = self.interested.lock();
        let those = interested.in_events(&events);
        self.ring.write().extend(after, events, through);
        those.iter().for_each(|place| place.wake(after));
        self.published.store(through.get(), Ordering::Release);
        !those.is_empty()
    }

    /// Forgets what is in memory.
    pub(super) fn forget(&self) {
        let interested = self.interested.lock();
        let mut ring = self.ring.write();
        let end = ring.end();
        ring.reset(end);
        drop(ring);
        drop(interested);
    }

    /// Begins the ring anew at the end of the log. What was passed over may concern anybody.
    fn reset(&self, after: Position, end: Position) {
        let interested = self.interested.lock();
        self.ring.write().reset(end);
        interested.all().iter().for_each(|place| place.wake(after));
        self.published.store(end.get(), Ordering::Release);
    }
}

/// One follower's place at the live end. Keeps the ring filled while it exists.
pub(crate) struct Follower {
    live: Arc<Live>,
    id: u64,
    interest: Interest,
    place: Arc<Place>,
    /// Where the log ended when the follower began.
    began: Position,
}

impl Follower {
    pub(super) fn new(live: &Arc<Live>, interest: Interest) -> Self {
        let id = live.next_follower.fetch_add(1, Ordering::Relaxed);
        let place = Arc::new(Place::default());
        let mut interested = live.interested.lock();
        interested.insert(id, &interest, &place);
        let began = {
            let mut state = live.state.lock();
            state.followers += 1;
            let began = live.origin.committed();
            if state.followers == 1 {
                live.ring.write().reset(began);
                live.published.store(began.get(), Ordering::Release);
            }
            began
        };
        drop(interested);
        Self { live: Arc::clone(live), id, interest, place, began }
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
        let from = self.pass_over(after);
        let ring = self.live.ring.read();
        // Deletes from before the follower began must be in effect for it; the ring knows them once it reaches that far.
        let is_stale = after < self.began && ring.end() < self.began;
        let slice = if is_stale { None } else { ring.read(from, wanted, events_max, bytes_max) };
        match &slice {
            None => self.live.meters.memory_misses.increment(1),
            Some(slice) if !slice.events.is_empty() => self.live.meters.memory_hits.increment(1),
            Some(_) => {}
        }
        let end = slice.as_ref().filter(|slice| slice.at_end).map(|slice| slice.through);
        // Under the lock of the ring: it ends there still.
        self.place.seen.lock().end = end;
        slice
    }

    /// How far there is nothing behind `after` that it may want: it would have been woken for it.
    fn pass_over(&self, after: Position) -> Position {
        // Before what it was woken for is looked at: whoever is in `published` has woken it by now.
        let published = Position::new(self.live.published.load(Ordering::Acquire));
        let mut seen = self.place.seen.lock();
        let clear = seen.wanted_behind.take().unwrap_or(published);
        if seen.end.is_some_and(|end| end <= after) { clear.max(after) } else { after }
    }

    /// Waits until something that it may want was published since the last [`Follower::read`], or the shard is closed.
    pub(crate) async fn changed(&mut self) {
        while !self.is_closed() && self.place.seen.lock().wanted_behind.is_none() {
            self.place.bell.notified().await;
        }
    }

    /// Whether the shard is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.live.is_closed.load(Ordering::Acquire)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut interested = self.live.interested.lock();
        interested.remove(self.id, &self.interest);
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
/// So much later a follower learns at most of what it wants among much that nobody does.
const REST: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests;
