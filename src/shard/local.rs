//! How does a shard of this process begin, and how does it end?

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use factum_storage as storage;
use storage::Clock;
use storage::Disk;
use storage::LockGuard;
use storage::OpenReport;
use storage::Reader;
use storage::Store;
use tokio::sync::watch;

use super::Handle;
use super::live::Live;
use super::maintenance;
use super::maintenance::Signal;
use super::meters::Meters;
use super::queue;
use super::queue::Queue;
use super::timed_disk::TimedDisk;
use super::writer;
use super::writer::Request;
use crate::Error;

/// What a shard is opened with.
pub(crate) struct Options {
    /// Its number.
    pub(crate) shard: u16,
    /// Its own directory.
    pub(crate) disk: Arc<dyn Disk>,
    /// Where time comes from.
    pub(crate) clock: Arc<dyn Clock>,
    /// How many appends may wait.
    pub(crate) queue_appends: usize,
    /// The engine's settings.
    pub(crate) storage: storage::Options,
    /// Held until the shard has let go of its files.
    pub(crate) lock: Option<Arc<dyn LockGuard>>,
}

/// A shard whose files are this machine's, served by three threads of its own: one writes, one maintains, one wakes followers.
pub(super) struct Local {
    pub(super) shard: u16,
    pub(super) queue: Queue<Request>,
    pub(super) reader: Reader,
    pub(super) live: Arc<Live>,
    pub(super) opened: OpenReport,
    pub(super) meters: Arc<Meters>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) maintenance: Signal,
    is_closing: AtomicBool,
    /// What closing it came to, once it has.
    closed: watch::Sender<Option<Result<(), storage::Error>>>,
}

/// Opens a shard, however long that takes, and starts its threads.
///
/// # Errors
///
/// Those of [`Store::open`]; `Io` if no thread can be started.
pub(crate) fn open(options: Options) -> Result<Handle, Error> {
    let Options { shard, disk, clock, queue_appends, storage: settings, lock } = options;
    let segment_bytes = settings.segment_bytes;
    let disk: Arc<dyn Disk> = Arc::new(TimedDisk::new(shard, disk));
    let meters = Arc::new(Meters::new(shard));
    let mut told = Instant::now();
    let (store, opened) = Store::open(Arc::clone(&disk), clock, settings, &mut |progress| {
        if told.elapsed() >= PROGRESS_PERIOD {
            told = Instant::now();
            tracing::info!(shard, done = progress.done, total = progress.total, "{}", progress.what);
        }
    })?;
    report(shard, &opened);
    let reader = store.reader();
    let local = Arc::new(Local {
        shard,
        queue: Queue::new(shard, queue_appends, QUEUE_BYTES_MAX),
        live: Arc::new(Live::new(shard, reader.clone(), RING_BYTES_MAX, Arc::clone(&meters))),
        reader,
        opened,
        meters,
        disk,
        maintenance: Signal::new(segment_bytes),
        is_closing: AtomicBool::new(false),
        closed: watch::Sender::new(None),
    });
    start(&local, store, lock)?;
    Ok(Handle::new(local))
}

fn start(local: &Arc<Local>, store: Store, lock: Option<Arc<dyn LockGuard>>) -> Result<(), Error> {
    let shard = local.shard;
    let writing = Arc::clone(local);
    let started = spawn_helpers(local, &store).and_then(|helpers| {
        spawn(format!("writer-{shard}"), move || {
            let closed = catch_unwind(AssertUnwindSafe(|| writing.write(store, helpers)));
            drop(lock);
            let panicked = Err(storage::Error::Poisoned("closing has panicked".into()));
            writing.closed.send_replace(Some(closed.unwrap_or(panicked)));
        })
    });
    // Threads that have begun already must not wait for ever for one that can't.
    started.map(drop).inspect_err(|_| {
        local.maintenance.stop();
        local.live.close();
    })
}

fn spawn_helpers(local: &Arc<Local>, store: &Store) -> Result<Vec<JoinHandle<()>>, Error> {
    let shard = local.shard;
    let maintainer = store.maintainer();
    let maintaining = Arc::clone(local);
    let maintenance = spawn(format!("maintain-{shard}"), move || {
        let worked = catch_unwind(AssertUnwindSafe(|| maintenance::run(shard, &maintainer, &maintaining.reader, &maintaining.maintenance)));
        if worked.is_err() {
            tracing::error!(shard, "the background work has panicked; it rests until the next start");
        }
    })?;
    let publishing = Arc::clone(local);
    let live = spawn(format!("live-{shard}"), move || publishing.live.run())?;
    Ok(vec![maintenance, live])
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    thread::Builder::new()
        .name(name)
        .spawn(work)
        .map_err(|source| storage::Error::Io { context: "starting a thread".into(), source: Arc::new(source) }.into())
}

impl Local {
    /// The life of the writer's thread.
    fn write(&self, mut store: Store, helpers: Vec<JoinHandle<()>>) -> Result<(), storage::Error> {
        let shard = self.shard;
        let served = catch_unwind(AssertUnwindSafe(|| writer::serve(self, &mut store)));
        if served.is_err() {
            tracing::error!(shard, "the writer has panicked; the shard takes no appends until it is opened again");
            self.queue.die("its writer has panicked");
            // The index must not be flushed from what the panic left; the log is whole, and the next open reads it.
            self.maintenance.stop();
            self.queue.wait_for_close();
        }
        self.maintenance.stop();
        self.live.close();
        for helper in helpers {
            if helper.join().is_err() {
                tracing::error!(shard, "a thread has panicked");
            }
        }
        if served.is_ok() { store.close() } else { Ok(()) }
    }

    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.queue.close();
        self.live.close();
    }

    pub(super) async fn closed(&self) -> Result<(), Error> {
        let mut closed = self.closed.subscribe();
        let answer = closed.wait_for(Option::is_some).await.ok().and_then(|closed| closed.clone());
        answer.unwrap_or(Ok(())).map_err(Error::from)
    }

    pub(super) fn check_open(&self) -> Result<(), Error> {
        if self.is_closing.load(Ordering::Acquire) { Err(queue::closing(self.shard)) } else { Ok(()) }
    }
}

/// Says in the log of the server what was found.
fn report(shard: u16, opened: &OpenReport) {
    if opened.cut_bytes > 0 {
        tracing::warn!(shard, bytes = opened.cut_bytes, "cut a torn tail of appends that were never acknowledged");
    }
    if let Some(reason) = &opened.index_rebuilt {
        tracing::warn!(shard, reason, "rebuilt the index from the log");
    }
    if let Some(damage) = &opened.damage {
        tracing::error!(shard, %damage, "the log is damaged: read-only until repaired");
    }
    tracing::debug!(shard, position = opened.committed.get(), replayed_events = opened.replayed_events, "opened");
}

/// What may wait for a writer in memory.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// What is kept in memory for followers.
const RING_BYTES_MAX: usize = 8 << 20;
/// How often long work at open says how far it is.
const PROGRESS_PERIOD: Duration = Duration::from_secs(2);
