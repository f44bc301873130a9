//! Is the state of an aggregate what its events say, however it is come by?

use std::collections::BTreeMap;

use bytes::Bytes;
use factum::Database;
use factum::Error;
use factum::database::At;
use factum::database::Change;
use factum::database::CommandRequest;
use factum::database::CommandResult;
use factum::database::ExpectedVersion;
use factum::database::Format;
use factum::database::Kind;
use factum::database::NewEvent;
use factum::database::Options;
use factum::database::Retention;
use factum::database::Timestamp;
use factum::database::Version;
use factum_storage as storage;
use serde_json::Value;
use serde_json::json;

use crate::fixture::Random;
use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::memory;
use crate::fixture::name;
use crate::fixture::sharded;

pub(crate) const ACCOUNT: &str = r#"
export const initial = { balance: 0, moves: 0 };
export const snapshotEvery = 10;
export const evolve = {
  Deposited: (state, event) => ({ ...state, balance: state.balance + event.data.amount, moves: state.moves + 1 }),
  Withdrawn: (state, event) => ({ ...state, balance: state.balance - event.data.amount, moves: state.moves + 1 }),
  Named:     (state, event) => ({ ...state, name: event.data.name }),
};
export const decide = {
  deposit:  (state, command) => [{ type: "Deposited", data: { amount: command.amount }, tags: ["account"] }],
  withdraw: (state, command) => {
    if (command.amount > state.balance) throw new Rejection("too-little", `only ${state.balance} is there`);
    return [{ type: "Withdrawn", data: { amount: command.amount } }];
  },
  touch: () => [],
  twice: (state, command) => [1, 2].map(() => ({ type: "Deposited", data: { amount: command.amount } })),
  fall: () => { throw new Error("it fell"); },
  nonsense: () => [{ type: "Deposited", data: {}, colour: "red" }],
};
"#;

pub(crate) async fn with_accounts(database: &Database) {
    let change = database.define(Kind::Aggregate, "account", Format::Javascript, ACCOUNT, false).await.unwrap();
    assert_eq!(change, Change::Created);
}

pub(crate) fn moved(number: u64, event_type: &str, data: &Value) -> NewEvent {
    NewEvent { data: Bytes::from(data.to_string()), ..event(number, event_type) }
}

pub(crate) async fn state(database: &Database, category: &str, id: &str, at: At) -> Result<(u64, Value), Error> {
    let (state, _) = database.aggregate(category, id, at).await?;
    Ok((state.version.get(), serde_json::from_slice(&state.state).unwrap()))
}

fn command(id: &str, name: &str, input: &Value) -> CommandRequest {
    CommandRequest {
        category: "account".to_owned(),
        id: id.to_owned(),
        command: name.to_owned(),
        input: Bytes::from(input.to_string()),
        ..CommandRequest::default()
    }
}

async fn told(database: &Database, id: &str, name: &str, input: Value) -> Result<CommandResult, Error> {
    database.command(command(id, name, &input)).await
}

