//! Which problem is an error of the database? One `match` without a `_` arm, so a new error must be given its answer here.

use factum_storage as storage;
use storage::ExpectedVersion;
use storage::FailedCheck;

use super::Problem;
use super::Slug;
use crate::Error;
use crate::error::DefinitionFault;
use crate::error::SchemaFault;
use crate::error::ScriptFault;
use crate::http::answer::push_texts;
use crate::subscription::event_json::push_uuid;
use crate::subscription::json_text::push_string;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Storage(error) => from_storage(error),
            Error::Invalid { field, detail } => Self::malformed(&field, detail),
            Error::SystemStream { stream } => {
                Self::new(Slug::Forbidden, "streams whose name begins with $ belong to the system").with_text("stream", &stream)
            }
            Error::CrossShard { streams, partition_key } => cross_shard(&streams, &partition_key),
            Error::StreamNotFound { stream } => Self::new(Slug::StreamNotFound, "the stream has no events").with_text("stream", &stream),
            Error::EventNotFound { what } => Self::new(Slug::EventNotFound, format!("{what} was not found")),
            Error::BadCursor { cursor: _, detail } => Self::malformed("after", format!("not a cursor of this database: {detail}")),
            Error::Overloaded { shard } => {
                Self::new(Slug::ShardUnavailable, format!("shard {shard} has too much to do")).with_text("outcome", "not-stored")
            }
            Error::Unavailable { shard, detail } => Self::new(Slug::ShardUnavailable, format!("shard {shard} is not available"))
                .with_text("outcome", "unknown")
                .caused_by(&detail),
            Error::ShardFailed { shard, detail } => shard_failed(shard, &detail),
            Error::Residency { field, detail } => Self::new(Slug::ResidencyViolation, detail).with_text("field", &field),
            Error::TopologyConflict { detail } => Self::new(Slug::TopologyConflict, detail),
            Error::NoSuchPart { what } => Self::new(Slug::PartNotFound, format!("there is no {what}")),
            Error::InvalidDefinition(fault) => invalid_definition(&fault),
            Error::DefinitionNotFound { what } => Self::new(Slug::DefinitionNotFound, format!("{what} is not defined")),
            Error::SubscriptionFailed { name, detail } => Self::new(Slug::SubscriptionFailed, detail).with_text("subscription", &name),
            Error::DefinitionExists { what } => Self::new(Slug::DefinitionExists, format!("{what} is there with other content")),
            Error::SchemaViolation(fault) => schema_violation(&fault),
            Error::CommandRejected { code, message } => {
                Self::new(Slug::CommandRejected, message.clone()).with_text("code", &code).with_text("reason", &message)
            }
            Error::CommandNotFound { category, command, known } => {
                Self::new(Slug::CommandNotFound, format!("category {category} has no command {command}"))
                    .with_text("field", "command")
                    .with_text("command", &command)
                    .with_json("known", texts_json(&known))
            }
            Error::ViewNotFound { view, known, elsewhere } => {
                let detail = match elsewhere {
                    Some(target) => format!("the rows of projection {view} are in {target}: they are read there"),
                    None => format!("there is no view {view}"),
                };
                Self::new(Slug::ViewNotFound, detail)
                    .with_text("field", "view")
                    .with_text("view", &view)
                    .with_json("known", texts_json(&known))
            }
            Error::ReadModelBehind { view, position, min_position, detail } => {
                Self::new(Slug::ReadModelBehind, format!("view {view} is at {position}, and {min_position} is wanted: {detail}"))
                    .with_text("view", &view)
                    .with_text("position", &position)
                    .with_text("min_position", &min_position)
            }
            Error::ProjectionConflict { name, detail } => Self::new(Slug::ProjectionConflict, detail).with_text("projection", &name),
            Error::TargetUnavailable { view, detail } => {
                Self::new(Slug::TargetUnavailable, format!("the rows of {view}: {detail}")).with_text("view", &view)
            }
            Error::LakeUnavailable { export, detail } => Self::new(Slug::TargetUnavailable, detail).with_text("export", &export),
            Error::InvalidQuery { detail, line, column } => with_place(Self::malformed("query", detail), line, column),
            Error::QueryLimit { limit, detail } => Self::new(Slug::QueryLimitExceeded, detail).with_text("limit", limit),
            Error::SqlBusy => Self::new(Slug::TooManyRequests, "too many queries are running, and enough are waiting"),
            Error::Script(fault) => script_failed(&fault),
            Error::ScriptsBusy => Self::new(Slug::TooManyRequests, "too many scripts are waiting"),
            Error::HistoryUnreadable { stream, version, detail } => {
                Self::new(Slug::HistoryUnreadable, format!("event {version}: {detail}"))
                    .with_text("stream", &stream)
                    .with_json("version", version.to_string())
            }
        }
    }
}

