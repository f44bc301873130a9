//! Does the process as a whole stay within its memory, whatever a query does with it?
//!
//! The engine's own account knows of what it sorts, groups and joins, and not of everything else. So while queries run, the process is
//! looked at from outside: when it has grown by twice what queries may use, the newest query is ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Condvar;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

/// Watches the queries that run.
pub(super) struct Watch {
    shared: Arc<Shared>,
}

struct Shared {
    growth_max: usize,
    running: Mutex<Running>,
    changed: Condvar,
}

#[derive(Default)]
struct Running {
    /// By age.
    queries: BTreeMap<u64, Query>,
    next: u64,
    /// What the process had when nothing ran.
    before: usize,
    has_thread: bool,
}

struct Query {
    task: AbortHandle,
    was_ended: Arc<AtomicBool>,
}

/// A query that is watched until this is dropped.
pub(super) struct Watched {
    shared: Arc<Shared>,
    number: u64,
    was_ended: Arc<AtomicBool>,
}

impl Watch {
    /// Ends queries once the process has grown by more than this.
    pub(super) fn new(growth_max: usize) -> Self {
        let shared = Shared { growth_max, running: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Watches a query from now on.
    pub(super) fn over(&self, task: AbortHandle) -> Watched {
        let was_ended = Arc::new(AtomicBool::new(false));
        let mut running = self.shared.running.lock();
        if running.queries.is_empty() {
            running.before = resident_bytes().unwrap_or(usize::MAX);
        }
        let number = running.next;
        running.next += 1;
        running.queries.insert(number, Query { task, was_ended: Arc::clone(&was_ended) });
        if !running.has_thread && running.before < usize::MAX {
            let shared = Arc::clone(&self.shared);
            let started = std::thread::Builder::new().name("sql-watch".to_owned()).spawn(move || shared.watch());
            running.has_thread = started.is_ok();
            if let Err(error) = started {
                tracing::warn!(%error, "the memory of queries is not watched from outside");
            }
        }
        Watched { shared: Arc::clone(&self.shared), number, was_ended }
    }
}

impl Watched {
    /// Whether the query was ended for what the process takes.
    pub(super) fn was_ended(&self) -> bool {
        self.was_ended.load(Ordering::Acquire)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.running.lock().queries.remove(&self.number);
        self.shared.changed.notify_one();
    }
}

impl Shared {
    /// As long as queries run.
    fn watch(&self) {
        let mut running = self.running.lock();
        while !running.queries.is_empty() {
            let period = if resident_bytes().is_some_and(|now| now.saturating_sub(running.before) > self.growth_max) {
                if let Some((_, newest)) = running.queries.pop_last() {
                    tracing::warn!("a query was ended: the process has grown by more than twice what queries may use");
                    newest.was_ended.store(true, Ordering::Release);
                    newest.task.abort();
                }
                // What it has is given back in a while; the next one is not ended for it.
                AFTERWARDS
            } else {
                PERIOD
            };
            self.changed.wait_for(&mut running, period);
        }
        running.has_thread = false;
    }
}

/// What the process has in memory; `None` where the system does not tell.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: usize = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

const PERIOD: Duration = Duration::from_millis(20);
const AFTERWARDS: Duration = Duration::from_millis(500);
