//! Where do queries run? On threads of their own, which the machine gives to others first.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use parking_lot::Mutex;
use tokio::runtime::Builder;
use tokio::runtime::Handle;
use tokio::runtime::Runtime;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::TryAcquireError;

use super::Limits;
use super::meters::Meters;
use super::pool::Pool;
use super::session;
use super::watch::Watch;
use crate::Error;

/// The threads, the memory and the disk that queries share. Nothing of it is there before the first query.
pub(crate) struct Engine {
    limits: Limits,
    /// Where what does not fit into memory goes; `None`: into a temporary folder.
    spill: Option<PathBuf>,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    pub(super) watch: Watch,
    pub(super) meters: Meters,
    running: Mutex<Option<Arc<Running>>>,
}

/// What is there from the first query on.
pub(super) struct Running {
    runtime: Option<Runtime>,
    pub(super) environment: Arc<RuntimeEnv>,
    /// All functions, and no tables.
    pub(super) functions: SessionState,
}

/// A place among the waiting.
struct Place<'a>(&'a AtomicUsize);

impl Engine {
    pub(crate) fn new(limits: Limits, spill: Option<PathBuf>) -> Self {
        let slots = Arc::new(Semaphore::new(limits.queries.max(1)));
        let watch = Watch::new(limits.memory_bytes.saturating_mul(2));
        Self { limits, spill, slots, waiting: AtomicUsize::new(0), watch, meters: Meters::new(), running: Mutex::default() }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many threads work on one query.
    pub(crate) fn threads(&self) -> usize {
        self.limits.threads.max(1)
    }

    /// How many queries run, and how many wait.
    pub(crate) fn load(&self) -> (usize, usize) {
        let running = self.limits.queries.max(1).saturating_sub(self.slots.available_permits());
        (running, self.waiting.load(Ordering::Relaxed))
    }

    /// The memory that queries have reserved.
    pub(crate) fn reserved_bytes(&self) -> usize {
        self.running.lock().as_ref().map_or(0, |running| running.environment.memory_pool.reserved())
    }

    /// A query has ended before it had a turn.
    pub(crate) fn refused(&self, error: &Error) {
        self.meters.refused(error);
    }

    /// Waits for a turn.
    ///
    /// # Errors
    ///
    /// [`Error::SqlBusy`]: too many wait already, or it takes too long.
    pub(super) async fn admit(&self) -> Result<OwnedSemaphorePermit, Error> {
        match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(closing()),
            Err(TryAcquireError::NoPermits) => {}
        }
        let _place = Place::take(&self.waiting, self.limits.queue).ok_or(Error::SqlBusy)?;
        match tokio::time::timeout(self.limits.time, Arc::clone(&self.slots).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(closing()),
            Err(_elapsed) => Err(Error::SqlBusy),
        }
    }

    /// The threads, for work that has nothing to do with a query of its own.
    pub(crate) fn handle(&self) -> Result<Handle, Error> {
        self.running()?.handle()
    }

    /// What is there to work with; started if it is not there yet.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`]: no threads, or no folder; [`Error::Unavailable`] once it is closed.
    pub(super) fn running(&self) -> Result<Arc<Running>, Error> {
        if self.slots.is_closed() {
            return Err(closing());
        }
        let mut running = self.running.lock();
        if let Some(running) = &*running {
            return Ok(Arc::clone(running));
        }
        let started = Arc::new(Running::start(&self.limits, self.spill.as_ref())?);
        *running = Some(Arc::clone(&started));
        Ok(started)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.slots.is_closed()
    }

    /// Ends what runs, and takes nothing new.
    pub(crate) fn close(&self) {
        self.slots.close();
        self.watch.end_all();
    }
}

fn closing() -> Error {
    Error::Unavailable { shard: 0, detail: "the database closes".to_owned() }
}

impl Running {
    fn start(limits: &Limits, spill: Option<&PathBuf>) -> Result<Self, Error> {
        if let Some(folder) = spill {
            clean(folder).map_err(|error| failed("preparing the folder for what queries spill", error))?;
        }
        let number = AtomicUsize::new(0);
        // Each query in progress may be busy on all of its threads for long before it gives way: the others have threads nevertheless, and
        // the system shares the processors out. Those that nobody needs wait.
        let workers = limits.threads.max(1).saturating_mul(limits.queries.max(1)).min(WORKERS_MAX);
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .max_blocking_threads(BLOCKING_MAX)
            .thread_stack_size(STACK_BYTES)
            .thread_name_fn(move || format!("sql-{}", number.fetch_add(1, Ordering::Relaxed)))
            .on_thread_start(step_back)
            // Files of a lake may come over the network.
            .enable_all()
            .build()
            .map_err(|error| failed("starting the threads of queries", error))?;
        let pool = Arc::new(Pool::new(limits.memory_bytes));
        let environment = session::environment(pool, spill, limits.spill_bytes)
            .map_err(|error| failed("preparing queries", std::io::Error::other(error)))?;
        let functions = session::functions().map_err(|error| failed("preparing queries", std::io::Error::other(error)))?;
        Ok(Self { runtime: Some(runtime), environment, functions })
    }

    pub(super) fn handle(&self) -> Result<Handle, Error> {
        let runtime = self.runtime.as_ref().map(Runtime::handle).cloned();
        runtime.ok_or_else(closing)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // This may be a thread of another runtime, which must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        let took = waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < max).then_some(count + 1));
        took.is_ok().then(|| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Lets the threads of appends and of everybody else go first.
fn step_back() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "the threads of queries keep their priority");
    }
}

/// What an earlier process has left there is of no use to anybody.
fn clean(folder: &PathBuf) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    std::fs::create_dir_all(folder)
}

fn failed(context: &str, source: std::io::Error) -> Error {
    factum_storage::Error::Io { context: context.into(), source: Arc::new(source) }.into()
}

/// A tenth of what a thread of normal priority gets when both want to run.
const NICENESS: i32 = 10;
/// More than this many are not started, however many queries may run at once.
const WORKERS_MAX: usize = 256;
/// Reads of views wait beside the threads that work, each scan on one, until their rows are wanted. They are started as they are needed.
const BLOCKING_MAX: usize = 512;
/// Long expressions are deep trees. Only what is used of it takes memory.
const STACK_BYTES: usize = 64 << 20;
