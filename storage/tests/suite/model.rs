//! What should a store answer? The plainest program that knows: lists in memory, searched from end to end.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use factum_storage::EventId;
use factum_storage::ExpectedVersion;
use factum_storage::FailedCheck;
use factum_storage::Filter;
use factum_storage::NewEvent;
use factum_storage::Position;
use factum_storage::QueryItem;
use factum_storage::RecordedEvent;
use factum_storage::Retention;
use factum_storage::StreamName;
use factum_storage::Timestamp;
use factum_storage::Transaction;
use factum_storage::Version;

/// An event as the model keeps it. Its position is its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) stream: String,
    pub(crate) version: u64,
    pub(crate) event_type: String,
    pub(crate) id: EventId,
    pub(crate) schema_version: u16,
    pub(crate) occurred_at: Option<Timestamp>,
    pub(crate) recorded_at: Timestamp,
    pub(crate) tags: Vec<String>,
    pub(crate) metadata: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) is_control: bool,
}

impl Event {
    pub(crate) fn of(event: &RecordedEvent) -> Self {
        Self {
            stream: event.stream().to_owned(),
            version: event.version().get(),
            event_type: event.event_type().to_owned(),
            id: event.id(),
            schema_version: event.schema_version(),
            occurred_at: event.client_occurred_at(),
            recorded_at: event.recorded_at(),
            tags: event.tags().map(str::to_owned).collect(),
            metadata: event.metadata().to_owned(),
            data: event.data().to_owned(),
            is_control: event.is_control(),
        }
    }

    fn is_system(&self) -> bool {
        self.stream.starts_with('$')
    }

    fn category(&self) -> &str {
        self.stream.split('-').next().unwrap_or_default()
    }

    fn has_item(&self, item: &QueryItem) -> bool {
        (item.types.is_empty() || item.types.iter().any(|wanted| **wanted == *self.event_type))
            && item.tags.iter().all(|wanted| self.tags.iter().any(|tag| **wanted == **tag))
    }

    fn passes(&self, filter: &Filter) -> bool {
        (filter.include_system || !self.is_system())
            && (filter.categories.is_empty() || filter.categories.iter().any(|wanted| wanted == self.category()))
            && (filter.types.is_empty() || filter.types.contains(&self.event_type))
            && (filter.tags.is_empty() || self.tags.iter().any(|tag| filter.tags.contains(tag)))
            && filter.stream_prefix.iter().all(|prefix| self.stream.starts_with(prefix))
            && filter.recorded_after.iter().all(|after| self.recorded_at > *after)
            && filter.recorded_before.iter().all(|before| self.recorded_at < *before)
    }
}

/// A stream as the model keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Places in the log of its events, in the order of their versions.
    pub(crate) places: Vec<usize>,
    pub(crate) deleted_through: u64,
    pub(crate) is_deleted: bool,
    pub(crate) is_tombstoned: bool,
    pub(crate) retention: Retention,
}

impl Stream {
    pub(crate) fn version(&self) -> u64 {
        self.places.len() as u64
    }
}

/// What one request got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) streams: Vec<(StreamName, Version, Version)>,
    pub(crate) position: Position,
    pub(crate) duplicate: bool,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Conflict(Vec<FailedCheck>),
    StreamDeleted(String),
    StreamNotFound(String),
    EventIdReused(EventId),
}

/// A change of how a stream is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Delete,
    Tombstone,
    Retain(Retention),
}

/// All that was appended, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) log: Vec<Event>,
    pub(crate) streams: BTreeMap<String, Stream>,
}

impl Model {
    /// The model when the log had this length.
    pub(crate) fn prefix(&self, length: usize) -> Self {
        let mut model = Self::default();
        for event in self.log.iter().take(length) {
            model.push(event.clone());
        }
        model
    }

    /// A transaction, staged: refused, or visible to the next one.
    pub(crate) fn stage(&mut self, transaction: &Transaction, now: Timestamp) -> Result<Granted, Refused> {
        if let Some(there) = self.find_retry(transaction)? {
            return Ok(there);
        }
        let mut after = self.clone();
        let mut failed = Vec::new();
        let recorded_at = self.log.last().map_or(now, |last| last.recorded_at.max(now));
        let mut streams = Vec::new();
        for append in &transaction.appends {
            let name = append.stream.as_str();
            let stream = after.streams.get(name).cloned().unwrap_or_default();
            if stream.is_tombstoned {
                return Err(Refused::StreamDeleted(name.to_owned()));
            }
            if !self.holds(&stream, append.expected) {
                failed.push(FailedCheck::Version {
                    stream: append.stream.clone(),
                    expected: append.expected,
                    actual: Version::new(stream.version()),
                });
            }
            for event in &append.events {
                after.push_new(name, event, recorded_at, false);
            }
            let last = stream.version() + append.events.len() as u64;
            let first = if append.events.is_empty() { last } else { stream.version() + 1 };
            streams.push((append.stream.clone(), Version::new(first), Version::new(last)));
        }
        for (index, condition) in transaction.conditions.iter().enumerate() {
            let matching = |event: &&Event| {
                !event.is_system() && (condition.query.is_empty() || condition.query.iter().any(|item| event.has_item(item)))
            };
            let newest =
                self.log.iter().enumerate().rev().map(|(place, event)| (event, place as u64 + 1)).find(|(event, _)| matching(event));
            if let Some((event, position)) = newest.filter(|(_, position)| *position > condition.after.get()) {
                failed.push(FailedCheck::Condition { index, position: Position::new(position), event_id: event.id });
            }
        }
        if !failed.is_empty() {
            return Err(Refused::Conflict(failed));
        }
        *self = after;
        Ok(Granted { streams, position: self.end(), duplicate: false })
    }

