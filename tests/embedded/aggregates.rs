//! Is the state of an aggregate what its events say, however it is come by?

use std::collections::BTreeMap;
use std::time::Duration;

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

const ACCOUNT: &str = r#"
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

async fn with_accounts(database: &Database) {
    let change = database.define(Kind::Aggregate, "account", Format::Javascript, ACCOUNT, false).await.unwrap();
    assert_eq!(change, Change::Created);
}

fn moved(number: u64, event_type: &str, data: &Value) -> NewEvent {
    NewEvent { data: Bytes::from(data.to_string()), ..event(number, event_type) }
}

async fn state(database: &Database, category: &str, id: &str, at: At) -> Result<(u64, Value), Error> {
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

/// Waits until a snapshot at this version, made by what is in force, is there.
async fn snapshot_at(database: &Database, id: &str, version: u64) {
    let found = async {
        loop {
            let listed = database.aggregate_snapshots("account", id).await.unwrap();
            if listed.iter().any(|snapshot| snapshot.is_current && snapshot.version.get() == version) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found).await.expect("the snapshot is made");
}

#[tokio::test]
async fn snapshots_are_made_beside_the_appends_and_used() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    with_accounts(&database).await;
    for round in 0..7 {
        let events = (0..5).map(|number| moved(round * 5 + number, "Deposited", &json!({"amount": 1}))).collect();
        append(&database, "account-1", ExpectedVersion::Any, events).await.unwrap();
    }
    snapshot_at(&database, "1", 30).await;
    database.close().await.unwrap();

    let database = Database::open(Options::new(directory.path())).await.unwrap();
    let read = database.aggregate("account", "1", At::Head).await.unwrap().0;
    assert_eq!((read.version.get(), read.snapshot_version.map(Version::get), read.events_replayed), (35, Some(30), 5));
    assert_eq!(&*read.state, b"{\"balance\":35,\"moves\":35}");
    let again = database.aggregate("account", "1", At::Head).await.unwrap().0;
    assert_eq!((again.snapshot_version.map(Version::get), again.events_replayed), (Some(30), 0), "it is at hand");
    let past = database.aggregate("account", "1", At::Version(Version::new(32))).await.unwrap().0;
    assert_eq!((past.snapshot_version.map(Version::get), past.events_replayed), (Some(30), 2));

    // Another module: the old snapshots are not taken, and make room for its own.
    let doubled = ACCOUNT.replace("state.balance + event.data.amount", "state.balance + 2 * event.data.amount");
    assert_eq!(database.define(Kind::Aggregate, "account", Format::Javascript, &doubled, false).await.unwrap(), Change::Changed);
    let read = database.aggregate("account", "1", At::Head).await.unwrap().0;
    assert_eq!(&*read.state, b"{\"balance\":70,\"moves\":35}");
    snapshot_at(&database, "1", 30).await;
    let listed = database.aggregate_snapshots("account", "1").await.unwrap();
    assert!(listed.iter().all(|snapshot| snapshot.is_current), "{listed:?}");
    database.close().await.unwrap();
}

/// I6: whatever is wrong with a snapshot, the state is what the events say.
#[tokio::test]
async fn i6_snapshot_that_does_not_fit_the_log_is_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    with_accounts(&database).await;
    let events = (0..25).map(|number| moved(number, "Deposited", &json!({"amount": 1}))).collect();
    append(&database, "account-1", ExpectedVersion::Any, events).await.unwrap();
    snapshot_at(&database, "1", 20).await;
    database.close().await.unwrap();

    // As if the log had lost its end and grown another: the snapshot is whole, and of an event that is not there.
    let disk = std::sync::Arc::new(storage::RealDisk::new(directory.path().join("shards/0")));
    let clock = std::sync::Arc::new(storage::SystemClock);
    let (store, _) = storage::Store::open(disk, clock, storage::Options::default(), &mut |_| {}).unwrap();
    let (reader, stream) = (store.reader(), name("account-1"));
    let snapshots = reader.snapshots(&stream).unwrap();
    assert!(!snapshots.is_empty());
    for snapshot in snapshots {
        for state in [b"".to_vec(), [[7; 16].as_slice(), b"{\"balance\":-1,\"moves\":0}"].concat()] {
            reader.put_snapshot(&stream, snapshot.version, snapshot.definition_hash, &state).unwrap();
        }
    }
    store.close().unwrap();

    let database = Database::open(Options::new(directory.path())).await.unwrap();
    let read = database.aggregate("account", "1", At::Head).await.unwrap().0;
    assert_eq!((&*read.state, read.snapshot_version), (b"{\"balance\":25,\"moves\":25}".as_slice(), None));
    assert_eq!(read.events_replayed, 25);
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
    database.remove_aggregate_definition("account").await.unwrap();
    assert!(matches!(database.remove_aggregate_definition("account").await, Err(Error::DefinitionNotFound { .. })));
    assert_eq!(state(&database, "account", "1", At::Head).await.unwrap(), (2, json!({"amount": 5})), "it merges again");
    database.close().await.unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    assert!(database.definitions(Kind::Aggregate).await.is_empty());
    database.close().await.unwrap();
}

