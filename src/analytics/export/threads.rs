//! On which threads do exports work? On their own, of lower priority: nobody who appends or reads waits for a file to be compressed.

use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Builder;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::fault::Fault;

/// The threads that all exports of a database share; started with the first of them.
pub(super) struct Threads {
    runtime: Mutex<Option<Runtime>>,
    /// As much is worked out at once as there are cores.
    cores: Arc<Semaphore>,
    /// What is worked out for a file takes memory: one file, or all small ones of a flush, at a time.
    pub(super) turn: Arc<Semaphore>,
}

impl Default for Threads {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { runtime: Mutex::default(), cores: Arc::new(Semaphore::new(cores)), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.lock().take() {
            // Nobody waits here: this may be a thread of another runtime.
            runtime.shutdown_background();
        }
    }
}

impl Threads {
    /// Begins a task.
    ///
    /// # Errors
    ///
    /// The system gives no threads.
    pub(super) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Result<JoinHandle<T>, String> {
        let mut runtime = self.runtime.lock();
        if let Some(runtime) = &*runtime {
            return Ok(runtime.spawn(task));
        }
        let started = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .thread_name("factum-export")
            .on_thread_start(step_back)
            .build()
            .map_err(|error| format!("can't start threads for exports: {error}"))?;
        let handle = started.spawn(task);
        *runtime = Some(started);
        Ok(handle)
    }

    /// Works something out beside the tasks, when a core is free for it.
    ///
    /// # Errors
    ///
    /// It has panicked: that is a bug.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        let core = Arc::clone(&self.cores).acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            // Held until here, whether or not somebody still waits for the answer.
            drop(core);
            done
        });
        done.await.map_err(|error| Fault::Lasting(format!("the export's own code has failed, see the server's log: {error}")))
    }
}

/// Lets the threads of appends and of everybody else go first.
fn step_back() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "the threads of exports keep their priority");
    }
}

/// One waits for the log or the lake while the other gathers.
const WORKERS: usize = 2;
/// A tenth of what a thread of normal priority gets when both want to run.
const NICENESS: i32 = 10;
