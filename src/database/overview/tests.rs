//! Is each trouble told, once, with what to do, and nothing where all is well?

use std::sync::Arc;

use factum_storage as storage;

use super::*;
use crate::database::Cursor;
use crate::database::FailedEvent;
use crate::database::Failure;
use crate::database::Format;
use crate::database::OnError;
use crate::database::Position;
use crate::database::Terms;

fn shard() -> ShardStatus {
    ShardStatus {
        is_absent: false,
        location: None,
        log_id: [0; 16],
        shard: 3,
        appends: Ok(()),
        position: Position::new(10),
        streams: 1,
        log_bytes: 1,
        index_bytes: 1,
        index_lag_events: 0,
        queued_appends: 0,
        available_bytes: Some(1 << 40),
        feeds: 0,
        index_cache: (0, 0),
        receipt: (Position::ZERO, [0; 32]),
        opened: storage::OpenReport::default(),
    }
}

fn cursor(position: u64) -> Cursor {
    Cursor::new(vec![Position::new(position)])
}

fn projection(state: State, error: Option<Failure>) -> ProjectionStatus {
    ProjectionStatus {
        name: "rows".to_owned(),
        state,
        target: "embedded".to_owned(),
        on_error: OnError::Fail,
        checkpoint: cursor(1),
        head: cursor(10),
        lag_events: 9,
        lag_ms: 5,
        events_per_second: 0.0,
        error,
        rebuild: None,
    }
}

fn subscription() -> GroupStatus {
    GroupStatus {
        name: "mail".to_owned(),
        state: GroupState::Active,
        error: None,
        checkpoint: Some(cursor(1)),
        head: cursor(10),
        lag: 9,
        in_flight: 2,
        parked: 0,
        retrying: 0,
        held_back: 0,
        consumers: 1,
        terms: Arc::new(Terms::parse(Format::Toml, "").unwrap()),
    }
}

fn failure(reason: &str, event: Option<FailedEvent>) -> Option<Failure> {
    Some(Failure { reason: reason.to_owned(), event, attempts: 1 })
}

/// One trouble of this severity, whose words hold these.
#[track_caller]
fn check(found: impl IntoIterator<Item = Trouble>, severity: Severity, words: &[&str]) {
    let found: Vec<Trouble> = found.into_iter().collect();
    let [one] = &found[..] else { panic!("{found:?}") };
    assert_eq!(one.severity, severity, "{one:?}");
    let said = format!("{} {}: {}; {}", one.part, one.name, one.problem, one.todo);
    assert!(!one.todo.is_empty() && words.iter().all(|word| said.contains(word)), "{said}");
}

#[test]
fn what_is_well_is_not_told() {
    assert_eq!(of_shard(&shard()), []);
    assert_eq!(of_shard(&ShardStatus { available_bytes: None, ..shard() }), [], "a disk may not say");
    assert_eq!(of_projection(&projection(State::Running, None)), None);
    assert_eq!(of_projection(&projection(State::Rebuilding, None)), None);
    assert_eq!(of_subscription(&subscription()), [], "it is behind, and is being worked on");
    assert_eq!(of_subscription(&GroupStatus { state: GroupState::Idle, lag: 0, consumers: 0, ..subscription() }), []);
}