fn cross_shard(streams: &[(String, u16)], partition_key: &str) -> Problem {
    let detail =
        format!("the streams of this transaction live on several shards; with {{{partition_key}}} in their names they would share one");
    Problem::new(Slug::CrossShardTransaction, detail)
        .with_text("field", "appends")
        .with_json("streams", streams_json(streams))
        .with_text("partition_key", partition_key)
}

fn shard_failed(shard: u16, detail: &str) -> Problem {
    Problem::new(Slug::ShardUnavailable, format!("shard {shard} can't be used; the others serve"))
        .with_json("shard", shard.to_string())
        .with_text("outcome", "not-stored")
        .caused_by(&detail)
}

fn invalid_definition(fault: &DefinitionFault) -> Problem {
    let problem =
        Problem::new(Slug::InvalidDefinition, fault.detail.clone()).with_text("field", &fault.what).with_text("what", &fault.what);
    let problem = with_place(problem, fault.line, fault.column);
    let problem = match &fault.pointer {
        Some(pointer) => problem.with_text("pointer", pointer),
        None => problem,
    };
    if fault.breaks.is_empty() { problem } else { problem.with_json("breaks", places_json(&fault.breaks)) }
}

fn schema_violation(fault: &SchemaFault) -> Problem {
    let problem = Problem::new(Slug::SchemaViolation, format!("{}: {}", fault.field, fault.detail))
        .with_text("field", &fault.field)
        .with_text("event_type", &fault.event_type)
        .with_json("schema_version", fault.schema_version.to_string());
    let problem = match fault.violations.first() {
        Some((pointer, _)) => problem.with_text("pointer", pointer),
        None => problem,
    };
    problem.with_json("violations", places_json(&fault.violations))
}

fn script_failed(fault: &ScriptFault) -> Problem {
    let problem = Problem::new(Slug::ScriptFailed, fault.message.clone()).with_text("kind", fault.kind).with_text("file", &fault.file);
    let problem = with_place(problem, fault.line, fault.column);
    match fault.version {
        Some(version) => problem.with_json("version", version.to_string()),
        None => problem,
    }
}

fn with_place(problem: Problem, line: Option<u32>, column: Option<u32>) -> Problem {
    [("line", line), ("column", column)].into_iter().fold(problem, |problem, (name, number)| match number {
        Some(number) => problem.with_json(name, number.to_string()),
        None => problem,
    })
}

fn places_json(places: &[(String, String)]) -> String {
    let mut out = Vec::from(b"[".as_slice());
    for (number, (pointer, detail)) in places.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"pointer\":");
        push_string(&mut out, pointer);
        out.extend_from_slice(b",\"detail\":");
        push_string(&mut out, detail);
        out.push(b'}');
    }
    out.push(b']');
    String::from_utf8_lossy(&out).into_owned()
}

