//! How do projections fare, and how are they told what to do?

use std::sync::Arc;
use std::time::Duration;

use factum_storage::Timestamp;

use super::Database;
use super::definitions::described;
use crate::Error;
use crate::definition;
use crate::definition::Format;
use crate::definition::Key;
use crate::definition::Kind;
use crate::projection::Failure;
use crate::projection::Handle;
use crate::projection::OnError;
use crate::projection::Projection;
use crate::projection::Refused;
use crate::projection::Spec;
use crate::projection::State;
use crate::projection::Trial;
use crate::subscription::Cursor;

/// How a projection fares.
#[derive(Clone, Debug)]
pub struct ProjectionStatus {
    /// Its name, and that of its view.
    pub name: String,
    /// What it does.
    pub state: State,
    /// `embedded`, or `postgres:<schema>.<table>`.
    pub target: String,
    /// What happens at an event that it can't digest.
    pub on_error: OnError,
    /// Everything up to here is in the rows that readers see.
    pub checkpoint: Cursor,
    /// Where the log ends.
    pub head: Cursor,
    /// How many events lie between the two, those included that the projection leaves out.
    pub lag_events: u64,
    /// How long ago the last applied event was recorded; 0 if there is none behind it.
    pub lag_ms: u64,
    /// How many events were applied a second, over the last ten.
    pub events_per_second: f64,
    /// Why it does not go on.
    pub error: Option<Failure>,
    /// How far the new rows are, while they are built beside those in use.
    pub rebuild: Option<RebuildStatus>,
}

/// How far a rebuild is.
#[derive(Clone, Debug)]
pub struct RebuildStatus {
    /// Everything up to here is in the new rows.
    pub checkpoint: Cursor,
    /// How many positions of the log are done.
    pub done: u64,
    /// Of how many.
    pub total: u64,
    /// How long it will take at the pace so far; `None` before there is one.
    pub eta: Option<Duration>,
    /// How many events were applied a second, over the last ten.
    pub events_per_second: f64,
}

/// An event that a projection has stepped over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoisonEvent {
    /// On which shard.
    pub shard: u16,
    /// Its position there.
    pub position: u64,
    /// Its stream.
    pub stream: String,
    /// Its version there.
    pub version: u64,
    /// Its type.
    pub event_type: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub parked_at: Timestamp,
}

impl Database {
    /// How all projections fare, by name.
    #[must_use]
    pub fn projections(&self) -> Vec<ProjectionStatus> {
        self.inner.projections.all().iter().map(|handle| self.status_of(handle)).collect()
    }

    /// How a projection fares.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`].
    pub fn projection(&self, name: &str) -> Result<ProjectionStatus, Error> {
        let handle = self.projection_handle(name)?;
        Ok(self.status_of(&handle))
    }

    /// Waits until a projection has applied everything up to `min`, for at most `wait`.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`], [`Error::ReadModelBehind`].
    pub async fn projection_reaches(&self, name: &str, min: &Cursor, wait: Duration) -> Result<(), Error> {
        let handle = self.projection_handle(name)?;
        reach(&handle, min, wait).await
    }

    /// What a definition would make of the first events of the log, beside the one in force. Nothing is put in force.
    ///
    /// # Errors
    ///
    /// As [`Database::define`]; [`Error::Storage`].
    pub async fn try_projection(&self, name: &str, format: Format, text: &str) -> Result<Trial, Error> {
        let key = Key { kind: Kind::Projection, name: name.to_owned() };
        let spec = self.projection_spec(&key, format, text).await?;
        self.inner.projections.try_out(&spec).await
    }

    /// Puts a Rust projection in force: the same as one that is defined in TOML, with a function of this program in place of handlers. It
    /// has to be put in force after every start; its rows are kept, and go on where they were.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDefinition`] for its columns, its name or its source; [`Error::DefinitionExists`] if a definition that was stored
    /// has that name.
    pub async fn project(&self, projection: Arc<dyn Projection>) -> Result<(), Error> {
        check_name(projection.name())?;
        let key = Key { kind: Kind::Projection, name: projection.name().to_owned() };
        let definitions = self.inner.definitions.lock().await;
        if definitions.get(&key).is_some() {
            return Err(Error::DefinitionExists { what: described(&key) });
        }
        let spec = Spec::native(projection).map_err(|fault| Error::InvalidDefinition(Box::new(fault)))?;
        let file = super::definitions::file(&key);
        self.inner.projections.put(spec, false).await.map_err(|refused| from_refused(&file, refused))
    }

