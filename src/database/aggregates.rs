//! What can be asked of an aggregate, and what can it be told to do?

use bytes::Bytes;
use factum_storage as storage;
use serde_json::Map;
use serde_json::Value;
use storage::Direction;
use storage::ExpectedVersion;
use storage::RecordedEvent;
use storage::Snapshot;
use storage::StreamAppend;
use storage::StreamName;
use storage::Version;
use tokio::sync::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::Database;
use super::command::COMMAND_HASH;
use super::command::Command;
use crate::Error;
use crate::aggregate;
use crate::aggregate::AggregateState;
use crate::aggregate::At;
use crate::aggregate::CLIENTS_HASH;
use crate::aggregate::Step;
use crate::script::Decision;
use crate::subscription::Cursor;

/// What an aggregate is told to do.
#[derive(Clone, Debug, Default)]
pub struct CommandRequest {
    /// Its category.
    pub category: String,
    /// Its name within the category.
    pub id: String,
    /// The function of the category's `decide`.
    pub command: String,
    /// The command as JSON; none is `{}`.
    pub input: Bytes,
    /// The same key makes a retry harmless: the first answer stands.
    pub idempotency_key: Option<String>,
    /// What the events carry as `correlation_id`; the command's own id if none.
    pub correlation_id: Option<String>,
    /// Further metadata of the events, such as a trace.
    pub metadata: Map<String, Value>,
}

/// What a command came to.
#[derive(Clone, Debug)]
pub struct CommandResult {
    /// The aggregate's version after it.
    pub version: Version,
    /// The events that it made, in order.
    pub events: Vec<RecordedEvent>,
    /// Which shard they are on.
    pub shard: u16,
    /// The aggregate's state after it, as JSON.
    pub state: Bytes,
    /// A point that has seen it.
    pub cursor: Cursor,
    /// A command with this idempotency key was done before; nothing was done now.
    pub duplicate: bool,
}

/// A snapshot of an aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotListing {
    /// Of which version.
    pub version: Version,
    /// What it takes on disk.
    pub bytes: u64,
    /// Whether the definition in force made it, so that it is used.
    pub is_current: bool,
    /// What a client put there, as JSON; `None` for Factum's own.
    pub client_state: Option<Bytes>,
}

/// One command at a time for one stream: those of this process then never lose a race against each other.
pub(super) struct Turns {
    turns: Vec<Mutex<()>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { turns: std::iter::repeat_with(Mutex::default).take(TURNS).collect() }
    }
}

impl Turns {
    pub(super) fn of(&self, stream: &StreamName) -> &Mutex<()> {
        let slot = usize::try_from(xxh3_64(stream.as_str().as_bytes()) % TURNS as u64).unwrap_or_default();
        self.turns.get(slot).expect("the remainder is below the number of turns")
    }
}

impl Database {
    /// The state of an aggregate, and a point that has seen it.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`] if it has (or had) no events, [`Error::EventNotFound`] for a version that it does not have,
    /// [`Error::Script`], [`Error::HistoryUnreadable`], [`Error::Invalid`] for the names, [`Error::Storage`].
    pub async fn aggregate(&self, category: &str, id: &str, at: At) -> Result<(AggregateState, Cursor), Error> {
        let stream = stream(category, id)?;
        let cursor = self.end();
        Ok((self.inner.aggregates.state(&stream, at).await?, cursor))
    }

