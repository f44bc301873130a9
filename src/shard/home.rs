//! Where do the events of one stream lie, and how are they read as one stream?

use factum_storage as storage;
use storage::Direction;
use storage::EventId;
use storage::RecordedEvent;
use storage::Snapshot;
use storage::SnapshotInfo;
use storage::StreamInfo;
use storage::StreamName;
use storage::Version;

use super::Handle;
use super::router::Table;
use crate::Error;

/// The shard that a stream lives on, and those that had it before and have kept what came to it then.
#[derive(Clone)]
pub(crate) struct Home {
    owner: Handle,
    /// The others, the newest first.
    former: Vec<Handle>,
}

/// Visible events of a stream, each with the shard that it is on.
pub(crate) struct HomeSlice {
    pub(crate) info: StreamInfo,
    pub(crate) events: Vec<(u16, RecordedEvent)>,
    /// Where to go on (inclusive), if there is more.
    pub(crate) next: Option<Version>,
}

impl Home {
    pub(super) fn new(table: &Table, stream: &str) -> Self {
        let owner = table.topology().owner(stream);
        let mut former: Vec<u16> = Vec::new();
        for tenure in table.topology().tenures(stream).unwrap_or_default().iter().rev() {
            if tenure.shard != owner && !former.contains(&tenure.shard) {
                former.push(tenure.shard);
            }
        }
        Self { owner: table.shard(owner).clone(), former: former.into_iter().map(|shard| table.shard(shard).clone()).collect() }
    }

    /// The number of the shard that the stream lives on.
    pub(crate) fn number(&self) -> u16 {
        self.owner.number()
    }

    /// The shard that the stream lives on.
    pub(crate) fn owner(&self) -> &Handle {
        &self.owner
    }

