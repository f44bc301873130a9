//! How does one generation of a view keep up with the log? Open the target, go on behind its checkpoint, batch by batch; whatever fails,
//! begin again there.

mod batch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::time::Instant;

use super::FailedEvent;
use super::Failure;
use super::State;
use super::Status;
use super::intake;
use super::intake::Chunk;
use super::meters;
use super::module;
use super::module::Habit;
use super::spec::Spec;
use super::supervisor::retry_delay;
use super::target::Batch;
use super::target::Fault;
use super::target::Opening;
use super::target::Target;
use super::target::Writer;
use crate::Error;
use crate::script::Sandbox;
use crate::shard::Router;
use crate::subscription::Cursor;
use crate::subscription::Reshape;

/// What a worker is given.
pub(super) struct Options {
    pub(super) router: Arc<Router>,
    pub(super) reshape: Option<Arc<dyn Reshape>>,
    pub(super) sandbox: Sandbox,
    pub(super) lookup: Arc<dyn module::Lookup>,
    pub(super) spec: Arc<Spec>,
    pub(super) target: Arc<dyn Target>,
    pub(super) hash: [u8; 16],
    pub(super) is_live: bool,
    pub(super) status: Arc<Status>,
    pub(super) control: watch::Receiver<Control>,
    pub(super) wake: Arc<Notify>,
}

/// What a worker is told to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) is_stopped: bool,
    pub(super) is_paused: bool,
    /// Counts up each time that a failed worker is to try again.
    pub(super) resumed: u64,
    /// Step over this event (shard and position).
    pub(super) skip: Option<(u16, u64)>,
}

/// Why a session with the target is over.
enum End {
    /// The worker was told to stop, or the database closes.
    Stopped,
    Paused,
    /// Try again after a while.
    Passing(String),
    /// Try again at once, in smaller steps.
    Smaller,
    Failed(Failure),
}

struct Worker {
    options: Options,
    /// How many events go into a commit.
    events_max: usize,
    /// An event that the target has refused when it came alone.
    refused: Option<((u16, u64), String)>,
    /// What the module is like, if there is one.
    habit: Habit,
    attempts: u32,
}

/// Works until it is told to stop.
pub(super) async fn run(options: Options) {
    let mut worker = Worker { options, events_max: BATCH_EVENTS_MAX, refused: None, habit: Habit::default(), attempts: 0 };
    loop {
        let seen = worker.options.control.borrow_and_update().clone();
        if seen.is_stopped {
            return;
        }
        let end = if seen.is_paused { End::Paused } else { worker.session().await };
        match end {
            End::Stopped => return,
            End::Smaller => {}
            End::Paused => {
                worker.options.status.set_paused();
                worker.until_told(|control| !control.is_paused).await;
            }
            End::Passing(reason) => worker.back_off(reason).await,
            End::Failed(failure) => {
                log_failure(&worker.options.spec.name, &failure);
                worker.options.status.set_failure(State::Failed, failure);
                let resumed = seen.resumed;
                worker.until_told(|control| control.resumed != resumed || control.is_paused).await;
                worker.attempts = 0;
            }
        }
    }
}

/// Says in the log that a projection stands still. Why an event can't be digested may repeat what is in it, or what a script says of that:
/// this is told to whoever asks for the projection's status, and not here.
fn log_failure(projection: &str, failure: &Failure) {
    match &failure.event {
        Some(FailedEvent { shard, position, .. }) => {
            tracing::error!(projection, shard, position, "the projection has failed at an event; its status says why");
        }
        None => tracing::error!(projection, reason = failure.reason, "the projection has failed"),
    }
}

