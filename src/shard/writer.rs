//! How does an append get from the queue to the disk, and its answer back?
//!
//! One thread a shard, no timers: what queued while the last batch was being synced is the next batch.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use factum_storage as storage;
use storage::Appended;
use storage::EventId;
use storage::NewEvent;
use storage::Position;
use storage::Retention;
use storage::Store;
use storage::StreamName;
use storage::Transaction;
use tokio::sync::oneshot;

use super::import;
use super::local::Local;
use super::meters::Outcome;
use super::meters::Outcomes;
use super::queue::Weigh;
use crate::Error;

/// Something for the writer to do, and where its answer goes.
pub(super) struct Request {
    pub(super) work: Work,
    /// About how many bytes it holds.
    pub(super) bytes: usize,
    pub(super) queued_at: Instant,
}

impl Weigh for Request {
    fn bytes(&self) -> usize {
        self.bytes
    }
}

pub(super) enum Work {
    Write(Write, Reply<Appended>),
    Import { stream: StreamName, events: Vec<NewEvent>, reply: Reply<Imported> },
}

/// One change of the log.
#[derive(Debug)]
pub(crate) enum Write {
    /// Events, under what must hold for them.
    Transaction(Transaction),
    /// A change of how a stream is seen, as an event with this id.
    Control(StreamName, Control, EventId),
}

/// How a stream is seen from now on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Control {
    /// Not there, until the next append.
    Deleted,
    /// Gone for ever.
    Tombstoned,
    /// Without its old events.
    Retention(Retention),
}

pub(super) type Reply<T> = oneshot::Sender<Answered<T>>;

/// Something that is queued, and will be answered.
pub(super) struct Pending<T> {
    pub(super) queued_at: Instant,
    pub(super) answer: oneshot::Receiver<Answered<T>>,
}

/// What came of a request, and when.
pub(super) struct Answered<T> {
    pub(super) result: Result<T, Error>,
    pub(super) times: Times,
}

/// When a batch went through the writer, and of how many requests it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) taken: Instant,
    pub(super) committing: Instant,
    pub(super) committed: Instant,
    pub(super) requests: usize,
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imported {
    pub(crate) imported: u64,
    pub(crate) duplicates: u64,
    /// The last position written, or the log's last.
    pub(crate) position: Position,
}

/// Serves the queue until it is closed and empty.
pub(super) fn serve(local: &Local, store: &mut Store) {
    let mut batch: VecDeque<Request> = VecDeque::new();
    let mut staged = Vec::new();
    let mut has_failed = false;
    let mut position = store.reader().committed();
    while local.queue.take(&mut batch, BATCH_REQUESTS_MAX, BATCH_BYTES_MAX) {
        let (taken, requests) = (Instant::now(), batch.len());
        let waited = batch.front().map_or(Duration::ZERO, |oldest| taken.saturating_duration_since(oldest.queued_at));
        foresee(store, &batch);
        // Staging sees earlier requests of this batch, so two writers of one stream can't both win.
        staged.extend(batch.drain(..).map(|request| Staged::new(store, request.work)));
        let bytes = store.staged_bytes();
        // One sync serves the whole batch. Answers wait for it: a client may act on its answer at once,
        // and a crash must not take that answer back.
        let committing = Instant::now();
        let committed = store.commit();
        let times = Times { taken, committing, committed: Instant::now(), requests };
        // What a client is told is counted by then.
        let failure = committed.as_ref().err();
        local.meters.answered(&Outcomes::of(staged.iter().map(|staged| staged.outcome(failure))));
        if let Ok(end) = committed
            && bytes > 0
        {
            let events = end.get().saturating_sub(std::mem::replace(&mut position, end).get());
            local.meters.committed((events, bytes as u64), times.committed - committing, waited);
        }
        for answer in staged.drain(..) {
            answer.send(failure, times);
        }
        match committed {
            Ok(_) => {
                has_failed = false;
                if bytes > 0 {
                    local.live.committed();
                    local.maintenance.committed(bytes as u64);
                }
            }
            Err(error) => {
                // A log that is read-only from the start says so without anything to commit.
                if bytes > 0 && !std::mem::replace(&mut has_failed, true) {
                    tracing::error!(shard = local.shard, %error, "a commit has failed");
                }
            }
        }
    }
}

