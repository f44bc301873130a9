//! Which thread runs a call, and what happens to one that does not come back?

use std::collections::HashMap;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Condvar;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Kind;
use super::Module;
use super::Options;
use super::ScriptError;
use super::job::Answer;
use super::job::Work;
use super::meters;
use super::meters::Meters;
use super::worker::Worker;

type Outcome = Result<Answer, ScriptError>;

/// How often the watcher looks, while anything runs.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// The threads of one sandbox; dropping it ends them.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    meters: Meters,
    state: Mutex<State>,
    /// A job came, or the end.
    work: Condvar,
    /// Something runs that may have to be given up.
    watch: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    running: HashMap<u64, Running>,
    /// The modules of calls that were answered before they came back.
    stuck: Vec<[u8; 32]>,
    threads: usize,
    idle: usize,
    /// How many threads and how many calls there were: names for the next ones.
    threads_ever: u64,
    calls_ever: u64,
    has_watcher: bool,
    watcher_sleeps: bool,
    closed: bool,
}

struct Job {
    module: Arc<Module>,
    work: Work,
    reply: oneshot::Sender<Outcome>,
}

struct Running {
    module: Arc<Module>,
    reply: oneshot::Sender<Outcome>,
    since: Instant,
    /// Among those that the measurements tell apart.
    kind: usize,
}

