//! What does a shard know, wherever it lives?

use std::sync::Arc;

use factum_storage as storage;
use storage::CategoryInfo;
use storage::Direction;
use storage::EventId;
use storage::EventSlice;
use storage::Filter;
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

use super::Handle;
use super::Seat;
use super::StreamListing;
use crate::Error;

impl Handle {
    /// What there is to know of a stream.
    pub(crate) async fn stream(&self, stream: StreamName) -> Result<Option<StreamInfo>, Error> {
        if let Seat::Elsewhere(remote) = &self.seat {
            return remote.stream(&stream).await;
        }
        self.read(move |reader| reader.stream(stream.as_str())).await
    }

    /// The same without leaving the thread: for those that can't wait.
    pub(crate) fn stream_now(&self, stream: &str) -> Result<Option<StreamInfo>, Error> {
        self.check_open()?;
        match &self.seat {
            Seat::Elsewhere(_) => Ok(None),
            Seat::Local(_) | Seat::Absent(_) => Ok(self.local()?.reader.stream(stream)?),
        }
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
        if let Seat::Elsewhere(remote) = &self.seat {
            return remote.read_stream(&stream, from, direction, limit).await;
        }
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
        if let Seat::Elsewhere(remote) = &self.seat {
            return remote.read_events(&filter, after, direction, limit).await;
        }
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
        if let Seat::Elsewhere(remote) = &self.seat {
            return remote.read_piece(&filter, (after, through), direction, limit).await;
        }
        self.read(move |reader| reader.read_piece(&filter, (after, through), direction, limit, bytes_max)).await
    }

    /// The last position whose event was recorded before a time.
    #[cfg(feature = "analytics")]
    pub(crate) async fn position_at(&self, time: storage::Timestamp) -> Result<Position, Error> {
        if let Seat::Elsewhere(remote) = &self.seat {
            return remote.position_at(time).await;
        }
        self.read(move |reader| reader.position_at(time)).await
    }

    /// How many events match at the most, as far as the index tells.
    #[cfg(feature = "analytics")]
    pub(crate) async fn matches_at_most(&self, filter: Arc<Filter>) -> Result<Option<u64>, Error> {
        if let Seat::Elsewhere(remote) = &self.seat {
            return remote.matches_at_most(&filter).await;
        }
        self.read(move |reader| reader.matches_at_most(&filter)).await
    }

    /// The streams that hide some of their events, or did at some time; `None` if these are more than `max`.
    #[cfg(feature = "analytics")]
    pub(crate) async fn hidden_streams(&self, max: usize) -> Result<Option<Vec<StreamName>>, Error> {
        if let Seat::Elsewhere(_) = &self.seat {
            return Ok(None);
        }
        self.read(move |reader| reader.hidden_streams(max)).await
    }

    /// The visible event with this id.
    pub(crate) async fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, Error> {
        if let Seat::Elsewhere(remote) = &self.seat {
            return remote.event_by_id(id).await;
        }
        self.read(move |reader| reader.event_by_id(id)).await
    }

    /// Streams by name.
    pub(crate) async fn streams(&self, listing: StreamListing) -> Result<Vec<StreamInfo>, Error> {
        if let Seat::Elsewhere(remote) = &self.seat {
            return remote.streams(&listing).await;
        }
        self.read(move |reader| {
            let StreamListing { after, prefix, category, include_system, leave_out_undecided, limit } = &listing;
            reader.streams((after.as_deref(), prefix, category.as_deref()), *include_system, *leave_out_undecided, *limit)
        })
        .await
    }

    /// Whether it keeps snapshots: a shard elsewhere would have to know the definitions for that.
    pub(crate) fn keeps_snapshots(&self) -> bool {
        self.location().is_none()
    }

    /// The newest snapshot of a stream at or below a version, made by the definition with this hash.
    pub(crate) async fn snapshot(
        &self,
        stream: StreamName,
        version: Version,
        definition_hash: [u8; 32],
    ) -> Result<Option<(Version, Vec<u8>)>, Error> {
        if !self.keeps_snapshots() {
            return Ok(None);
        }
        self.read(move |reader| reader.snapshot(&stream, version, definition_hash)).await
    }

    /// The snapshots of a stream.
    pub(crate) async fn snapshots(&self, stream: StreamName) -> Result<Vec<SnapshotInfo>, Error> {
        if !self.keeps_snapshots() {
            return Ok(Vec::new());
        }
        self.read(move |reader| reader.snapshots(&stream)).await
    }

    /// Keeps snapshots with one sync, and removes those of the same streams that `keep` says no to.
    pub(crate) async fn put_snapshots(
        &self,
        snapshots: Vec<Snapshot>,
        keep: impl Fn(&Snapshot, &SnapshotInfo) -> bool + Send + 'static,
    ) -> Result<(), Error> {
        if let Some(url) = self.location() {
            return Err(Error::TopologyConflict { detail: format!("shard {} is at {url}: no snapshots are kept there", self.number()) });
        }
        self.read(move |reader| reader.put_snapshots(&snapshots, &keep)).await
    }

    /// Categories by name.
    pub(crate) async fn categories(&self, include_system: bool) -> Result<Vec<CategoryInfo>, Error> {
        if let Seat::Elsewhere(remote) = &self.seat {
            return remote.categories(include_system).await;
        }
        self.read(move |reader| reader.categories(include_system)).await
    }

    /// Event types by name.
    pub(crate) async fn types(&self, include_system: bool) -> Result<Vec<TypeInfo>, Error> {
        if let Seat::Elsewhere(remote) = &self.seat {
            return remote.types(include_system).await;
        }
        self.read(move |reader| reader.types(include_system)).await
    }

    /// Reads on a thread that may wait for a disk.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, storage::Error> + Send + 'static,
    ) -> Result<T, Error> {
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
