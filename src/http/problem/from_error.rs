//! Which problem is an error of the database? One `match` without a `_` arm, so a new error must be given its answer here.

use factum_storage as storage;
use storage::ExpectedVersion;
use storage::FailedCheck;

use super::Problem;
use super::Slug;
use crate::Error;
use crate::http::event_json::push_uuid;
use crate::http::json_text::push_string;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Storage(error) => from_storage(error),
            Error::Invalid { field, detail } => Self::malformed(&field, detail),
            Error::SystemStream { stream } => {
                Self::new(Slug::Forbidden, "streams whose name begins with $ belong to the system").with_text("stream", &stream)
            }
            Error::CrossShard { streams } => {
                Self::new(Slug::CrossShardTransaction, "the streams of this transaction live on several shards")
                    .with_json("streams", streams_json(&streams))
            }
            Error::StreamNotFound { stream } => Self::new(Slug::StreamNotFound, "the stream has no events").with_text("stream", &stream),
            Error::EventNotFound { what } => Self::new(Slug::EventNotFound, format!("{what} was not found")),
            Error::BadCursor { cursor: _, detail } => Self::malformed("after", format!("not a cursor of this database: {detail}")),
            Error::Overloaded { shard } => {
                Self::new(Slug::ShardUnavailable, format!("shard {shard} has too much to do")).with_text("outcome", "not-stored")
            }
            Error::Unavailable { shard, detail } => {
                tracing::warn!(shard, detail, "shard unavailable");
                Self::new(Slug::ShardUnavailable, format!("shard {shard} is not available")).with_text("outcome", "unknown")
            }
        }
    }
}

fn from_storage(error: storage::Error) -> Problem {
    match error {
        storage::Error::Conflict(failed) => transaction_conflict(&failed),
        storage::Error::StreamDeleted(stream) => {
            Problem::new(Slug::StreamDeleted, "the stream was deleted for ever").with_text("stream", stream.as_str())
        }
        storage::Error::StreamNotFound(stream) => {
            Problem::new(Slug::StreamNotFound, "the stream has no events").with_text("stream", stream.as_str())
        }
        storage::Error::EventIdReused { id, position } => {
            let mut text = Vec::with_capacity(36);
            push_uuid(&mut text, id.as_bytes());
            Problem::new(Slug::EventIdReused, "an event with this id and other content is stored already")
                .with_text("event_id", &String::from_utf8_lossy(&text))
                .with_json("position", position.get().to_string())
        }
        storage::Error::TooLarge { what, actual, max } => {
            Problem::new(Slug::PayloadTooLarge, format!("{what} is {actual}, at most {max} are allowed"))
        }
        storage::Error::StorageFull => Problem::new(Slug::StorageFull, "no space left for the log"),
        storage::Error::OutcomeUnknown(cause) => {
            tracing::error!(%cause, "the outcome of an append is unknown");
            Problem::new(Slug::ShardUnavailable, "the disk failed while this was written; retry with the same event ids")
                .with_text("outcome", "unknown")
        }
        storage::Error::Poisoned(cause) => {
            tracing::warn!(%cause, "refused: closed to writes since a failed write or sync");
            Problem::new(Slug::ShardUnavailable, "the shard takes no appends since its disk failed; it needs a restart")
                .with_text("outcome", "not-stored")
        }
        storage::Error::ReadOnly(damage) => {
            tracing::warn!(%damage, "refused: the log is damaged");
            Problem::new(Slug::StoreReadOnly, "the shard's log is damaged; it takes no appends until it is repaired")
        }
        storage::Error::Corrupt(damage) => {
            tracing::error!(%damage, "a read met damage");
            Problem::new(Slug::InternalError, "what was asked for lies in a damaged part of the log")
                .with_json("first_position", damage.first.get().to_string())
                .with_json("last_position", damage.last.get().to_string())
        }
        error @ (storage::Error::UnknownFormat { .. } | storage::Error::Locked { .. } | storage::Error::Io { .. }) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the disk said no");
            Problem::new(Slug::InternalError, "the server could not read or write its files")
        }
    }
}

/// The 409 of a transaction: `failed` lists every check that did not hold.
fn transaction_conflict(failed: &[FailedCheck]) -> Problem {
    let is_version = failed.iter().any(|check| matches!(check, FailedCheck::Version { .. }));
    let slug = if is_version { Slug::WrongExpectedVersion } else { Slug::ConditionFailed };
    let mut json = Vec::new();
    json.push(b'[');
    for (number, check) in failed.iter().enumerate() {
        if number > 0 {
            json.push(b',');
        }
        push_failed(&mut json, check);
    }
    json.push(b']');
    let detail = if failed.len() == 1 { "one check failed".to_owned() } else { format!("{} checks failed", failed.len()) };
    Problem::new(slug, detail).with_json("failed", String::from_utf8_lossy(&json))
}

fn push_failed(out: &mut Vec<u8>, check: &FailedCheck) {
    match check {
        FailedCheck::Version { stream, expected, actual } => {
            out.extend_from_slice(b"{\"kind\":\"version\",\"stream\":");
            push_string(out, stream.as_str());
            let rest = format!(",\"expected_version\":{},\"actual_version\":{actual}}}", expected_json(*expected));
            out.extend_from_slice(rest.as_bytes());
        }
        FailedCheck::Condition { index, position, event_id } => {
            out.extend_from_slice(format!("{{\"kind\":\"condition\",\"index\":{index},\"position\":{position},\"event_id\":\"").as_bytes());
            push_uuid(out, event_id.as_bytes());
            out.extend_from_slice(b"\"}");
        }
    }
}

/// The members of a failed append: what was expected, where the stream is, and what came in between (a JSON array).
pub(crate) fn conflict_members(problem: Problem, expected: ExpectedVersion, actual: u64, conflicting_events: String) -> Problem {
    problem
        .with_json("expected_version", expected_json(expected))
        .with_json("actual_version", actual.to_string())
        .with_json("conflicting_events", conflicting_events)
}

fn expected_json(expected: ExpectedVersion) -> String {
    match expected {
        ExpectedVersion::Any => "\"any\"".to_owned(),
        ExpectedVersion::Exists => "\"exists\"".to_owned(),
        ExpectedVersion::Exact(version) => version.to_string(),
    }
}

fn streams_json(streams: &[(String, u16)]) -> String {
    let mut out = Vec::new();
    out.push(b'[');
    for (number, (stream, shard)) in streams.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"stream\":");
        push_string(&mut out, stream);
        out.extend_from_slice(format!(",\"shard\":{shard}}}").as_bytes());
    }
    out.push(b']');
    String::from_utf8_lossy(&out).into_owned()
}
