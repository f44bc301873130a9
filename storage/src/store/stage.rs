//! May this transaction go in, and what does it become on disk?

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::Error;
use crate::EventId;
use crate::ExpectedVersion;
use crate::FailedCheck;
use crate::NewEvent;
use crate::Position;
use crate::QueryItem;
use crate::RecordedEvent;
use crate::Retention;
use crate::StreamAppend;
use crate::StreamHead;
use crate::StreamName;
use crate::Timestamp;
use crate::Transaction;
use crate::Version;
use crate::index::Change;
use crate::index::Control;
use crate::index::Entry;
use crate::log::frame;
use crate::log::writer::Batch;
use crate::plant;
use crate::plant::Plant;
use crate::record;
use crate::record::Place;
use crate::types::DATA_BYTES_MAX;
use crate::types::METADATA_BYTES_MAX;
use crate::types::STREAMS_STREAM;
use crate::types::TAGS_MAX;
use crate::types::TRANSACTION_BYTES_MAX;
use crate::types::TRANSACTION_EVENTS_MAX;
use crate::types::check_name;

use super::Appended;
use super::Shared;
use super::Store;
use super::control;

/// What waits for the next commit.
pub(super) struct Stage {
    pub(super) batch: Batch,
    events: Vec<StagedEvent>,
    pub(super) heads: HashMap<StreamName, Head, RandomState>,
    /// Streams that another log has left, and that nothing was staged for yet.
    pub(super) inherited: HashMap<StreamName, StreamHead, RandomState>,
    ids: HashMap<EventId, usize, RandomState>,
    /// Where the index says that events with these ids may stand; what was foreseen for this batch.
    foreseen: HashMap<EventId, Vec<Position>, RandomState>,
    /// The last position, staged ones included.
    position: u64,
    /// When the last event was recorded.
    pub(super) recorded_at: Timestamp,
    streams: StreamName,
}

struct StagedEvent {
    stream: StreamName,
    version: Version,
    event_type: Arc<str>,
    id: EventId,
    tags: Vec<Arc<str>>,
    recorded_at: Timestamp,
    control: Option<(StreamName, Change)>,
    /// Where its record lies in the batch.
    record: Range<usize>,
}

/// A stream as staged transactions leave it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    version: Version,
    first_version: Version,
    is_deleted: bool,
    is_tombstoned: bool,
    pub(super) is_adopted: bool,
}

/// Whether a transaction's events are there already.
enum Presence {
    Absent,
    All(Appended),
}