    /// Checks that all of them are there.
    ///
    /// # Errors
    ///
    /// As [`Handle::check_open`].
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        self.all().try_for_each(Handle::check_open)
    }

    /// All of them, the owner first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Handle> {
        std::iter::once(&self.owner).chain(&self.former)
    }

    /// What there is to know of the stream.
    pub(crate) async fn stream(&self, stream: StreamName) -> Result<Option<StreamInfo>, Error> {
        self.check_open()?;
        self.owner.stream(stream).await
    }

    /// The same without leaving the thread: for those that can't wait. Of a shard elsewhere nothing is known at once.
    pub(crate) fn stream_now(&self, stream: &str) -> Result<Option<StreamInfo>, Error> {
        self.check_open()?;
        self.owner.stream_now(stream)
    }

    /// The same for those that can wait, and rarely have to: it is in memory nearly always, and then a thread that may wait for a disk
    /// would cost more than the answer.
    pub(crate) async fn stream_at_once(&self, stream: &StreamName) -> Result<Option<StreamInfo>, Error> {
        if self.owner.location().is_some() { self.stream(stream.clone()).await } else { self.stream_now(stream.as_str()) }
    }

    /// Visible events of the stream; `None` if there is no such stream.
    pub(crate) async fn read_stream(
        &self,
        stream: StreamName,
        from: Option<Version>,
        direction: Direction,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Option<HomeSlice>, Error> {
        let number = |shard: &Handle, events: Vec<RecordedEvent>| events.into_iter().map(|event| (shard.number(), event)).collect();
        if self.former.is_empty() {
            let slice = self.owner.read_stream(stream, from, direction, limit, bytes_max).await?;
            let events = |events| number(&self.owner, events);
            let slice = slice.map(|slice| HomeSlice { info: slice.info, events: events(slice.events), next: slice.next });
            return Ok(slice.map(|slice| slice.with_rest(from, direction, limit)));
        }
        self.check_open()?;
        let reads = self.all().map(|shard| shard.read_stream(stream.clone(), from, direction, limit, bytes_max));
        let slices = futures::future::try_join_all(reads).await?;
        let (mut info, mut events, mut cut) = (None, Vec::<(u16, RecordedEvent)>::new(), None);
        for (shard, slice) in self.all().zip(slices) {
            let Some(slice) = slice else { continue };
            // How far a shard has looked; behind that, it may have more than it gave.
            cut = nearer(direction, cut, slice.next);
            events.extend(slice.events.into_iter().map(|event| (shard.number(), event)));
            info.get_or_insert(slice.info);
        }
        let Some(info) = info else { return Ok(None) };
        Ok(Some(joined(info, events, cut, direction, (limit, bytes_max)).with_rest(from, direction, limit)))
    }

    /// The event with this id, if it is of the stream.
    pub(crate) async fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, Error> {
        self.check_open()?;
        for shard in self.all() {
            if let Some(event) = shard.event_by_id(id).await? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The newest snapshot of the stream at or below a version, made by the definition with this hash.
    pub(crate) async fn snapshot(
        &self,
        stream: StreamName,
        version: Version,
        definition_hash: [u8; 32],
    ) -> Result<Option<(Version, Vec<u8>)>, Error> {
        let mut newest: Option<(Version, Vec<u8>)> = None;
        for shard in self.all() {
            if let Some(found) = shard.snapshot(stream.clone(), version, definition_hash).await?
                && newest.as_ref().is_none_or(|newest| newest.0 < found.0)
            {
                newest = Some(found);
            }
        }
        Ok(newest)
    }

    /// The snapshots of the stream, oldest first.
    pub(crate) async fn snapshots(&self, stream: StreamName) -> Result<Vec<SnapshotInfo>, Error> {
        let mut all = self.owner.snapshots(stream.clone()).await?;
        for shard in &self.former {
            all.extend(shard.snapshots(stream.clone()).await?);
        }
        all.sort_by_key(|snapshot| (snapshot.version, snapshot.definition_hash));
        all.dedup_by_key(|snapshot| (snapshot.version, snapshot.definition_hash));
        Ok(all)
    }

    /// Keeps snapshots, as [`Handle::put_snapshots`].
    pub(crate) async fn put_snapshots(
        &self,
        snapshots: Vec<Snapshot>,
        keep: impl Fn(&Snapshot, &SnapshotInfo) -> bool + Send + 'static,
    ) -> Result<(), Error> {
        self.owner.put_snapshots(snapshots, keep).await
    }
}

impl HomeSlice {
    /// Says where to go on if what was read ends before the stream does: it went to another shard meanwhile.
    fn with_rest(mut self, from: Option<Version>, direction: Direction, limit: usize) -> Self {
        if direction == Direction::Forward && self.next.is_none() && self.events.len() < limit {
            let next = match self.events.last() {
                Some((_, last)) => last.version().next(),
                None => from.unwrap_or_default().max(self.info.first_version),
            };
            self.next = Some(next).filter(|next| *next <= self.info.version);
        }
        self
    }
}

/// The version that comes first on the way.
fn nearer(direction: Direction, one: Option<Version>, other: Option<Version>) -> Option<Version> {
    match (one, other, direction) {
        (Some(one), Some(other), Direction::Forward) => Some(one.min(other)),
        (Some(one), Some(other), Direction::Backward) => Some(one.max(other)),
        (one, other, _) => one.or(other),
    }
}

/// What several shards have, as one slice in order, up to where all of them have looked and within the bounds.
fn joined(
    info: StreamInfo,
    mut events: Vec<(u16, RecordedEvent)>,
    cut: Option<Version>,
    direction: Direction,
    (limit, bytes_max): (usize, usize),
) -> HomeSlice {
    let is_forward = direction == Direction::Forward;
    events.sort_by_key(|(_, event)| if is_forward { event.version().get() } else { u64::MAX - event.version().get() });
    // One shard has each of them, unless it was read while it changed hands.
    events.dedup_by_key(|(_, event)| event.version());
    let is_seen = |version: Version| cut.is_none_or(|cut| if is_forward { version < cut } else { version > cut });
    let mut bytes = 0;
    let fitting = events.iter().take(limit).take_while(|(_, event)| {
        let fits = bytes == 0 || bytes + event.stored_bytes() <= bytes_max;
        bytes += event.stored_bytes();
        fits && is_seen(event.version())
    });
    let count = fitting.count();
    let next = events.get(count).map(|(_, event)| event.version()).filter(|version| is_seen(*version)).or(cut);
    events.truncate(count);
    HomeSlice { info, events, next }
}
