//! How does a projection fare?

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use factum_storage::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::subscription::Cursor;
use crate::subscription::Event;

/// What a worker does just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It follows the log.
    Running,
    /// A changed definition is built beside the rows in use.
    Rebuilding,
    /// Somebody has paused it.
    Paused,
    /// The target did not answer, or said no for the moment: it is tried again.
    Retrying,
    /// It stands still until somebody does something about it.
    Failed,
}

/// Why it does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub reason: String,
    /// The event that it stands on, if it is one.
    pub event: Option<FailedEvent>,
    /// How often it was tried in a row.
    pub attempts: u32,
}

/// The event that a projection can't digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedEvent {
    /// On which shard.
    pub shard: u16,
    /// Its position there.
    pub position: u64,
    /// Its stream.
    pub stream: String,
    /// Its version there.
    pub version: u64,
    /// Its type.
    pub event_type: String,
}

impl FailedEvent {
    pub(super) fn of(event: &Event) -> Self {
        Self {
            shard: event.shard,
            position: event.record.position().get(),
            stream: event.record.stream().to_owned(),
            version: event.record.version().get(),
            event_type: event.record.event_type().to_owned(),
        }
    }
}

/// What a worker tells while it works.
#[derive(Debug)]
pub(crate) struct Status {
    inner: Mutex<Inner>,
    applied: watch::Sender<Cursor>,
    caught_up: watch::Sender<bool>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    failure: Option<Failure>,
    /// Applied events of the last seconds: since when, and how many.
    recent: VecDeque<(Instant, u64)>,
    last_recorded_at: Option<Timestamp>,
    began: Instant,
    began_at: Cursor,
}

impl Status {
    pub(crate) fn new(start: Cursor) -> Self {
        let inner = Inner {
            state: State::Running,
            failure: None,
            recent: VecDeque::new(),
            last_recorded_at: None,
            began: Instant::now(),
            began_at: start.clone(),
        };
        Self { inner: Mutex::new(inner), applied: watch::channel(start).0, caught_up: watch::channel(false).0 }
    }

    /// Everything up to here is in the rows.
    pub(crate) fn applied(&self) -> Cursor {
        self.applied.borrow().clone()
    }

    pub(crate) fn watch_applied(&self) -> watch::Receiver<Cursor> {
        self.applied.subscribe()
    }

    pub(crate) fn watch_caught_up(&self) -> watch::Receiver<bool> {
        self.caught_up.subscribe()
    }

    pub(super) fn set_applied(&self, through: Cursor, events: u64, last_recorded_at: Option<Timestamp>) {
        if events > 0 {
            let mut inner = self.inner.lock();
            let now = Instant::now();
            match inner.recent.back_mut() {
                Some((since, count)) if now.duration_since(*since) < BUCKET => *count += events,
                _ => inner.recent.push_back((now, events)),
            }
            while inner.recent.front().is_some_and(|(since, _)| now.duration_since(*since) > WINDOW) {
                inner.recent.pop_front();
            }
            inner.last_recorded_at = last_recorded_at.or(inner.last_recorded_at);
        }
        self.applied.send_replace(through);
    }

    pub(super) fn set_caught_up(&self) {
        self.caught_up.send_if_modified(|is| !std::mem::replace(is, true));
    }

    /// A worker has opened its target here.
    pub(super) fn opened_at(&self, cursor: Cursor) {
        let mut inner = self.inner.lock();
        (inner.began, inner.began_at) = (Instant::now(), cursor.clone());
        drop(inner);
        self.caught_up.send_replace(false);
        self.applied.send_replace(cursor);
    }

    /// It goes on; a failure that is over is forgotten.
    pub(super) fn is_running(&self) {
        let mut inner = self.inner.lock();
        (inner.state, inner.failure) = (State::Running, None);
    }

    pub(super) fn set_paused(&self) {
        let mut inner = self.inner.lock();
        (inner.state, inner.failure) = (State::Paused, None);
    }

    pub(super) fn set_failure(&self, state: State, failure: Failure) {
        let mut inner = self.inner.lock();
        (inner.state, inner.failure) = (state, Some(failure));
    }

    pub(crate) fn state(&self) -> (State, Option<Failure>) {
        let inner = self.inner.lock();
        (inner.state, inner.failure.clone())
    }

    /// When the event that was applied last was recorded.
    pub(crate) fn last_recorded_at(&self) -> Option<Timestamp> {
        self.inner.lock().last_recorded_at
    }

    /// Over the last seconds.
    pub(crate) fn events_per_second(&self) -> f64 {
        let inner = self.inner.lock();
        let now = Instant::now();
        let recent = inner.recent.iter().filter(|(since, _)| now.duration_since(*since) <= WINDOW);
        let (mut events, mut since) = (0_u64, now);
        for (at, count) in recent {
            events += count;
            since = since.min(*at);
        }
        let seconds = now.duration_since(since).max(BUCKET).as_secs_f64();
        f64::from(u32::try_from(events).unwrap_or(u32::MAX)) / seconds
    }

    /// How many positions it has gone through since it was opened, and in what time.
    pub(crate) fn pace(&self) -> (u64, Duration) {
        let inner = self.inner.lock();
        let sum = |cursor: &Cursor| cursor.positions().iter().map(|position| position.get()).sum::<u64>();
        (sum(&self.applied.borrow()).saturating_sub(sum(&inner.began_at)), inner.began.elapsed())
    }
}

const BUCKET: Duration = Duration::from_millis(500);
const WINDOW: Duration = Duration::from_secs(10);
