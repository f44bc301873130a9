//! How does a change of the shards go on, one hand-over after the other, until it is done?
//!
//! What it is for is part of the topology, which is kept: a restart goes on with it. The job says how far it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use factum_storage as storage;
use futures::FutureExt;
use parking_lot::Mutex;
use storage::Clock;
use storage::Direction;
use storage::Disk;
use storage::ExpectedVersion;
use storage::LockGuard;
use storage::MemDisk;
use storage::StreamAppend;
use storage::StreamName;
use storage::SystemClock;
use storage::Timestamp;
use storage::Transaction;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::Options;
use super::Trouble;
use super::blocking;
use super::directory;
use super::directory::Place;
use super::job::Job;
use super::job::JobState;
use super::job::RANGES_UNIT;
use super::job::SLOTS_UNIT;
use super::meta;
use super::meta::Meta;
use super::opening;
use crate::Error;
use crate::shard;
use crate::shard::Goal;
use crate::shard::GoalKind;
use crate::shard::Handle;
use crate::shard::Keep;
use crate::shard::Router;
use crate::shard::Step;
use crate::shard::Topology;
use crate::shard::Write;
use crate::shard::system_event;

/// Where new shards and the topology are kept.
pub(super) enum Ground {
    /// In a data directory, which is locked as long as its shards live.
    Directory { place: Place, lock: Weak<dyn LockGuard> },
    /// Nowhere: all of it is gone when the database is closed.
    Memory,
    /// The disks are the caller's, who has brought as many as there are.
    Brought,
}

/// Changes the shards of a database.
pub(super) struct Reshaping {
    pub(super) router: Arc<Router>,
    ground: Ground,
    /// What a new shard is opened with.
    options: Options,
    jobs: Mutex<VecDeque<Job>>,
    /// Counts up whenever a job has changed.
    ticks: watch::Sender<u64>,
    /// Held by whoever changes the topology.
    pub(super) changing: tokio::sync::Mutex<()>,
    pub(super) stopping: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// Ranges that have too much and are not split by themselves, as people are told.
    unsplit: Mutex<Vec<Trouble>>,
    /// How often it was looked whether a range has too much.
    pub(super) split_checks: watch::Sender<u64>,
}

fn kind_of(kind: GoalKind) -> (&'static str, Option<u16>) {
    match kind {
        GoalKind::Add(shard) => ("add", Some(shard)),
        GoalKind::Drain(shard) => ("drain", Some(shard)),
        GoalKind::Rebalance => ("rebalance", None),
    }
}

/// A job that has just begun.
fn job_of(topology: &Topology, goal: Goal) -> Job {
    let (kind, shard) = kind_of(goal.kind);
    Job {
        id: goal.job,
        kind,
        shard,
        state: JobState::Running,
        unit: if topology.ranges().is_some() { RANGES_UNIT } else { SLOTS_UNIT },
        done: 0,
        total: goal.total,
        moved_streams: None,
        started_at: Timestamp::from_micros(goal.started_at),
        worked: (Duration::ZERO, 0),
        why: goal.why,
        error: None,
    }
}

impl Reshaping {
    pub(super) fn new(router: Arc<Router>, ground: Ground, options: &Options) -> Arc<Self> {
        let reshaping = Self {
            router,
            ground,
            options: options.clone(),
            jobs: Mutex::default(),
            ticks: watch::Sender::new(0),
            changing: tokio::sync::Mutex::default(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            unsplit: Mutex::default(),
            split_checks: watch::Sender::new(0),
        };
        if let Some(goal) = reshaping.router.topology().goal() {
            let topology = reshaping.router.topology();
            let left = count_of(&shard::steps(&topology));
            let state = if goal.is_paused { JobState::Paused } else { JobState::Running };
            let job = Job { state, done: goal.total.saturating_sub(left), total: goal.total.max(left), ..job_of(&topology, goal.clone()) };
            reshaping.jobs.lock().push_back(job);
        }
        Arc::new(reshaping)
    }

    /// All jobs that are known, the newest last.
    pub(super) fn jobs(&self) -> Vec<Job> {
        self.jobs.lock().iter().cloned().collect()
    }

    /// Ranges that have too much and are not split by themselves.
    pub(super) fn unsplit(&self) -> Vec<Trouble> {
        self.unsplit.lock().clone()
    }

    /// Remembers them, and logs those that were not known.
    pub(super) fn tell_unsplit(&self, found: Vec<Trouble>) {
        let mut known = self.unsplit.lock();
        // The numbers in it change from look to look; who it is about and what to do does not.
        let is_new = |range: &&Trouble| known.iter().all(|known| (&known.name, &known.todo) != (&range.name, &range.todo));
        for range in found.iter().filter(is_new) {
            tracing::warn!(shard = range.name, problem = range.problem, "a range is left as it is");
        }
        *known = found;
    }

    /// Tells whenever a job has changed.
    pub(super) fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    /// Ends the work, at the latest after the hand-over at hand.
    pub(super) fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
    }

