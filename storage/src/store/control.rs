//! How do deletes and retention stand in the log? As control records: events of `$streams` whose tags are their parameters.

use std::sync::Arc;

use bytes::Bytes;

use crate::EventId;
use crate::NewEvent;
use crate::RecordedEvent;
use crate::Retention;
use crate::StreamName;
use crate::Version;
use crate::index::Change;

/// The event that says so.
pub(super) fn event(stream: &StreamName, change: Change, id: EventId) -> NewEvent {
    // The name alone: with a word before it, a long name would not fit into a tag.
    let mut tags: Vec<Arc<str>> = vec![stream.as_str().into()];
    let event_type = match change {
        Change::Deleted { before_version } => {
            tags.push(tag("before_version", before_version));
            DELETED
        }
        Change::Tombstoned => TOMBSTONED,
        Change::Retention(Retention { max_count, max_age_us, before_version }) => {
            tags.extend(max_count.map(|count| tag("max_count", count)));
            tags.extend(max_age_us.map(|age| tag("max_age_us", age)));
            tags.extend(before_version.map(|version| tag("before_version", version)));
            RETENTION
        }
    };
    NewEvent {
        id,
        id_is_fresh: true,
        event_type: event_type.into(),
        schema_version: 1,
        occurred_at: None,
        tags,
        metadata: Bytes::new(),
        data: Bytes::from_static(b"{}"),
    }
}

/// What a control record says, and of which stream; `None` if it is of a kind that this build does not know.
pub(super) fn parse(event: &RecordedEvent) -> Option<(&str, Change)> {
    let parameter = |name: &str| event.tags().skip(1).find_map(|tag| tag.strip_prefix(name)?.strip_prefix(':'));
    let number = |name: &str| parameter(name).and_then(|text| text.parse::<u64>().ok());
    let change = match event.event_type() {
        DELETED => Change::Deleted { before_version: Version::new(number("before_version")?) },
        TOMBSTONED => Change::Tombstoned,
        RETENTION => Change::Retention(Retention {
            max_count: number("max_count"),
            max_age_us: number("max_age_us"),
            before_version: number("before_version").map(Version::new),
        }),
        _ => return None,
    };
    Some((event.tags().next()?, change))
}

fn tag(name: &str, value: impl std::fmt::Display) -> Arc<str> {
    format!("{name}:{value}").into()
}

const DELETED: &str = "$deleted";
const TOMBSTONED: &str = "$tombstoned";
const RETENTION: &str = "$retention";
