//! What does the server itself append? Events of the system's streams, all made alike.

use bytes::Bytes;
use factum_storage as storage;
use storage::EventId;
use storage::NewEvent;

/// A new event for a stream of the system.
pub(crate) fn system_event(event_type: &str, data: impl Into<Bytes>) -> NewEvent {
    NewEvent {
        id: EventId::from_bytes(*uuid::Uuid::now_v7().as_bytes()),
        id_is_fresh: true,
        event_type: event_type.into(),
        schema_version: 1,
        occurred_at: None,
        tags: Vec::new(),
        metadata: Bytes::new(),
        data: data.into(),
    }
}