    pub(super) async fn closed(&self) {
        self.stop();
        self.tasks.wait().await;
    }

    /// What is to be done, as a goal with a new job. The caller holds `changing`, and there is no other goal.
    pub(super) fn goal(&self, kind: GoalKind) -> Goal {
        let started_at = SystemClock.now().as_micros();
        Goal { job: Uuid::now_v7().to_string(), kind, started_at, total: 0, is_paused: false, planned: Vec::new(), why: None }
    }

    /// Puts a topology with a goal in force, with the shard that joins, and lets the job begin. The caller holds `changing`.
    pub(super) async fn begin(self: &Arc<Self>, topology: Topology, newcomer: Option<Handle>) -> Result<Job, Error> {
        let Some(goal) = topology.goal().cloned() else {
            return Err(Error::Unavailable { shard: 0, detail: "a change of the shards without a goal".to_owned() });
        };
        let goal = Goal { total: count_of(&shard::steps(&topology)), ..goal };
        let topology = topology.same_version_with_goal(goal.clone());
        let logs = self.router.log_ids().into_iter().chain(newcomer.as_ref().map(Handle::log_id)).collect();
        if let Err(error) = (self.keep())(topology.clone(), logs).await {
            // It has nothing yet, and is opened again when somebody asks again.
            super::close(newcomer.as_slice()).await?;
            return Err(error);
        }
        self.router.adopt(topology, newcomer);
        self.tell().await;
        let job = job_of(&self.router.topology(), goal);
        {
            let mut jobs = self.jobs.lock();
            jobs.push_back(job.clone());
            while jobs.len() > JOBS_KEPT {
                jobs.pop_front();
            }
        }
        self.tick();
        self.go_on();
        Ok(job)
    }

    /// Works on the goal there is, if there is one and nobody does already.
    pub(super) fn go_on(self: &Arc<Self>) {
        let own = Arc::clone(self);
        self.tasks.spawn(async move {
            let stopping = own.stopping.clone();
            loop {
                if stopping.is_cancelled() {
                    return;
                }
                let _changing = own.changing.lock().await;
                // A panic must not leave a job that seems to run.
                let step = std::panic::AssertUnwindSafe(own.step()).catch_unwind().await;
                match step {
                    Ok(Ok(true)) => {}
                    Ok(Ok(false)) => return,
                    // There is much to do: the change has time.
                    Ok(Err(Error::Overloaded { .. })) => tokio::time::sleep(OVERLOADED_PAUSE).await,
                    Ok(Err(error)) => return own.failed(&error.to_string()).await,
                    Err(_panic) => return own.failed("it has panicked").await,
                }
            }
        });
    }

    /// One hand-over. Says whether there may be more.
    async fn step(&self) -> Result<bool, Error> {
        let topology = self.router.topology();
        let Some(goal) = topology.goal().filter(|goal| !goal.is_paused) else { return Ok(false) };
        let began = std::time::Instant::now();
        let Some(step) = shard::steps(&topology).into_iter().next() else {
            if self.is_being_counted(&goal.job) {
                tokio::time::sleep(COUNT_PAUSE).await;
                return Ok(true);
            }
            self.put(topology.with_goal(None)).await?;
            self.change(&goal.job, |job| (job.state, job.done) = (JobState::Done, job.total));
            tracing::info!(job = goal.job, kind = kind_of(goal.kind).0, "the shards have what they should");
            return Ok(false);
        };
        let step = Step { part: step.part.first(STEP_SLOTS), ..step };
        let count = step.part.count();
        self.router.hand_over(step, &self.keep()).await?;
        self.tell().await;
        self.change(&goal.job, |job| {
            job.done = job.done.saturating_add(count).min(job.total);
            job.worked = (job.worked.0 + began.elapsed(), job.worked.1.saturating_add(count));
        });
        Ok(true)
    }

    /// Whether the streams of a job are still being counted.
    fn is_being_counted(&self, job: &str) -> bool {
        self.jobs.lock().iter().any(|known| known.id == job && known.moved_streams.is_none())
    }

    async fn failed(&self, error: &str) {
        let topology = self.router.topology();
        let Some(goal) = topology.goal() else { return };
        tracing::error!(job = goal.job, error, "the change of the shards stands still; it can be resumed or cancelled");
        self.change(&goal.job, |job| (job.state, job.error) = (JobState::Failed, Some(error.to_owned())));
        // So that a restart does not run into the same again; if it can't be kept, it does.
        if let Err(error) = self.put(topology.with_goal(Some(Goal { is_paused: true, ..goal.clone() }))).await {
            tracing::warn!(%error, "that it stands still could not be kept");
        }
    }