    /// A change of how a stream is seen, staged.
    pub(crate) fn control(&mut self, stream: &StreamName, control: Control, id: EventId, now: Timestamp) -> Result<Granted, Refused> {
        let name = stream.as_str();
        let found = self.streams.get(name).cloned().unwrap_or_default();
        let granted = |position, duplicate| {
            let version = Version::new(found.version());
            Ok(Granted { streams: vec![(stream.clone(), version, version)], position, duplicate })
        };
        if found.is_tombstoned {
            return if control == Control::Tombstone { granted(self.end(), true) } else { Err(Refused::StreamDeleted(name.to_owned())) };
        }
        if found.places.is_empty() || (found.is_deleted && control != Control::Tombstone) {
            return Err(Refused::StreamNotFound(name.to_owned()));
        }
        let limit = |key: &str, value: Option<u64>| value.map(|value| format!("{key}:{value}"));
        let (event_type, parameters) = match control {
            Control::Delete => ("$deleted", vec![limit("before_version", Some(found.version()))]),
            Control::Tombstone => ("$tombstoned", Vec::new()),
            Control::Retain(retention) => (
                "$retention",
                vec![
                    limit("max_count", retention.max_count),
                    limit("max_age_us", retention.max_age_us),
                    limit("before_version", retention.before_version.map(Version::get)),
                ],
            ),
        };
        let recorded_at = self.log.last().map_or(now, |last| last.recorded_at.max(now));
        self.push(Event {
            stream: "$streams".to_owned(),
            version: self.streams.get("$streams").map_or(0, Stream::version) + 1,
            event_type: event_type.to_owned(),
            id,
            schema_version: 1,
            occurred_at: None,
            recorded_at,
            tags: [name.to_owned()].into_iter().chain(parameters.into_iter().flatten()).collect(),
            metadata: Vec::new(),
            data: b"{}".to_vec(),
            is_control: true,
        });
        granted(self.end(), false)
    }

    pub(crate) fn end(&self) -> Position {
        Position::new(self.log.len() as u64)
    }

    /// Positions of visible events of a stream, oldest first; `None` if a read answers "not found".
    pub(crate) fn visible_in(&self, stream: &str, now: Timestamp) -> Option<Vec<u64>> {
        let found = self.streams.get(stream).filter(|stream| !stream.is_deleted && !stream.is_tombstoned)?;
        Some(found.places.iter().filter(|place| self.is_in_range(found, **place, now)).map(|place| *place as u64 + 1).collect())
    }

    /// The first version that limits leave visible, whatever became of the stream as a whole.
    pub(crate) fn first_version(&self, stream: &Stream, now: Timestamp) -> u64 {
        let first = stream.places.iter().find(|place| self.is_in_range(stream, **place, now));
        first.map_or(stream.version() + 1, |place| self.log[*place].version)
    }

    /// Positions of visible events that pass, oldest first.
    pub(crate) fn visible(&self, filter: &Filter, now: Timestamp) -> Vec<u64> {
        let is_seen = |place: usize, event: &Event| {
            let stream = &self.streams[&event.stream];
            !stream.is_deleted && !stream.is_tombstoned && self.is_in_range(stream, place, now)
        };
        self.log
            .iter()
            .enumerate()
            .filter(|(place, event)| event.passes(filter) && is_seen(*place, event))
            .map(|(place, _)| place as u64 + 1)
            .collect()
    }

    /// Of each category: streams and events, hidden ones too.
    pub(crate) fn categories(&self) -> BTreeMap<String, (u64, u64)> {
        let mut found: BTreeMap<String, (BTreeSet<&str>, u64)> = BTreeMap::new();
        for event in &self.log {
            let (streams, events) = found.entry(event.category().to_owned()).or_default();
            streams.insert(&event.stream);
            *events += 1;
        }
        found.into_iter().map(|(category, (streams, events))| (category, (streams.len() as u64, events))).collect()
    }

    /// Events of each type, hidden ones too, and whether a client's stream has it.
    pub(crate) fn types(&self) -> BTreeMap<String, (u64, bool)> {
        let mut found: BTreeMap<String, (u64, bool)> = BTreeMap::new();
        for event in &self.log {
            let (events, is_clients) = found.entry(event.event_type.clone()).or_default();
            *events += 1;
            *is_clients |= !event.is_system();
        }
        found
    }

