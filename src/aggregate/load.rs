//! How is a state loaded? From memory, else from the newest snapshot that proves right, and the events behind it.

use std::sync::Arc;

use bytes::Bytes;
use factum_storage as storage;
use factum_storage::Direction;
use factum_storage::EventId;
use factum_storage::RecordedEvent;
use factum_storage::StreamInfo;
use factum_storage::StreamName;
use factum_storage::Timestamp;
use factum_storage::Version;

use super::AggregateState;
use super::Aggregates;
use super::At;
use super::cache::Cached;
use super::evolver::Evolver;
use super::evolver::Running;
use crate::Error;
use crate::shard::Home;
use crate::shard::HomeSlice;

/// What a stream's states are made from at this moment.
pub(super) struct Source {
    pub(super) stream: StreamName,
    pub(super) shard: Home,
    pub(super) info: StreamInfo,
    pub(super) evolver: Arc<Evolver>,
    pub(super) hash: [u8; 32],
}

/// A state that a command is decided on.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) version: Version,
    pub(crate) state: Bytes,
    hash: [u8; 32],
}

/// A state with all that has to be known to keep it.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) version: Version,
    pub(super) state: Bytes,
    pub(super) snapshot_version: Version,
    pub(super) replayed: u64,
    /// The id of the event at `version`, if it was read.
    pub(super) last_event: Option<EventId>,
}

impl Aggregates {
    /// The state of an aggregate.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`] if it has (or had) no events, [`Error::EventNotFound`] for a version that it does not have,
    /// [`Error::Script`], [`Error::HistoryUnreadable`], [`Error::Storage`].
    pub(crate) async fn state(&self, stream: &StreamName, at: At) -> Result<AggregateState, Error> {
        for _try in 1..LOAD_TRIES {
            match self.try_state(stream, at).await {
                // Trimmed or deleted while it was read: it is asked what it is now.
                Err(Failed::Moved) => {}
                Err(Failed::Error(error)) => return Err(error),
                Ok(state) => return Ok(state),
            }
        }
        Err(Error::Unavailable { shard: 0, detail: format!("stream {stream} changes faster than it can be read") })
    }

    async fn try_state(&self, stream: &StreamName, at: At) -> Result<AggregateState, Failed> {
        let source = self.source(stream).await?;
        let not_there = || Error::StreamNotFound { stream: stream.to_string() };
        let loaded = match at {
            At::Head => self.load(&source, source.info.version).await?,
            At::Version(version) => {
                if version < source.info.first_version || version > source.info.version {
                    let StreamInfo { first_version, version: last, .. } = &source.info;
                    let what = format!("version {version} of stream {stream} (its events have versions {first_version} to {last})");
                    return Err(Error::EventNotFound { what }.into());
                }
                self.load(&source, version).await?
            }
            At::RecordedAt(time) => {
                let version = self.version_at(&source, time).await?.ok_or_else(not_there)?;
                self.load(&source, version).await?
            }
            At::OccurredAt(time) => self.load_occurred(&source, time).await?.ok_or_else(not_there)?,
        };
        let snapshot_version = (loaded.snapshot_version > Version::ZERO).then_some(loaded.snapshot_version);
        let Loaded { version, state, replayed, .. } = loaded;
        // What was hidden since makes another state of the same version.
        let is_whole = source.info.first_version == Version::new(1);
        let definition_hash = if is_whole { self.making(&source.evolver) } else { source.hash };
        Ok(AggregateState { version, state, snapshot_version, events_replayed: replayed, definition_hash })
    }

