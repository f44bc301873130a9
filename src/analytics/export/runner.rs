//! How does a lake follow the log? Take it over, finish what was begun, then gather and flush, one while the other goes on; merge and
//! clean up when there is time.

use std::sync::Arc;
use std::time::Duration;

use factum_storage::Clock;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::control::Told;
use super::fault::Fault;
use super::gather::Gathered;
use super::intake::Chunk;
use super::intake::Intake;
use super::lake::Lake;
use super::log::Log;
use super::log::unreadable;
use super::manifest::Intent;
use super::manifest::Origin;
use super::manifest::cursor;
use super::partition::date_text;
use super::partition::day_of;
use super::pick::Policy;
use super::pick::pick;
use super::place::Place;
use super::readers::Readers;
use super::session::Session;
use super::session::Tools;
use super::spec::Spec;
use super::status::ExportState;
use super::status::Status;
use super::threads::Threads;
use crate::schema::Registry;
use crate::subscription::Cursor;
use crate::telemetry::traces;

/// What an export is given.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) spec: Arc<Spec>,
    pub(super) place: Place,
    pub(super) log: Log,
    pub(super) status: Arc<Status>,
    pub(super) threads: Arc<Threads>,
    pub(super) schemas: Arc<Registry>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) told: Told,
}

/// Works until it is told to stop.
pub(super) async fn run(options: Options) {
    let mut attempts = 0_u32;
    loop {
        let since = Instant::now();
        let ended = follow(&options).await;
        if options.told.is_stopped() {
            return;
        }
        let fault = match ended {
            Ok(()) | Err(Fault::Stopped) => Fault::Lasting("the log is not available".to_owned()),
            Err(fault) => fault,
        };
        attempts = if since.elapsed() > STEADY { 1 } else { attempts.saturating_add(1) };
        let reason = fault.to_string();
        if attempts == 1 {
            tracing::error!(export = options.spec.name, reason, "the export has failed");
        }
        options.status.set_failure(ExportState::Failed, &reason, attempts);
        match fault {
            // Whoever was fenced would only fence the other in return.
            Fault::Fenced(_) => options.told.wait().await,
            Fault::Lasting(_) | Fault::Stopped => {
                options.told.pause(FAILED_FIRST.saturating_mul(1 << attempts.min(16)).min(FAILED_MAX)).await;
            }
        }
    }
}

async fn follow(options: &Options) -> Result<(), Fault> {
    let session = open(options).await?;
    let intake = Intake::start(options.log.clone(), &session.manifest.through());
    let gathered = Gathered::behind(&session.manifest, options.spec.layout);
    options.status.is_answered();
    options.status.set_reached(session.manifest.through());
    let merges_at = Instant::now();
    let follower = Follower {
        options,
        reached: session.manifest.through(),
        session: Some(session),
        gathered,
        is_caught_up: false,
        flush_at: None,
        merges_at,
        sweep_at: Instant::now() + SWEEP_EVERY,
    };
    follower.run(intake).await
}

/// Takes the lake over, and finishes what was begun before.
pub(super) async fn open(options: &Options) -> Result<Session, Fault> {
    let Options { spec, place, log, status, threads, schemas, clock, told } = options;
    let mut attempts = 0;
    let store = loop {
        match place.store() {
            Ok(store) => break store,
            Err(reason) => {
                attempts += 1;
                status.set_retrying(&reason, attempts);
                told.pause(FAILED_FIRST).await;
                if told.is_stopped() {
                    return Err(Fault::Stopped);
                }
            }
        }
    };
    let tools = Tools {
        lake: Lake::new(Arc::clone(&store), Arc::clone(status), told.clone()),
        readers: Arc::new(Readers::new(store)),
        url: place.url(),
        status: Arc::clone(status),
        threads: Arc::clone(threads),
        schemas: Arc::clone(schemas),
        clock: Arc::clone(clock),
        place: place.clone(),
    };
    let mut session = Session::open(tools, Origin::of(spec), log).await?;
    finish(&mut session, options).await?;
    Ok(session)
}

/// Finishes what the manifest tells of and what somebody has not come to do.
async fn finish(session: &mut Session, options: &Options) -> Result<(), Fault> {
    match session.unfinished() {
        None => Ok(()),
        Some(Intent::Merge { .. }) => session.finish_merge().await,
        Some(Intent::Flush { through, files, .. }) => {
            let there = session.put_already(&files).await?;
            let mut gathered = Gathered::behind(&session.manifest, options.spec.layout);
            if there.len() < files.len() {
                options.log.replay(&mut gathered, &cursor(&through)).await?;
            }
            session.finish_flush(there, gathered.partitions, gathered.shapes).await
        }
    }
}

/// What is done with a lake beside gathering.
type Work = BoxFuture<'static, (Session, Result<(), Fault>)>;

/// A lake that follows the log.
struct Follower<'a> {
    options: &'a Options,
    /// The lake, while nothing is done with it.
    session: Option<Session>,
    gathered: Gathered,
    /// All wanted events up to here are in the lake.
    reached: Cursor,
    is_caught_up: bool,
    /// When the oldest event that is gathered has waited for long enough.
    flush_at: Option<Instant>,
    merges_at: Instant,
    sweep_at: Instant,
}

