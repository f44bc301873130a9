//! On which threads do projections work? On some of their own, behind everything else: whoever appends or asks goes first.

use std::num::NonZero;
use std::sync::OnceLock;

use tokio::runtime::Builder;
use tokio::runtime::Handle;
use tokio::runtime::Runtime;

/// The threads, made when they are needed for the first time. A hundred projections on the threads of the others would each have as much
/// of the processors as all who append; here they share the little that is left over while everybody is busy, and all of it while not.
#[derive(Default)]
pub(super) struct Threads(OnceLock<Option<Runtime>>);

impl Threads {
    /// Where to spawn what belongs to projections: all that they spawn themselves stays there.
    pub(super) fn handle(&self) -> Handle {
        let made = self.0.get_or_init(|| {
            let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(processors).max_blocking_threads(processors + BLOCKING_MORE);
            builder.thread_name("projections").on_thread_start(stand_back).enable_all();
            let made = builder.build();
            made.inspect_err(|error| tracing::warn!(%error, "projections get no threads of their own, and share those of the others")).ok()
        });
        made.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

/// Nobody waits: this may be on a thread that must not.
impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take().flatten() {
            runtime.shutdown_background();
        }
    }
}

/// Gives this thread less of a busy processor than others get. Only Linux has that for a single thread.
fn stand_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "a thread for projections is as important as all others");
    }
}

/// For what waits for a disk, beside one for each processor.
const BLOCKING_MORE: usize = 2;
/// About a tenth of what another thread gets while all are busy.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;