    /// The state of an aggregate as a command finds it; `None` if it has no events that can be seen.
    ///
    /// # Errors
    ///
    /// As [`Aggregates::state`].
    pub(crate) async fn current(&self, stream: &StreamName) -> Result<Option<Current>, Error> {
        for _try in 1..LOAD_TRIES {
            let source = match self.source(stream).await {
                Ok(source) => source,
                Err(Error::StreamNotFound { .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
            match self.load(&source, source.info.version).await {
                Err(Failed::Moved) => {}
                Err(Failed::Error(error)) => return Err(error),
                Ok(loaded) => return Ok(Some(Current { version: loaded.version, state: loaded.state, hash: source.hash })),
            }
        }
        Err(Error::Unavailable { shard: 0, detail: format!("stream {stream} changes faster than it can be read") })
    }

    /// The state after events that were appended to it, without reading them again.
    ///
    /// # Errors
    ///
    /// As [`Aggregates::state`].
    pub(crate) async fn advance(&self, stream: &StreamName, before: Option<&Current>, events: Vec<RecordedEvent>) -> Result<Bytes, Error> {
        let Some(version) = events.last().map(RecordedEvent::version) else {
            return Err(Error::StreamNotFound { stream: stream.to_string() });
        };
        let source = self.source(stream).await?;
        let running = match before {
            // Something was defined, deleted or hidden meanwhile: what was loaded is of another making.
            Some(before) if before.hash != source.hash => None,
            Some(before) => source.evolver.resume(&before.state),
            None => (events.first().map(RecordedEvent::version) == Some(source.info.first_version)).then_some(Running::Initial),
        };
        let Some(running) = running else { return Ok(self.state(stream, At::Version(version)).await?.state) };
        let advanced = async {
            let running = self.apply(&source, running, events, None).await?;
            let state = source.evolver.finish(&self.sandbox, running).await?;
            let loaded = Loaded { version, state, snapshot_version: Version::ZERO, replayed: 0, last_event: None };
            self.keep(&source, &loaded);
            Ok(loaded.state)
        };
        match advanced.await {
            Ok(state) => Ok(state),
            Err(Failed::Error(error)) => Err(error),
            Err(Failed::Moved) => Ok(self.state(stream, At::Version(version)).await?.state),
        }
    }

    /// What there is of a stream, if it has events that can be seen.
    pub(super) async fn source(&self, stream: &StreamName) -> Result<Source, Error> {
        let shard = self.router.locate(stream.as_str());
        let evolver = self.evolver(stream.category());
        let info = match shard.stream_at_once(stream).await? {
            Some(info) if info.is_tombstoned => return Err(storage::Error::StreamDeleted(stream.clone()).into()),
            Some(info) if !info.is_deleted && info.first_version <= info.version => info,
            _ => return Err(Error::StreamNotFound { stream: stream.to_string() }),
        };
        let hash = self.hash(&evolver, info.first_version);
        Ok(Source { stream: stream.clone(), shard, info, evolver, hash })
    }

    /// The state at a version that the stream has.
    pub(super) async fn load(&self, source: &Source, version: Version) -> Result<Loaded, Failed> {
        let name = source.stream.as_str();
        let cached = self.cache.get(name, &source.hash).filter(|cached| cached.version <= version);
        self.meters.asked(cached.is_some());
        if let Some(cached) = cached {
            let Cached { version: at, state, snapshot_version, .. } = cached;
            if at == version {
                return Ok(Loaded { version, state, snapshot_version, replayed: 0, last_event: None });
            }
            if version.get() - at.get() <= source.evolver.snapshot_every
                && let Some(running) = source.evolver.resume(&state)
            {
                let from = Base { running, next: at.next(), snapshot_version };
                return self.replay(source, from, version, true).await;
            }
        }
        if let Some(loaded) = self.load_from_snapshot(source, version).await? {
            return Ok(loaded);
        }
        let from = Base { running: Running::Initial, next: source.info.first_version, snapshot_version: Version::ZERO };
        self.replay(source, from, version, true).await
    }

    async fn load_from_snapshot(&self, source: &Source, version: Version) -> Result<Option<Loaded>, Failed> {
        let Some((at, kept)) = source.shard.snapshot(source.stream.clone(), version, source.hash).await? else { return Ok(None) };
        let Some((id, state)) = kept.split_at_checked(EVENT_ID_BYTES) else { return Ok(None) };
        if at < source.info.first_version {
            return Ok(None);
        }
        // Read with what follows: a log that lost its newest events and grew others has another event there.
        let slice = read(source, at, READ_EVENTS).await?;
        let proof = slice.first().filter(|event| event.version() == at && event.id().as_bytes() == id);
        let running = source.evolver.resume(&Bytes::copy_from_slice(state));
        let (Some(proof), Some(running)) = (proof, running) else {
            tracing::debug!(stream = %source.stream, version = at.get(), "a snapshot does not fit the log and is ignored");
            return Ok(None);
        };
        if at == version {
            let state = Bytes::copy_from_slice(state);
            let loaded = Loaded { version, state, snapshot_version: at, replayed: 0, last_event: Some(proof.id()) };
            self.keep(source, &loaded);
            return Ok(Some(loaded));
        }
        let behind: Vec<RecordedEvent> = slice.into_iter().skip(1).collect();
        let base = Base { running, next: at.next(), snapshot_version: at };
        self.replay_with(source, base, version, behind, true).await.map(Some)
    }

    /// Applies the events from a base to a version.
    pub(super) async fn replay(&self, source: &Source, base: Base, version: Version, keep: bool) -> Result<Loaded, Failed> {
        self.replay_with(source, base, version, Vec::new(), keep).await
    }

    /// The same with the first events at hand.
    async fn replay_with(
        &self,
        source: &Source,
        base: Base,
        version: Version,
        at_hand: Vec<RecordedEvent>,
        keep: bool,
    ) -> Result<Loaded, Failed> {
        let Base { mut running, mut next, snapshot_version } = base;
        let replayed = version.get() + 1 - next.get();
        self.meters.replayed(replayed);
        let mut last_event = None;
        let mut events = if at_hand.is_empty() { read(source, next, READ_EVENTS).await? } else { at_hand };
        while next <= version {
            events.retain(|event| event.version() <= version);
            let Some(last) = events.last() else { return Err(Failed::Moved) };
            check_gapless(source, next, &events)?;
            (last_event, next) = (Some(last.id()), last.version().next());
            // While these are applied the next ones are read.
            let reading = async { if next <= version { read(source, next, READ_EVENTS).await } else { Ok(Vec::new()) } };
            let applying = self.apply(source, running, events, None);
            (running, events) = tokio::try_join!(applying, reading)?;
        }
        let state = source.evolver.finish(&self.sandbox, running).await?;
        let loaded = Loaded { version, state, snapshot_version, replayed, last_event };
        if keep {
            self.keep(source, &loaded);
        }
        Ok(loaded)
    }

    /// Brings events to the newest shape and applies them.
    pub(super) async fn apply(
        &self,
        source: &Source,
        running: Running,
        events: Vec<RecordedEvent>,
        steps: Option<&mut Vec<Bytes>>,
    ) -> Result<Running, Failed> {
        let shard = source.shard.number();
        let events = if self.schemas.reshapes() {
            let with_shard = events.into_iter().map(|event| (shard, event)).collect();
            let shaped = self.schemas.upcast(with_shard).await.map_err(|error| super::evolver::script(&error, &[]))?;
            // A shape was added meanwhile: a state must not be made half of the old and half of the new.
            if self.hash(&source.evolver, source.info.first_version) != source.hash {
                return Err(Failed::Moved);
            }
            shaped.into_iter().map(|(_, event)| event).collect()
        } else {
            events
        };
        Ok(source.evolver.apply(&self.sandbox, running, shard, events, steps).await?)
    }

    /// Keeps a state at hand, and asks for a snapshot if it was long in the making.
    fn keep(&self, source: &Source, loaded: &Loaded) {
        let &Loaded { version, snapshot_version, .. } = loaded;
        if version == source.info.version {
            let cached = Cached { hash: source.hash, version, state: loaded.state.clone(), snapshot_version };
            self.cache.put(source.stream.as_str(), cached);
        }
        if loaded.replayed >= 2 * source.evolver.snapshot_every {
            self.wanted.want(&source.stream);
        }
    }

    /// The last version that was recorded at a time or before: within a stream that time never runs backwards.
    async fn version_at(&self, source: &Source, time: Timestamp) -> Result<Option<Version>, Failed> {
        if source.info.updated_at <= time {
            return Ok(Some(source.info.version));
        }
        // Of `known` it is known, of `beyond` it is known that it is not.
        let (mut known, mut beyond) = (source.info.first_version.get() - 1, source.info.version.get());
        while beyond - known > 1 {
            let middle = Version::new(known + (beyond - known) / 2);
            let slice = read(source, middle, 1).await?;
            let Some(event) = slice.first() else { return Err(Failed::Moved) };
            if event.recorded_at() <= time {
                known = event.version().get();
            } else {
                beyond = middle.get();
            }
        }
        Ok((known >= source.info.first_version.get()).then(|| Version::new(known)))
    }

    /// The fold of the events that had occurred by a time.
    async fn load_occurred(&self, source: &Source, time: Timestamp) -> Result<Option<Loaded>, Failed> {
        let (mut running, mut next, mut last, mut replayed) = (Running::Initial, source.info.first_version, None, 0);
        while next <= source.info.version {
            let mut events = read(source, next, READ_EVENTS).await?;
            events.retain(|event| event.version() <= source.info.version);
            let Some(end) = events.last().map(RecordedEvent::version) else { return Err(Failed::Moved) };
            check_gapless(source, next, &events)?;
            next = end.next();
            events.retain(|event| event.occurred_at() <= time);
            if let Some(event) = events.last() {
                last = Some((event.version(), event.id()));
                replayed += events.len() as u64;
                running = self.apply(source, running, events, None).await?;
            }
        }
        let Some((version, id)) = last else { return Ok(None) };
        let state = source.evolver.finish(&self.sandbox, running).await?;
        Ok(Some(Loaded { version, state, snapshot_version: Version::ZERO, replayed, last_event: Some(id) }))
    }
}

/// Where a replay begins.
pub(super) struct Base {
    pub(super) running: Running,
    /// The first version that is applied.
    pub(super) next: Version,
    pub(super) snapshot_version: Version,
}

/// Why a state was not loaded.
pub(super) enum Failed {
    /// The stream was trimmed or deleted meanwhile.
    Moved,
    Error(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Events of a stream as they were stored, from a version on.
pub(super) async fn read(source: &Source, from: Version, limit: usize) -> Result<Vec<RecordedEvent>, Failed> {
    let slice = source.shard.read_stream(source.stream.clone(), Some(from), Direction::Forward, limit, READ_BYTES).await?;
    let events = |slice: HomeSlice| slice.events.into_iter().map(|(_, event)| event).collect();
    slice.map(events).ok_or(Failed::Moved)
}

/// Events that a repair had to give up leave a gap: the fold of the rest would be a state that never was.
pub(super) fn check_gapless(source: &Source, mut next: Version, events: &[RecordedEvent]) -> Result<(), Failed> {
    for event in events {
        if event.version() != next {
            // Retention has moved the first version on.
            if next == source.info.first_version && event.version() > next {
                return Err(Failed::Moved);
            }
            let detail = "it is not in the log any more".to_owned();
            return Err(Error::HistoryUnreadable { stream: source.stream.to_string(), version: next.get(), detail }.into());
        }
        next = event.version().next();
    }
    Ok(())
}

/// What a snapshot's state begins with: the id of the event that it ends with.
pub(super) const EVENT_ID_BYTES: usize = 16;
/// What is read and applied at a time: a script's call is bounded, and a batch of it must stay well below.
pub(super) const READ_EVENTS: usize = 1000;
pub(super) const READ_BYTES: usize = 1 << 20;
pub(super) const LOAD_TRIES: usize = 10;
