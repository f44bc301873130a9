//! What can be asked of a shard of another server?

use factum_storage as storage;
use reqwest::Method;
use serde::de::DeserializeOwned;
use storage::CategoryInfo;
use storage::Direction;
use storage::EventId;
use storage::EventSlice;
use storage::Filter;
use storage::Position;
use storage::RecordedEvent;
use storage::Retention;
use storage::StreamInfo;
use storage::StreamName;
use storage::StreamSlice;
use storage::Timestamp;
use storage::TypeInfo;
use storage::Version;
use uuid::Uuid;

use super::super::handle::StreamListing;
use super::Remote;
use super::call::Answer;
use super::call::Fault;
use super::wire;
use super::wire::ShardWire;
use crate::Error;

/// The parameters of a request.
type Query = Vec<(&'static str, String)>;

impl Remote {
    /// The shards of the server.
    pub(super) async fn shards(&self) -> Result<Vec<ShardWire>, String> {
        let request = self.caller.open_request(Method::GET, &["v1", "shards"], &[]).map_err(|error| error.to_string())?;
        let answer = self.caller.call(request).await.map_err(|fault| self.caller.told(&fault))?;
        let told: wire::ShardsWire =
            serde_json::from_slice(&answer.body).map_err(|error| format!("{} is not a Factum server of today: {error}", self.url()))?;
        Ok(told.shards)
    }

    /// The id of the event at a position, if it can be seen.
    pub(super) async fn id_at(&self, position: Position) -> Result<Option<EventId>, String> {
        let after = position.get().saturating_sub(1).to_string();
        let query = [("after", after), ("limit", "1".to_owned()), ("include_system", "true".to_owned()), ("raw", "true".to_owned())];
        let request = self.caller.open_request(Method::GET, &["v1", "events"], &query).map_err(|error| error.to_string())?;
        let answer = self.caller.call(request).await.map_err(|fault| self.caller.told(&fault))?;
        let garbled = |error: String| format!("{} answers what can't be understood: {error}", self.url());
        let page: wire::EventsPage<'_> = serde_json::from_slice(&answer.body).map_err(|error| garbled(error.to_string()))?;
        let event = page.events.into_iter().next().map(wire::EventWire::event).transpose().map_err(garbled)?;
        Ok(event.filter(|event| event.position() == position).map(|event| event.id()))
    }

    /// What there is to know of a stream; of one that was deleted softly as if it had never been there.
    pub(in crate::shard) async fn stream(&self, stream: &StreamName) -> Result<Option<StreamInfo>, Error> {
        let found = self.found(&["v1", "streams", stream.as_str()], Vec::new()).await?;
        match found {
            Found::There(answer) => {
                self.parsed::<wire::StreamWire>(&answer)?.info().map(Some).map_err(|detail| self.caller.garbled(detail))
            }
            Found::Ended => Ok(Some(ended(stream))),
            Found::Nothing => Ok(None),
        }
    }

    /// Visible events of a stream; `None` if there is no such stream.
    pub(in crate::shard) async fn read_stream(
        &self,
        stream: &StreamName,
        from: Option<Version>,
        direction: Direction,
        limit: usize,
    ) -> Result<Option<StreamSlice>, Error> {
        // The stream first: what is appended meanwhile is there to be read on, and not taken for the end.
        let Some(info) = self.stream(stream).await?.filter(|info| !info.is_tombstoned) else { return Ok(None) };
        let mut query = vec![("limit", limit.clamp(1, PAGE_MAX).to_string()), ("raw", "true".to_owned()), way(direction)];
        query.extend(from.map(|from| ("from", from.get().max(1).to_string())));
        let Found::There(answer) = self.found(&["v1", "streams", stream.as_str(), "events"], query).await? else { return Ok(None) };
        let page = self.parsed::<wire::StreamPage<'_>>(&answer)?;
        let events = self.events(page.events)?;
        if events.iter().any(|event| event.stream() != stream.as_str()) {
            return Err(self.caller.garbled("events of another stream"));
        }
        let next = page.next.map(Version::new);
        let newest = events.iter().map(RecordedEvent::version).max().unwrap_or_default();
        Ok(Some(StreamSlice { info: StreamInfo { version: info.version.max(newest), ..info }, events, next }))
    }

    /// Visible events that match, after a position.
    pub(in crate::shard) async fn read_events(
        &self,
        filter: &Filter,
        after: Position,
        direction: Direction,
        limit: usize,
    ) -> Result<EventSlice, Error> {
        let mut query = self.asked(filter)?;
        // From the end on there is more than a position can say.
        let after = if direction == Direction::Backward { after.min(self.committed().next()) } else { after };
        query.extend([("after", after.get().to_string()), ("limit", limit.clamp(1, PAGE_MAX).to_string()), way(direction)]);
        let answer = self.get(&["v1", "events"], query).await?;
        let page = self.parsed::<wire::EventsPage<'_>>(&answer)?;
        let events = self.events(page.events)?;
        let is_forward = direction == Direction::Forward;
        let is_ordered = events.windows(2).all(|pair| (pair[0].position() < pair[1].position()) == is_forward);
        let is_behind = events.first().is_none_or(|first| (first.position() > after) == is_forward);
        if !is_ordered || !is_behind || events.iter().any(|event| !filter.matches(event)) {
            return Err(self.caller.garbled("events that were not asked for"));
        }
        let through = wire::position(&page.cursor).map_err(|detail| self.caller.garbled(detail))?;
        if is_forward {
            self.reaches(through);
        }
        Ok(EventSlice { events, through, at_end: page.next.is_none() })
    }

    /// Visible events of a piece of the log that match: behind `after`, up to `through`.
    pub(in crate::shard) async fn read_piece(
        &self,
        filter: &Filter,
        (after, through): (Position, Position),
        direction: Direction,
        limit: usize,
    ) -> Result<EventSlice, Error> {
        let start = if direction == Direction::Forward { after } else { through.next() };
        let mut slice = self.read_events(filter, start, direction, limit).await?;
        slice.events.retain(|event| event.position() > after && event.position() <= through);
        let is_through = match direction {
            Direction::Forward => slice.through >= through,
            Direction::Backward => slice.through <= after.next(),
        };
        if slice.at_end || is_through {
            slice.at_end = true;
            slice.through = if direction == Direction::Forward { through } else { after.next() };
        }
        Ok(slice)
    }

    /// The last position whose event was recorded before a time, as far as events can be seen: no visible one lies between.
    #[cfg(feature = "analytics")]
    pub(in crate::shard) async fn position_at(&self, time: Timestamp) -> Result<Position, Error> {
        let filter = Filter { recorded_before: Some(time), include_system: true, ..Filter::default() };
        let slice = self.read_events(&filter, Position::new(u64::MAX), Direction::Backward, 1).await?;
        Ok(slice.events.first().map_or(Position::ZERO, RecordedEvent::position))
    }

    /// How many events match at the most: none, if no stream of the wanted categories can be seen.
    #[cfg(feature = "analytics")]
    pub(in crate::shard) async fn matches_at_most(&self, filter: &Filter) -> Result<Option<u64>, Error> {
        for category in &filter.categories {
            let query = vec![("category", category.clone()), ("include_system", filter.include_system.to_string())];
            if !self.listed::<wire::StreamWire>("streams", query, None, 1).await?.is_empty() {
                return Ok(Some(u64::MAX));
            }
        }
        Ok(if filter.categories.is_empty() { None } else { Some(0) })
    }

    /// The visible event with this id.
    pub(in crate::shard) async fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, Error> {
        let text = Uuid::from_bytes(*id.as_bytes()).to_string();
        let Found::There(answer) = self.found(&["v1", "events", &text], vec![("raw", "true".to_owned())]).await? else { return Ok(None) };
        let event = self.parsed::<wire::EventWire<'_>>(&answer)?.event().map_err(|detail| self.caller.garbled(detail))?;
        if event.id() == id { Ok(Some(event)) } else { Err(self.caller.garbled("an event of another id")) }
    }

    /// Streams by name.
    pub(in crate::shard) async fn streams(&self, listing: &StreamListing) -> Result<Vec<StreamInfo>, Error> {
        let StreamListing { after, prefix, category, include_system, leave_out_undecided: _, limit } = listing;
        let mut query = vec![("prefix", prefix.clone()), ("include_system", include_system.to_string())];
        query.extend(category.clone().map(|category| ("category", category)));
        let listed = self.listed::<wire::StreamWire>("streams", query, after.clone(), *limit).await?;
        listed.into_iter().map(wire::StreamWire::info).collect::<Result<_, _>>().map_err(|detail| self.caller.garbled(detail))
    }

    /// Categories by name.
    pub(in crate::shard) async fn categories(&self, include_system: bool) -> Result<Vec<CategoryInfo>, Error> {
        let query = vec![("include_system", include_system.to_string())];
        let listed = self.listed::<wire::CategoryWire>("categories", query, None, usize::MAX).await?;
        let info = |wire::CategoryWire { category, streams, events }| CategoryInfo { category, streams, events };
        Ok(listed.into_iter().map(info).collect())
    }

    /// Event types by name.
    pub(in crate::shard) async fn types(&self, include_system: bool) -> Result<Vec<TypeInfo>, Error> {
        let query = vec![("include_system", include_system.to_string())];
        let listed = self.listed::<wire::TypeWire>("types", query, None, usize::MAX).await?;
        Ok(listed.into_iter().map(|wire::TypeWire { event_type, events }| TypeInfo { event_type, events }).collect())
    }

    /// As many items of a listing as are wanted, page by page.
    async fn listed<T: DeserializeOwned>(
        &self,
        what: &'static str,
        query: Query,
        mut after: Option<String>,
        limit: usize,
    ) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        while items.len() < limit {
            let mut query = query.clone();
            query.push(("limit", (limit - items.len()).min(PAGE_MAX).to_string()));
            query.extend(after.take().map(|after| ("after", after)));
            let answer = self.get(&["v1", what], query).await?;
            let page: wire::Listing<T> = serde_json::from_slice(&answer.body).map_err(|error| self.caller.garbled(error))?;
            let is_empty = page.items.is_empty();
            items.extend(page.items);
            after = page.next;
            if after.is_none() || is_empty {
                break;
            }
        }
        Ok(items)
    }

    /// A filter as the parameters of a request.
    fn asked(&self, filter: &Filter) -> Result<Query, Error> {
        let mut query: Query = vec![("raw", "true".to_owned()), ("include_system", filter.include_system.to_string())];
        for (name, values) in [("category", &filter.categories), ("type", &filter.types), ("tag", &filter.tags)] {
            query.extend(values.iter().map(|value| (name, value.clone())));
        }
        query.extend(filter.stream_prefix.clone().map(|prefix| ("stream_prefix", prefix)));
        for (name, time) in [("recorded_after", filter.recorded_after), ("recorded_before", filter.recorded_before)] {
            let text = time.map(wire::text_of_time).transpose().map_err(|detail| self.caller.garbled(detail))?;
            query.extend(text.map(|text| (name, text)));
        }
        Ok(query)
    }

    fn events(&self, events: Vec<wire::EventWire<'_>>) -> Result<Vec<RecordedEvent>, Error> {
        events.into_iter().map(wire::EventWire::event).collect::<Result<_, _>>().map_err(|detail| self.caller.garbled(detail))
    }

    async fn found(&self, path: &[&str], query: Query) -> Result<Found, Error> {
        self.check_open()?;
        let answer = self.caller.call(self.caller.request(Method::GET, path, &query)?).await;
        match answer {
            Ok(answer) => Ok(Found::There(answer)),
            Err(Fault::Refused(refusal)) => match refusal.says_gone() {
                Some(true) => Ok(Found::Ended),
                Some(false) => Ok(Found::Nothing),
                None => Err(self.caller.failed_read(Fault::Refused(refusal))),
            },
            Err(fault) => {
                if let Fault::NotSent(detail) | Fault::Lost(detail) = &fault {
                    self.doubt(detail);
                }
                Err(self.caller.failed_read(fault))
            }
        }
    }

    async fn get(&self, path: &[&str], query: Query) -> Result<Answer, Error> {
        match self.found(path, query).await? {
            Found::There(answer) => Ok(answer),
            Found::Ended | Found::Nothing => Err(self.caller.garbled("that there is nothing to list")),
        }
    }

    fn parsed<'a, T: serde::Deserialize<'a>>(&self, answer: &'a Answer) -> Result<T, Error> {
        serde_json::from_slice(&answer.body).map_err(|error| self.caller.garbled(error))
    }
}

/// What the server says of something that has a name.
enum Found {
    There(Answer),
    /// It was there, and never will be again.
    Ended,
    Nothing,
}

/// A stream that was ended for ever: no more is known of it.
fn ended(stream: &StreamName) -> StreamInfo {
    StreamInfo {
        stream: stream.clone(),
        version: Version::ZERO,
        first_version: Version::new(1),
        last_position: Position::ZERO,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        is_deleted: false,
        is_tombstoned: true,
        retention: Retention::default(),
    }
}

fn way(direction: Direction) -> (&'static str, String) {
    ("direction", if direction == Direction::Forward { "forward" } else { "backward" }.to_owned())
}

/// What a page has at most.
const PAGE_MAX: usize = 10_000;