impl Follower<'_> {
    async fn run(mut self, mut intake: Intake) -> Result<(), Fault> {
        let mut told = self.options.told.clone();
        let mut work: Option<Work> = None;
        loop {
            if told.is_stopped() {
                return Ok(());
            }
            if work.is_none() {
                work = self.next_work();
            }
            let far = Instant::now() + FAR;
            let due =
                [self.flush_at.unwrap_or(far), self.sweep_at, self.merges_at.max(Instant::now() + TICK)].into_iter().min().unwrap_or(far);
            let is_busy = work.is_some();
            let done = async {
                match &mut work {
                    Some(work) => work.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = told.changed() => intake.hurry(),
                (session, result) = done => {
                    work = None;
                    result?;
                    self.settle(session);
                }
                chunk = intake.next(), if !self.gathered.is_full() => match chunk {
                    Some(Ok(chunk)) => self.take(chunk),
                    Some(Err(error)) => return Err(unreadable(error)),
                    None => return Err(Fault::Lasting("reading the log has failed inside; see the server's log".to_owned())),
                },
                () = tokio::time::sleep_until(due), if !is_busy => {}
            }
        }
    }

    fn take(&mut self, chunk: Chunk) {
        let Chunk { events, through, shapes, is_caught_up } = chunk;
        if !events.is_empty() {
            self.flush_at.get_or_insert_with(|| Instant::now() + self.options.spec.flush_every);
        }
        events.into_iter().for_each(|event| self.gathered.push(event, shapes));
        self.gathered.through = through;
        self.is_caught_up = is_caught_up;
        self.tell();
    }

    /// Something has been done with the lake.
    fn settle(&mut self, session: Session) {
        self.reached = session.manifest.through();
        self.session = Some(session);
        self.tell();
    }

    /// Tells how far the lake is. With nothing gathered and nothing being put, there is nothing for it up to where the log was read.
    fn tell(&mut self) {
        if self.session.is_some() && self.gathered.is_empty() {
            self.reached = self.gathered.through.clone();
        }
        self.options.status.set_reached(self.reached.clone());
    }

    /// What is to be done with the lake now, if anything.
    fn next_work(&mut self) -> Option<Work> {
        let now = Instant::now();
        let is_wanted = self.options.told.flush_to().is_some_and(|to| self.gathered.through.covers(&to) && !self.reached.covers(&to));
        let is_due = self.flush_at.is_some_and(|at| at <= now);
        if !self.gathered.is_empty() && (is_due || is_wanted || self.gathered.is_full()) {
            let mut session = self.session.take()?;
            let mut gathered = self.gathered.take();
            self.flush_at = None;
            let (causes, events) = (std::mem::take(&mut gathered.causes), gathered.events);
            let spec = Arc::clone(&self.options.spec);
            return Some(Box::pin(async move {
                let began = std::time::Instant::now();
                let result = session.flush(gathered).await;
                if result.is_ok() && !causes.is_empty() {
                    let count = u64::try_from(events).unwrap_or(u64::MAX);
                    let attributes = [("factum.export", spec.name.as_str().into()), ("factum.batch.events", count.into())];
                    traces::follow("export.flush", &causes, (began, std::time::Instant::now()), &attributes);
                }
                (session, result)
            }));
        }
        let session = self.session.as_ref()?;
        let published = session.manifest.through();
        if self.gathered.is_empty() && distance(&published, &self.gathered.through) >= IDLE_POSITIONS_MAX {
            let (mut session, through) = (self.session.take()?, self.gathered.through.clone());
            return Some(Box::pin(async move {
                let result = session.advance(&through).await;
                (session, result)
            }));
        }
        if self.sweep_at <= now {
            self.sweep_at = now + SWEEP_EVERY;
            let mut session = self.session.take()?;
            return Some(Box::pin(async move {
                let result = session.sweep().await;
                (session, result)
            }));
        }
        if self.merges_at > now || !(self.is_caught_up || session.manifest.files.len() > FILES_BEHIND_MAX) {
            return None;
        }
        let today = date_text(day_of(self.options.clock.now()));
        let policy = Policy { target_bytes: self.options.spec.target_file_bytes, today };
        let Some(inputs) = pick(&session.manifest, &policy, &session.spoilt) else {
            self.merges_at = now + MERGE_EVERY;
            return None;
        };
        let mut session = self.session.take()?;
        Some(Box::pin(async move {
            let result = session.merge(inputs).await;
            (session, result)
        }))
    }
}

/// How many positions lie between two cursors.
fn distance(from: &Cursor, to: &Cursor) -> u64 {
    from.positions().iter().zip(to.positions()).map(|(from, to)| to.get().saturating_sub(from.get())).sum()
}

/// So many positions without an event for the lake are published all the same: the next start saves the way.
const IDLE_POSITIONS_MAX: u64 = 50_000;
/// With so many files merging does not wait until the export has caught up.
const FILES_BEHIND_MAX: usize = 256;
const MERGE_EVERY: Duration = Duration::from_secs(10);
const SWEEP_EVERY: Duration = Duration::from_mins(10);
const TICK: Duration = Duration::from_secs(1);
const FAR: Duration = Duration::from_hours(1);
const FAILED_FIRST: Duration = Duration::from_secs(1);
const FAILED_MAX: Duration = Duration::from_secs(60);
/// A failure after so long is a new one.
const STEADY: Duration = Duration::from_mins(5);
