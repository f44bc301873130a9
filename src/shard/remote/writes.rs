//! How does an append get to a shard of another server, and its answer back?

use std::sync::Arc;
use std::time::Instant;

use factum_storage as storage;
use reqwest::Method;
use reqwest::RequestBuilder;
use reqwest::StatusCode;
use storage::Appended;
use storage::NewEvent;
use storage::Position;
use storage::StreamName;
use storage::Version;
use tokio::sync::oneshot;

use super::super::import;
use super::super::writer::Answered;
use super::super::writer::Control;
use super::super::writer::Imported;
use super::super::writer::Pending;
use super::super::writer::Times;
use super::super::writer::Write;
use super::Remote;
use super::call::Answer;
use super::call::Fault;
use super::wire;
use crate::Error;

impl Remote {
    /// Sends a change of the log on its way.
    pub(in crate::shard) fn submit(self: &Arc<Self>, write: Write, bytes: usize) -> Result<Pending<Appended>, Error> {
        self.send(bytes, |remote| async move { remote.write(write).await })
    }

    /// Sends events on their way of which those are to be appended that are not there yet.
    pub(in crate::shard) fn submit_import(
        self: &Arc<Self>,
        stream: StreamName,
        events: Vec<NewEvent>,
        bytes: usize,
    ) -> Result<Pending<Imported>, Error> {
        self.send(bytes, |remote| async move { remote.import(&stream, events).await })
    }

    /// Works in a task of its own: what is sent is done, whether or not somebody waits for the answer.
    fn send<T, F>(self: &Arc<Self>, bytes: usize, work: impl FnOnce(Arc<Self>) -> F) -> Result<Pending<T>, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.check_open()?;
        let overloaded = |_| Error::Overloaded { shard: self.shard };
        let room = u32::try_from((bytes >> 10) + 1).unwrap_or(u32::MAX).min(super::ROOM_KIB);
        // Given back by hand: a permit that is owned would need a semaphore of its own on the heap.
        self.places.try_acquire().map_err(overloaded)?.forget();
        match self.room.try_acquire_many(room).map_err(overloaded) {
            Ok(permit) => permit.forget(),
            Err(error) => {
                self.places.add_permits(1);
                return Err(error);
            }
        }
        let (reply, answer) = oneshot::channel();
        let queued_at = Instant::now();
        let (remote, work) = (Arc::clone(self), work(Arc::clone(self)));
        self.tasks.spawn(async move {
            let result = work.await;
            remote.places.add_permits(1);
            remote.room.add_permits(room as usize);
            let now = Instant::now();
            let times = Times { taken: queued_at, committing: queued_at, committed: now, requests: 1 };
            // Whoever asked may have gone; what was appended stays.
            drop(reply.send(Answered { result, times }));
        });
        Ok(Pending { queued_at, answer })
    }

    async fn write(&self, write: Write) -> Result<Appended, Error> {
        let done = match &write {
            Write::Transaction(transaction) => {
                let body = wire::transaction(transaction).map_err(|detail| self.caller.garbled(detail))?;
                let request = self.caller.request(Method::POST, &["v1", "transactions"], &[])?.header("content-type", "application/json");
                let answer = self.tell(request.body(body)).await?;
                let committed: wire::Committed =
                    serde_json::from_slice(&answer.body).map_err(|error| self.unclear(&format!("what was committed: {error}")))?;
                let named = |append: wire::CommittedAppend| {
                    let versions = (Version::new(append.first_version), Version::new(append.last_version));
                    StreamName::new(&append.stream).map(|stream| (stream, versions.0, versions.1))
                };
                let streams = committed.appends.into_iter().map(named).collect::<Result<_, _>>();
                let streams = streams.map_err(|error| self.unclear(&format!("the name of a stream: {error}")))?;
                let has_events = transaction.appends.iter().any(|append| !append.events.is_empty());
                let duplicate = has_events && answer.status == StatusCode::OK;
                Appended { streams, position: Position::new(committed.position), duplicate }
            }
            // The id of the record is the other server's own: a change that is made again is a second one of the same effect.
            Write::Control(stream, control, _) => self.control(stream, *control).await?,
        };
        self.reaches(done.position);
        Ok(done)
    }

    async fn control(&self, stream: &StreamName, control: Control) -> Result<Appended, Error> {
        let path = ["v1", "streams", stream.as_str()];
        let request = match control {
            Control::Deleted => self.caller.request(Method::DELETE, &path, &[])?,
            Control::Tombstoned => self.caller.request(Method::DELETE, &path, &[("permanent", "true".to_owned())])?,
            Control::Retention(retention) => {
                let path = ["v1", "streams", stream.as_str(), "retention"];
                self.caller.request(Method::PUT, &path, &[])?.json(&wire::retention(retention))
            }
        };
        let answer = self.tell(request).await?;
        let position = answer.position.as_deref().unwrap_or_default();
        let position = wire::position(position).map_err(|detail| self.unclear(&detail))?;
        Ok(Appended { streams: Vec::new(), position, duplicate: false })
    }

    /// In pieces, as a shard of this process would stage them: each at once if all of it is new or all is known, else one by one. A server
    /// takes few imports at a time, and any number of appends.
    async fn import(&self, stream: &StreamName, events: Vec<NewEvent>) -> Result<Imported, Error> {
        let mut imported = Imported::default();
        let mut rest = events;
        while !rest.is_empty() {
            let later = rest.split_off(import::chunk_length(&rest));
            let chunk = std::mem::replace(&mut rest, later);
            let count = chunk.len() as u64;
            let is_plain = count == 1 || !import::repeats_an_id(&chunk);
            let at_once = if is_plain { self.append_new(stream, &chunk).await? } else { None };
            match at_once {
                Some(appended) => imported.add(&appended, count),
                None => {
                    for event in chunk {
                        let one = Write::Transaction(import::transaction(stream, vec![event]));
                        imported.add(&self.write(one).await?, 1);
                    }
                }
            }
        }
        if imported == Imported::default() {
            imported.position = self.committed();
        }
        Ok(imported)
    }

    /// Appends events of which all are new or all are known; `None` if they are some of each.
    async fn append_new(&self, stream: &StreamName, events: &[NewEvent]) -> Result<Option<Appended>, Error> {
        match self.write(Write::Transaction(import::transaction(stream, events.to_vec()))).await {
            Err(Error::Storage(storage::Error::EventIdReused { .. })) if events.len() > 1 => Ok(None),
            appended => appended.map(Some),
        }
    }

    /// Makes a change. If it is lost, the server is looked at before anything else is sent.
    async fn tell(&self, request: RequestBuilder) -> Result<Answer, Error> {
        let answer = self.caller.call(request).await;
        if let Err(Fault::NotSent(detail) | Fault::Lost(detail)) = &answer {
            self.doubt(detail);
        }
        answer.map_err(|fault| self.caller.failed_write(fault))
    }

    /// An answer to a change that can't be read: it was made, as far as can be told.
    fn unclear(&self, what: &str) -> Error {
        let detail = format!("{} answers what can't be understood: {what}; the outcome is unknown", self.url());
        Error::Unavailable { shard: self.shard, detail }
    }
}