#[tokio::test]
async fn clients_keep_snapshots_of_their_own() {
    let database = memory().await;
    with_accounts(&database).await;
    let events = (0..25).map(|number| moved(number, "Deposited", &json!({"amount": 1}))).collect();
    append(&database, "account-1", ExpectedVersion::Any, events).await.unwrap();
    let put = |version, state: &'static str| {
        database.put_aggregate_snapshot("account", "1", Version::new(version), Bytes::from_static(state.as_bytes()))
    };
    put(7, "{\"mine\":1}").await.unwrap();
    put(7, "{\"mine\":2}").await.unwrap();
    for version in [0, 26] {
        assert!(matches!(put(version, "{}").await, Err(Error::EventNotFound { .. })), "{version}");
    }
    assert!(matches!(put(7, "{").await, Err(Error::Invalid { .. })));
    snapshot_at(&database, "1", 20).await;
    let listed = database.aggregate_snapshots("account", "1").await.unwrap();
    let own: Vec<_> = listed.iter().filter_map(|snapshot| Some((snapshot.version.get(), snapshot.client_state.clone()?))).collect();
    assert_eq!(own, [(7, Bytes::from_static(b"{\"mine\":2}"))]);
    assert_eq!(state(&database, "account", "1", At::Version(Version::new(8))).await.unwrap().1, json!({"balance": 8, "moves": 8}));
    database.close().await.unwrap();
}

mod typed {
    use factum::Error;
    use factum::aggregate::Aggregate;
    use factum::aggregate::given;
    use factum::database::At;
    use factum::database::ExecuteError;
    use factum::database::ExpectedVersion;
    use factum::database::Format;
    use factum::database::Kind;
    use factum::database::Version;
    use serde::Deserialize;
    use serde::Serialize;

    use crate::fixture::append;
    use crate::fixture::event;
    use crate::fixture::memory;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Counter {
        count: u64,
        is_closed: bool,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type", content = "data")]
    enum Event {
        Counted { by: u64 },
        Closed,
    }

    enum Command {
        Count(u64),
        Close,
        Nothing,
    }

    #[derive(Debug, PartialEq)]
    struct IsClosed;

    impl Aggregate for Counter {
        const CATEGORY: &'static str = "counter";
        const SNAPSHOT_EVERY: u64 = 10;
        type Event = Event;
        type Command = Command;
        type Rejection = IsClosed;

        fn evolve(&mut self, event: &Event) {
            match event {
                Event::Counted { by } => self.count += by,
                Event::Closed => self.is_closed = true,
            }
        }

        fn decide(&self, command: &Command) -> Result<Vec<Event>, IsClosed> {
            match command {
                Command::Nothing => Ok(Vec::new()),
                _ if self.is_closed => Err(IsClosed),
                Command::Count(by) => Ok(vec![Event::Counted { by: *by }]),
                Command::Close => Ok(vec![Event::Closed]),
            }
        }
    }

    #[test]
    fn given_when_then() {
        let state = given::<Counter>([Event::Counted { by: 2 }]).when(&Command::Close).then([Event::Closed]);
        assert_eq!(state, Counter { count: 2, is_closed: true });
        given::<Counter>([Event::Closed]).when(&Command::Count(1)).then_rejected(&IsClosed);
        let wrong = || given::<Counter>([]).when(&Command::Count(1)).then([Event::Closed]);
        assert!(std::panic::catch_unwind(wrong).is_err());
        let wrong = || given::<Counter>([]).when(&Command::Count(1)).then_rejected(&IsClosed);
        assert!(std::panic::catch_unwind(wrong).is_err());
    }

    #[tokio::test]
    async fn rust_types_are_aggregates_too() {
        let database = memory().await;
        let counters = database.register::<Counter>().unwrap();
        assert_eq!(counters.load("1").await.unwrap().version, Version::ZERO);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..25 {
            let counters = counters.clone();
            tasks.spawn(async move { counters.execute("1", &Command::Count(2)).await.map(drop) });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap().unwrap();
        }
        let loaded = counters.load("1").await.unwrap();
        assert_eq!((loaded.version.get(), loaded.state), (25, Counter { count: 50, is_closed: false }));
        assert_eq!(counters.at("1", At::Version(Version::new(3))).await.unwrap().state.count, 6);
        assert_eq!(counters.execute("1", &Command::Nothing).await.unwrap().version.get(), 25);
        counters.execute("1", &Command::Close).await.unwrap();
        assert!(matches!(counters.execute("1", &Command::Count(1)).await, Err(ExecuteError::Rejected(IsClosed))));
        let read = database.aggregate("counter", "1", At::Head).await.unwrap().0;
        assert_eq!(&*read.state, b"{\"count\":50,\"is_closed\":true}");
        let (steps, _) = database.aggregate_history("counter", "1", Some(Version::new(26)), 10, 1000).await.unwrap();
        assert_eq!(&*steps[0].patch, b"[{\"op\":\"replace\",\"path\":\"/is_closed\",\"value\":true}]");

        // What the type does not know is an error that names it, and the category is the type's alone.
        append(&database, "counter-2", ExpectedVersion::Any, vec![event(1, "Other")]).await.unwrap();
        let unknown = counters.load("2").await.map(|loaded| loaded.version);
        assert!(
            matches!(&unknown, Err(Error::Script(fault)) if fault.version == Some(1) && fault.message.contains("Other")),
            "{unknown:?}"
        );
        let taken = database.define(Kind::Aggregate, "counter", Format::Json, "{\"evolve\":\"merge\"}", false).await;
        assert!(matches!(taken, Err(Error::Invalid { .. })), "{taken:?}");
        assert!(database.register::<Counter>().is_ok(), "the same type may ask again");
        database.close().await.unwrap();
    }
}