#[tokio::test]
async fn a_category_that_nobody_has_defined_merges() {
    let database = memory().await;
    let events = [json!({"a": 1, "b": {"c": 2}}), json!({"b": {"c": null, "d": 3}}), json!({"a": null})];
    let events = events.iter().zip(1..).map(|(data, number)| moved(number, "Changed", data)).collect();
    append(&database, "thing-1", ExpectedVersion::Any, events).await.unwrap();
    assert_eq!(state(&database, "thing", "1", At::Head).await.unwrap(), (3, json!({"b": {"d": 3}})));
    assert_eq!(state(&database, "thing", "1", At::Version(Version::new(1))).await.unwrap(), (1, json!({"a": 1, "b": {"c": 2}})));
    assert!(matches!(state(&database, "thing", "2", At::Head).await, Err(Error::StreamNotFound { .. })));
    for version in [0, 4] {
        let refused = state(&database, "thing", "1", At::Version(Version::new(version))).await;
        assert!(matches!(refused, Err(Error::EventNotFound { .. })), "{refused:?}");
    }
    for (category, id, wrong) in [("a-b", "1", "category"), ("", "1", "category"), ("a", "", "id"), ("a", "\n", "id")] {
        let refused = state(&database, category, id, At::Head).await;
        assert!(matches!(&refused, Err(Error::Invalid { field, .. }) if field == wrong), "{refused:?}");
    }
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_module_evolves_and_decides() {
    let database = memory().await;
    with_accounts(&database).await;
    let first = told(&database, "1", "deposit", json!({"amount": 50})).await.unwrap();
    assert_eq!((first.version.get(), first.events.len(), first.duplicate), (1, 1, false));
    assert_eq!(first.events[0].event_type(), "Deposited");
    assert_eq!(first.events[0].tags().collect::<Vec<_>>(), ["account"]);
    assert_eq!(serde_json::from_slice::<Value>(&first.state).unwrap(), json!({"balance": 50, "moves": 1}));
    let metadata: Value = serde_json::from_slice(first.events[0].metadata()).unwrap();
    assert_eq!(metadata["causation_id"], metadata["correlation_id"]);
    assert_eq!(metadata["command"], "deposit");

    let rejected = told(&database, "1", "withdraw", json!({"amount": 51})).await;
    assert!(matches!(&rejected, Err(Error::CommandRejected { code, message }) if code == "too-little" && message == "only 50 is there"));
    let fell = told(&database, "1", "fall", json!({})).await;
    let Err(Error::Script(fault)) = &fell else { panic!("{fell:?}") };
    assert_eq!((fault.kind, fault.message.contains("it fell"), fault.file.as_str()), ("threw", true, "aggregates/account.js"));
    assert!(fault.line.is_some_and(|line| line == 17), "{fault:?}");
    let nonsense = told(&database, "1", "nonsense", json!({})).await;
    assert!(matches!(&nonsense, Err(Error::Script(fault)) if fault.message.contains("colour")), "{nonsense:?}");
    let unknown = told(&database, "1", "toString", json!({})).await;
    assert!(matches!(&unknown, Err(Error::CommandNotFound { known, .. }) if known.len() == 6), "{unknown:?}");
    let nothing = told(&database, "1", "touch", json!({})).await.unwrap();
    assert_eq!((nothing.version.get(), nothing.events.len()), (1, 0));
    let new = told(&database, "new", "touch", json!({})).await.unwrap();
    assert_eq!((new.version.get(), &*new.state), (0, b"{\"balance\":0,\"moves\":0}".as_slice()));
    assert!(matches!(state(&database, "account", "new", At::Head).await, Err(Error::StreamNotFound { .. })));
    let not_json = database.command(CommandRequest { input: Bytes::from_static(b"{"), ..command("1", "touch", &json!({})) }).await;
    assert!(matches!(&not_json, Err(Error::Invalid { field, .. }) if field == "command"), "{not_json:?}");
    assert_eq!(state(&database, "account", "1", At::Head).await.unwrap().0, 1, "what was refused has left nothing");
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_repeated_command_is_done_once() {
    let database = memory().await;
    with_accounts(&database).await;
    let keyed = |name: &str, input: &Value| CommandRequest { idempotency_key: Some("k".to_owned()), ..command("1", name, input) };
    let first = database.command(keyed("twice", &json!({"amount": 5}))).await.unwrap();
    assert_eq!((first.version.get(), first.duplicate), (2, false));
    told(&database, "1", "withdraw", json!({"amount": 10})).await.unwrap();
    let again = database.command(keyed("twice", &json!({"amount": 5}))).await.unwrap();
    assert_eq!((again.version.get(), again.duplicate, &again.state), (2, true, &first.state));
    let ids = |result: &CommandResult| result.events.iter().map(storage::RecordedEvent::id).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&first));
    for (name, input) in [("twice", json!({"amount": 6})), ("deposit", json!({"amount": 5}))] {
        let other = database.command(keyed(name, &input)).await;
        assert!(matches!(other, Err(Error::Storage(storage::Error::EventIdReused { .. }))), "{other:?}");
    }
    // The key is the aggregate's own.
    let elsewhere = CommandRequest { id: "2".to_owned(), ..keyed("twice", &json!({"amount": 6})) };
    assert_eq!(database.command(elsewhere).await.unwrap().version.get(), 2);
    assert_eq!(state(&database, "account", "1", At::Head).await.unwrap(), (3, json!({"balance": 0, "moves": 3})));
    database.close().await.unwrap();
}

