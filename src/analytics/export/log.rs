//! Which events are for the lake, and is the log the one that it was filled from?

use std::sync::Arc;

use factum_storage::Direction;
use factum_storage::Filter;
use factum_storage::Position;

use super::fault::Fault;
use super::gather::Gathered;
use super::manifest::Manifest;
use crate::Error;
use crate::shard::Router;
use crate::subscription::Cursor;
use crate::subscription::Event;
use crate::subscription::Reshape;

/// The log, as an export reads it.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) router: Arc<Router>,
    pub(super) reshape: Option<Arc<dyn Reshape>>,
    pub(super) filter: Arc<Filter>,
}

impl Log {
    /// Names the shapes that events are brought into now.
    pub(super) fn shapes(&self) -> u64 {
        self.reshape.as_ref().map_or(0, |reshape| reshape.generation())
    }

    /// Checks that what is in the lake is of this log.
    ///
    /// # Errors
    ///
    /// [`Fault::Lasting`] if it is not.
    pub(super) async fn check(&self, manifest: &Manifest) -> Result<(), Fault> {
        manifest.through().check(&self.router, 0).map_err(|error| {
            Fault::Lasting(format!(
                "the lake was filled from another log, or the log has lost its end: {error}; give the export another url"
            ))
        })?;
        for (shard, last) in (0_u16..).zip(&manifest.last) {
            let Some(last) = last else { continue };
            let filter = Arc::new(Filter { include_system: true, ..Filter::default() });
            let before = Position::new(last.position.saturating_sub(1));
            let read = self.router.shard(shard).read_events(filter, before, Direction::Forward, 1, READ_BYTES).await;
            // One that is hidden by now can't tell; it was there, or the position would be beyond the end.
            let Some(event) = read.map_err(unreadable)?.events.into_iter().find(|event| event.position().get() == last.position) else {
                continue;
            };
            if *event.id().as_bytes() != *last.id.as_bytes() {
                let place = format!("position {} of shard {shard}", last.position);
                return Err(Fault::Lasting(format!(
                    "the lake was filled from another log: at {place} it has event {}, and the log has {}; give the export another url",
                    last.id,
                    uuid::Uuid::from_bytes(*event.id().as_bytes())
                )));
            }
        }
        Ok(())
    }

    /// Reads the wanted events behind what was gathered, up to a cursor and not further.
    pub(super) async fn replay(&self, gathered: &mut Gathered, through: &Cursor) -> Result<(), Fault> {
        for (number, end) in (0_u16..).zip(through.positions()) {
            let shard = self.router.shard(number);
            let mut after = gathered.through.position(number);
            while after < *end {
                let shapes = self.shapes();
                let read = shard.read_events(Arc::clone(&self.filter), after, Direction::Forward, READ_EVENTS, READ_BYTES).await;
                let slice = read.map_err(unreadable)?;
                after = slice.through;
                let is_at_end = slice.at_end;
                let wanted = slice.events.into_iter().filter(|event| event.position() <= *end);
                let mut events: Vec<_> = wanted.map(|event| (number, event.detached())).collect();
                if let Some(reshape) = self.reshape.as_ref().filter(|reshape| reshape.is_needed()) {
                    events = reshape.reshape(events).await.map_err(unreadable)?;
                }
                events.into_iter().for_each(|(shard, record)| gathered.push(Event { shard, record }, shapes));
                if is_at_end {
                    break;
                }
            }
        }
        gathered.through = through.clone();
        Ok(())
    }
}

/// Why the log can't be read.
pub(super) fn unreadable(error: Error) -> Fault {
    match error {
        Error::Unavailable { .. } => Fault::Stopped,
        error => Fault::Lasting(format!("the log can't be read: {error}")),
    }
}

const READ_EVENTS: usize = 2_048;
const READ_BYTES: usize = 4 << 20;
