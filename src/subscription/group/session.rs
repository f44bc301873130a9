//! What do a group's consumers share while there are any? Its books, and the ways to wake each other.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use factum_storage::Clock;
use factum_storage::SystemClock;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::books::Books;
use super::books::Now;
use super::store::broken;
use super::terms::Terms;
use super::writer::Writer;
use crate::Error;

/// A group that is at work.
pub(super) struct Session {
    /// Tells its deliveries from those of any other session.
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) terms: Arc<Terms>,
    pub(super) books: Mutex<Books>,
    /// It stands in the writer's queue.
    pub(super) is_marked: AtomicBool,
    /// Up to which change everything is stored.
    pub(super) stored: watch::Sender<Stored>,
    /// For the worker: look at the books.
    pub(super) stirred: Notify,
    /// Asks the worker to end.
    pub(super) stop: CancellationToken,
    pub(super) end: Mutex<Option<End>>,
    /// Its worker is gone, and everything is stored.
    pub(super) finished: CancellationToken,
}

/// How far the store has come.
#[derive(Clone, Default)]
pub(super) struct Stored {
    pub(super) through: u64,
    pub(super) failure: Option<Arc<str>>,
}

/// How a session ended.
#[derive(Clone)]
pub(super) enum End {
    /// The next one goes on.
    Over,
    /// There is none.
    Failed(Error),
}

/// Names one delivery of an event; each time that the event is given out it is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    pub(super) session: u64,
    pub(super) number: u64,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.session, self.number)
    }
}

impl FromStr for DeliveryId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "is not the id of a delivery; take it from the delivery as it is";
        let (session, number) = text.split_once('-').ok_or(FORM)?;
        let is_plain = session.len() == 16 && number.len() <= 20 && number.bytes().all(|byte| byte.is_ascii_digit());
        if !is_plain {
            return Err(FORM);
        }
        Ok(Self { session: u64::from_str_radix(session, 16).map_err(|_| FORM)?, number: number.parse().map_err(|_| FORM)? })
    }
}

impl Session {
    pub(super) fn new(name: Arc<str>, terms: Arc<Terms>, books: Books) -> Self {
        let [.., a, b, c, d, e, f, g, h] = *Uuid::now_v7().as_bytes();
        Self {
            id: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            name,
            terms,
            books: Mutex::new(books),
            is_marked: AtomicBool::new(false),
            stored: watch::Sender::new(Stored::default()),
            stirred: Notify::new(),
            stop: CancellationToken::new(),
            end: Mutex::new(None),
            finished: CancellationToken::new(),
        }
    }

    /// How it has ended, if it has.
    pub(super) fn ended(&self) -> Option<End> {
        self.end.lock().clone()
    }

    /// Reads or changes the books. Not after the end: what they say then is not true any more, and what is changed in them would be
    /// stored over what the next session has stored.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Books, Now) -> T) -> Option<T> {
        let mut books = self.books.lock();
        // A session ends under this lock.
        if self.end.lock().is_some() {
            return None;
        }
        let answer = change(&mut books, now());
        if books.concerns_worker() {
            self.stirred.notify_one();
        }
        Some(answer)
    }

    /// From here on its books say nothing, and whoever waits for something in them finds that out.
    pub(super) fn finish(&self, books: &mut Books, end: End) {
        self.end.lock().get_or_insert(end);
        books.call_all();
    }

    /// Returns once everything that the books say now is on disk.
    pub(super) async fn durable(self: &Arc<Self>, writer: &Writer) -> Result<(), Error> {
        let wanted = {
            let books = self.books.lock();
            books.last_change()
        };
        let mut stored = self.stored.subscribe();
        if stored.borrow().through >= wanted && stored.borrow().failure.is_none() {
            return Ok(());
        }
        writer.mark(self);
        let settled = tokio::time::timeout(COMMIT_DEADLINE, stored.wait_for(|stored| stored.through >= wanted || stored.failure.is_some()));
        match settled.await {
            Ok(Ok(stored)) => stored.failure.as_ref().map_or(Ok(()), |why| Err(broken(&self.name, why))),
            Ok(Err(_)) | Err(_) => Err(broken(&self.name, "its progress could not be written in time")),
        }
    }

    /// Puts it into the writer's queue, if it is not there.
    pub(super) fn enter_queue(&self) -> bool {
        !self.is_marked.swap(true, Ordering::AcqRel)
    }

    pub(super) fn leave_queue(&self) {
        self.is_marked.store(false, Ordering::Release);
    }
}

pub(super) fn now() -> Now {
    Now { instant: Instant::now(), time: SystemClock.now() }
}

/// A disk that takes longer is taken for one that has failed.
const COMMIT_DEADLINE: Duration = Duration::from_secs(60);
