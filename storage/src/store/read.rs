//! What is there to read, beside the writer and never in its way?

use std::sync::Arc;
use std::sync::Weak;

use crate::CategoryInfo;
use crate::Error;
use crate::EventId;
use crate::Position;
use crate::RecordedEvent;
use crate::StreamInfo;
use crate::StreamName;
use crate::TypeInfo;
use crate::Version;
use crate::index::StreamHead;
use crate::is_system;

use super::Direction;
use super::Shared;
use super::StreamSlice;

/// Reads what is committed, beside the writer and never in its way.
#[derive(Clone)]
pub struct Reader {
    pub(super) shared: Arc<Shared>,
}

/// A [`Reader`] that keeps nothing alive.
#[derive(Clone)]
pub struct WeakReader {
    shared: Weak<Shared>,
}

impl WeakReader {
    /// The reader, unless the store and all other readers are gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Reader> {
        self.shared.upgrade().map(Reader::new)
    }
}

impl Reader {
    /// The same, without keeping anything alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakReader {
        WeakReader { shared: Arc::downgrade(&self.shared) }
    }

    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The last committed position.
    #[must_use]
    pub fn committed(&self) -> Position {
        Position::new(self.shared.log.committed())
    }

    /// What tells this log from every other; a copy has the same.
    #[must_use]
    pub fn log_id(&self) -> [u8; 16] {
        self.shared.log.log_id
    }

    /// Why the store takes no appends, if so.
    #[must_use]
    pub fn refuses_appends(&self) -> Option<Error> {
        self.shared.log.refuses_appends()
    }

    /// Bytes of all segment files and of the index file, `(log, index)`.
    #[must_use]
    pub fn disk_bytes(&self) -> (u64, u64) {
        (self.shared.log.disk_bytes(), self.shared.index.file_bytes())
    }

    /// How often a page of the index file was in memory, and how often it had to be read, since the file was opened: `(hits, misses)`.
    #[must_use]
    pub fn index_cache(&self) -> (u64, u64) {
        self.shared.index.cache()
    }

    /// How many events the index file is behind the log.
    #[must_use]
    pub fn index_lag_events(&self) -> u64 {
        self.shared.index.pending_events()
    }

    /// The newest value of the hash chain, and the position it covers: a receipt for everything up to there.
    #[must_use]
    pub fn receipt(&self) -> (Position, [u8; 32]) {
        let (position, chain) = self.shared.log.receipt();
        (Position::new(position), chain)
    }

    /// What there is to know of a stream, also if it is deleted; `None` if nothing was ever appended. If it has lived in several logs
    /// that are joined: as the one that decides has it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn stream(&self, stream: &str) -> Result<Option<StreamInfo>, Error> {
        let Some(head) = self.shared.deciding_head(stream)?.0 else { return Ok(None) };
        let Ok(name) = StreamName::new(stream) else { return Ok(None) };
        self.info(name, &head).map(Some)
    }

    /// Visible events of a stream from version `from` (inclusive; `None`: the first, backward the last) on, at most `limit`
    /// events and about `bytes_max` bytes (always one event at least). `None` if the stream was never written, is deleted or tombstoned
    /// (see [`Reader::stream`]). Those that lie in this log: of a stream that has lived in others, they have the rest.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn read_stream(
        &self,
        stream: &str,
        from: Option<Version>,
        direction: Direction,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Option<StreamSlice>, Error> {
        let committed = self.committed();
        let Some(info) = self.stream(stream)?.filter(|info| !info.is_deleted && !info.is_tombstoned) else { return Ok(None) };
        let is_backward = direction == Direction::Backward;
        let start = match from {
            None if is_backward => info.version,
            None => info.first_version,
            Some(from) if is_backward => from.min(info.version),
            Some(from) => from.max(info.first_version),
        };
        let mut slice = StreamSlice { info, events: Vec::new(), next: None };
        let (mut next, mut bytes) = (start, 0);
        let is_within =
            |version: Version, info: &StreamInfo| version >= info.first_version && version <= info.version && version > Version::ZERO;
        while is_within(next, &slice.info) && slice.events.len() < limit && bytes < bytes_max.max(1) {
            let wanted = (limit - slice.events.len()).min(STREAM_CHUNK_EVENTS);
            let mut found = self.shared.index()?.stream_positions(stream, next, wanted, is_backward)?;
            if found.iter().all(|(version, _)| !is_within(*version, &slice.info)) {
                // The rest of it is in other logs.
                return Ok(Some(slice));
            }
            found.retain(|(version, position)| is_within(*version, &slice.info) && *position <= committed);
            let Some((last, _)) = found.last().copied() else { break };
            for event in self.read_versions(stream, &found)? {
                if bytes > 0 && bytes + event.stored_bytes() > bytes_max {
                    slice.next = Some(event.version());
                    return Ok(Some(slice));
                }
                bytes += event.stored_bytes();
                slice.events.push(event);
            }
            next = if is_backward { Version::new(last.get() - 1) } else { last.next() };
        }
        slice.next = is_within(next, &slice.info).then_some(next);
        Ok(Some(slice))
    }

    /// The visible event with this id.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, Error> {
        match self.shared.committed_by_id(id)? {
            Some(event) if self.is_visible(&event)? => Ok(Some(event)),
            _ => Ok(None),
        }
    }

    /// Streams in the order of their names, after a name (exclusive), that begin with `prefix` and are in `category`, without deleted
    /// and tombstoned ones. With `leave_out_undecided`, also without those about which a log that is missing would have to be asked.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::LogMissing`].
    pub fn streams(
        &self,
        (after, prefix, category): (Option<&str>, &str, Option<&str>),
        include_system: bool,
        leave_out_undecided: bool,
        limit: usize,
    ) -> Result<Vec<StreamInfo>, Error> {
        let mut infos = Vec::new();
        let mut after = after.map(str::to_owned);
        // A category is a prefix too, so whole categories are not walked over.
        let prefix = category.filter(|category| category.starts_with(prefix)).unwrap_or(prefix);
        while infos.len() < limit {
            let page = self.shared.index()?.streams(after.as_deref(), prefix, LIST_CHUNK_STREAMS)?;
            let is_last = page.len() < LIST_CHUNK_STREAMS;
            after = page.last().map(|(name, _)| name.as_str().to_owned());
            for (name, head) in page {
                // The log that decides lists it.
                match self.shared.is_decided_elsewhere(name.as_str(), &head) {
                    Ok(false) => {}
                    Ok(true) => continue,
                    Err(Error::LogMissing(_)) if leave_out_undecided => continue,
                    Err(error) => return Err(error),
                }
                let is_wanted = !head.is_deleted
                    && !head.is_tombstoned
                    && (include_system || !name.is_system())
                    && category.is_none_or(|category| name.category() == category);
                if is_wanted && infos.len() < limit {
                    infos.push(self.info(name, &head)?);
                }
            }
            if is_last {
                break;
            }
        }
        Ok(infos)
    }

    /// All categories in the order of their names.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn categories(&self, include_system: bool) -> Result<Vec<CategoryInfo>, Error> {
        let found = self.shared.index()?.categories()?;
        let wanted = found.into_iter().filter(|info| include_system || !is_system(&info.term));
        Ok(wanted.map(|info| CategoryInfo { category: info.term, streams: info.streams, events: info.events }).collect())
    }

    /// All event types in the order of their names. Types that only system streams use are left out unless asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn types(&self, include_system: bool) -> Result<Vec<TypeInfo>, Error> {
        let found = self.shared.index()?.types()?;
        let counted = found.into_iter().map(|info| (info.term, if include_system { info.events } else { info.client_events }));
        Ok(counted.filter(|(_, events)| *events > 0).map(|(event_type, events)| TypeInfo { event_type, events }).collect())
    }

    /// The streams that are deleted, tombstoned or under a retention, or were at some time: of all others every event is visible, and
    /// always was. `None` if these are more than `max`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn hidden_streams(&self, max: usize) -> Result<Option<Vec<StreamName>>, Error> {
        let streams = self.shared.index()?.hidden().streams(max);
        Ok(streams.map(|streams| streams.iter().filter_map(|stream| StreamName::new(stream).ok()).collect()))
    }

    /// How many streams have been written, without the system's.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn stream_count(&self) -> Result<u64, Error> {
        self.shared.index()?.stream_count()
    }

    /// Whether a reader may see the event: not deleted, not retired.
    pub(super) fn is_visible(&self, event: &RecordedEvent) -> Result<bool, Error> {
        let Some(head) = self.shared.hiding_head(event.stream())? else { return Ok(true) };
        Ok(!head.is_deleted
            && !head.is_tombstoned
            && event.version() >= lowest_by_count(&head)
            && event.recorded_at().as_micros() >= self.oldest(&head))
    }

    fn info(&self, stream: StreamName, head: &StreamHead) -> Result<StreamInfo, Error> {
        let first_version = if head.retention.max_age_us.is_some() { self.first_by_age(&stream, head)? } else { lowest_by_count(head) };
        Ok(StreamInfo {
            stream,
            version: head.version,
            first_version: first_version.max(Version::new(1)).min(head.version.next()),
            last_position: head.last_position,
            created_at: head.created_at,
            updated_at: head.updated_at,
            is_deleted: head.is_deleted,
            is_tombstoned: head.is_tombstoned,
            retention: head.retention,
        })
    }

    /// The first version that is young enough, by bisection: `recorded_at` does not run backwards within a stream.
    fn first_by_age(&self, stream: &StreamName, head: &StreamHead) -> Result<Version, Error> {
        let oldest = self.oldest(head);
        let (mut low, mut high) = (lowest_by_count(head).get().max(1), head.version.get() + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            // A version whose event is gone was hidden before.
            let recorded_at = self.recorded_at(stream.as_str(), Version::new(middle))?;
            if recorded_at.is_some_and(|recorded_at| recorded_at.as_micros() >= oldest) { high = middle } else { low = middle + 1 }
        }
        Ok(Version::new(low))
    }

    fn oldest(&self, head: &StreamHead) -> i64 {
        let age = head.retention.max_age_us.map(|age| i64::try_from(age).unwrap_or(i64::MAX));
        age.map_or(i64::MIN, |age| self.shared.clock.now().as_micros().saturating_sub(age))
    }

    /// Reads events of one stream and proves that each is the one that the index promised. Lost ones are left out.
    pub(super) fn read_versions(&self, stream: &str, found: &[(Version, Position)]) -> Result<Vec<RecordedEvent>, Error> {
        let mut positions: Vec<u64> = found.iter().map(|(_, position)| position.get()).filter(|position| *position > 0).collect();
        let is_backward = positions.first() > positions.last();
        if is_backward {
            positions.reverse();
        }
        let mut events = self.shared.log.read(&positions)?;
        if is_backward {
            events.reverse();
        }
        let mut promised = found.iter();
        for event in &events {
            let is_right = promised.any(|(version, position)| *position == event.position() && *version == event.version());
            if !is_right || event.stream() != stream {
                self.shared.distrust_index();
                return Err(Error::io("the index led to another event; it is being rebuilt", std::io::ErrorKind::InvalidData.into()));
            }
        }
        Ok(events)
    }
}

/// The first version that count and version limits leave visible.
fn lowest_by_count(head: &StreamHead) -> Version {
    let by_count = head.retention.max_count.map_or(0, |count| (head.version.get() + 1).saturating_sub(count));
    head.first_version().max(Version::new(by_count))
}

const STREAM_CHUNK_EVENTS: usize = 4096;
const LIST_CHUNK_STREAMS: usize = 1024;