#[tokio::test]
async fn commands_and_appends_at_once_lose_nothing() {
    let database = sharded(2).await;
    with_accounts(&database).await;
    told(&database, "1", "deposit", json!({"amount": 1000})).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..40_u64 {
        let commanding = database.clone();
        tasks.spawn(async move { told(&commanding, "1", "withdraw", json!({"amount": 1})).await.map(drop) });
        let appending = database.clone();
        tasks.spawn(async move {
            let events = vec![moved(number, "Named", &json!({"name": number}))];
            append(&appending, "account-1", ExpectedVersion::Any, events).await.map(drop)
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    let (version, state) = state(&database, "account", "1", At::Head).await.unwrap();
    assert_eq!((version, &state["balance"], &state["moves"]), (81, &json!(960), &json!(41)));
    database.close().await.unwrap();
}

/// What the module does, in Rust.
fn fold<'a>(events: impl Iterator<Item = &'a (String, Value)>) -> Value {
    let mut state = json!({"balance": 0, "moves": 0});
    for (event_type, data) in events {
        let amount = data["amount"].as_i64().unwrap_or(0);
        let sign = match event_type.as_str() {
            "Deposited" => 1,
            "Withdrawn" => -1,
            "Named" => {
                state["name"] = data["name"].clone();
                continue;
            }
            _ => continue,
        };
        state["balance"] = json!(state["balance"].as_i64().unwrap() + sign * amount);
        state["moves"] = json!(state["moves"].as_i64().unwrap() + 1);
    }
    state
}

/// Appends, reads at any version, deletions, retention, redefinitions and restarts, in any order, against a fold in Rust.
#[tokio::test]
async fn any_history_reads_as_its_fold() {
    let directory = tempfile::tempdir().unwrap();
    let options = || {
        let mut options = Options { shards: Some(2), ..Options::new(directory.path()) };
        options.storage = storage::Options::small();
        options
    };
    let mut random = Random::new("any_history_reads_as_its_fold");
    let mut database = Database::open(options()).await.unwrap();
    with_accounts(&database).await;
    let mut model: BTreeMap<u64, (u64, Vec<(String, Value)>)> = BTreeMap::new();
    let mut number = 0;
    for step in 0..1200 {
        let id = random.below(4);
        let (first, events) = model.entry(id).or_insert((1, Vec::new()));
        match random.below(100) {
            0..50 => {
                let mut batch = Vec::new();
                for _ in 0..=random.below(8) {
                    number += 1;
                    let event_type = ["Deposited", "Withdrawn", "Named", "Unheard"][usize::try_from(random.below(4)).unwrap()];
                    let data = json!({"amount": random.below(100), "name": format!("n{}", random.below(9))});
                    batch.push(moved(number, event_type, &data));
                    events.push((event_type.to_owned(), data));
                }
                append(&database, &format!("account-{id}"), ExpectedVersion::Any, batch).await.unwrap();
            }
            50..90 => {
                let head = events.len() as u64;
                let version = *first + random.below(head + 2 - *first + 1);
                let read = state(&database, "account", &id.to_string(), At::Version(Version::new(version))).await;
                if *first > head {
                    assert!(matches!(read, Err(Error::StreamNotFound { .. })), "step {step}: {read:?}");
                } else if version > head {
                    assert!(matches!(read, Err(Error::EventNotFound { .. })), "step {step}: {read:?}");
                } else {
                    let visible = &events[usize::try_from(first.saturating_sub(1)).unwrap()..usize::try_from(version).unwrap()];
                    assert_eq!(read.unwrap(), (version, fold(visible.iter())), "step {step}: account {id} at {version}");
                }
            }
            90..94 if *first <= events.len() as u64 => {
                let before = *first + random.below(events.len() as u64 + 1 - *first);
                let retention = Retention { before_version: Some(Version::new(before)), ..Retention::default() };
                database.set_retention(name(&format!("account-{id}")), retention).await.unwrap();
                *first = before;
            }
            94..96 if *first <= events.len() as u64 => {
                database.delete_stream(name(&format!("account-{id}")), false).await.unwrap();
                *first = events.len() as u64 + 1;
            }
            96..98 => {
                let every = 5 + random.below(20);
                let module = ACCOUNT.replace("snapshotEvery = 10", &format!("snapshotEvery = {every}"));
                database.define(Kind::Aggregate, "account", Format::Javascript, &module, false).await.unwrap();
            }
            98 => {
                database.close().await.unwrap();
                database = Database::open(options()).await.unwrap();
            }
            _ => {}
        }
    }
    database.close().await.unwrap();
}

#[tokio::test]
async fn the_past_is_found_by_either_time() {
    let database = memory().await;
    with_accounts(&database).await;
    let mut recorded = Vec::new();
    for number in 0..40_u64 {
        // What was recorded last has occurred first.
        let occurred_at = Some(Timestamp::from_micros(1_000_000 * i64::try_from(100 - number).unwrap()));
        let event = NewEvent { occurred_at, ..moved(number, "Deposited", &json!({"amount": number})) };
        append(&database, "account-1", ExpectedVersion::Any, vec![event]).await.unwrap();
        let page = database.stream(&name("account-1")).await.unwrap().1;
        recorded.push(page.updated_at);
    }
    for (index, time) in recorded.iter().enumerate() {
        let last = recorded.iter().rposition(|other| other <= time).unwrap();
        let (version, state) = state(&database, "account", "1", At::RecordedAt(*time)).await.unwrap();
        assert_eq!((version, &state["balance"]), (last as u64 + 1, &json!((0..=last).sum::<usize>())), "{index}");
    }
    let before = Timestamp::from_micros(recorded[0].as_micros() - 1);
    assert!(matches!(state(&database, "account", "1", At::RecordedAt(before)).await, Err(Error::StreamNotFound { .. })));
    for second in [61, 70, 100, 200] {
        let (version, state) = state(&database, "account", "1", At::OccurredAt(Timestamp::from_micros(second * 1_000_000))).await.unwrap();
        let known: Vec<i64> = (0..40).filter(|number| 100 - number <= second).collect();
        assert_eq!((version, &state["balance"]), (40, &json!(known.iter().sum::<i64>())), "{second}");
    }
    let never = state(&database, "account", "1", At::OccurredAt(Timestamp::from_micros(0))).await;
    assert!(matches!(never, Err(Error::StreamNotFound { .. })), "{never:?}");
    database.close().await.unwrap();
}

#[tokio::test]
async fn history_leads_from_state_to_state() {
    let database = memory().await;
    with_accounts(&database).await;
    let events =
        (0..250).map(|number| moved(number, if number % 3 == 0 { "Named" } else { "Deposited" }, &json!({"amount": 1, "name": number})));
    append(&database, "account-1", ExpectedVersion::Any, events.collect()).await.unwrap();
    let (mut from, mut value, mut seen) = (None, json!({"balance": 0, "moves": 0}), 0);
    loop {
        let (steps, next) = database.aggregate_history("account", "1", from, 37, usize::MAX).await.unwrap();
        for step in &steps {
            seen += 1;
            assert_eq!(step.version.get(), seen);
            json_patch::patch(&mut value, &serde_json::from_slice::<json_patch::Patch>(&step.patch).unwrap()).unwrap();
            assert_eq!(value, serde_json::from_slice::<Value>(&step.state).unwrap());
            assert_eq!(state(&database, "account", "1", At::Version(step.version)).await.unwrap().1, value);
        }
        match next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, 250);
    let (steps, next) = database.aggregate_history("account", "1", Some(Version::new(100)), 1000, 1).await.unwrap();
    assert_eq!((steps.len(), next.map(Version::get)), (1, Some(101)), "at least one, however little room there is");
    assert_eq!(database.aggregate_history("account", "1", Some(Version::new(251)), 10, 1000).await.unwrap(), (Vec::new(), None));
    database.close().await.unwrap();
}

#[tokio::test]
async fn definitions_survive_and_broken_ones_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    with_accounts(&database).await;
    told(&database, "1", "deposit", json!({"amount": 5})).await.unwrap();
    assert_eq!(database.define(Kind::Aggregate, "account", Format::Javascript, ACCOUNT, false).await.unwrap(), Change::Same);
    let broken = ACCOUNT.replace("moves: state.moves + 1 }),\n  Named", "moves: state.moves + }),\n  Named");
    let refused = database.define(Kind::Aggregate, "account", Format::Javascript, &broken, false).await;
    let Err(Error::InvalidDefinition(fault)) = &refused else { panic!("{refused:?}") };
    assert_eq!((fault.what.as_str(), fault.line, fault.column.is_some()), ("aggregates/account.js", Some(6), true), "{fault:?}");
    for (category, format, text) in [
        ("account", Format::Javascript, "export const evolv = {};"),
        ("account", Format::Json, "{\"evolve\": \"merge\", \"snapshot_every\": 0}"),
        ("account", Format::Json, "{\"evolve\": \"replace\"}"),
    ] {
        let refused = database.define(Kind::Aggregate, category, format, text, false).await;
        assert!(matches!(refused, Err(Error::InvalidDefinition(_))), "{text}: {refused:?}");
    }
    assert!(matches!(database.define(Kind::Aggregate, "$streams", Format::Json, "{}", false).await, Err(Error::SystemStream { .. })));
    let dry = ACCOUNT.replace("balance: 0", "balance: 1");
    assert_eq!(database.define(Kind::Aggregate, "account", Format::Javascript, &dry, true).await.unwrap(), Change::Changed);
    assert_eq!(state(&database, "account", "1", At::Head).await.unwrap(), (1, json!({"balance": 5, "moves": 1})));
    database.close().await.unwrap();

    let database = Database::open(Options::new(directory.path())).await.unwrap();
    assert_eq!(state(&database, "account", "1", At::Head).await.unwrap(), (1, json!({"balance": 5, "moves": 1})));
    assert_eq!(told(&database, "1", "deposit", json!({"amount": 5})).await.unwrap().version.get(), 2);
    let definition = database.definition(Kind::Aggregate, "account").await.unwrap();
    assert_eq!((definition.text.as_str(), definition.version.get()), (ACCOUNT, 1), "what was refused is not in the log");
    database.remove_definition(Kind::Aggregate, "account").await.unwrap();
    assert!(matches!(database.remove_definition(Kind::Aggregate, "account").await, Err(Error::DefinitionNotFound { .. })));
    assert_eq!(state(&database, "account", "1", At::Head).await.unwrap(), (2, json!({"amount": 5})), "it merges again");
    database.close().await.unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    assert!(database.definitions(Kind::Aggregate).await.is_empty());
    database.close().await.unwrap();
}
