//! How is an event held that another process has read from its log?

use crate::DATA_BYTES_MAX;
use crate::METADATA_BYTES_MAX;
use crate::NewEvent;
use crate::Position;
use crate::STREAMS_STREAM;
use crate::StreamName;
use crate::TAGS_MAX;
use crate::Timestamp;
use crate::Version;
use crate::check_name;

use super::BadRecord;
use super::Place;
use super::RecordedEvent;
use super::encode;
use super::encoded_bytes;

impl RecordedEvent {
    /// An event that was read from another process's log, as that log has it.
    ///
    /// # Errors
    ///
    /// [`BadRecord`] if a log could not hold it: it was not read from one.
    pub fn of_another_log(
        (position, version): (Position, Version),
        recorded_at: Timestamp,
        stream: &StreamName,
        event: &NewEvent,
    ) -> Result<Self, BadRecord> {
        check_name(&event.event_type).map_err(|_| BadRecord("event type"))?;
        if event.tags.len() > TAGS_MAX || event.tags.iter().any(|tag| check_name(tag).is_err()) {
            return Err(BadRecord("tags"));
        }
        if event.data.len() > DATA_BYTES_MAX || event.metadata.len() > METADATA_BYTES_MAX {
            return Err(BadRecord("more bytes than an event has"));
        }
        let is_control = stream.as_str() == STREAMS_STREAM;
        let place = Place { position, version, recorded_at, stream: stream.as_str(), is_control };
        let mut bytes = Vec::with_capacity(encoded_bytes(stream.as_str(), event));
        encode(&place, event, &mut bytes);
        Self::decode(position, &bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventId;

    fn event(event_type: &str, tags: Vec<std::sync::Arc<str>>) -> NewEvent {
        let (id, data) = (EventId::from_bytes([7; 16]), "{\"n\":1}".into());
        let event_type = event_type.into();
        NewEvent { id, id_is_fresh: false, event_type, schema_version: 3, occurred_at: None, tags, metadata: "{}".into(), data }
    }

    fn held(stream: &str, event: &NewEvent) -> Result<RecordedEvent, BadRecord> {
        let stream = StreamName::new(stream).unwrap();
        RecordedEvent::of_another_log((Position::new(9), Version::new(4)), Timestamp::from_micros(5), &stream, event)
    }

    #[test]
    fn it_is_what_it_was() {
        let found = held("order-1", &event("Paid", vec!["a".into(), "b".into()])).unwrap();
        assert_eq!(
            (found.position(), found.version(), found.recorded_at()),
            (Position::new(9), Version::new(4), Timestamp::from_micros(5))
        );
        assert_eq!((found.stream(), found.event_type(), found.schema_version(), found.data()), ("order-1", "Paid", 3, &b"{\"n\":1}"[..]));
        assert_eq!((found.tags().collect::<Vec<_>>(), found.is_control()), (vec!["a", "b"], false));
        assert!(held(STREAMS_STREAM, &event("$deleted", vec!["order-1".into()])).unwrap().is_control());
    }

    #[test]
    fn what_no_log_could_hold_is_refused() {
        for bad in [event("", vec![]), event("T\n", vec![]), event("T", vec!["".into()]), event("T", vec!["a".into(); TAGS_MAX + 1])] {
            assert!(held("s", &bad).is_err(), "{bad:?}");
        }
        assert!(held("s", &NewEvent { data: vec![b' '; DATA_BYTES_MAX + 1].into(), ..event("T", vec![]) }).is_err());
    }
}
