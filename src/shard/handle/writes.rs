//! How is a shard changed, wherever it lives?

use std::time::Instant;

use factum_storage as storage;
use storage::Appended;
use storage::NewEvent;
use storage::StreamName;
use tokio::sync::oneshot;

use super::super::writer::Imported;
use super::super::writer::Pending;
use super::super::writer::REQUEST_BYTES;
use super::super::writer::Reply;
use super::super::writer::Request;
use super::super::writer::Times;
use super::super::writer::Work;
use super::super::writer::Write;
use super::super::writer::events_bytes;
use super::Handle;
use super::Seat;
use crate::Error;
use crate::telemetry::traces;

impl Handle {
    /// Changes the log and returns once that is on disk. Queued before the first time that the future waits.
    ///
    /// # Cancellation
    ///
    /// Once queued it is done, whether or not somebody waits for the answer.
    pub(crate) async fn write(&self, write: Write) -> Result<Appended, Error> {
        let pending = self.submit(write)?;
        self.answered(pending).await
    }

    /// Queues a change of the log.
    pub(in crate::shard) fn submit(&self, write: Write) -> Result<Pending<Appended>, Error> {
        let bytes = match &write {
            Write::Transaction(transaction) => transaction.appends.iter().map(|append| events_bytes(&append.events)).sum(),
            Write::Control(..) => 0,
        };
        match &self.seat {
            Seat::Elsewhere(remote) => remote.submit(write, bytes),
            Seat::Local(_) | Seat::Absent(_) => self.ask(bytes, |reply| Work::Write(write, reply)),
        }
    }

    /// Queues events of which those are to be appended that are not there yet. Not atomic.
    pub(in crate::shard) fn submit_import(&self, stream: StreamName, events: Vec<NewEvent>) -> Result<Pending<Imported>, Error> {
        let bytes = events_bytes(&events);
        match &self.seat {
            Seat::Elsewhere(remote) => remote.submit_import(stream, events, bytes),
            Seat::Local(_) | Seat::Absent(_) => self.ask(bytes, |reply| Work::Import { stream, events, reply }),
        }
    }

    fn ask<T>(&self, bytes: usize, work: impl FnOnce(Reply<T>) -> Work) -> Result<Pending<T>, Error> {
        let local = self.local()?;
        let (reply, answer) = oneshot::channel();
        let queued_at = Instant::now();
        let request = Request { work: work(reply), bytes: REQUEST_BYTES + bytes, queued_at };
        local.queue.push(request).inspect_err(|error| {
            if matches!(error, Error::Overloaded { .. }) {
                local.meters.overloaded();
            }
        })?;
        Ok(Pending { queued_at, answer })
    }

    /// Waits for what was queued.
    pub(in crate::shard) async fn answered<T>(&self, pending: Pending<T>) -> Result<T, Error> {
        let Pending { queued_at, answer } = pending;
        match answer.await {
            Ok(answer) => {
                self.note(queued_at, answer.times);
                answer.result
            }
            Err(_dropped) => {
                let detail = self.local()?.queue.death().map_or_else(|| "its writer has ended".to_owned(), |detail| detail.to_string());
                Err(Error::Unavailable { shard: self.number(), detail: format!("{detail}; the outcome is unknown") })
            }
        }
    }

    /// Tells the trace of the request at hand, if it has one, where its time went.
    fn note(&self, queued_at: Instant, times: Times) {
        let shard = || ("factum.shard", u64::from(self.number()).into());
        traces::note("shard.queue", queued_at, times.taken, || vec![shard()]);
        let batch = || vec![shard(), ("factum.batch.calls", u64::try_from(times.requests).unwrap_or(u64::MAX).into())];
        traces::note("shard.commit", times.committing, times.committed, batch);
    }
}
