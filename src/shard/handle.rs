//! What can be asked of a shard, wherever it lives?

use std::sync::Arc;
use std::time::Instant;

use factum_storage as storage;
use storage::Appended;
use storage::CategoryInfo;
use storage::Direction;
use storage::EventId;
use storage::EventSlice;
use storage::Filter;
use storage::NewEvent;
use storage::Position;
use storage::Reader;
use storage::RecordedEvent;
use storage::Snapshot;
use storage::SnapshotInfo;
use storage::StreamInfo;
use storage::StreamName;
use storage::StreamSlice;
use storage::TypeInfo;
use storage::Version;
use tokio::sync::oneshot;

use super::absent::Absent;
use super::absent::unusable;
use super::interest::Interest;
use super::live::Follower;
use super::local::Local;
use super::writer::Imported;
use super::writer::Pending;
use super::writer::REQUEST_BYTES;
use super::writer::Reply;
use super::writer::Request;
use super::writer::Times;
use super::writer::Work;
use super::writer::Write;
use super::writer::events_bytes;
use crate::Error;
use crate::telemetry::traces;

/// One shard, as the rest of the house sees it. Clones are the same shard.
#[derive(Clone)]
pub(crate) struct Handle {
    seat: Seat,
}

/// Where a shard is.
#[derive(Clone)]
enum Seat {
    /// In this process.
    Local(Arc<Local>),
    /// Nowhere: what lies in its folder is not the shard, or can't be opened.
    Absent(Arc<Absent>),
}

/// How a shard is.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) is_absent: bool,
    pub(crate) appends: Result<(), storage::Error>,
    pub(crate) position: Position,
    pub(crate) streams: u64,
    pub(crate) log_bytes: u64,
    pub(crate) index_bytes: u64,
    pub(crate) index_lag_events: u64,
    pub(crate) queued_appends: usize,
    pub(crate) available_bytes: Option<u64>,
    pub(crate) feeds: usize,
    pub(crate) index_cache: (u64, u64),
    pub(crate) receipt: (Position, [u8; 32]),
    pub(crate) opened: storage::OpenReport,
}

/// Which streams of a shard to list.
#[derive(Clone, Debug)]
pub(crate) struct StreamListing {
    pub(crate) after: Option<String>,
    pub(crate) prefix: String,
    pub(crate) category: Option<String>,
    pub(crate) include_system: bool,
    /// Those about which a shard would have to be asked that is missing are left out, instead of being an error.
    pub(crate) leave_out_undecided: bool,
    pub(crate) limit: usize,
}

impl Handle {
    pub(super) fn new(local: Arc<Local>) -> Self {
        Self { seat: Seat::Local(local) }
    }

    /// A shard that can't be served until the next start: whatever is asked of it is answered [`Error::ShardFailed`].
    pub(crate) fn absent(shard: u16, log_id: [u8; 16], detail: String) -> Self {
        Self { seat: Seat::Absent(Arc::new(Absent { shard, log_id, detail })) }
    }

    pub(super) fn local(&self) -> Result<&Arc<Local>, Error> {
        match &self.seat {
            Seat::Local(local) => Ok(local),
            Seat::Absent(absent) => Err(Error::ShardFailed { shard: absent.shard, detail: absent.detail.clone() }),
        }
    }

    /// Its log's reader, if it is there.
    pub(super) fn reader(&self) -> Option<&Reader> {
        match &self.seat {
            Seat::Local(local) => Some(&local.reader),
            Seat::Absent(_) => None,
        }
    }

    /// Followers go to the disk for what they have not read yet: who has the streams now says what of it is hidden.
    pub(super) fn forget_recent(&self) {
        if let Seat::Local(local) = &self.seat {
            local.live.forget();
        }
    }