impl Stage {
    pub(super) fn new(shared: &Shared) -> Result<Self, Error> {
        let position = shared.log.committed();
        let recorded_at = shared.last_recorded_at()?;
        Ok(Self {
            batch: Batch::default(),
            events: Vec::new(),
            heads: HashMap::default(),
            inherited: HashMap::default(),
            ids: HashMap::default(),
            foreseen: HashMap::default(),
            position,
            recorded_at,
            streams: StreamName::new(STREAMS_STREAM).expect("a constant that keeps the rule"),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn reset(&mut self, position: u64) {
        self.batch.clear();
        self.events.clear();
        self.heads.clear();
        self.inherited.clear();
        self.ids.clear();
        self.foreseen.clear();
        self.position = position;
    }

    /// Tells the index of everything staged.
    pub(super) fn apply_to(&self, shared: &Shared) -> Result<(), Error> {
        let first = self.position - self.events.len() as u64 + 1;
        let tags: Vec<Vec<&str>> = self.events.iter().map(|event| event.tags.iter().map(|tag| &**tag).collect()).collect();
        let entries: Vec<Entry<'_>> = self
            .events
            .iter()
            .zip(&tags)
            .zip(first..)
            .map(|((event, tags), position)| Entry {
                position: Position::new(position),
                stream: event.stream.as_str(),
                version: event.version,
                event_type: &event.event_type,
                id: event.id,
                tags,
                recorded_at: event.recorded_at,
                control: event.control.as_ref().map(|(stream, change)| Control { stream: stream.as_str(), change: *change }),
            })
            .collect();
        shared.index.apply(&entries)
    }

    fn head(&self, shared: &Shared, stream: &StreamName) -> Result<Head, Error> {
        if let Some(head) = self.heads.get(stream)
            && !plant::active(Plant::SkipVersionCheckInBatch)
        {
            return Ok(*head);
        }
        Ok(shared.index()?.head(stream.as_str())?.map_or_else(Head::default, |head| Head::of(&head)))
    }

    /// The event with this id, staged or committed.
    fn event_by_id(&self, shared: &Shared, id: EventId) -> Result<Option<RecordedEvent>, Error> {
        if let Some(index) = self.ids.get(&id) {
            let staged = self.events.get(*index).and_then(|event| self.batch.bytes.get(event.record.clone()));
            let position = self.position - self.events.len() as u64 + 1 + *index as u64;
            let bytes = Bytes::copy_from_slice(staged.unwrap_or_default());
            return Ok(RecordedEvent::decode(Position::new(position), &bytes).ok());
        }
        match self.foreseen.get(&id) {
            Some(candidates) => shared.first_with_id(id, candidates),
            None => shared.committed_by_id(id),
        }
    }

    /// The newest staged event that matches.
    fn last_match(&self, query: &[QueryItem]) -> Option<(Position, EventId)> {
        let first = self.position - self.events.len() as u64 + 1;
        let index = self
            .events
            .iter()
            .rposition(|event| !event.stream.is_system() && (query.is_empty() || query.iter().any(|item| event.matches(item))))?;
        self.events.get(index).map(|event| (Position::new(first + index as u64), event.id))
    }

    /// Encodes one frame. Everything has been checked.
    fn push(&mut self, appends: &[StreamAppend], heads: &mut [Head], control: Option<&(StreamName, Change)>) {
        let count = appends.iter().map(|append| append.events.len()).sum::<usize>();
        let start = frame::open(&mut self.batch.bytes, count);
        let first = self.position + 1;
        let mut index = 0;
        for (append, head) in appends.iter().zip(heads) {
            for event in &append.events {
                frame::set_record(&mut self.batch.bytes, start, index);
                index += 1;
                self.position += 1;
                head.version = head.version.next();
                head.is_deleted = false;
                let from = self.batch.bytes.len();
                let place = Place {
                    position: Position::new(self.position),
                    version: head.version,
                    recorded_at: self.recorded_at,
                    stream: append.stream.as_str(),
                    is_control: control.is_some(),
                };
                record::encode(&place, event, &mut self.batch.bytes);
                self.ids.insert(event.id, self.events.len());
                self.events.push(StagedEvent {
                    stream: append.stream.clone(),
                    version: head.version,
                    event_type: Arc::clone(&event.event_type),
                    id: event.id,
                    tags: event.tags.clone(),
                    recorded_at: self.recorded_at,
                    control: control.cloned(),
                    record: from..self.batch.bytes.len(),
                });
            }
        }
        frame::close(&mut self.batch.bytes, start, first, u32::try_from(count).unwrap_or(u32::MAX));
        self.batch.starts.push(start);
        self.batch.events += count as u64;
        self.batch.recorded_at = self.recorded_at.as_micros();
    }
}

impl StagedEvent {
    fn matches(&self, item: &QueryItem) -> bool {
        (item.types.is_empty() || item.types.contains(&self.event_type)) && item.tags.iter().all(|tag| self.tags.contains(tag))
    }
}

impl Store {
    /// Checks a transaction against the log and what was staged before, and adds it to the next commit.
    /// What it returns is true only once [`Store::commit`] has answered. A duplicate (all ids there with the same content) stages nothing.
    ///
    /// # Errors
    ///
    /// Whatever refuses this transaction alone; those staged before stay: [`Error::Conflict`], [`Error::StreamDeleted`],
    /// [`Error::EventIdReused`],
    /// [`Error::TooLarge`], [`Error::StorageFull`], [`Error::Poisoned`], [`Error::ReadOnly`].
    pub fn stage(&mut self, transaction: &Transaction) -> Result<Appended, Error> {
        self.check_writable()?;
        let bytes = check_limits(transaction)?;
        for append in &transaction.appends {
            self.inherit(&append.stream)?;
        }
        if let Presence::All(there) = self.presence(transaction)? {
            return Ok(there);
        }
        let heads = self.check(transaction)?;
        for append in transaction.appends.iter().filter(|append| !append.events.is_empty()) {
            self.adopt(&append.stream)?;
        }
        Ok(self.push(transaction, heads, bytes, None))
    }

    /// Looks all these ids up at once, for the transactions that are staged next: much cheaper than one by one, and no more than that.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn foresee(&mut self, ids: &[EventId]) -> Result<(), Error> {
        let found = self.shared.index()?.candidates_by_ids(ids)?;
        self.stage.foreseen.extend(ids.iter().map(|id| (*id, Vec::new())));
        for (index, position) in found {
            if let Some(candidates) = ids.get(index).and_then(|id| self.stage.foreseen.get_mut(id)) {
                candidates.push(position);
            }
        }
        Ok(())
    }

    /// Stages a soft delete: reads answer "not found" until the next append, which goes on at the next version.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`], [`Error::StreamDeleted`], and those of [`Store::stage`].
    pub fn stage_delete(&mut self, stream: &StreamName, id: EventId) -> Result<Appended, Error> {
        let head = self.living(stream)?;
        if head.is_deleted {
            return Err(Error::StreamNotFound(stream.clone()));
        }
        let first_version = head.version.next();
        self.stage_control(stream, Change::Deleted { before_version: head.version }, id, Head { is_deleted: true, first_version, ..head })
    }

    /// Stages the end of a stream: nothing of it is read or appended ever after. Ending it again is a duplicate.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`], and those of [`Store::stage`].
    pub fn stage_tombstone(&mut self, stream: &StreamName, id: EventId) -> Result<Appended, Error> {
        match self.living(stream) {
            Ok(head) => self.stage_control(stream, Change::Tombstoned, id, Head { is_tombstoned: true, ..head }),
            Err(Error::StreamDeleted(_)) => {
                let version = self.stage.head(&self.shared, stream)?.version;
                Ok(Appended {
                    streams: vec![(stream.clone(), version, version)],
                    position: Position::new(self.stage.position),
                    duplicate: true,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Stages a stream's retention, in place of the one before.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`], [`Error::StreamDeleted`], and those of [`Store::stage`].
    pub fn stage_retention(&mut self, stream: &StreamName, retention: Retention, id: EventId) -> Result<Appended, Error> {
        let head = self.living(stream)?;
        if head.is_deleted {
            return Err(Error::StreamNotFound(stream.clone()));
        }
        self.stage_control(stream, Change::Retention(retention), id, head)
    }

    fn check_writable(&self) -> Result<(), Error> {
        if plant::active(Plant::RetrySyncAfterFailure) {
            return Ok(());
        }
        if let Some(refusal) = self.shared.log.refuses_appends() {
            return Err(refusal);
        }
        // What the index has not flushed waits in memory, and must not wait without bound: a load that outruns the background helps
        // with it, and when that fails, appends wait for space on disk.
        let lag_max = self.shared.options.index_flush_events.saturating_mul(PENDING_FLUSHES_MAX);
        if self.shared.index.pending_events() > lag_max && self.shared.index.flush().is_err() {
            return Err(Error::StorageFull);
        }
        Ok(())
    }

    fn living(&mut self, stream: &StreamName) -> Result<Head, Error> {
        self.check_writable()?;
        self.inherit(stream)?;
        let head = self.stage.head(&self.shared, stream)?;
        if head.is_tombstoned {
            return Err(Error::StreamDeleted(stream.clone()));
        }
        if head.version == Version::ZERO { Err(Error::StreamNotFound(stream.clone())) } else { Ok(head) }
    }

    fn stage_control(&mut self, stream: &StreamName, change: Change, id: EventId, after: Head) -> Result<Appended, Error> {
        self.adopt(stream)?;
        let appended = self.stage_record(control::event(stream, change, id), stream, change)?;
        self.stage.heads.insert(stream.clone(), after);
        Ok(Appended { streams: vec![(stream.clone(), after.version, after.version)], ..appended })
    }

    /// Stages a control record, without a look at the stream that it is about.
    pub(super) fn stage_record(&mut self, record: NewEvent, stream: &StreamName, change: Change) -> Result<Appended, Error> {
        let append = StreamAppend { stream: self.stage.streams.clone(), expected: ExpectedVersion::Any, events: vec![record] };
        let transaction = Transaction { appends: vec![append], conditions: Vec::new() };
        let heads = self.check(&transaction)?;
        Ok(self.push(&transaction, heads, 0, Some((stream.clone(), change))))
    }

    /// Looks for the transaction's ids: all there with the same content, in this order, is a retry; some there is a mistake.
    fn presence(&self, transaction: &Transaction) -> Result<Presence, Error> {
        let events = || transaction.appends.iter().flat_map(|append| append.events.iter().map(move |event| (append, event)));
        if events().all(|(_, event)| event.id_is_fresh) {
            return Ok(Presence::Absent);
        }
        let mut seen: HashMap<EventId, (), RandomState> = HashMap::default();
        let mut there = Vec::new();
        let (mut count, mut position) = (0, Position::ZERO);
        for (append, event) in events() {
            count += 1;
            if seen.insert(event.id, ()).is_some() {
                return Err(Error::EventIdReused { id: event.id, position: Position::new(self.stage.position + count) });
            }
            if event.id_is_fresh {
                continue;
            }
            let (found, at) = match self.stage.event_by_id(&self.shared, event.id)? {
                Some(found) => (Some(found.clone()), found.position()),
                // Its place is in another log; whoever has seen this one to its end is as far.
                None => (self.event_elsewhere(&append.stream, event.id)?, Position::new(self.stage.position)),
            };
            let Some(found) = found else { continue };
            position = position.max(at);
            if found.stream() != append.stream.as_str() || !(self.shared.options.same_content)(&found, event) {
                return Err(Error::EventIdReused { id: event.id, position: found.position() });
            }
            there.push(found);
        }
        let Some(first) = there.first() else { return Ok(Presence::Absent) };
        let reused = Error::EventIdReused { id: first.id(), position: first.position() };
        if there.len() as u64 != count {
            return Err(reused);
        }
        let mut found = there.iter();
        let mut streams = Vec::with_capacity(transaction.appends.len());
        for append in &transaction.appends {
            let versions: Vec<Version> = found.by_ref().take(append.events.len()).map(RecordedEvent::version).collect();
            if versions.iter().zip(versions.iter().skip(1)).any(|(before, after)| before.next() != *after) {
                return Err(reused);
            }
            let version = self.stage.head(&self.shared, &append.stream)?.version;
            let first = versions.first().copied().unwrap_or(version);
            streams.push((append.stream.clone(), first, versions.last().copied().unwrap_or(version)));
        }
        Ok(Presence::All(Appended { streams, position, duplicate: true }))
    }

    /// Makes every check of the transaction and names every one that fails. Returns the head that each append starts from.
    fn check(&self, transaction: &Transaction) -> Result<Vec<Head>, Error> {
        let mut failed = Vec::new();
        let mut heads: Vec<Head> = Vec::with_capacity(transaction.appends.len());
        for (index, append) in transaction.appends.iter().enumerate() {
            let earlier = transaction.appends.iter().zip(&heads).take(index).rev().find(|(earlier, _)| earlier.stream == append.stream);
            let head = match earlier {
                Some((earlier, head)) => head.after(earlier.events.len()),
                None => self.stage.head(&self.shared, &append.stream)?,
            };
            if head.is_tombstoned {
                return Err(Error::StreamDeleted(append.stream.clone()));
            }
            let holds = match append.expected {
                ExpectedVersion::Any => true,
                ExpectedVersion::Exists => head.version > Version::ZERO && !head.is_deleted && head.first_version <= head.version,
                ExpectedVersion::Exact(version) => head.version == version,
            };
            if !holds {
                failed.push(FailedCheck::Version { stream: append.stream.clone(), expected: append.expected, actual: head.version });
            }
            heads.push(head);
        }
        for (index, condition) in transaction.conditions.iter().enumerate() {
            let staged = self.stage.last_match(&condition.query);
            let newest = match staged {
                Some(found) => Some(found),
                None => self.shared.last_match(&condition.query, condition.after)?,
            };
            if let Some((position, event_id)) = newest.filter(|(position, _)| *position > condition.after) {
                failed.push(FailedCheck::Condition { index, position, event_id });
            }
        }
        if failed.is_empty() { Ok(heads) } else { Err(Error::Conflict(failed.into())) }
    }

    fn push(&mut self, transaction: &Transaction, mut heads: Vec<Head>, bytes: usize, control: Option<(StreamName, Change)>) -> Appended {
        let stage = &mut self.stage;
        let streams = transaction
            .appends
            .iter()
            .zip(&heads)
            .map(|(append, head)| {
                let last = head.after(append.events.len()).version;
                let first = if append.events.is_empty() { last } else { head.version.next() };
                (append.stream.clone(), first, last)
            })
            .collect();
        if transaction.appends.iter().any(|append| !append.events.is_empty()) {
            stage.batch.bytes.reserve(bytes);
            stage.recorded_at = stage.recorded_at.max(self.shared.clock.now());
            stage.push(&transaction.appends, &mut heads, control.as_ref());
            for (append, head) in transaction.appends.iter().zip(heads) {
                if !append.events.is_empty() {
                    stage.heads.insert(append.stream.clone(), head);
                }
            }
        }
        Appended { streams, position: Position::new(stage.position), duplicate: false }
    }
}

impl Head {
    pub(super) fn of(head: &StreamHead) -> Self {
        Self {
            version: head.version,
            first_version: head.first_version(),
            is_deleted: head.is_deleted,
            is_tombstoned: head.is_tombstoned,
            is_adopted: head.is_adopted,
        }
    }

    fn after(self, events: usize) -> Self {
        if events == 0 { self } else { Self { version: Version::new(self.version.get() + events as u64), is_deleted: false, ..self } }
    }
}

/// Checks what the codec takes for granted. Returns about how many bytes the transaction takes.
fn check_limits(transaction: &Transaction) -> Result<usize, Error> {
    let too_large = |what, actual: usize, max: usize| Err(Error::TooLarge { what, actual: actual as u64, max: max as u64 });
    let (mut bytes, mut events) = (frame::FRAME_BYTES_MIN, 0);
    for append in &transaction.appends {
        events += append.events.len();
        for event in &append.events {
            if event.data.len() > DATA_BYTES_MAX {
                return too_large("the data of an event", event.data.len(), DATA_BYTES_MAX);
            }
            if event.metadata.len() > METADATA_BYTES_MAX {
                return too_large("the metadata of an event", event.metadata.len(), METADATA_BYTES_MAX);
            }
            if event.tags.len() > TAGS_MAX {
                return too_large("the number of tags of an event", event.tags.len(), TAGS_MAX);
            }
            let names = event.tags.iter().chain([&event.event_type]);
            if let Some(name) = names.into_iter().find(|name| check_name(name).is_err()) {
                return too_large("an event type or tag", name.len(), crate::types::NAME_BYTES_MAX);
            }
            bytes += record::encoded_bytes(append.stream.as_str(), event) + 4;
        }
    }
    if events > TRANSACTION_EVENTS_MAX {
        return too_large("the number of events of a transaction", events, TRANSACTION_EVENTS_MAX);
    }
    if bytes > TRANSACTION_BYTES_MAX { too_large("a transaction on disk", bytes, TRANSACTION_BYTES_MAX) } else { Ok(bytes) }
}

/// How many flushes the index may be behind before appends wait for it.
const PENDING_FLUSHES_MAX: u64 = 20;