/// Looks up all ids that clients chose, in one go if there are several.
fn foresee(store: &mut Store, batch: &VecDeque<Request>) {
    let chosen = |events: &[NewEvent]| events.iter().filter(|event| !event.id_is_fresh).map(|event| event.id).collect::<Vec<_>>();
    let mut ids = Vec::new();
    for request in batch {
        match &request.work {
            Work::Write(Write::Transaction(transaction), _) => {
                ids.extend(transaction.appends.iter().flat_map(|append| chosen(&append.events)))
            }
            Work::Import { events, .. } => ids.extend(chosen(events)),
            Work::Write(Write::Control(..), _) => {}
        }
    }
    // Without it each request looks its ids up by itself, and tells its caller what goes wrong.
    if ids.len() > 1 && store.foresee(&ids).is_err() {
        tracing::debug!("ids are looked up one by one");
    }
}

/// A request that waits for the batch's commit.
struct Staged {
    answer: Answer,
    /// What was staged before or with it has part in its answer, so that answer is worth nothing if the commit fails.
    hangs_on_commit: bool,
}

enum Answer {
    Write(Result<Appended, storage::Error>, Reply<Appended>),
    Import(Result<Imported, storage::Error>, Reply<Imported>),
}

impl Staged {
    fn new(store: &mut Store, work: Work) -> Self {
        let answer = match work {
            Work::Write(write, reply) => Answer::Write(stage(store, &write), reply),
            Work::Import { stream, events, reply } => Answer::Import(import::stage(store, stream, events), reply),
        };
        Self { answer, hangs_on_commit: store.staged_bytes() > 0 }
    }

    /// What it comes to.
    fn outcome(&self, failure: Option<&storage::Error>) -> Outcome {
        if let Some(failure) = failure.filter(|_| self.hangs_on_commit) {
            return Outcome::of(failure);
        }
        let appended = |is_new: bool| if is_new { Outcome::Appended } else { Outcome::Duplicate };
        match &self.answer {
            Answer::Write(Ok(done), _) => appended(!done.duplicate),
            Answer::Import(Ok(done), _) => appended(done.imported > 0),
            Answer::Write(Err(error), _) | Answer::Import(Err(error), _) => Outcome::of(error),
        }
    }

    fn send(self, failure: Option<&storage::Error>, times: Times) {
        let failure = failure.filter(|_| self.hangs_on_commit);
        match self.answer {
            Answer::Write(answer, reply) => send(answer, failure, reply, times),
            Answer::Import(answer, reply) => send(answer, failure, reply, times),
        }
    }
}

fn stage(store: &mut Store, write: &Write) -> Result<Appended, storage::Error> {
    match write {
        Write::Transaction(transaction) => store.stage(transaction),
        Write::Control(stream, Control::Deleted, id) => store.stage_delete(stream, *id),
        Write::Control(stream, Control::Tombstoned, id) => store.stage_tombstone(stream, *id),
        Write::Control(stream, Control::Retention(retention), id) => store.stage_retention(stream, *retention, *id),
    }
}

fn send<T>(answer: Result<T, storage::Error>, failure: Option<&storage::Error>, reply: Reply<T>, times: Times) {
    let result = failure.map_or(answer, |error| Err(error.clone())).map_err(Error::from);
    // Whoever asked may have gone; what was appended stays.
    drop(reply.send(Answered { result, times }));
}

/// About what events take in a queue.
pub(super) fn events_bytes(events: &[NewEvent]) -> usize {
    events.iter().map(|event| EVENT_BYTES + event.data.len() + event.metadata.len()).sum()
}

/// Bounds of one batch, so that the first of it does not wait too long for the last.
const BATCH_REQUESTS_MAX: usize = 10_000;
const BATCH_BYTES_MAX: usize = 8 << 20;
/// About what a request and an event take in memory beside what the client sent.
pub(super) const REQUEST_BYTES: usize = 256;
const EVENT_BYTES: usize = 128;