    /// The versions of an aggregate from one on (inclusive; `None`: the first) with what each changed, at most `limit` and about
    /// `bytes_max`; and the version that comes next, if any.
    ///
    /// # Errors
    ///
    /// As [`Database::aggregate`].
    pub async fn aggregate_history(
        &self,
        category: &str,
        id: &str,
        from: Option<Version>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<(Vec<Step>, Option<Version>), Error> {
        self.inner.aggregates.history(&stream(category, id)?, from, limit, bytes_max.max(1)).await
    }

    /// The snapshots of an aggregate, oldest first.
    ///
    /// # Errors
    ///
    /// As [`Database::stream`].
    pub async fn aggregate_snapshots(&self, category: &str, id: &str) -> Result<Vec<SnapshotListing>, Error> {
        let stream = stream(category, id)?;
        let (_, info, _) = self.stream(&stream).await?;
        let current = self.inner.aggregates.current_hash(&stream, info.first_version);
        let shard = self.router().locate(stream.as_str());
        let mut listed = Vec::new();
        for snapshot in shard.snapshots(stream.clone()).await? {
            let mut client_state = None;
            if snapshot.definition_hash == CLIENTS_HASH {
                match shard.snapshot(stream.clone(), snapshot.version, CLIENTS_HASH).await? {
                    Some((version, state)) if version == snapshot.version => client_state = Some(state.into()),
                    // Damaged: as good as none.
                    _ => continue,
                }
            }
            let is_current = snapshot.definition_hash == current;
            listed.push(SnapshotListing { version: snapshot.version, bytes: snapshot.bytes, is_current, client_state });
        }
        Ok(listed)
    }

    /// Keeps a client's own state of an aggregate at a version that it has. Like all snapshots it is a cache: it is gone when the index is
    /// rebuilt.
    ///
    /// # Errors
    ///
    /// As [`Database::stream`]; [`Error::EventNotFound`] for a version that the stream does not have, [`Error::Invalid`] if the state is no
    /// JSON, `Storage(TooLarge)`.
    pub async fn put_aggregate_snapshot(&self, category: &str, id: &str, version: Version, state: Bytes) -> Result<(), Error> {
        let stream = stream(category, id)?;
        let (_, info, _) = self.stream(&stream).await?;
        if version == Version::ZERO || version > info.version {
            let what = format!("version {version} of stream {stream} (it is at {})", info.version);
            return Err(Error::EventNotFound { what });
        }
        check_json("state", &state)?;
        if state.len() > CLIENT_STATE_BYTES_MAX {
            let (actual, max) = (state.len() as u64, CLIENT_STATE_BYTES_MAX as u64);
            return Err(storage::Error::TooLarge { what: "size of the state", actual, max }.into());
        }
        let shard = self.router().locate(stream.as_str());
        let existing = shard.snapshots(stream.clone()).await?;
        let of_clients = existing.iter().filter(|old| old.definition_hash == CLIENTS_HASH && old.version != version).count();
        if of_clients >= CLIENT_SNAPSHOTS_MAX {
            let (actual, max) = (of_clients as u64 + 1, CLIENT_SNAPSHOTS_MAX as u64);
            return Err(storage::Error::TooLarge { what: "number of a client's snapshots of one aggregate", actual, max }.into());
        }
        shard.put_snapshots(vec![Snapshot { stream, version, definition_hash: CLIENTS_HASH, state }], |_, _| true).await
    }

    /// Loads an aggregate, lets its category's `decide` say which events a command makes, and appends them if nothing came in between;
    /// else tries again with what came, at most ten times.
    ///
    /// # Errors
    ///
    /// [`Error::CommandRejected`], [`Error::CommandNotFound`], [`Error::Script`], `Storage(Conflict)` if every try lost its race,
    /// `Storage(EventIdReused)` if the idempotency key was used for another command, and as [`Database::append`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future does not withdraw what is appended. Retry with the same idempotency key.
    pub async fn command(&self, request: CommandRequest) -> Result<CommandResult, Error> {
        let stream = stream(&request.category, &request.id)?;
        let input = if request.input.is_empty() { Bytes::from_static(b"{}") } else { request.input.clone() };
        check_json("command", &input)?;
        let command = Command::new(&stream, &request, &input);
        let _turn = self.inner.turns.of(&stream).lock().await;
        if request.idempotency_key.is_some()
            && let Some(done) = self.done_before(&stream, &command).await?
        {
            return Ok(done);
        }
        let mut conflict = None;
        for _try in 0..COMMAND_TRIES {
            match self.try_command(&stream, &request, &command, &input).await {
                Err(Error::Storage(storage::Error::Conflict(failed))) => conflict = Some(failed),
                done => return done,
            }
        }
        Err(Error::Storage(storage::Error::Conflict(conflict.unwrap_or_default())))
    }

    async fn try_command(
        &self,
        stream: &StreamName,
        request: &CommandRequest,
        command: &Command,
        input: &Bytes,
    ) -> Result<CommandResult, Error> {
        let aggregates = &self.inner.aggregates;
        let evolver = aggregates.evolver(&request.category);
        let current = aggregates.current(stream).await?;
        let version = match &current {
            Some(current) => current.version,
            // Soft deletion leaves the versions as they are: what is appended goes on behind them.
            None => self.router().locate(stream.as_str()).stream(stream.clone()).await?.map_or(Version::ZERO, |info| info.version),
        };
        let state = current.as_ref().map(|current| current.state.clone());
        let decided = evolver.decide(aggregates.sandbox(), &request.command, state.clone(), input.clone()).await?;
        let events = match decided {
            None => {
                let (category, command) = (request.category.clone(), request.command.clone());
                return Err(Error::CommandNotFound { category, command, known: evolver.commands.clone() });
            }
            Some(Decision::Rejected { code, message }) => return Err(Error::CommandRejected { code, message }),
            Some(Decision::Events(events)) => events,
        };
        let events = command.events(request, &events)?;
        if events.is_empty() {
            let state = match state {
                Some(state) => state,
                None => aggregates.initial(&evolver).await?,
            };
            let shard = self.shard_of(stream.as_str());
            return Ok(CommandResult { version, events: Vec::new(), shard, state, cursor: self.end(), duplicate: false });
        }
        let append = StreamAppend { stream: stream.clone(), expected: ExpectedVersion::Exact(version), events };
        let appended = self.append(append).await.map_err(|error| command.blame(error))?;
        let last = appended.appended.streams.first().map_or(version, |(_, _, last)| *last);
        let events = self.events_between(stream, version.next(), last).await?;
        let state = aggregates.advance(stream, current.as_ref(), events.clone()).await?;
        let duplicate = appended.appended.duplicate;
        Ok(CommandResult { version: last, events, shard: appended.shard, state, cursor: appended.cursor, duplicate })
    }

    /// What the same command with the same key did before.
    async fn done_before(&self, stream: &StreamName, command: &Command) -> Result<Option<CommandResult>, Error> {
        let shard = self.router().locate(stream.as_str());
        let Some(first) = shard.event_by_id(command.event_id(0)).await? else { return Ok(None) };
        let metadata: Value = serde_json::from_slice(first.metadata()).unwrap_or_default();
        let is_same = first.stream() == stream.as_str() && metadata.get(COMMAND_HASH).and_then(Value::as_str) == Some(&command.hash);
        if !is_same {
            return Err(storage::Error::EventIdReused { id: first.id(), position: first.position() }.into());
        }
        let cursor = self.end();
        let mut events = vec![first];
        while let Some(next) = shard.event_by_id(command.event_id(events.len())).await? {
            events.push(next);
        }
        let version = events.last().map_or(Version::ZERO, RecordedEvent::version);
        let state = self.inner.aggregates.state(stream, At::Version(version)).await?.state;
        Ok(Some(CommandResult { version, events, shard: shard.number(), state, cursor, duplicate: true }))
    }

    async fn events_between(&self, stream: &StreamName, first: Version, last: Version) -> Result<Vec<RecordedEvent>, Error> {
        let limit = usize::try_from(last.get() + 1 - first.get()).unwrap_or(usize::MAX);
        let page = self.read_stream(stream, Some(first), Direction::Forward, limit, usize::MAX).await?;
        Ok(page.events.into_iter().filter(|event| event.version() <= last).collect())
    }
}

fn stream(category: &str, id: &str) -> Result<StreamName, Error> {
    if category.starts_with('$') {
        return Err(Error::SystemStream { stream: format!("{category}-{id}") });
    }
    aggregate::stream_of(category, id).map_err(|(field, detail)| Error::Invalid { field: field.to_owned(), detail })
}

fn check_json(field: &str, text: &[u8]) -> Result<(), Error> {
    match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Invalid { field: field.to_owned(), detail: format!("is not JSON: {error}") }),
    }
}

const TURNS: usize = 1024;
const COMMAND_TRIES: usize = 10;
const CLIENT_STATE_BYTES_MAX: usize = 1 << 20;
const CLIENT_SNAPSHOTS_MAX: usize = 100;
