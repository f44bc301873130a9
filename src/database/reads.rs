//! What can a program ask?

use std::collections::BTreeMap;

use factum_storage as storage;
use futures::future::join_all;
use futures::future::try_join_all;
use storage::CategoryInfo;
use storage::Direction;
use storage::EventId;
use storage::Filter;
use storage::StreamInfo;
use storage::StreamName;
use storage::TypeInfo;
use storage::Version;

use super::Database;
use super::EventsPage;
use super::EventsQuery;
use super::Placement;
use super::ShardStatus;
use super::Share;
use super::Strategy;
use super::StreamPage;
use super::StreamsQuery;
use crate::Error;
use crate::shard::Handle;
use crate::shard::ReadKind;
use crate::shard::StreamListing;
use crate::shard::ask_all;
use crate::subscription;
use crate::subscription::After;
use crate::subscription::Cursor;
use crate::subscription::Event;
use crate::subscription::Feed;
use crate::subscription::PageBounds;

impl Database {
    /// What there is to know of a stream, with its shard.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`] if it was never written or is softly deleted; `Storage(StreamDeleted)` if it is ended for ever.
    pub async fn stream(&self, stream: &StreamName) -> Result<(u16, StreamInfo, Cursor), Error> {
        let cursor = self.end();
        let shard = self.router().locate(stream.as_str());
        let info = alive(stream, shard.stream(stream.clone()).await?)?;
        Ok((shard.number(), info, cursor))
    }

    /// Events of one stream from a version (inclusive; `None`: the first, backward the last).
    ///
    /// # Errors
    ///
    /// As [`Database::stream`].
    pub async fn read_stream(
        &self,
        stream: &StreamName,
        from: Option<Version>,
        direction: Direction,
        limit: usize,
        bytes_max: usize,
    ) -> Result<StreamPage, Error> {
        // Taken before the read: whoever goes on from here may see an event again, and never misses one.
        let cursor = self.end();
        for _try in 0..READ_TRIES {
            let shard = self.router().locate(stream.as_str());
            self.router().reached(ReadKind::Stream, shard.all().count());
            if let Some(slice) = shard.read_stream(stream.clone(), from, direction, limit, bytes_max).await? {
                let events = slice.events.into_iter().map(|(shard, record)| Event { shard, record }).collect();
                let events = self.all_shaped(events).await?;
                let shards = events.iter().map(|event| event.shard).collect();
                let events = events.into_iter().map(|event| event.record).collect();
                return Ok(StreamPage { shard: shard.number(), info: slice.info, events, shards, next: slice.next, cursor });
            }
            // Not there; but why? If it is there by now, it was written between the two questions.
            alive(stream, shard.stream(stream.clone()).await?)?;
        }
        Err(Error::StreamNotFound { stream: stream.to_string() })
    }

    /// A page of the log of all shards.
    ///
    /// # Errors
    ///
    /// [`Error::BadCursor`], [`Error::Storage`].
    pub async fn read_events(&self, query: EventsQuery) -> Result<EventsPage, Error> {
        let after = self.resolve(query.after, query.direction)?;
        let bounds = PageBounds { events_max: query.limit, bytes_max: query.bytes_max.max(1) };
        let from = (&after, query.direction);
        let page = subscription::read_page(self.router(), query.filter, from, bounds, self.left_out.as_ref()).await?;
        Ok(EventsPage { events: self.all_shaped(page.events).await?, cursor: page.cursor, at_end: page.at_end })
    }