impl Worker {
    /// Waits until the control says so, or to stop.
    async fn until_told(&mut self, is_it: impl Fn(&Control) -> bool) {
        // Without anybody who could say so any more, `run` finds it stopped.
        if self.options.control.wait_for(|control| control.is_stopped || is_it(control)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn back_off(&mut self, reason: String) {
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts == 1 {
            tracing::warn!(projection = self.options.spec.name, reason, "the projection can't go on for now; it is tried again");
        }
        meters::retried(&self.options.spec.name);
        let failure = Failure { reason, event: None, attempts: self.attempts };
        self.options.status.set_failure(State::Retrying, failure);
        let delay = retry_delay(self.attempts);
        let resumed = self.options.control.borrow().resumed;
        let told = self.options.control.wait_for(|control| control.is_stopped || control.is_paused || control.resumed != resumed);
        // Either way it is tried again, or `run` sees what it was told.
        drop(tokio::time::timeout(delay, told).await);
    }

    async fn session(&mut self) -> End {
        match self.follow().await {
            Ok(end) => end,
            Err(Fault::Passing(reason)) => End::Passing(reason),
            Err(Fault::Lasting(reason) | Fault::Fenced(reason)) => {
                End::Failed(Failure { reason, event: None, attempts: self.attempts + 1 })
            }
            Err(Fault::Row { key, detail }) => {
                let reason = format!("the row {key:?} was refused, and no event could be found that makes it: {detail}");
                End::Failed(Failure { reason, event: None, attempts: self.attempts + 1 })
            }
        }
    }

    /// Opens the target and follows the log until something ends it.
    async fn follow(&mut self) -> Result<End, Fault> {
        let Options { router, spec, target, .. } = &self.options;
        let opening = Opening {
            hash: self.options.hash,
            definition: spec.text.clone(),
            columns: Arc::clone(&spec.columns),
            database: router.database_id(),
            shards: router.count(),
            is_live: self.options.is_live,
        };
        let mut writer = target.open(opening).await?;
        let after = writer.checkpoint().cloned().unwrap_or_else(|| Cursor::start(router));
        if let Err(error) = after.check(router, 0) {
            return Err(Fault::Lasting(format!("the target is of another log, or the log has lost its end: {error}; rebuild it")));
        }
        self.options.status.opened_at(after.clone());
        let mut intake = intake::Handle::start(intake::Options {
            router: Arc::clone(router),
            reshape: self.options.reshape.clone(),
            spec: Arc::clone(spec),
            after: after.clone(),
            wake: Arc::clone(&self.options.wake),
        });
        let mut place = Place { applied: after.clone(), committed: after, flush_at: None };
        // That it opens says little after a fault: whether it goes on is told by the first commit.
        if self.attempts == 0 {
            self.options.status.is_running();
        }
        let mut told = self.options.control.clone();
        loop {
            let flush_at = place.flush_at.unwrap_or_else(|| Instant::now() + FLUSH_FAR);
            let chunk = tokio::select! {
                biased;
                changed = told.changed() => {
                    let (is_stopped, is_paused) = { let control = told.borrow_and_update(); (control.is_stopped, control.is_paused) };
                    if changed.is_err() || is_stopped || is_paused {
                        self.settle(writer.as_mut(), &mut place).await?;
                        return Ok(if is_paused && !is_stopped { End::Paused } else { End::Stopped });
                    }
                    continue;
                }
                chunk = intake.next() => match chunk {
                    Some(chunk) => chunk,
                    None => return Ok(End::Passing("reading the log has broken off; it begins again".to_owned())),
                },
                () = tokio::time::sleep_until(flush_at), if place.flush_at.is_some() => {
                    writer.flush().await?;
                    place.flush_at = None;
                    continue;
                }
            };
            let (chunks, failure) = self.gather(&mut intake, chunk);
            if let Some(end) = self.apply(writer.as_mut(), &mut place, chunks).await? {
                return Ok(end);
            }
            if let Some(error) = failure {
                if matches!(error, Error::Unavailable { .. }) {
                    self.settle(writer.as_mut(), &mut place).await?;
                    return Ok(End::Stopped);
                }
                return Ok(End::Passing(format!("the log can't be read: {error}")));
            }
            if self.attempts > 0 {
                self.attempts = 0;
                self.options.status.is_running();
            }
        }
    }

    /// What came, and what is there besides, up to one batch; and what has ended the intake.
    fn gather(&self, intake: &mut intake::Handle, first: Result<Chunk, Error>) -> (Vec<Chunk>, Option<Error>) {
        let (mut chunks, mut events, mut bytes) = (Vec::new(), 0, 0);
        let mut next = Some(first);
        while let Some(taken) = next.take() {
            match taken {
                Ok(chunk) => {
                    events += chunk.events.len();
                    bytes += chunk.events.iter().map(|taken| taken.event.record.stored_bytes()).sum::<usize>();
                    chunks.push(chunk);
                }
                Err(error) => return (chunks, Some(error)),
            }
            if events < self.events_max && bytes < BATCH_BYTES_MAX {
                next = intake.ready();
            }
        }
        (chunks, None)
    }

    /// Brings the checkpoint to where the worker stands, and makes it durable.
    async fn settle(&self, writer: &mut dyn Writer, place: &mut Place) -> Result<(), Fault> {
        if place.committed != place.applied {
            let batch = Batch { writes: Vec::new(), parked: Vec::new(), through: place.applied.clone() };
            writer.commit(batch).await?;
            place.committed = place.applied.clone();
        }
        writer.flush().await
    }
}

/// Where a session stands.
struct Place {
    /// Everything up to here is in the rows.
    applied: Cursor,
    /// What the target knows of that.
    committed: Cursor,
    /// When what was committed is to be made durable, if it may not be yet.
    flush_at: Option<Instant>,
}

const BATCH_EVENTS_MAX: usize = 8_192;
const BATCH_BYTES_MAX: usize = 16 << 20;
/// After so much time without a commit the last ones are made durable, for targets that may choose.
const FLUSH_AFTER: Duration = Duration::from_secs(1);
const FLUSH_FAR: Duration = Duration::from_secs(3_600);
