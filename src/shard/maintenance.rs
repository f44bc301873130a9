//! Who does a shard's background work, and when?
//!
//! A thread a shard: it prepares and seals segments, trims, and flushes the index. It sleeps for good while nothing is
//! committed; the writer wakes it by [`Signal::committed`], rarely enough that it does not show in a commit's time.

use std::time::Duration;
use std::time::Instant;

use factum_storage as storage;
use parking_lot::Condvar;
use parking_lot::Mutex;
use storage::Maintainer;
use storage::Reader;

/// How the writer's thread and the maintenance thread of a shard speak to each other.
pub(super) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
    /// So many bytes committed are reason enough to look at once: the next segment may be needed soon.
    urgent_bytes: u64,
}

#[derive(Default)]
struct State {
    commits: u64,
    unseen_bytes: u64,
    is_parked: bool,
    is_stopped: bool,
}

impl Signal {
    pub(super) fn new(segment_bytes: u64) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), urgent_bytes: (segment_bytes / 8).max(1) }
    }

    /// Called by the writer after each commit of so many bytes.
    pub(super) fn committed(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.commits += 1;
        state.unseen_bytes += bytes;
        let is_urgent = state.is_parked || state.unseen_bytes >= self.urgent_bytes;
        if is_urgent {
            state.is_parked = false;
            state.unseen_bytes = 0;
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Ends [`run`] after the piece of work under way.
    pub(super) fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.changed.notify_one();
    }

    /// How many commits there were, or `None` if it is time to end.
    fn commits(&self) -> Option<u64> {
        let state = self.state.lock();
        (!state.is_stopped).then_some(state.commits)
    }

    /// Waits for something urgent, for the time to pass, or (without a time) for any commit that was not `seen`.
    fn wait(&self, seen: u64, time: Option<Duration>) {
        let mut state = self.state.lock();
        if state.is_stopped || (time.is_none() && state.commits != seen) {
            return;
        }
        match time {
            Some(time) => {
                // A wake-up before its time only makes the thread look early.
                let _timed_out = self.changed.wait_for(&mut state, time).timed_out();
            }
            None => {
                state.is_parked = true;
                while state.is_parked && !state.is_stopped {
                    self.changed.wait(&mut state);
                }
            }
        }
    }
}

/// Works until [`Signal::stop`].
pub(super) fn run(shard: u16, maintainer: &Maintainer, reader: &Reader, signal: &Signal) {
    let mut seen = 0;
    let mut quiet_since = Instant::now();
    let mut trimmed_at = Instant::now();
    let mut failures = 0;
    while let Some(commits) = signal.commits() {
        if commits != seen {
            seen = commits;
            quiet_since = Instant::now();
        }
        match work(maintainer, reader, signal, quiet_since, &mut trimmed_at) {
            Ok(is_done) => {
                if failures > 0 {
                    tracing::info!(shard, "the background work goes on again");
                }
                failures = 0;
                signal.wait(seen, if is_done { None } else { Some(PERIOD) });
            }
            Err(error) => {
                if failures == 0 {
                    tracing::warn!(shard, %error, "the background work has failed; trying again until it works");
                }
                signal.wait(seen, Some(back_off(failures)));
                failures += 1;
            }
        }
    }
}

/// Does what there is to do. `true` if nothing is left before the next commit.
fn work(
    maintainer: &Maintainer,
    reader: &Reader,
    signal: &Signal,
    quiet_since: Instant,
    trimmed_at: &mut Instant,
) -> Result<bool, storage::Error> {
    while signal.commits().is_some() && maintainer.step()? {}
    let is_quiet = quiet_since.elapsed() >= QUIET_BEFORE_FLUSH;
    let has_news = reader.index_lag_events() > 0;
    if has_news && is_quiet {
        maintainer.flush_index()?;
    }
    // What was committed may have hidden the last visible event of a segment.
    if has_news && (is_quiet || trimmed_at.elapsed() >= TRIM_PERIOD) {
        *trimmed_at = Instant::now();
        let freed_bytes = maintainer.trim()?;
        if freed_bytes > 0 {
            tracing::info!(freed_bytes, "gave back the disk of events that nobody may read any more");
        }
    }
    Ok(reader.index_lag_events() == 0)
}

fn back_off(failures: u32) -> Duration {
    BACK_OFF_MIN.saturating_mul(1 << failures.min(16)).min(BACK_OFF_MAX)
}

/// How often the thread looks while the index is behind the log.
const PERIOD: Duration = Duration::from_millis(200);
/// The index is flushed so long after the last commit at the latest, give or take a [`PERIOD`].
const QUIET_BEFORE_FLUSH: Duration = Duration::from_millis(800);
/// Under a load that never rests, segments are trimmed so often.
const TRIM_PERIOD: Duration = Duration::from_secs(60);
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backing_off_doubles_up_to_a_bound() {
        assert_eq!(back_off(0), BACK_OFF_MIN);
        assert_eq!(back_off(1), BACK_OFF_MIN * 2);
        assert_eq!(back_off(u32::MAX), BACK_OFF_MAX);
    }

    #[test]
    fn a_parked_thread_is_woken_by_a_commit_and_by_a_stop() {
        let signal = Signal::new(800);
        std::thread::scope(|scope| {
            let parked = scope.spawn(|| signal.wait(0, None));
            signal.committed(1);
            parked.join().unwrap();
            let parked = scope.spawn(|| signal.wait(1, None));
            signal.stop();
            parked.join().unwrap();
        });
        assert_eq!(signal.commits(), None);
    }
}
