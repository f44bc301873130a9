//! In which shape do events go in and come out? In by the schema of their type, out in the newest version of it.

use std::sync::Arc;

use factum_storage::NewEvent;
use factum_storage::RecordedEvent;
use futures::future::BoxFuture;

use super::Database;
use super::refusals::violation;
use crate::Error;
use crate::schema::Registry;
use crate::script;
use crate::script::ScriptError;
use crate::subscription::Event;
use crate::subscription::Reshape;

impl Database {
    /// Gives events without a schema version the newest of their type (1 if it has no schema), and checks their data against it. `field`
    /// is where the list of events stands.
    pub(super) fn check_shapes(&self, events: &mut [NewEvent], field: impl Fn() -> String) -> Result<(), Error> {
        let schemas = &self.inner.schemas;
        for (index, event) in events.iter_mut().enumerate() {
            let Some(newest) = schemas.newest(&event.event_type) else {
                event.schema_version = event.schema_version.max(1);
                continue;
            };
            if event.schema_version == 0 {
                event.schema_version = newest;
            }
            schemas.validate(&event.event_type, event.schema_version, &event.data).map_err(|error| {
                let event = format!("{}[{index}]", field());
                violation(format!("{event}.data"), format!("{event}.schema_version"), error)
            })?;
        }
        Ok(())
    }

    /// Events of one shard as this database's readers see them.
    pub(super) async fn shaped(&self, shard: u16, events: Vec<RecordedEvent>) -> Result<Vec<RecordedEvent>, Error> {
        if self.reads_stored || !self.inner.schemas.reshapes() || events.is_empty() {
            return Ok(events);
        }
        let with_shard = events.into_iter().map(|event| (shard, event)).collect();
        let shaped = self.inner.schemas.upcast(with_shard).await.map_err(unshaped)?;
        Ok(shaped.into_iter().map(|(_, event)| event).collect())
    }

    /// Events of several shards as this database's readers see them.
    pub(super) async fn all_shaped(&self, events: Vec<Event>) -> Result<Vec<Event>, Error> {
        if self.reads_stored || !self.inner.schemas.reshapes() || events.is_empty() {
            return Ok(events);
        }
        let with_shard = events.into_iter().map(|event| (event.shard, event.record)).collect();
        let shaped = self.inner.schemas.upcast(with_shard).await.map_err(unshaped)?;
        Ok(shaped.into_iter().map(|(shard, record)| Event { shard, record }).collect())
    }

    /// What brings a feed's events into shape.
    pub(super) fn reshaper(&self) -> Option<Arc<dyn Reshape>> {
        if self.reads_stored { None } else { Some(newest(&self.inner.schemas)) }
    }
}

/// What brings events into the newest shape.
pub(super) fn newest(schemas: &Arc<Registry>) -> Arc<dyn Reshape> {
    Arc::new(Newest(Arc::clone(schemas)))
}

/// Brings the events of feeds into the newest shape.
struct Newest(Arc<Registry>);

impl Reshape for Newest {
    fn is_needed(&self) -> bool {
        self.0.reshapes()
    }

    #[cfg(feature = "analytics")]
    fn generation(&self) -> u64 {
        self.0.shape_hash().first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
    }

    fn reshape(&self, events: Vec<(u16, RecordedEvent)>) -> BoxFuture<'_, Result<Vec<(u16, RecordedEvent)>, Error>> {
        Box::pin(async move { self.0.upcast(events).await.map_err(unshaped) })
    }
}

/// The sandbox itself has failed, and not one upcaster: that is told on its event.
fn unshaped(error: ScriptError) -> Error {
    if error.kind == script::Kind::Busy { Error::ScriptsBusy } else { Error::Unavailable { shard: 0, detail: error.to_string() } }
}