    fn is_in_range(&self, stream: &Stream, place: usize, now: Timestamp) -> bool {
        let event = &self.log[place];
        let Retention { max_count, max_age_us, before_version } = stream.retention;
        let age = now.as_micros() - event.recorded_at.as_micros();
        event.version > stream.deleted_through
            && before_version.iter().all(|before| event.version >= before.get())
            && max_count.iter().all(|count| event.version + count > stream.version())
            && max_age_us.iter().all(|limit| age <= i64::try_from(*limit).unwrap_or(i64::MAX))
    }

    fn holds(&self, stream: &Stream, expected: ExpectedVersion) -> bool {
        match expected {
            ExpectedVersion::Any => true,
            ExpectedVersion::Exact(version) => version.get() == stream.version(),
            ExpectedVersion::Exists => {
                let before = stream.retention.before_version.map_or(0, Version::get);
                !stream.is_deleted && stream.version() > stream.deleted_through && stream.version() >= before
            }
        }
    }

    fn find_retry(&self, transaction: &Transaction) -> Result<Option<Granted>, Refused> {
        let mut seen = BTreeSet::new();
        let mut there = Vec::new();
        let mut missing = 0;
        let is_fresh = |event: &NewEvent| event.id_is_fresh;
        if transaction.appends.iter().flat_map(|append| &append.events).all(is_fresh) {
            return Ok(None);
        }
        for append in &transaction.appends {
            for event in &append.events {
                if !seen.insert(event.id) {
                    return Err(Refused::EventIdReused(event.id));
                }
                match self.log.iter().position(|known| known.id == event.id) {
                    None => missing += 1,
                    Some(place) if self.log[place].stream == append.stream.as_str() && is_same(&self.log[place], event) => {
                        there.push(place)
                    }
                    Some(_) => return Err(Refused::EventIdReused(event.id)),
                }
            }
        }
        let Some(first) = there.first() else { return Ok(None) };
        let reused = Refused::EventIdReused(self.log[*first].id);
        if missing > 0 {
            return Err(reused);
        }
        let mut places = there.iter();
        let mut streams = Vec::new();
        for append in &transaction.appends {
            let versions: Vec<u64> = places.by_ref().take(append.events.len()).map(|place| self.log[*place].version).collect();
            if versions.windows(2).any(|pair| pair[0] + 1 != pair[1]) {
                return Err(reused);
            }
            let version = self.streams.get(append.stream.as_str()).map_or(0, Stream::version);
            let (first, last) = (versions.first().unwrap_or(&version), versions.last().unwrap_or(&version));
            streams.push((append.stream.clone(), Version::new(*first), Version::new(*last)));
        }
        let position = there.iter().max().map_or(0, |place| *place as u64 + 1);
        Ok(Some(Granted { streams, position: Position::new(position), duplicate: true }))
    }

    fn push_new(&mut self, stream: &str, event: &NewEvent, recorded_at: Timestamp, is_control: bool) {
        self.push(Event {
            stream: stream.to_owned(),
            version: self.streams.get(stream).map_or(0, Stream::version) + 1,
            event_type: event.event_type.to_string(),
            id: event.id,
            schema_version: event.schema_version,
            occurred_at: event.occurred_at,
            recorded_at,
            tags: event.tags.iter().map(ToString::to_string).collect(),
            metadata: event.metadata.to_vec(),
            data: event.data.to_vec(),
            is_control,
        });
    }

    fn push(&mut self, event: Event) {
        let place = self.log.len();
        let stream = self.streams.entry(event.stream.clone()).or_default();
        stream.places.push(place);
        stream.is_deleted = false;
        if event.is_control {
            let parameter = |key: &str| event.tags.iter().skip(1).find_map(|tag| tag.strip_prefix(key)?.strip_prefix(':')?.parse().ok());
            let target = self.streams.entry(event.tags[0].clone()).or_default();
            match event.event_type.as_str() {
                "$deleted" => {
                    target.is_deleted = true;
                    target.deleted_through = parameter("before_version").expect("a delete says up to where");
                }
                "$tombstoned" => target.is_tombstoned = true,
                _ => {
                    target.retention = Retention {
                        max_count: parameter("max_count"),
                        max_age_us: parameter("max_age_us"),
                        before_version: parameter("before_version").map(Version::new),
                    };
                }
            }
        }
        self.log.push(event);
    }
}

/// As far as the client sent it.
fn is_same(there: &Event, again: &NewEvent) -> bool {
    there.event_type == *again.event_type
        && there.data == again.data
        && (again.metadata.is_empty() || there.metadata == again.metadata)
        && (again.tags.is_empty() || there.tags.iter().map(String::as_str).eq(again.tags.iter().map(|tag| &**tag)))
        && (again.occurred_at.is_none() || there.occurred_at == again.occurred_at)
}
