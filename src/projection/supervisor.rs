//! Which generations of a view are worked on, and when does a new one take the place of the old?
//!
//! One generation is live: readers see it. When the definition changes, or a rebuild is asked for, a second one is built beside it, from
//! the first event on; once it has caught up it is promoted in one step of the target, and the old one is gone. Both are kept going until
//! then. What there is is always read from the target anew, so that a crash at any point is only another beginning.

mod running;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Failure;
use super::State;
use super::Status;
use super::handle::Handle;
use super::meters;
use super::module::Lookup;
use super::spec::Columns;
use super::spec::Spec;
use super::target::Fault;
use super::target::Generation;
use super::target::Target;
use super::worker;
use super::worker::Control;
use crate::script::Sandbox;
use crate::shard::Router;
use crate::subscription::Cursor;
use crate::subscription::Reshape;
use running::Running;
use running::ended;

/// What all projections of a database share.
pub(super) struct Shared {
    pub(super) router: Arc<Router>,
    pub(super) reshape: Option<Arc<dyn Reshape>>,
    pub(super) sandbox: Sandbox,
    pub(super) lookup: Arc<dyn Lookup>,
}

/// What a supervisor is told to do.
pub(super) enum Command {
    Pause,
    Resume,
    /// Step over the event that a failed worker stands on; answers whether one does.
    Skip(oneshot::Sender<bool>),
    Rebuild,
    Redefine(Arc<Spec>),
    /// Bring everything to rest.
    Stop(oneshot::Sender<()>),
    /// End, and take the rows away.
    Remove {
        keep_rows: bool,
        done: oneshot::Sender<Result<(), String>>,
    },
}

/// The one task that decides for a projection.
pub(super) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) target: Arc<dyn Target>,
    pub(super) handle: Arc<Handle>,
    pub(super) spec: Arc<Spec>,
    pub(super) is_paused: bool,
    /// Build anew, though the live rows are of this definition.
    pub(super) rebuilds: bool,
    /// How many orders have come that make other rows.
    pub(super) orders: u64,
    pub(super) promotion: Promotion,
}

/// When new rows may take the place of those in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Promotion {
    /// As soon as they have caught up.
    #[default]
    AtOnce,
    /// The target could not do it so many times; not before then.
    Again(Instant, u32),
    /// The target refuses: not before somebody has done something about it, and says so.
    WhenResumed,
}

/// Why a round is over.
enum Next {
    /// Look at the target again.
    Again,
    /// What is built beside has caught up.
    Promote,
    Stop(Option<oneshot::Sender<()>>),
    Remove(bool, oneshot::Sender<Result<(), String>>),
}