    /// Whether it is there at all.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self.seat, Seat::Absent(_))
    }

    /// Its number.
    pub(crate) fn number(&self) -> u16 {
        match &self.seat {
            Seat::Local(local) => local.shard,
            Seat::Absent(absent) => absent.shard,
        }
    }

    /// What tells its log from every other; a copy has the same.
    pub(crate) fn log_id(&self) -> [u8; 16] {
        match &self.seat {
            Seat::Local(local) => local.reader.log_id(),
            Seat::Absent(absent) => absent.log_id,
        }
    }

    /// Its last committed position; none if it is absent, so that who goes on from there misses nothing of it.
    pub(crate) fn committed(&self) -> Position {
        match &self.seat {
            Seat::Local(local) => local.reader.committed(),
            Seat::Absent(_) => Position::ZERO,
        }
    }

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
    pub(super) fn submit(&self, write: Write) -> Result<Pending<Appended>, Error> {
        let bytes = match &write {
            Write::Transaction(transaction) => transaction.appends.iter().map(|append| events_bytes(&append.events)).sum(),
            Write::Control(..) => 0,
        };
        self.ask(bytes, |reply| Work::Write(write, reply))
    }

    /// Queues events of which those are to be appended that are not there yet. Not atomic.
    pub(super) fn submit_import(&self, stream: StreamName, events: Vec<NewEvent>) -> Result<Pending<Imported>, Error> {
        self.ask(events_bytes(&events), |reply| Work::Import { stream, events, reply })
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
    pub(super) async fn answered<T>(&self, pending: Pending<T>) -> Result<T, Error> {
        let Pending { queued_at, answer } = pending;
        match answer.await {
            Ok(answer) => {
                self.note(queued_at, answer.times);
                answer.result.map_err(Error::from)
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

    /// What there is to know of a stream.
    pub(crate) async fn stream(&self, stream: StreamName) -> Result<Option<StreamInfo>, Error> {
        self.read(move |reader| reader.stream(stream.as_str())).await
    }

    /// The same without leaving the thread: for those that can't wait.
    pub(crate) fn stream_now(&self, stream: &str) -> Result<Option<StreamInfo>, Error> {
        self.check_open()?;
        Ok(self.local()?.reader.stream(stream)?)
    }

    /// Visible events of a stream; `None` if there is no such stream.
    pub(crate) async fn read_stream(
        &self,
        stream: StreamName,
        from: Option<Version>,
        direction: Direction,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Option<StreamSlice>, Error> {
        self.read(move |reader| reader.read_stream(stream.as_str(), from, direction, limit, bytes_max)).await
    }

    /// Visible events that match, after a position.
    pub(crate) async fn read_events(
        &self,
        filter: Arc<Filter>,
        after: Position,
        direction: Direction,
        limit: usize,
        bytes_max: usize,
    ) -> Result<EventSlice, Error> {
        self.read(move |reader| reader.read_events(&filter, after, direction, limit, bytes_max)).await
    }

    /// Visible events of a piece of the log that match: behind `after`, up to `through`.
    pub(crate) async fn read_piece(
        &self,
        filter: Arc<Filter>,
        (after, through): (Position, Position),
        direction: Direction,
        limit: usize,
        bytes_max: usize,
    ) -> Result<EventSlice, Error> {
        self.read(move |reader| reader.read_piece(&filter, (after, through), direction, limit, bytes_max)).await
    }

    /// The last position whose event was recorded before a time.
    #[cfg(feature = "analytics")]
    pub(crate) async fn position_at(&self, time: storage::Timestamp) -> Result<Position, Error> {
        self.read(move |reader| reader.position_at(time)).await
    }

    /// How many events match at the most, as far as the index tells.
    #[cfg(feature = "analytics")]
    pub(crate) async fn matches_at_most(&self, filter: Arc<Filter>) -> Result<Option<u64>, Error> {
        self.read(move |reader| reader.matches_at_most(&filter)).await
    }

    /// The streams that hide some of their events, or did at some time; `None` if these are more than `max`.
    #[cfg(feature = "analytics")]
    pub(crate) async fn hidden_streams(&self, max: usize) -> Result<Option<Vec<StreamName>>, Error> {
        self.read(move |reader| reader.hidden_streams(max)).await
    }

    /// The visible event with this id.
    pub(crate) async fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, Error> {
        self.read(move |reader| reader.event_by_id(id)).await
    }

    /// Streams by name.
    pub(crate) async fn streams(&self, listing: StreamListing) -> Result<Vec<StreamInfo>, Error> {
        self.read(move |reader| {
            let StreamListing { after, prefix, category, include_system, leave_out_undecided, limit } = &listing;
            reader.streams((after.as_deref(), prefix, category.as_deref()), *include_system, *leave_out_undecided, *limit)
        })
        .await
    }

    /// The newest snapshot of a stream at or below a version, made by the definition with this hash.
    pub(crate) async fn snapshot(
        &self,
        stream: StreamName,
        version: Version,
        definition_hash: [u8; 32],
    ) -> Result<Option<(Version, Vec<u8>)>, Error> {
        self.read(move |reader| reader.snapshot(&stream, version, definition_hash)).await
    }

    /// The snapshots of a stream.
    pub(crate) async fn snapshots(&self, stream: StreamName) -> Result<Vec<SnapshotInfo>, Error> {
        self.read(move |reader| reader.snapshots(&stream)).await
    }

    /// Keeps snapshots with one sync, and removes those of the same streams that `keep` says no to.
    pub(crate) async fn put_snapshots(
        &self,
        snapshots: Vec<Snapshot>,
        keep: impl Fn(&Snapshot, &SnapshotInfo) -> bool + Send + 'static,
    ) -> Result<(), Error> {
        self.read(move |reader| reader.put_snapshots(&snapshots, &keep)).await
    }

    /// Categories by name.
    pub(crate) async fn categories(&self, include_system: bool) -> Result<Vec<CategoryInfo>, Error> {
        self.read(move |reader| reader.categories(include_system)).await
    }

    /// Event types by name.
    pub(crate) async fn types(&self, include_system: bool) -> Result<Vec<TypeInfo>, Error> {
        self.read(move |reader| reader.types(include_system)).await
    }

    /// How it is.
    pub(crate) async fn status(&self) -> Result<Status, Error> {
        let local = match &self.seat {
            Seat::Local(local) => local,
            Seat::Absent(absent) => return Ok(absent.status()),
        };
        let queued_appends = local.queue.len();
        let opened = local.opened.clone();
        let death = local.queue.death();
        let (disk, feeds) = (Arc::clone(&local.disk), local.live.followers());
        self.read(move |reader| {
            let refusal = reader.refuses_appends().or_else(|| death.map(|detail| unusable(&detail)));
            let (log_bytes, index_bytes) = reader.disk_bytes();
            Ok(Status {
                is_absent: false,
                appends: refusal.map_or(Ok(()), Err),
                position: reader.committed(),
                streams: reader.stream_count()?,
                log_bytes,
                index_bytes,
                index_lag_events: reader.index_lag_events(),
                queued_appends,
                available_bytes: disk.available().ok(),
                feeds,
                index_cache: reader.index_cache(),
                receipt: reader.receipt(),
                opened,
            })
        })
        .await
    }

    /// A place at the live end, for who wants such events.
    ///
    /// # Errors
    ///
    /// [`Error::ShardFailed`].
    pub(crate) fn follow(&self, interest: Interest) -> Result<Follower, Error> {
        Ok(Follower::new(&self.local()?.live, interest))
    }

    /// Takes nothing new from here on. What is queued is still done, by the shard's own threads.
    pub(crate) fn close(&self) {
        if let Seat::Local(local) = &self.seat {
            local.close();
        }
    }

    /// Waits until the shard has let go of its files, and returns what the last flush said.
    pub(crate) async fn closed(&self) -> Result<(), Error> {
        match &self.seat {
            Seat::Local(local) => local.closed().await,
            Seat::Absent(_) => Ok(()),
        }
    }

    /// Whether [`Handle::close`] was called.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if so, [`Error::ShardFailed`] if it is absent.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        self.local()?.check_open()
    }

    /// Reads on a thread that may wait for a disk.
    async fn read<T: Send + 'static>(&self, read: impl FnOnce(&Reader) -> Result<T, storage::Error> + Send + 'static) -> Result<T, Error> {
        self.check_open()?;
        let reader = self.local()?.reader.clone();
        match tokio::task::spawn_blocking(move || read(&reader)).await {
            Ok(answer) => answer.map_err(Error::from),
            Err(error) => {
                tracing::error!(shard = self.number(), %error, "a read has not come to its end");
                Err(Error::Unavailable { shard: self.number(), detail: "a read has failed inside".to_owned() })
            }
        }
    }
}