    /// The event with this id.
    ///
    /// # Errors
    ///
    /// [`Error::EventNotFound`], [`Error::Storage`].
    pub async fn event_by_id(&self, id: EventId) -> Result<Event, Error> {
        let (mut found, mut failure) = (Vec::new(), None);
        let shards = self.router().shards();
        let answers = join_all(shards.iter().map(|shard| shard.event_by_id(id))).await;
        for (shard, answer) in shards.iter().zip(answers) {
            match answer {
                Ok(record) => found.extend(record.map(|record| (shard.number(), record))),
                // One that is missing is why others can't tell what is hidden.
                Err(error @ Error::ShardFailed { .. }) => failure = Some(error),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        // One shard has it, or none: only if it is on none that answers does it count that one does not.
        if let Some(error) = failure.filter(|_| found.is_empty()) {
            return Err(error);
        }
        let mut found = found.into_iter();
        let not_found = || Error::EventNotFound { what: format!("an event with id {}", uuid::Uuid::from_bytes(*id.as_bytes())) };
        let (shard, record) = found.next().ok_or_else(not_found)?;
        let record = self.shaped(shard, vec![record]).await?.pop().ok_or_else(not_found)?;
        Ok(Event { shard, record })
    }

    /// Streams of all shards by name, after a name (exclusive).
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn streams(&self, query: StreamsQuery) -> Result<Vec<(u16, StreamInfo)>, Error> {
        let StreamsQuery { after, prefix, category, include_system, limit } = query;
        let listing = StreamListing { after, prefix, category, include_system, leave_out_undecided: self.left_out.is_some(), limit };
        let table = self.router().table();
        let listed = self.listed(table.shards(), |shard| shard.streams(listing.clone())).await?;
        let mut streams: Vec<(u16, StreamInfo)> = Vec::new();
        for (shard, infos) in listed {
            // One that has moved is listed by whoever has it, or had it last if nothing was appended since.
            let owner =
                |info: &StreamInfo| table.topology().tenures(info.stream.as_str()).map(|_| table.topology().owner(info.stream.as_str()));
            streams.extend(infos.into_iter().map(|info| (owner(&info).unwrap_or(shard.number()), info)));
        }
        // A system stream such as `$streams` is on every shard.
        streams.sort_by(|(one_shard, one), (other_shard, other)| (&one.stream, one_shard).cmp(&(&other.stream, other_shard)));
        // One that changes hands may be listed by both.
        streams.dedup_by(|(one_shard, one), (other_shard, other)| one.stream == other.stream && one_shard == other_shard);
        streams.truncate(limit);
        Ok(streams)
    }

    /// Categories of all shards by name.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn categories(&self, include_system: bool) -> Result<Vec<CategoryInfo>, Error> {
        let shards = self.router().shards();
        let listed = self.listed(&shards, |shard| shard.categories(include_system)).await?;
        let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for info in listed.into_iter().flat_map(|(_, infos)| infos) {
            let (streams, events) = sums.entry(info.category).or_default();
            *streams += info.streams;
            *events += info.events;
        }
        Ok(sums.into_iter().map(|(category, (streams, events))| CategoryInfo { category, streams, events }).collect())
    }

    /// Event types of all shards by name.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn types(&self, include_system: bool) -> Result<Vec<TypeInfo>, Error> {
        let shards = self.router().shards();
        let listed = self.listed(&shards, |shard| shard.types(include_system)).await?;
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for info in listed.into_iter().flat_map(|(_, infos)| infos) {
            *sums.entry(info.event_type).or_default() += info.events;
        }
        Ok(sums.into_iter().map(|(event_type, events)| TypeInfo { event_type, events }).collect())
    }