    /// Stops a projection after the batch that it is at. It stays so, also after a restart, until [`Database::resume_projection`].
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`], and as [`Database::append`].
    pub async fn pause_projection(&self, name: &str) -> Result<(), Error> {
        self.set_paused(name, true).await
    }

    /// Lets a paused projection go on; one that has failed, or waits to try again, tries at once.
    ///
    /// # Errors
    ///
    /// As [`Database::pause_projection`].
    pub async fn resume_projection(&self, name: &str) -> Result<(), Error> {
        self.set_paused(name, false).await
    }

    /// Builds a projection's rows anew from the first event on, beside those in use, and puts them in their place once they have caught up.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`], [`Error::Unavailable`].
    pub async fn rebuild_projection(&self, name: &str) -> Result<(), Error> {
        let handle = self.projection_handle(name)?;
        if self.inner.projections.rebuild(&handle).await { Ok(()) } else { Err(closing()) }
    }

    /// Lets a projection step over the one event that it has failed at; the event is then in the parked list.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`], [`Error::Invalid`] if it does not stand on one, [`Error::Unavailable`].
    pub async fn skip_in_projection(&self, name: &str) -> Result<(), Error> {
        let handle = self.projection_handle(name)?;
        match self.inner.projections.skip(&handle).await {
            Some(true) => Ok(()),
            Some(false) => {
                let detail = "the projection does not stand on an event that it can't digest; its `error` says where it stands".to_owned();
                Err(Error::ProjectionConflict { name: name.to_owned(), detail })
            }
            None => Err(closing()),
        }
    }

    /// The events that a projection has stepped over, behind `after` (shard and position, exclusive), in order.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`]; [`Error::TargetUnavailable`] if the target does not answer.
    pub async fn projection_parked(&self, name: &str, after: Option<(u16, u64)>, limit: usize) -> Result<Vec<PoisonEvent>, Error> {
        let handle = self.projection_handle(name)?;
        let parked = handle.place.target().parked(handle.live_hash(), after, limit).await;
        let parked = parked.map_err(|fault| Error::TargetUnavailable { view: name.to_owned(), detail: fault.to_string() })?;
        let told = parked.into_iter().map(|parked| PoisonEvent {
            shard: parked.shard,
            position: parked.position,
            stream: parked.stream,
            version: parked.version,
            event_type: parked.event_type,
            reason: parked.reason,
            parked_at: parked.parked_at,
        });
        Ok(told.collect())
    }

    /// Ends a projection and takes its rows away; `keep_rows` leaves a table in Postgres where it is.
    ///
    /// # Errors
    ///
    /// [`Error::DefinitionNotFound`], [`Error::TargetUnavailable`] if the target does not answer (the projection has ended all the same),
    /// and as [`Database::append`].
    pub async fn remove_projection(&self, name: &str, keep_rows: bool) -> Result<(), Error> {
        let key = Key { kind: Kind::Projection, name: name.to_owned() };
        let mut definitions = self.inner.definitions.lock().await;
        if definitions.get(&key).is_some() {
            self.record(&mut definitions, definition::REMOVED, definition::removed_data(&key)).await?;
        } else if self.inner.projections.get(name).is_none() {
            return Err(Error::DefinitionNotFound { what: described(&key) });
        }
        let removed = self.inner.projections.remove(name, keep_rows).await;
        removed.map_err(|detail| Error::TargetUnavailable { view: name.to_owned(), detail })
    }

    pub(super) fn projection_handle(&self, name: &str) -> Result<Arc<Handle>, Error> {
        let key = || Key { kind: Kind::Projection, name: name.to_owned() };
        self.inner.projections.get(name).ok_or_else(|| Error::DefinitionNotFound { what: described(&key()) })
    }

    async fn set_paused(&self, name: &str, is_paused: bool) -> Result<(), Error> {
        let handle = self.projection_handle(name)?;
        let key = Key { kind: Kind::Projection, name: name.to_owned() };
        let mut definitions = self.inner.definitions.lock().await;
        if definitions.get(&key).is_some_and(|present| present.is_paused != is_paused) {
            let event_type = if is_paused { definition::PAUSED } else { definition::RESUMED };
            self.record(&mut definitions, event_type, definition::removed_data(&key)).await?;
        }
        let projections = &self.inner.projections;
        let told = if is_paused { projections.pause(&handle).await } else { projections.resume(&handle).await };
        if told { Ok(()) } else { Err(closing()) }
    }

    fn status_of(&self, handle: &Handle) -> ProjectionStatus {
        // An idle worker may not have looked for some milliseconds.
        handle.look();
        let (live, head) = (&handle.live, self.end());
        // In the order in which they change, so that no state is told that never was: ordered, built beside, in use.
        let is_turning = handle.is_turning();
        let building = handle.building();
        let (live_state, live_failure) = live.state();
        let (state, error) = match building.as_ref().map(|building| building.state()) {
            Some((State::Running | State::Rebuilding, _)) => match handle.held_up() {
                Some((state, failure)) => (state, Some(failure)),
                None => (State::Rebuilding, live_failure),
            },
            Some((State::Failed, failure)) if is_turning => (State::Rebuilding, failure),
            Some((state, failure)) => (state, failure),
            None if is_turning && matches!(live_state, State::Running | State::Failed) => (State::Rebuilding, live_failure),
            None => (live_state, live_failure),
        };
        let checkpoint = live.applied();
        let lag_events = distance(&checkpoint, &head);
        let lag_ms = match live.last_recorded_at() {
            Some(recorded_at) if lag_events > 0 => {
                let now = jiff::Timestamp::now().as_microsecond();
                u64::try_from(now.saturating_sub(recorded_at.as_micros()) / 1_000).unwrap_or(0)
            }
            _ => 0,
        };
        let spec = handle.spec();
        ProjectionStatus {
            name: handle.name.clone(),
            state,
            target: handle.place.target().described(),
            on_error: spec.on_error,
            lag_events,
            lag_ms,
            events_per_second: live.events_per_second(),
            error,
            rebuild: building.map(|building| {
                let at = building.applied();
                let (gone, took) = building.pace();
                let (done, total) = (distance(&Cursor::start(self.router()), &at), distance(&Cursor::start(self.router()), &head));
                let left = u32::try_from(total.saturating_sub(done)).unwrap_or(u32::MAX);
                let eta = (gone > 0).then(|| took.div_f64(u32::try_from(gone).map_or(f64::from(u32::MAX), f64::from)).saturating_mul(left));
                RebuildStatus { checkpoint: at, done, total, eta, events_per_second: building.events_per_second() }
            }),
            checkpoint,
            head,
        }
    }
}