    /// Puts a topology in force that changes no owner.
    pub(super) async fn put(&self, topology: Topology) -> Result<(), Error> {
        (self.keep())(topology.clone(), self.router.log_ids()).await?;
        self.router.adopt(topology, None);
        self.tell().await;
        Ok(())
    }

    /// Says in `$topology` which topology is in force. The one in `factum.meta` counts; this is for people and programs that want to know
    /// what it was at which time.
    pub(super) async fn tell(&self) {
        let topology = self.router.topology();
        let (event_type, data) = topology.event();
        let event = system_event(event_type, data);
        let stream = StreamName::new(TOPOLOGY_STREAM).expect("a constant that keeps the rule");
        let append = StreamAppend { stream: stream.clone(), expected: ExpectedVersion::Any, events: vec![event] };
        let write = Write::Transaction(Transaction { appends: vec![append], conditions: Vec::new() });
        let told = self.router.write(&[&stream], |table| Ok((table.topology().owner(TOPOLOGY_STREAM), write))).await;
        if let Err(error) = told {
            tracing::warn!(%error, version = topology.version(), "$topology could not be told of a new version");
        }
    }

    /// Tells `$topology` what it does not know because a crash came between.
    pub(super) async fn tell_what_is_missing(&self) {
        let topology = self.router.topology();
        if topology.is_unchanged() {
            return;
        }
        let stream = StreamName::new(TOPOLOGY_STREAM).expect("a constant that keeps the rule");
        let home = self.router.locate(TOPOLOGY_STREAM);
        let newest = match home.read_stream(stream, None, Direction::Backward, 1, usize::MAX).await {
            Ok(slice) => slice.and_then(|slice| slice.events.into_iter().next()),
            Err(error) => return tracing::warn!(%error, "$topology can't be read"),
        };
        let told = newest.and_then(|(_, event)| serde_json::from_slice::<serde_json::Value>(event.data()).ok());
        if told.and_then(|told| told.get("version")?.as_u64()).unwrap_or(0) < topology.version() {
            self.tell().await;
        }
    }

    pub(super) fn change(&self, job: &str, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs.lock().iter_mut().find(|known| known.id == job) {
            change(job);
        }
        self.tick();
    }

    fn tick(&self) {
        self.ticks.send_modify(|ticks| *ticks += 1);
    }

    /// What makes a topology durable.
    fn keep(&self) -> Keep {
        match &self.ground {
            Ground::Directory { place, .. } => {
                let root = Arc::clone(&place.root);
                Arc::new(move |topology, logs| {
                    let root = Arc::clone(&root);
                    let kept = move || {
                        let written = meta::write(&*root, &Meta { topology, logs: Some(logs) });
                        written.map_err(|error| directory::failed("writing factum.meta", error))
                    };
                    Box::pin(blocking(kept))
                })
            }
            Ground::Memory | Ground::Brought => Arc::new(|_, _| Box::pin(std::future::ready(Ok(())))),
        }
    }

    /// Opens the shard that is to join.
    pub(super) async fn newcomer(&self, shard: u16) -> Result<Handle, Error> {
        let (disk, lock): (Arc<dyn Disk>, _) = match &self.ground {
            Ground::Directory { place, lock } => {
                let place = place.clone();
                let made =
                    move || directory::make_home(&place, shard).map_err(|error| directory::failed("making the folder of a shard", error));
                let lock = lock.upgrade().ok_or_else(|| Error::Unavailable { shard, detail: "the database is closed".to_owned() })?;
                (blocking(made).await?, Some(lock))
            }
            Ground::Memory => (Arc::new(MemDisk::new()), None),
            Ground::Brought => {
                let detail = "the database was opened on disks that its caller brought: there is none for another shard".to_owned();
                return Err(Error::TopologyConflict { detail });
            }
        };
        let handle = opening::one(shard, disk, lock, &self.options).await?;
        // Left by a creation that was cut short before the topology knew of it, or somebody's own.
        if handle.committed() > storage::Position::ZERO {
            let detail = format!("shards/{shard} holds a log with events, which is no shard of this database: move it away");
            super::close(&[handle]).await?;
            return Err(Error::TopologyConflict { detail });
        }
        Ok(handle)
    }
}

/// How many slots, or ranges, all of it moves.
pub(super) fn count_of(steps: &[Step]) -> u32 {
    steps.iter().map(|step| step.part.count()).sum()
}

/// So many slots at most change hands at once: appends to them wait for it.
const STEP_SLOTS: usize = 32;
/// How long a job that has moved everything waits for its streams to be counted, again and again.
const COUNT_PAUSE: Duration = Duration::from_millis(5);
/// How long it makes room when a shard has too much to do.
const OVERLOADED_PAUSE: Duration = Duration::from_millis(20);
/// Where every version of the topology is told.
const TOPOLOGY_STREAM: &str = "$topology";
/// So many jobs are remembered.
const JOBS_KEPT: usize = 100;