    /// What all shards list, side by side.
    async fn listed<'a, T, F>(&self, shards: &'a [Handle], ask: impl Fn(&'a Handle) -> F) -> Result<Vec<(&'a Handle, T)>, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let listed = ask_all(shards, self.left_out.as_ref(), ask).await?;
        self.router().reached(ReadKind::Listing, listed.len());
        Ok(listed)
    }

    /// A feed of what matches, history first, then live, without a gap or a repeat.
    ///
    /// # Errors
    ///
    /// [`Error::BadCursor`].
    pub fn follow(&self, filter: Filter, after: After) -> Result<Feed, Error> {
        let after = self.resolve(after, Direction::Forward)?;
        Ok(Feed::of_log(self.shared_router(), filter, &after).reshaped_by(self.reshaper()))
    }

    /// A feed of one stream's visible events, from a version (inclusive), then live.
    ///
    /// # Errors
    ///
    /// As [`Database::stream`] for a tombstoned stream; a stream that is not there yet is waited for.
    pub fn follow_stream(&self, stream: &StreamName, from: Version) -> Result<Feed, Error> {
        match self.router().locate(stream.as_str()).stream_now(stream.as_str())? {
            Some(info) if info.is_tombstoned => Err(storage::Error::StreamDeleted(stream.clone()).into()),
            _ => Ok(Feed::of_stream(self.shared_router(), stream.clone(), from)?.reshaped_by(self.reshaper())),
        }
    }

    /// Where the log of all shards ends now.
    #[must_use]
    pub fn end(&self) -> Cursor {
        Cursor::end(self.router())
    }

    /// Reads a cursor and checks that it is of this database and not from the future. `0` is the start, however many shards there are.
    ///
    /// # Errors
    ///
    /// [`Error::BadCursor`].
    pub fn parse_cursor(&self, text: &str) -> Result<Cursor, Error> {
        Cursor::parse(text, self.router())
    }

    /// What tells it from every other database: the id of its first shard's log. A copy has the same.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.router().database_id()
    }

    /// Which shard a stream is on.
    #[must_use]
    pub fn shard_of(&self, stream: &str) -> u16 {
        self.router().shard_of(stream)
    }

    /// Where a stream lives or would live, and why.
    #[must_use]
    pub fn locate(&self, stream: &StreamName) -> Placement {
        self.router().topology().explain(stream.as_str())
    }

    /// By what streams are spread over the shards, and the version of the table that says so.
    #[must_use]
    pub fn strategy(&self) -> (Strategy, u64) {
        let topology = self.router().topology();
        (topology.strategy().clone(), topology.version())
    }

    /// What a shard has of all.
    #[must_use]
    pub fn share_of(&self, shard: u16) -> Share {
        let topology = self.router().topology();
        Share {
            slots: topology.slots_of(shard),
            ranges: topology.ranges_of(shard),
            region: topology.region_of(shard).map(str::to_owned),
            is_drained: topology.drained().contains(&shard),
        }
    }

    /// With `range`: the first key of each range but the first, in order.
    #[must_use]
    pub fn splits(&self) -> Vec<String> {
        let topology = self.router().topology();
        topology.ranges().map(|ranges| ranges.starts().skip(1).map(|(from, _)| from.to_owned()).collect()).unwrap_or_default()
    }

    /// How each shard is.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub async fn status(&self) -> Result<Vec<ShardStatus>, Error> {
        let shards = self.router().shards();
        let status = try_join_all(shards.iter().map(|shard| shard.status())).await?;
        let with_shard = shards.iter().zip(status);
        Ok(with_shard
            .map(|(shard, status)| ShardStatus {
                shard: shard.number(),
                is_absent: status.is_absent,
                location: status.location,
                log_id: shard.log_id(),
                appends: status.appends,
                position: status.position,
                streams: status.streams,
                log_bytes: status.log_bytes,
                index_bytes: status.index_bytes,
                index_lag_events: status.index_lag_events,
                queued_appends: status.queued_appends,
                available_bytes: status.available_bytes,
                feeds: status.feeds,
                index_cache: status.index_cache,
                receipt: status.receipt,
                opened: status.opened,
            })
            .collect())
    }

    /// The point where a read begins.
    fn resolve(&self, after: After, direction: Direction) -> Result<Cursor, Error> {
        let router = self.router();
        match (after, direction) {
            (After::Start, _) => Ok(Cursor::start(router)),
            (After::End, Direction::Forward) => Ok(Cursor::end(router)),
            // Backward reads what is before a position, so the last event is before the position behind it.
            (After::End, Direction::Backward) => Ok(Cursor::end(router).behind()),
            (After::Cursor(cursor), direction) => {
                cursor.check(router, if direction == Direction::Backward { 1 } else { 0 })?;
                Ok(cursor)
            }
        }
    }
}

/// The stream, if it can be read.
fn alive(stream: &StreamName, info: Option<StreamInfo>) -> Result<StreamInfo, Error> {
    match info {
        Some(info) if info.is_tombstoned => Err(storage::Error::StreamDeleted(stream.clone()).into()),
        Some(info) if !info.is_deleted => Ok(info),
        _ => Err(Error::StreamNotFound { stream: stream.to_string() }),
    }
}

/// How often a read begins anew because the stream came or went meanwhile.
const READ_TRIES: usize = 3;