#[test]
fn troubles_of_shards() {
    let poisoned = storage::Error::Poisoned("sync: input/output error".into());
    check(of_shard(&ShardStatus { appends: Err(poisoned), ..shard() }), Severity::Critical, &["shard 3", "input/output", "restart"]);
    let damage =
        storage::Damage { file: "log/1.seg".into(), offset: 7, first: Position::new(1), last: Position::new(2), detail: "x".into() };
    let damaged = storage::Error::ReadOnly(Arc::new(damage));
    check(of_shard(&ShardStatus { appends: Err(damaged), ..shard() }), Severity::Critical, &["log/1.seg", "factum verify"]);
    let full = Err(storage::Error::StorageFull);
    check(of_shard(&ShardStatus { appends: full, ..shard() }), Severity::Critical, &["make space"]);
    check(of_shard(&ShardStatus { available_bytes: Some(1 << 20), ..shard() }), Severity::Critical, &["1.0 MiB", "507", "make space"]);
    check(of_shard(&ShardStatus { available_bytes: Some(1 << 30), ..shard() }), Severity::Warning, &["1.0 GiB", "retention"]);
    check(of_shard(&ShardStatus { index_lag_events: 2_000_000, ..shard() }), Severity::Warning, &["2000000 events behind"]);
    check(of_shard(&ShardStatus { queued_appends: 8_000, ..shard() }), Severity::Warning, &["8000 appends", "syncs"]);
}

#[test]
fn troubles_of_projections() {
    let event = FailedEvent { shard: 0, position: 7, stream: "hush-1".into(), version: 1, event_type: "Paid".into() };
    let trouble = of_projection(&projection(State::Failed, failure("the text \"hush\"", Some(event))));
    assert!(!format!("{trouble:?}").contains("hush"), "what events hold is not for everybody who may look: {trouble:?}");
    check(trouble, Severity::Critical, &["position 7", "factum projections rows skip"]);
    let failed = projection(State::Failed, failure("42501: permission denied", None));
    check(of_projection(&failed), Severity::Critical, &["42501", "factum projections rows resume"]);
    let retrying = projection(State::Retrying, failure("connection refused", None));
    check(of_projection(&retrying), Severity::Warning, &["connection refused", "catches up"]);
    check(of_projection(&projection(State::Paused, None)), Severity::Warning, &["9 events behind", "factum projections rows resume"]);
    let slow = ProjectionStatus { lag_ms: 90_000, ..projection(State::Running, None) };
    check(of_projection(&slow), Severity::Warning, &["9 events behind, 90 s", "factum_projection_batch_seconds"]);
}

#[test]
fn troubles_of_subscriptions() {
    let failed = GroupStatus { state: GroupState::Failed, error: Some("disk".to_owned()), ..subscription() };
    check(of_subscription(&failed), Severity::Critical, &["subscription mail", "disk"]);
    let blocked = GroupStatus { state: GroupState::Blocked, parked: 5, ..subscription() };
    check(of_subscription(&blocked), Severity::Critical, &["reads nothing more", "factum subscriptions mail --parked"]);
    let parked = GroupStatus { parked: 2, held_back: 4, ..subscription() };
    check(of_subscription(&parked), Severity::Warning, &["2 events aside", "hold back 4"]);
    let alone = GroupStatus { state: GroupState::Idle, consumers: 0, ..subscription() };
    check(of_subscription(&alone), Severity::Warning, &["9 events behind", "start its consumers"]);
}

#[cfg(feature = "analytics")]
#[test]
fn troubles_of_exports() {
    use crate::database::ExportFailure;

    let export = |state, reason: Option<&str>| ExportStatus {
        name: "lake".to_owned(),
        url: "file:///lake".to_owned(),
        state,
        checkpoint: cursor(1),
        published: cursor(1),
        head: cursor(10),
        lag_events: 9,
        lag_ms: 5,
        events_per_second: 0.0,
        error: reason.map(|reason| ExportFailure { reason: reason.to_owned(), attempts: 1 }),
        files: Vec::new(),
    };
    assert_eq!(of_export(&export(ExportState::Running, None)), None);
    check(
        of_export(&export(ExportState::Failed, Some("another writer"))),
        Severity::Critical,
        &["export lake", "another writer", "--flush"],
    );
    check(of_export(&export(ExportState::Retrying, Some("timeout"))), Severity::Warning, &["timeout", "catches up"]);
    check(of_export(&export(ExportState::Running, Some("a.parquet"))), Severity::Warning, &["a.parquet", "goes on"]);
}