impl Supervisor {
    /// Works until it is told to stop, or nobody can tell it anything any more.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            match self.round(&mut commands).await {
                Next::Again | Next::Promote => {}
                Next::Stop(done) => {
                    // Whoever asked may have given up waiting.
                    done.map(|done| done.send(()));
                    return;
                }
                Next::Remove(keep_rows, done) => {
                    let removed = self.remove(keep_rows).await.map_err(|fault| fault.to_string());
                    if let Err(Err(reason)) = done.send(removed) {
                        tracing::warn!(projection = self.spec.name, reason, "the rows of a removed projection are still there");
                    }
                    return;
                }
            }
        }
    }

    async fn round(&mut self, commands: &mut mpsc::Receiver<Command>) -> Next {
        let found = match self.generations(commands).await {
            Ok(found) => found,
            Err(next) => return next,
        };
        let is_of_this = |generation: &Generation| generation.definition == self.spec.text;
        let live = found.iter().find(|generation| generation.is_live);
        let unfinished = live.and_then(|_| found.iter().find(|generation| !generation.is_live && is_of_this(generation)));
        let is_current = live.is_none_or(is_of_this) && unfinished.is_none() && !self.rebuilds;
        // What was begun for a definition that is no longer in force.
        let kept = [live, unfinished].map(|kept| kept.map(|kept| kept.hash));
        for stale in found.iter().filter(|generation| !kept.contains(&Some(generation.hash))) {
            if let Err(fault) = self.target.drop_generation(stale.hash, false).await {
                tracing::warn!(projection = self.spec.name, %fault, "rows that nobody needs any more are still there");
            }
        }
        let live_hash = live.map_or_else(|| new_hash(&self.spec.text), |live| live.hash);
        let live_spec = live.filter(|live| !is_of_this(live)).map_or(Some(Arc::clone(&self.spec)), |live| self.before(live));
        let columns = match (&live_spec, live) {
            (Some(spec), _) => Arc::clone(&spec.columns),
            (None, Some(live)) => Columns::of_text(&live.definition).map_or_else(|| Arc::clone(&self.spec.columns), Arc::new),
            (None, None) => Arc::clone(&self.spec.columns),
        };
        let mut live = live_spec.map(|spec| self.start(spec, live_hash, Some(Arc::clone(&self.handle.live))));
        let mut building = (!is_current).then(|| {
            let hash = unfinished.map_or_else(|| new_hash(&self.spec.text), |beside| beside.hash);
            self.start(Arc::clone(&self.spec), hash, None)
        });
        self.handle.set_current(columns, live_hash, building.as_ref().map(|running| Arc::clone(&running.status)));
        self.handle.set_begun(self.orders);
        let next = self.attend(commands, live.as_mut(), building.as_mut()).await;
        if let Some(live) = live {
            live.end().await;
        }
        if let Some(building) = building {
            let hash = building.hash;
            if matches!(next, Next::Promote) && building.reaches(&self.handle.live.applied()).await {
                building.end().await;
                self.promote(hash).await;
            } else {
                building.end().await;
            }
        }
        next
    }

    /// Follows orders until the round is over.
    async fn attend(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        mut live: Option<&mut Running>,
        mut building: Option<&mut Running>,
    ) -> Next {
        let mut caught_up = building.as_ref().map(|building| building.status.watch_caught_up());
        loop {
            let promotion = self.promotion;
            let has_caught_up = async {
                match &mut caught_up {
                    Some(caught_up) => drop(caught_up.wait_for(|is| *is).await),
                    None => std::future::pending().await,
                }
                match promotion {
                    Promotion::AtOnce => {}
                    Promotion::Again(at, _) => tokio::time::sleep_until(at).await,
                    Promotion::WhenResumed => std::future::pending().await,
                }
            };
            let (live_ends, building_ends) = (ended(live.as_deref_mut()), ended(building.as_deref_mut()));
            let command = tokio::select! {
                command = commands.recv() => command,
                () = has_caught_up => return Next::Promote,
                status = live_ends => return self.broken(commands, &status).await,
                status = building_ends => return self.broken(commands, &status).await,
            };
            let mut running: Vec<&Running> = [building.as_deref(), live.as_deref()].into_iter().flatten().collect();
            match command {
                Some(Command::Pause) => {
                    self.is_paused = true;
                    running.iter().for_each(|running| running.tell(|control| control.is_paused = true));
                }
                Some(Command::Resume) => {
                    self.is_paused = false;
                    self.set_promotion(Promotion::AtOnce, None);
                    running
                        .iter()
                        .for_each(|running| running.tell(|control| (control.is_paused, control.resumed) = (false, control.resumed + 1)));
                }
                Some(Command::Skip(reply)) => {
                    running.retain(|running| running.failed_event().is_some());
                    let stands = running.first().and_then(|running| Some((running, running.failed_event()?)));
                    if let Some((running, event)) = stands {
                        running.tell(|control| (control.skip, control.resumed) = (Some(event), control.resumed + 1));
                    }
                    reply.send(stands.is_some()).unwrap_or_default();
                }
                Some(other) => {
                    if let Some(next) = self.turn(other) {
                        return next;
                    }
                }
                None => return Next::Stop(None),
            }
        }
    }

    /// Orders that end a round.
    fn turn(&mut self, command: Command) -> Option<Next> {
        self.orders += u64::from(matches!(command, Command::Rebuild | Command::Redefine(_)));
        match command {
            Command::Rebuild => {
                self.rebuilds = true;
                self.set_promotion(Promotion::AtOnce, None);
            }
            Command::Redefine(spec) => {
                (self.spec, self.rebuilds) = (spec, false);
                self.set_promotion(Promotion::AtOnce, None);
            }
            Command::Stop(done) => return Some(Next::Stop(Some(done))),
            Command::Remove { keep_rows, done } => return Some(Next::Remove(keep_rows, done)),
            Command::Pause => self.is_paused = true,
            Command::Resume => self.is_paused = false,
            Command::Skip(reply) => {
                reply.send(false).unwrap_or_default();
                return None;
            }
        }
        Some(Next::Again)
    }

    /// A worker's own code has panicked: that is told, and nothing is tried until somebody says so.
    async fn broken(&mut self, commands: &mut mpsc::Receiver<Command>, status: &Status) -> Next {
        let reason = "the projection's own code has panicked; see the server's log, and `resume` once it is mended".to_owned();
        status.set_failure(State::Failed, Failure { reason, event: None, attempts: 1 });
        loop {
            let Some(command) = commands.recv().await else { return Next::Stop(None) };
            if let Some(next) = self.turn(command) {
                return next;
            }
        }
    }

    /// What the target has; tried until it answers, or an order ends that.
    async fn generations(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<Vec<Generation>, Next> {
        let mut attempts = 0_u32;
        loop {
            let fault = match self.target.generations().await {
                Ok(found) => return Ok(found),
                Err(fault) => fault,
            };
            attempts = attempts.saturating_add(1);
            meters::retried(&self.spec.name);
            if attempts == 1 {
                tracing::warn!(projection = self.spec.name, %fault, "the target does not say what it has; it is asked again");
            }
            if self.is_paused {
                self.handle.live.set_paused();
            } else {
                let state = if matches!(fault, Fault::Passing(_)) { State::Retrying } else { State::Failed };
                self.handle.live.set_failure(state, Failure { reason: fault.to_string(), event: None, attempts });
            }
            // It is under way, and this is what it has come to.
            self.handle.set_begun(self.orders);
            match tokio::time::timeout(retry_delay(attempts), commands.recv()).await {
                Err(_elapsed) => {}
                Ok(None) => return Err(Next::Stop(None)),
                Ok(Some(command)) => {
                    if let Some(next @ (Next::Stop(_) | Next::Remove(..))) = self.turn(command) {
                        return Err(next);
                    }
                }
            }
        }
    }

    fn start(&self, spec: Arc<Spec>, hash: [u8; 16], live: Option<Arc<Status>>) -> Running {
        let is_live = live.is_some();
        let status = live.unwrap_or_else(|| Arc::new(Status::new(Cursor::start(&self.shared.router))));
        let (control, told) = watch::channel(Control { is_paused: self.is_paused, ..Control::default() });
        let options = worker::Options {
            router: Arc::clone(&self.shared.router),
            reshape: self.shared.reshape.clone(),
            sandbox: self.shared.sandbox.clone(),
            lookup: Arc::clone(&self.shared.lookup),
            spec,
            target: Arc::clone(&self.target),
            hash,
            is_live,
            status: Arc::clone(&status),
            control: told,
            wake: if is_live { Arc::clone(&self.handle.wake) } else { Arc::new(Notify::new()) },
        };
        Running { hash, status, control, task: Some(tokio::spawn(worker::run(options))) }
    }

    /// The definition that made the live rows, if this program can still run it.
    fn before(&self, live: &Generation) -> Option<Arc<Spec>> {
        match Spec::of_text(&self.spec.name, &live.definition) {
            Ok(spec) => Some(Arc::new(spec)),
            Err(fault) => {
                let detail = fault.detail;
                tracing::warn!(projection = self.spec.name, detail, "the rows in use stand still until the new ones have caught up");
                None
            }
        }
    }

    async fn promote(&mut self, hash: [u8; 16]) {
        let fault = match self.target.promote(hash).await {
            Ok(()) => {
                self.rebuilds = false;
                // What the rows before stood still for is over.
                self.handle.live.is_running();
                self.set_promotion(Promotion::AtOnce, None);
                tracing::info!(projection = self.spec.name, "the new rows are in use");
                return;
            }
            Err(fault) => fault,
        };
        let attempts = if let Promotion::Again(_, attempts) = self.promotion { attempts.saturating_add(1) } else { 1 };
        if attempts == 1 {
            tracing::warn!(projection = self.spec.name, %fault, "the new rows can't take the place of those in use");
        }
        let (promotion, state) = if matches!(fault, Fault::Passing(_)) {
            meters::retried(&self.spec.name);
            (Promotion::Again(Instant::now() + retry_delay(attempts), attempts), State::Retrying)
        } else {
            (Promotion::WhenResumed, State::Failed)
        };
        let reason = format!("the new rows can't take the place of those in use, which are kept up to date meanwhile: {fault}");
        self.set_promotion(promotion, Some((state, Failure { reason, event: None, attempts })));
    }

    fn set_promotion(&mut self, promotion: Promotion, held_up: Option<(State, Failure)>) {
        self.promotion = promotion;
        self.handle.set_held_up(held_up);
    }

    async fn remove(&self, keep_rows: bool) -> Result<(), Fault> {
        for generation in self.target.generations().await? {
            self.target.drop_generation(generation.hash, keep_rows && generation.is_live).await?;
        }
        Ok(())
    }
}

/// Of the definition, and of when it was begun: a rebuild of the same definition is another generation.
fn new_hash(text: &str) -> [u8; 16] {
    let mut hash = [0; 16];
    let now = jiff::Timestamp::now().as_microsecond().to_be_bytes();
    for (byte, from) in hash.iter_mut().zip(blake3::hash(text.as_bytes()).as_bytes().iter().take(8).chain(&now)) {
        *byte = *from;
    }
    hash
}

/// Twice as long each time, up to a bound.
pub(super) fn retry_delay(attempts: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(RETRY_MAX)
}

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(15);