impl Pool {
    pub(super) fn new(options: Options) -> Self {
        let shared = Shared { options, meters: Meters::new(), state: Mutex::default(), work: Condvar::new(), watch: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Runs one call on the next free thread.
    pub(super) async fn run(&self, module: &Arc<Module>, work: Work) -> Outcome {
        let answer = self.submit(module, work)?;
        answer.await.unwrap_or_else(|_| Err(ScriptError::new(Kind::Died, module.name(), "the sandbox has ended")))
    }

    fn submit(&self, module: &Arc<Module>, work: Work) -> Result<oneshot::Receiver<Outcome>, ScriptError> {
        let options = &self.shared.options;
        let refused = |kind, message: String| Err(ScriptError::new(kind, module.name(), message));
        if module.source().len() > options.source_bytes_max {
            let length = module.source().len();
            return refused(Kind::Syntax, format!("the source has {length} bytes, and {} are the most", options.source_bytes_max));
        }
        let mut state = self.shared.state.lock();
        if state.stuck.contains(&module.hash()) {
            return refused(Kind::Time, "an earlier call of this module has not come back yet".to_owned());
        }
        if state.jobs.len() >= options.queue_max {
            return refused(Kind::Busy, format!("{} calls wait already", state.jobs.len()));
        }
        let (reply, answer) = oneshot::channel();
        state.jobs.push_back(Job { module: Arc::clone(module), work, reply });
        if state.jobs.len() > state.idle && may_start(&state, options) {
            start_thread(&self.shared, &mut state);
        }
        if state.threads == 0 {
            state.jobs.pop_back();
            return match state.stuck.len() {
                0 => refused(Kind::Died, "no thread could be started".to_owned()),
                stuck => refused(Kind::Busy, format!("{stuck} calls have not come back, and more threads would not help")),
            };
        }
        drop(state);
        self.shared.work.notify_one();
        Ok(answer)
    }

    /// How many calls wait for a thread.
    pub(super) fn waiting(&self) -> usize {
        self.shared.state.lock().jobs.len()
    }

    /// What runs, and whether any of it was given up.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.shared.state.lock();
        (state.threads, state.stuck.len())
    }

    /// How many calls run.
    #[cfg(test)]
    pub(super) fn running(&self) -> usize {
        self.shared.state.lock().running.len()
    }

    /// Says whether its threads are gone: none of them holds what this points to.
    #[cfg(test)]
    pub(super) fn pulse(&self) -> std::sync::Weak<impl Sized + use<>> {
        Arc::downgrade(&self.shared)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        state.jobs.clear();
        drop(state);
        self.shared.work.notify_all();
        self.shared.watch.notify_all();
    }
}

/// Whether there is room for another thread. Those that are stuck still use processors, so they are bounded too.
fn may_start(state: &State, options: &Options) -> bool {
    let most = options.threads.max(1);
    !state.closed && state.threads < most && state.threads + state.stuck.len() < 2 * most
}

/// Starts a thread for calls, and with the first one the thread that watches them.
fn start_thread(shared: &Arc<Shared>, state: &mut State) {
    // The engine stops at `stack_bytes`; what it does not count (its own C functions, this crate) needs some more.
    let stack = shared.options.stack_bytes + (2 << 20);
    let own = Arc::clone(shared);
    let name = format!("script-{}", state.threads_ever);
    match thread::Builder::new().name(name).stack_size(stack).spawn(move || serve(&own)) {
        Ok(_) => {
            state.threads += 1;
            state.threads_ever += 1;
        }
        Err(error) => tracing::error!(%error, "a thread for scripts could not be started"),
    }
    if !state.has_watcher {
        let own = Arc::clone(shared);
        match thread::Builder::new().name("script-watch".to_owned()).spawn(move || watch(&own)) {
            Ok(_) => state.has_watcher = true,
            Err(error) => tracing::error!(%error, "the thread that watches scripts could not be started"),
        }
    }
}

/// One thread: takes calls until the sandbox ends, or until it was given up itself.
fn serve(shared: &Arc<Shared>) {
    let mut worker = Worker::new(shared.options.clone());
    while let Some((call, module, work)) = next(shared) {
        let outcome = catch_unwind(AssertUnwindSafe(|| worker.execute(&module, &work)));
        let outcome = outcome.unwrap_or_else(|_| {
            worker = Worker::new(shared.options.clone());
            Err(ScriptError::new(Kind::Died, module.name(), "the sandbox failed at this call; it goes on with the next"))
        });
        let mut state = shared.state.lock();
        let Some(running) = state.running.remove(&call) else {
            if let Some(at) = state.stuck.iter().position(|hash| *hash == module.hash()) {
                state.stuck.swap_remove(at);
            }
            // Its replacement may have been put off because too many were stuck.
            if may_start(&state, &shared.options) {
                start_thread(shared, &mut state);
            }
            return;
        };
        let has_more = !state.jobs.is_empty();
        drop(state);
        shared.meters.called(running.kind, running.since.elapsed(), outcome.is_ok());
        // A caller that went away does not want the answer.
        drop(running.reply.send(outcome));
        if !has_more && catch_unwind(AssertUnwindSafe(|| worker.prepare_ahead(&module))).is_err() {
            worker = Worker::new(shared.options.clone());
        }
    }
}

/// Waits for a call and notes that it runs. `None` at the end.
fn next(shared: &Shared) -> Option<(u64, Arc<Module>, Work)> {
    let mut state = shared.state.lock();
    let job = loop {
        if state.closed {
            state.threads -= 1;
            return None;
        }
        match state.jobs.pop_front() {
            Some(job) if job.reply.is_closed() => {}
            Some(job) => break job,
            None => {
                state.idle += 1;
                shared.work.wait(&mut state);
                state.idle -= 1;
            }
        }
    };
    let call = state.calls_ever;
    state.calls_ever += 1;
    state
        .running
        .insert(call, Running { module: Arc::clone(&job.module), reply: job.reply, since: Instant::now(), kind: meters::kind(&job.work) });
    if state.watcher_sleeps {
        shared.watch.notify_one();
    }
    Some((call, job.module, job.work))
}

/// Answers calls that do not come back and puts new threads in the place of theirs.
fn watch(shared: &Arc<Shared>) {
    // Twice the time, since a call may be tried again in a new runtime, and something for a machine that is busy.
    let patience = shared.options.wall * 2 + Duration::from_millis(250);
    let mut state = shared.state.lock();
    while !state.closed {
        let overdue: Vec<u64> = state.running.iter().filter(|(_, call)| call.since.elapsed() > patience).map(|(call, _)| *call).collect();
        for call in overdue {
            let Some(running) = state.running.remove(&call) else { continue };
            shared.meters.called(running.kind, running.since.elapsed(), false);
            state.stuck.push(running.module.hash());
            state.threads -= 1;
            let message = format!("the call took longer than {} ms and cannot be interrupted", shared.options.wall.as_millis());
            drop(running.reply.send(Err(ScriptError::new(Kind::Time, running.module.name(), message))));
            if may_start(&state, &shared.options) {
                start_thread(shared, &mut state);
            }
        }
        if state.threads == 0 {
            for job in state.jobs.drain(..) {
                let message = "the threads that should have served this call do not come back from others";
                drop(job.reply.send(Err(ScriptError::new(Kind::Busy, job.module.name(), message))));
            }
        }
        if state.running.is_empty() {
            state.watcher_sleeps = true;
            shared.watch.wait(&mut state);
            state.watcher_sleeps = false;
        } else {
            shared.watch.wait_for(&mut state, WATCH_EVERY);
        }
    }
}
