//! How do deletes and retention stand in the log? As control records: events of `$streams` whose tags are their parameters.

use std::sync::Arc;

use bytes::Bytes;

use crate::EventId;
use crate::NewEvent;
use crate::RecordedEvent;
use crate::Retention;
use crate::StreamHead;
use crate::StreamName;
use crate::Timestamp;
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
            tags.extend(retention(max_count, max_age_us, before_version));
            RETENTION
        }
        Change::Adopted(left) => {
            let Retention { max_count, max_age_us, before_version } = left.retention;
            tags.push(tag("version", left.version));
            tags.push(tag("deleted_through", left.deleted_through));
            tags.push(tag("created_at_us", left.created_at.as_micros()));
            tags.push(tag("updated_at_us", left.updated_at.as_micros()));
            let flags = [("is_deleted", left.is_deleted), ("is_tombstoned", left.is_tombstoned), ("was_retained", left.was_retained)];
            tags.extend(flags.into_iter().filter(|(_, holds)| *holds).map(|(name, _)| Arc::from(name)));
            tags.extend(retention(max_count, max_age_us, before_version));
            ADOPTED
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
    let time = |name: &str| parameter(name).and_then(|text| text.parse().ok()).map(Timestamp::from_micros);
    let has = |name: &str| event.tags().skip(1).any(|tag| tag == name);
    let retention = || Retention {
        max_count: number("max_count"),
        max_age_us: number("max_age_us"),
        before_version: number("before_version").map(Version::new),
    };
    let change = match event.event_type() {
        DELETED => Change::Deleted { before_version: Version::new(number("before_version")?) },
        TOMBSTONED => Change::Tombstoned,
        RETENTION => Change::Retention(retention()),
        ADOPTED => Change::Adopted(StreamHead {
            version: Version::new(number("version")?),
            deleted_through: Version::new(number("deleted_through")?),
            last_position: event.position(),
            created_at: time("created_at_us")?,
            updated_at: time("updated_at_us")?,
            is_deleted: has("is_deleted"),
            is_tombstoned: has("is_tombstoned"),
            retention: retention(),
            was_retained: has("was_retained"),
            is_adopted: true,
        }),
        _ => return None,
    };
    Some((event.tags().next()?, change))
}

fn retention(max_count: Option<u64>, max_age_us: Option<u64>, before_version: Option<Version>) -> impl Iterator<Item = Arc<str>> {
    let count = max_count.map(|count| tag("max_count", count));
    let age = max_age_us.map(|age| tag("max_age_us", age));
    count.into_iter().chain(age).chain(before_version.map(|version| tag("before_version", version)))
}

fn tag(name: &str, value: impl std::fmt::Display) -> Arc<str> {
    format!("{name}:{value}").into()
}

const DELETED: &str = "$deleted";
const TOMBSTONED: &str = "$tombstoned";
const RETENTION: &str = "$retention";
const ADOPTED: &str = "$adopted";
