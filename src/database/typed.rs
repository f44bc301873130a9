//! How does a Rust program work with aggregates of its own types?

use std::marker::PhantomData;

use bytes::Bytes;
use factum_storage as storage;
use storage::EventId;
use storage::ExpectedVersion;
use storage::NewEvent;
use storage::StreamAppend;
use storage::StreamName;
use storage::Version;
use uuid::Uuid;

use super::Database;
use crate::Error;
use crate::aggregate;
use crate::aggregate::Aggregate;
use crate::aggregate::At;
use crate::error::ScriptFault;
use crate::subscription::Cursor;

/// The aggregates of one Rust type. Clones are the same.
pub struct Aggregates<A> {
    database: Database,
    of: PhantomData<fn() -> A>,
}

impl<A> Clone for Aggregates<A> {
    fn clone(&self) -> Self {
        Self { database: self.database.clone(), of: PhantomData }
    }
}

/// An aggregate as it stands.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    /// The version of its last event; 0 if it has none.
    pub version: Version,
    /// Its state.
    pub state: A,
    /// A point that has seen it.
    pub cursor: Cursor,
}

/// Why a command did not do anything.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<R> {
    /// The aggregate has said no.
    #[error("the command was rejected")]
    Rejected(R),
    /// It could not be asked, or what it decided could not be stored.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl Database {
    /// Puts a Rust type in force for its category, in this process: reads over HTTP show its states too, and its snapshots are kept
    /// beside the appends.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the category is no name, or is defined by a module.
    pub fn register<A: Aggregate>(&self) -> Result<Aggregates<A>, Error> {
        aggregate::stream_of(A::CATEGORY, "1").map_err(|(field, detail)| Error::Invalid { field: field.to_owned(), detail })?;
        if !self.inner.aggregates.register::<A>() {
            let detail = format!("{} is defined already, by a module or by another type", A::CATEGORY);
            return Err(Error::Invalid { field: "category".to_owned(), detail });
        }
        Ok(Aggregates { database: self.clone(), of: PhantomData })
    }
}

impl<A: Aggregate> Aggregates<A> {
    /// The aggregate as it stands; one that has no events is as it begins, at version 0.
    ///
    /// # Errors
    ///
    /// [`Error::Script`] if an event is none of the type's, [`Error::HistoryUnreadable`], [`Error::Storage`].
    pub async fn load(&self, id: &str) -> Result<Loaded<A>, Error> {
        self.load_at(&stream::<A>(id)?).await.map(|(loaded, _)| loaded)
    }

    /// The aggregate as it was.
    ///
    /// # Errors
    ///
    /// As [`Aggregates::load`]; [`Error::StreamNotFound`] and [`Error::EventNotFound`] if there is no such state.
    pub async fn at(&self, id: &str, at: At) -> Result<Loaded<A>, Error> {
        let (found, cursor) = self.database.aggregate(A::CATEGORY, id, at).await?;
        Ok(Loaded { version: found.version, state: parse(&found.state)?, cursor })
    }

    /// Lets the aggregate decide a command and appends its events if nothing came in between; else tries again with what came, at most ten
    /// times. Returns the aggregate after it.
    ///
    /// # Errors
    ///
    /// [`ExecuteError::Rejected`]; [`ExecuteError::Failed`] with `Storage(Conflict)` if every try lost its race, and as
    /// [`Aggregates::load`] and [`Database::append`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future does not withdraw what is appended.
    pub async fn execute(&self, id: &str, command: &A::Command) -> Result<Loaded<A>, ExecuteError<A::Rejection>> {
        let stream = stream::<A>(id)?;
        let _turn = self.database.inner.turns.of(&stream).lock().await;
        let cause = Uuid::now_v7();
        let mut conflict = None;
        for _try in 0..TRIES {
            let (mut loaded, expected) = self.load_at(&stream).await?;
            let decided = loaded.state.decide(command).map_err(ExecuteError::Rejected)?;
            if decided.is_empty() {
                return Ok(loaded);
            }
            let events: Result<Vec<NewEvent>, Error> =
                decided.iter().enumerate().map(|(index, event)| new_event::<A>(event, &cause, index)).collect();
            let append = StreamAppend { stream: stream.clone(), expected: ExpectedVersion::Exact(expected), events: events? };
            match self.database.append(append).await {
                Err(Error::Storage(storage::Error::Conflict(failed))) => conflict = Some(failed),
                Err(error) => return Err(error.into()),
                Ok(appended) => {
                    decided.iter().for_each(|event| loaded.state.evolve(event));
                    let version = appended.appended.streams.first().map_or(expected, |(_, _, last)| *last);
                    return Ok(Loaded { version, cursor: appended.cursor, ..loaded });
                }
            }
        }
        Err(Error::Storage(storage::Error::Conflict(conflict.unwrap_or_default())).into())
    }

    /// The aggregate, and the version that its stream must have for the next append.
    async fn load_at(&self, stream: &StreamName) -> Result<(Loaded<A>, Version), Error> {
        let cursor = self.database.end();
        match self.database.inner.aggregates.state(stream, At::Head).await {
            Ok(found) => Ok((Loaded { version: found.version, state: parse(&found.state)?, cursor }, found.version)),
            Err(Error::StreamNotFound { .. }) => {
                // Softly deleted: what is appended goes on behind what was.
                let info = self.database.router().locate(stream.as_str()).stream(stream.clone()).await?;
                let expected = info.map_or(Version::ZERO, |info| info.version);
                Ok((Loaded { version: Version::ZERO, state: A::default(), cursor }, expected))
            }
            Err(error) => Err(error),
        }
    }
}

fn stream<A: Aggregate>(id: &str) -> Result<StreamName, Error> {
    aggregate::stream_of(A::CATEGORY, id).map_err(|(field, detail)| Error::Invalid { field: field.to_owned(), detail })
}

fn parse<A: Aggregate>(state: &Bytes) -> Result<A, Error> {
    serde_json::from_slice(state).map_err(|error| fault::<A>(format!("its state does not read back: {error}")))
}

fn new_event<A: Aggregate>(event: &A::Event, cause: &Uuid, index: usize) -> Result<NewEvent, Error> {
    let (event_type, data) = aggregate::encode(event).map_err(fault::<A>)?;
    Ok(NewEvent {
        id: EventId::from_bytes(*Uuid::new_v5(cause, &(index as u64).to_be_bytes()).as_bytes()),
        id_is_fresh: true,
        event_type: event_type.into(),
        schema_version: 0,
        occurred_at: None,
        tags: Vec::new(),
        metadata: format!("{{\"causation_id\":\"{cause}\",\"correlation_id\":\"{cause}\"}}").into(),
        data,
    })
}

fn fault<A>(message: String) -> Error {
    let file = std::any::type_name::<A>().to_owned();
    Error::Script(Box::new(ScriptFault { kind: "output", message, file, line: None, column: None, version: None }))
}

const TRIES: usize = 10;
