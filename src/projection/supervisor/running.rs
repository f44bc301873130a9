//! What is one worker doing, and how is it told what to do?

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::projection::State;
use crate::projection::Status;
use crate::projection::worker::Control;
use crate::subscription::Cursor;

/// A worker and how to talk to it.
pub(super) struct Running {
    pub(super) hash: [u8; 16],
    pub(super) status: Arc<Status>,
    pub(super) control: watch::Sender<Control>,
    /// Until it has ended.
    pub(super) task: Option<JoinHandle<()>>,
}

impl Running {
    pub(super) fn tell(&self, order: impl FnOnce(&mut Control)) {
        self.control.send_modify(order);
    }

    pub(super) fn failed_event(&self) -> Option<(u16, u64)> {
        let (state, failure) = self.status.state();
        let event = failure.filter(|_| state == State::Failed)?.event?;
        Some((event.shard, event.position))
    }

    /// Waits until the worker has applied what another has; `false` if it does not in time.
    pub(super) async fn reaches(&self, cursor: &Cursor) -> bool {
        let mut applied = self.status.watch_applied();
        let reached = applied.wait_for(|applied| applied.covers(cursor));
        matches!(tokio::time::timeout(PROMOTE_TIMEOUT, reached).await, Ok(Ok(_)))
    }

    /// Lets the worker bring what it has to an end.
    pub(super) async fn end(mut self) {
        self.tell(|control| control.is_stopped = true);
        let Some(task) = self.task.take() else { return };
        let abort = task.abort_handle();
        match tokio::time::timeout(END_TIMEOUT, task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a projection's worker has panicked"),
            // A target that does not answer: its transaction is rolled back when the connection is gone.
            Err(_elapsed) => abort.abort(),
        }
    }
}

impl Drop for Running {
    /// Nobody waits for it any more: the database was dropped, and not closed.
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Comes back if a worker ends by itself, which it only does by a panic or when the database closes.
pub(super) async fn ended(running: Option<&mut Running>) -> Arc<Status> {
    let Some((running, task)) = running.map(|running| (&running.status, &mut running.task)).filter(|(_, task)| task.is_some()) else {
        return std::future::pending().await;
    };
    let Some(handle) = task else { return std::future::pending().await };
    let done = handle.await;
    *task = None;
    match done {
        Ok(()) => std::future::pending().await,
        Err(error) => {
            tracing::error!(%error, "a projection's worker has panicked");
            Arc::clone(running)
        }
    }
}

const PROMOTE_TIMEOUT: Duration = Duration::from_secs(10);
const END_TIMEOUT: Duration = Duration::from_secs(20);