fn texts_json(texts: &[String]) -> String {
    let mut out = Vec::new();
    push_texts(&mut out, texts);
    String::from_utf8_lossy(&out).into_owned()
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
            Problem::new(Slug::ShardUnavailable, "the disk failed while this was written; retry with the same event ids")
                .with_text("outcome", "unknown")
                .caused_by(&cause)
        }
        storage::Error::Poisoned(cause) => {
            Problem::new(Slug::ShardUnavailable, "the shard takes no appends since its disk failed; it needs a restart")
                .with_text("outcome", "not-stored")
                .caused_by(&cause)
        }
        storage::Error::ReadOnly(damage) => {
            Problem::new(Slug::StoreReadOnly, "the shard's log is damaged; it takes no appends until it is repaired").caused_by(&damage)
        }
        storage::Error::Corrupt(damage) => Problem::new(Slug::InternalError, "what was asked for lies in a damaged part of the log")
            .with_json("first_position", damage.first.get().to_string())
            .with_json("last_position", damage.last.get().to_string())
            .caused_by(&damage),
        storage::Error::LogMissing(cause) => {
            Problem::new(Slug::ShardUnavailable, "a shard that the stream has lived on can't be used; streams that never did are served")
                .with_text("outcome", "not-stored")
                .caused_by(&cause)
        }
        error @ (storage::Error::UnknownFormat { .. } | storage::Error::Locked { .. } | storage::Error::Io { .. }) => {
            let source = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
            Problem::new(Slug::InternalError, "the server could not read or write its files").caused_by(&format!("{error}{source}"))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::response::IntoResponse;
    use factum_storage::Damage;
    use factum_storage::EventId;
    use factum_storage::Position;
    use factum_storage::StreamName;
    use factum_storage::Version;
    use http::header;

    use super::*;

    #[test]
    fn every_error_has_its_answer_and_its_cause_stays_here() {
        let stream = StreamName::new("s").unwrap();
        let position = Position::new(7);
        let damage = Arc::new(Damage { file: "hidden".into(), offset: 1, first: position, last: position, detail: "hidden".into() });
        let version = FailedCheck::Version { stream: stream.clone(), expected: ExpectedVersion::Any, actual: Version::new(1) };
        let id = EventId::from_bytes([7; 16]);
        let condition = FailedCheck::Condition { index: 0, position, event_id: id };
        let hidden: Arc<str> = "hidden".into();
        let io = Arc::new(std::io::Error::other("hidden"));
        let cases: Vec<(Error, &str, u16)> = vec![
            (storage::Error::Conflict([condition.clone()].into()).into(), "condition-failed", 409),
            (storage::Error::Conflict([condition, version].into()).into(), "wrong-expected-version", 409),
            (storage::Error::StreamDeleted(stream.clone()).into(), "stream-deleted", 410),
            (storage::Error::StreamNotFound(stream).into(), "stream-not-found", 404),
            (storage::Error::EventIdReused { id, position }.into(), "event-id-reused", 409),
            (storage::Error::TooLarge { what: "it", actual: 2, max: 1 }.into(), "payload-too-large", 413),
            (storage::Error::StorageFull.into(), "storage-full", 507),
            (storage::Error::OutcomeUnknown(Arc::clone(&hidden)).into(), "shard-unavailable", 503),
            (storage::Error::Poisoned(Arc::clone(&hidden)).into(), "shard-unavailable", 503),
            (storage::Error::ReadOnly(Arc::clone(&damage)).into(), "store-read-only", 503),
            (storage::Error::Corrupt(damage).into(), "internal-error", 500),
            (storage::Error::UnknownFormat { file: Arc::clone(&hidden), found: 2, known: 1 }.into(), "internal-error", 500),
            (storage::Error::Locked { file: Arc::clone(&hidden), owner: Arc::clone(&hidden) }.into(), "internal-error", 500),
            (storage::Error::LogMissing("hidden".into()).into(), "shard-unavailable", 503),
            (storage::Error::Io { context: hidden, source: io }.into(), "internal-error", 500),
            (Error::Invalid { field: "f".into(), detail: "d".into() }, "malformed-request", 400),
            (Error::SystemStream { stream: "$s".into() }, "forbidden", 403),
            (Error::CrossShard { streams: [("s".into(), 0)].into(), partition_key: "s".into() }, "cross-shard-transaction", 422),
            (Error::StreamNotFound { stream: "s".into() }, "stream-not-found", 404),
            (Error::EventNotFound { what: "it".into() }, "event-not-found", 404),
            (Error::BadCursor { cursor: "hidden".into(), detail: "d".into() }, "malformed-request", 400),
            (Error::Overloaded { shard: 0 }, "shard-unavailable", 503),
            (Error::Unavailable { shard: 0, detail: "hidden".into() }, "shard-unavailable", 503),
            (Error::ShardFailed { shard: 0, detail: "hidden".into() }, "shard-unavailable", 503),
            (Error::Residency { field: "f".into(), detail: "d".into() }, "residency-violation", 422),
            (Error::TopologyConflict { detail: "d".into() }, "topology-conflict", 409),
            (Error::NoSuchPart { what: "job".into() }, "part-not-found", 404),
            (Error::InvalidDefinition(Box::default()), "invalid-definition", 422),
            (Error::DefinitionNotFound { what: "it".into() }, "definition-not-found", 404),
            (Error::DefinitionExists { what: "it".into() }, "definition-exists", 409),
            (Error::LakeUnavailable { export: "e".into(), detail: "d".into() }, "target-unavailable", 503),
            (Error::SubscriptionFailed { name: "n".into(), detail: "d".into() }, "subscription-failed", 503),
            (Error::SchemaViolation(Box::new(violation())), "schema-violation", 422),
            (Error::CommandRejected { code: "c".into(), message: "m".into() }, "command-rejected", 422),
            (Error::CommandNotFound { category: "c".into(), command: "d".into(), known: vec!["e".into()] }, "command-not-found", 404),
            (Error::Script(Box::new(script())), "script-failed", 422),
            (Error::ScriptsBusy, "too-many-requests", 429),
            (Error::HistoryUnreadable { stream: "s".into(), version: 1, detail: "d".into() }, "history-unreadable", 422),
        ];
        for (error, slug, status) in cases {
            let problem = Problem::from(error);
            let json: serde_json::Value = serde_json::from_slice(&problem.to_json()).unwrap();
            assert_eq!((&json["type"], &json["status"]), (&format!("urn:factum:problem:{slug}").into(), &status.into()), "{json}");
            assert!(!json.to_string().contains("hidden"), "{json}");
            assert!(problem.slug() != Slug::InternalError || problem.cause().is_some_and(|cause| cause.contains("hidden")), "{json}");
            let response = problem.into_response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), matches!(status, 429 | 503), "{json}");
        }
    }

    fn violation() -> SchemaFault {
        let violations = vec![("/a".to_owned(), "is no number".to_owned()), ("/b".to_owned(), "is missing".to_owned())];
        SchemaFault {
            field: "events[0].data".into(),
            detail: "/a: is no number".into(),
            event_type: "T".into(),
            schema_version: 2,
            violations,
        }
    }

    fn script() -> ScriptFault {
        let (file, message) = ("aggregates/a.js".to_owned(), "boom".to_owned());
        ScriptFault { kind: "threw", message, file, line: Some(3), column: Some(5), version: Some(7) }
    }

    #[test]
    fn problems_of_definitions_name_the_place() {
        let json = |error: Error| -> serde_json::Value { serde_json::from_slice(&Problem::from(error).to_json()).unwrap() };
        let found = json(Error::SchemaViolation(Box::new(violation())));
        assert_eq!(
            (&found["field"], &found["pointer"], &found["violations"][1]["pointer"]),
            (&"events[0].data".into(), &"/a".into(), &"/b".into())
        );
        let found = json(Error::Script(Box::new(script())));
        assert_eq!((&found["line"], &found["column"], &found["version"]), (&3.into(), &5.into(), &7.into()));
        let fault =
            DefinitionFault { what: "w".into(), line: Some(1), breaks: vec![("/p".into(), "d".into())], ..DefinitionFault::default() };
        let found = json(Error::InvalidDefinition(Box::new(fault)));
        assert_eq!((&found["what"], &found["line"], &found["breaks"][0]["detail"]), (&"w".into(), &1.into(), &"d".into()));
        assert!(found.get("column").is_none() && found.get("pointer").is_none(), "{found}");
        let found = json(Error::CommandRejected { code: "c".into(), message: "m".into() });
        assert_eq!((&found["code"], &found["reason"], &found["detail"]), (&"c".into(), &"m".into(), &"m".into()));
    }
}