/// Waits until the rows that readers see are of everything up to `min`.
pub(super) async fn reach(handle: &Handle, min: &Cursor, wait: Duration) -> Result<(), Error> {
    let mut applied = handle.live.watch_applied();
    if applied.borrow().covers(min) {
        return Ok(());
    }
    // A worker whom nothing was written for looks at the log when it is told to; and the log's end comes into sight a moment after the
    // answer to an append.
    let looking = async {
        let mut look_again_in = LOOK_FIRST;
        loop {
            handle.look();
            let reached = tokio::time::timeout(look_again_in, applied.wait_for(|applied| applied.covers(min))).await;
            if let Ok(reached) = reached {
                return reached.is_ok();
            }
            look_again_in = (look_again_in * 2).min(LOOK_MAX);
        }
    };
    if tokio::time::timeout(wait, looking).await == Ok(true) {
        return Ok(());
    }
    let (state, failure) = handle.live.state();
    let reason = failure.map(|failure| format!(": {}", failure.reason)).unwrap_or_default();
    let detail = match state {
        State::Running | State::Rebuilding => "it is on its way; ask again, or wait longer".to_owned(),
        State::Paused => "the projection is paused; resume it".to_owned(),
        State::Retrying => format!("its target does not answer{reason}"),
        State::Failed => format!("the projection has failed{reason}"),
    };
    let position = handle.live.applied().to_string();
    Err(Error::ReadModelBehind { view: handle.name.clone(), position, min_position: min.to_string(), detail })
}

/// When somebody who waits for a projection has it look at the log again, at first and in the end.
const LOOK_FIRST: Duration = Duration::from_millis(1);
const LOOK_MAX: Duration = Duration::from_millis(16);

/// What is wrong with the name of a projection: it is a part of paths.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let detail = match factum_storage::check_name(name) {
        Err(error) => error.to_string(),
        Ok(()) if name.starts_with('$') => "must not begin with $, which is the system's".to_owned(),
        Ok(()) if name.contains('/') => "must not hold a /".to_owned(),
        Ok(()) => return Ok(()),
    };
    Err(Error::Invalid { field: "name".to_owned(), detail })
}

pub(super) fn from_refused(file: &str, refused: Refused) -> Error {
    match refused {
        Refused::Definition { pointer, detail } => super::definitions::fault(crate::error::DefinitionFault {
            what: file.to_owned(),
            detail,
            pointer: Some(pointer.to_owned()),
            ..crate::error::DefinitionFault::default()
        }),
        Refused::Closing => closing(),
    }
}

fn closing() -> Error {
    Error::Unavailable { shard: 0, detail: "the database closes".to_owned() }
}

/// How many positions lie between two cursors.
fn distance(from: &Cursor, to: &Cursor) -> u64 {
    from.positions().iter().zip(to.positions()).map(|(from, to)| to.get().saturating_sub(from.get())).sum()
}
