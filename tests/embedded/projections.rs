//! Are the rows of a view what its definition makes of the log: each event once, whatever happens on the way?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use factum::Database;
use factum::Error;
use factum::database::Change;
use factum::database::Comparison;
use factum::database::Cursor;
use factum::database::Event;
use factum::database::ExpectedVersion;
use factum::database::Format;
use factum::database::Kind;
use factum::database::NewEvent;
use factum::database::Options;
use factum::database::ProjectError;
use factum::database::Projection;
use factum::database::Row;
use factum::database::Rows;
use factum::database::State;
use factum::database::Test;
use factum::database::Value;
use factum::database::ViewQuery;
use serde_json::Value as Json;
use serde_json::json;

use crate::fixture::Random;
use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::memory;
use crate::fixture::sharded;

const ACCOUNTS: &str = r#"
[source]
categories = ["account"]

[columns]
account = "text primary key"
owner   = "text index"
balance = "decimal(12,2) default 0"
moves   = "bigint default 0"
last    = "timestamp"

[on.Opened]
key = "$.stream"
set = { owner = "$.data.owner", last = "$.occurred_at" }

[on.Moved]
key = "$.stream"
set = { last = "$.occurred_at" }
add = { balance = "$.data.amount", moves = 1 }

[on.Renamed]
where = { owner = "$.data.from" }
set = { owner = "$.data.to" }

[on.Closed]
key = "$.stream"
delete = true
"#;

fn happened(number: u64, event_type: &str, data: &Json) -> NewEvent {
    NewEvent { data: Bytes::from(data.to_string()), ..event(number, event_type) }
}

async fn write(database: &Database, stream: &str, number: u64, event_type: &str, data: Json) -> Cursor {
    append(database, stream, ExpectedVersion::Any, vec![happened(number, event_type, &data)]).await.expect("appends").cursor
}

async fn define(database: &Database, name: &str, text: &str) -> Change {
    database.define(Kind::Projection, name, Format::Toml, text, false).await.expect("a definition")
}

/// Waits until a view is of everything that was written.
async fn settled(database: &Database, view: &str) {
    let end = database.end();
    database.projection_reaches(view, &end, Duration::from_secs(60)).await.expect("the view comes to the end");
}

async fn rows(database: &Database, view: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let query = ViewQuery { limit: 1_000, after, ..ViewQuery::default() };
        let page = database.query_view(view, query, None, Duration::ZERO).await.expect("a page");
        rows.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return rows;
        }
    }
}

/// Opens a directory that another may just be letting go of.
async fn reopened(directory: &std::path::Path) -> Database {
    let opened = async {
        loop {
            match Database::open(Options::new(directory)).await {
                Err(Error::Storage(factum_storage::Error::Locked { .. })) => tokio::time::sleep(Duration::from_millis(5)).await,
                opened => return opened.expect("it opens"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), opened).await.expect("it is let go of")
}

/// Waits until a projection is in a state.
async fn state(database: &Database, name: &str, wanted: State) -> factum::database::ProjectionStatus {
    let found = async {
        loop {
            let status = database.projection(name).expect("it is defined");
            if status.state == wanted {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.expect("the state is reached")
}

/// What the definition of [`ACCOUNTS`] means, said once more.
#[derive(Default)]
struct Ledger(BTreeMap<String, (Option<String>, i64, i64, u64)>);

impl Ledger {
    fn apply(&mut self, stream: &str, version: u64, event_type: &str, data: &Json) {
        let text = |name: &str| data[name].as_str().map(str::to_owned);
        match event_type {
            "Opened" => {
                let row = self.0.entry(stream.to_owned()).or_default();
                (row.0, row.3) = (text("owner"), version);
            }
            "Moved" => {
                let row = self.0.entry(stream.to_owned()).or_default();
                row.1 += data["amount"].as_i64().unwrap_or(0);
                row.2 += 1;
                row.3 = version;
            }
            "Renamed" => {
                for row in self.0.values_mut().filter(|row| row.0.is_some() && row.0 == text("from")) {
                    (row.0, row.3) = (text("to"), version);
                }
            }
            "Closed" => {
                self.0.remove(stream);
            }
            _ => {}
        }
    }

    fn check(&self, rows: &[Row]) {
        let found: Vec<_> = rows
            .iter()
            .map(|row| (row.values.to_vec(), row.version))
            .map(|(values, version)| {
                let [Value::Text(account), owner, Value::Decimal(balance), Value::Integer(moves), _] = values.as_slice() else {
                    panic!("a row of other types: {values:?}")
                };
                let owner = if let Value::Text(owner) = owner { Some(owner.to_string()) } else { None };
                (account.to_string(), (owner, balance.to_string(), *moves, version))
            })
            .collect();
        let expected: Vec<_> = self
            .0
            .iter()
            .map(|(account, (owner, balance, moves, version))| {
                (account.clone(), (owner.clone(), format!("{balance}.00"), *moves, *version))
            })
            .collect();
        assert_eq!(found, expected);
    }
}

/// Random events, the same for the same seed.
struct Traffic {
    random: Random,
    number: u64,
    versions: BTreeMap<String, u64>,
    ledger: Ledger,
}

impl Traffic {
    fn new(test: &str) -> Self {
        Self { random: Random::new(test), number: 0, versions: BTreeMap::new(), ledger: Ledger::default() }
    }

    async fn run(&mut self, database: &Database, events: u64) -> Cursor {
        let mut cursor = database.end();
        for _ in 0..events {
            self.number += 1;
            let stream = format!("account-{}", self.random.below(40));
            let owner = format!("owner {}", self.random.below(6));
            let (event_type, data) = match self.random.below(20) {
                0..=2 => ("Opened", json!({"owner": owner})),
                3..=16 => ("Moved", json!({"amount": i64::try_from(self.random.below(200)).unwrap_or(0) - 100})),
                17 => ("Renamed", json!({"from": owner, "to": format!("owner {}", self.random.below(6))})),
                18 => ("Closed", json!({})),
                _ => ("Ignored", json!([1, 2])),
            };
            cursor = write(database, &stream, self.number, event_type, data.clone()).await;
            let version = self.versions.entry(stream.clone()).or_default();
            *version += 1;
            self.ledger.apply(&stream, *version, event_type, &data);
        }
        cursor
    }
}

#[tokio::test]
async fn rows_are_the_fold_of_the_events_across_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let mut traffic = Traffic::new("rows_are_the_fold_of_the_events_across_restarts");
    let mut database = Database::open(Options::new(directory.path())).await.unwrap();
    assert_eq!(define(&database, "accounts", ACCOUNTS).await, Change::Created);
    assert_eq!(define(&database, "accounts", ACCOUNTS).await, Change::Same);
    for round in 0..6 {
        traffic.run(&database, 120).await;
        if round % 2 == 0 {
            settled(&database, "accounts").await;
            traffic.ledger.check(&rows(&database, "accounts").await);
            database.close().await.unwrap();
        }
        drop(database);
        database = reopened(directory.path()).await;
    }
    settled(&database, "accounts").await;
    traffic.ledger.check(&rows(&database, "accounts").await);
    database.close().await.unwrap();
}

#[tokio::test]
async fn several_shards_make_one_view() {
    let database = sharded(3).await;
    define(&database, "accounts", &ACCOUNTS.replace("[on.Renamed]", "[on.NotUsed]")).await;
    let mut traffic = Traffic::new("several_shards_make_one_view");
    for number in 1..400_u64 {
        let stream = format!("account-{}", traffic.random.below(40));
        write(&database, &stream, number, "Moved", json!({"amount": 1})).await;
        let version = traffic.versions.entry(stream.clone()).or_default();
        *version += 1;
        traffic.ledger.apply(&stream, *version, "Moved", &json!({"amount": 1}));
    }
    settled(&database, "accounts").await;
    traffic.ledger.check(&rows(&database, "accounts").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wrote_reads_it() {
    let database = memory().await;
    define(&database, "accounts", ACCOUNTS).await;
    let writers = (0..4_u64).map(|writer| {
        let database = database.clone();
        tokio::spawn(async move {
            for number in 0..500_u64 {
                let stream = format!("account-{writer}-{number}");
                let cursor = write(&database, &stream, writer * 1_000_000 + number, "Opened", json!({"owner": "me"})).await;
                let key = Value::Text(stream.as_str().into());
                let wait = Duration::from_secs(20);
                let (row, position) = database.view_row("accounts", key, Some(&cursor), wait).await.expect("a row in time");
                assert!(row.is_some() && position.covers(&cursor), "{stream} is not there at {position}");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn what_a_view_leaves_out_moves_its_position_too() {
    let database = memory().await;
    define(&database, "accounts", ACCOUNTS).await;
    for number in 0..100 {
        let cursor = write(&database, "other-1", number, "Moved", json!({"amount": 1})).await;
        let page = database.query_view("accounts", ViewQuery::default(), Some(&cursor), Duration::from_secs(20)).await.unwrap();
        assert!(page.cursor.covers(&cursor) && page.rows.is_empty());
    }
    let future = database.parse_cursor("100").unwrap();
    assert!(database.projection_reaches("accounts", &future, Duration::ZERO).await.is_ok());
}

#[tokio::test]
async fn p5_a_poison_event_stops_the_projection_visibly_until_it_is_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    define(&database, "accounts", ACCOUNTS).await;
    write(&database, "account-1", 1, "Moved", json!({"amount": 5})).await;
    write(&database, "account-1", 2, "Moved", json!({"amount": "five"})).await;
    let end = write(&database, "account-1", 3, "Moved", json!({"amount": 7})).await;
    let status = state(&database, "accounts", State::Failed).await;
    let error = status.error.expect("a reason");
    let at = error.event.expect("an event");
    assert_eq!((at.stream.as_str(), at.version, at.event_type.as_str()), ("account-1", 2, "Moved"));
    assert!(error.reason.contains("amount") && error.reason.contains("five"), "{}", error.reason);
    let behind = database.query_view("accounts", ViewQuery::default(), Some(&end), Duration::from_millis(10)).await;
    assert!(matches!(behind, Err(Error::ReadModelBehind { detail, .. }) if detail.contains("failed")));
    let before = rows(&database, "accounts").await;
    assert!(matches!(before.as_slice(), [row] if row.version == 1), "{before:?}");
    // It stands there after a restart too, and neither by trying again nor by time does it go on.
    database.close().await.unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    state(&database, "accounts", State::Failed).await;
    database.resume_projection("accounts").await.unwrap();
    state(&database, "accounts", State::Failed).await;
    // What was seen may still be the failure before: while it tries again, it stands on nothing.
    let mut tries = 0;
    while let Err(error) = database.skip_in_projection("accounts").await {
        tries += 1;
        assert!(matches!(error, Error::ProjectionConflict { .. }) && tries < 10_000, "{error}");
        state(&database, "accounts", State::Failed).await;
    }
    settled(&database, "accounts").await;
    state(&database, "accounts", State::Running).await;
    let after = rows(&database, "accounts").await;
    assert!(matches!(after.as_slice(), [row] if row.version == 3), "{after:?}");
    let parked = database.projection_parked("accounts", None, 10).await.unwrap();
    assert!(matches!(parked.as_slice(), [event] if event.version == 2 && event.reason.contains("skipped by hand")), "{parked:?}");
    assert!(matches!(database.skip_in_projection("accounts").await, Err(Error::ProjectionConflict { .. })));
    database.close().await.unwrap();
}

#[tokio::test]
async fn p5_a_poison_event_is_parked_if_the_definition_says_so() {
    let database = memory().await;
    define(&database, "accounts", &format!("on_error = \"park\"\n{ACCOUNTS}")).await;
    for number in 0..30 {
        let data = if number % 3 == 0 { json!({"amount": "many"}) } else { json!({"amount": 1}) };
        write(&database, &format!("account-{}", number % 2), number, "Moved", data).await;
    }
    settled(&database, "accounts").await;
    let total: i64 = rows(&database, "accounts")
        .await
        .iter()
        .map(|row| match row.values.get(3) {
            Some(Value::Integer(moves)) => *moves,
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(total, 20);
    let first = database.projection_parked("accounts", None, 6).await.unwrap();
    let last = first.last().map(|event| (event.shard, event.position));
    let rest = database.projection_parked("accounts", last, 100).await.unwrap();
    let positions: Vec<_> = first.iter().chain(&rest).map(|event| event.position).collect();
    assert_eq!(positions.len(), 10);
    assert!(positions.is_sorted() && positions.iter().all(|position| (position - positions[0]) % 3 == 0), "{positions:?}");
}

#[tokio::test]
async fn p5_what_is_missing_or_of_another_type_is_told_with_its_column() {
    let columns = "id = \"text primary key\"\nn = \"bigint\"\nsmall = \"integer\"\nprice = \"decimal(5,2)\"\nat = \"timestamp\"\nday = \"date\"\n\
                   flag = \"boolean\"\nuid = \"uuid\"\nratio = \"double\"\nname = \"text\"\ntotal = \"bigint default 0\"";
    let set = ["n", "small", "price", "at", "day", "flag", "uid", "ratio", "name"].map(|name| format!("{name} = \"$.data.{name}\""));
    let handler = format!("[on.t]\nkey = \"$.data.id\"\nset = {{ {} }}\nadd = {{ total = \"$.data.total\" }}", set.join(", "));
    let database = memory().await;
    define(&database, "typed", &format!("on_error = \"park\"\n[columns]\n{columns}\n{handler}")).await;
    let refused = [
        (json!({}), "the key finds nothing"),
        (json!({"id": null}), "the key finds nothing"),
        (json!([1, 2]), "the key finds nothing"),
        (json!({"id": {"of": "an object"}}), "column id"),
        (json!({"id": "a", "n": 1.5}), "column n"),
        (json!({"id": "a", "n": "1e30"}), "column n"),
        (json!({"id": "a", "small": 3_000_000_000_u64}), "column small"),
        (json!({"id": "a", "price": 1_000}), "column price"),
        (json!({"id": "a", "at": "soon"}), "column at"),
        (json!({"id": "a", "day": "2026-13-01"}), "column day"),
        (json!({"id": "a", "flag": "yes"}), "column flag"),
        (json!({"id": "a", "uid": "not one"}), "column uid"),
        (json!({"id": "a", "ratio": [1]}), "column ratio"),
        (json!({"id": "a", "name": {"first": "Ada"}}), "column name"),
        (json!({"id": "a", "total": i64::MAX}), "column total"),
    ];
    write(&database, "s-1", 0, "t", json!({"id": "a", "total": 1, "name": "kept"})).await;
    for (number, (data, _)) in (1..).zip(&refused) {
        write(&database, "s-1", number, "t", data.clone()).await;
    }
    settled(&database, "typed").await;
    let parked = database.projection_parked("typed", None, 100).await.unwrap();
    assert_eq!(parked.iter().map(|event| event.version).collect::<Vec<_>>(), (2..=16).collect::<Vec<u64>>(), "{parked:?}");
    for (event, (data, expected)) in parked.iter().zip(&refused) {
        assert!(event.reason.contains(expected), "{data}: {}", event.reason);
    }
    // Nothing of any of them is in the row.
    let rows = rows(&database, "typed").await;
    assert_eq!(
        (rows.len(), rows[0].version, &rows[0].values[9], &rows[0].values[10]),
        (1, 1, &Value::Text("kept".into()), &Value::Integer(1))
    );
}

#[tokio::test]
async fn a_pause_lasts_until_somebody_resumes() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    define(&database, "accounts", ACCOUNTS).await;
    write(&database, "account-1", 1, "Moved", json!({"amount": 5})).await;
    settled(&database, "accounts").await;
    database.pause_projection("accounts").await.unwrap();
    state(&database, "accounts", State::Paused).await;
    let end = write(&database, "account-1", 2, "Moved", json!({"amount": 5})).await;
    database.close().await.unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    state(&database, "accounts", State::Paused).await;
    let behind = database.projection_reaches("accounts", &end, Duration::from_millis(20)).await;
    assert!(matches!(behind, Err(Error::ReadModelBehind { detail, .. }) if detail.contains("paused")));
    database.resume_projection("accounts").await.unwrap();
    settled(&database, "accounts").await;
    assert_eq!(rows(&database, "accounts").await[0].version, 2);
    database.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_a_rebuild_while_live_gives_the_same_rows() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    let mut traffic = Traffic::new("p9_a_rebuild_while_live_gives_the_same_rows");
    define(&database, "accounts", ACCOUNTS).await;
    traffic.run(&database, 300).await;
    for _ in 0..5 {
        settled(&database, "accounts").await;
        database.rebuild_projection("accounts").await.unwrap();
        let reader = tokio::spawn({
            let database = database.clone();
            async move {
                let mut last = None::<Cursor>;
                loop {
                    let page = database.query_view("accounts", ViewQuery::default(), None, Duration::ZERO).await.expect("reads go on");
                    assert!(!page.rows.is_empty(), "a reader never sees rows that are being built");
                    assert!(last.is_none_or(|last| page.cursor.covers(&last)), "a view never goes back");
                    last = Some(page.cursor);
                    tokio::task::yield_now().await;
                }
            }
        });
        traffic.run(&database, 100).await;
        state(&database, "accounts", State::Running).await;
        settled(&database, "accounts").await;
        reader.abort();
        assert!(reader.await.is_err_and(|error| error.is_cancelled()), "the reader has seen nothing odd");
        traffic.ledger.check(&rows(&database, "accounts").await);
    }
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_changed_definition_takes_the_place_of_the_old_once_it_has_caught_up() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    define(&database, "accounts", ACCOUNTS).await;
    for number in 0..50 {
        write(&database, &format!("account-{}", number % 7), number, "Moved", json!({"amount": 2})).await;
    }
    settled(&database, "accounts").await;
    let changed =
        ACCOUNTS.replace("moves = 1 }", "moves = 10 }").replace("owner   = \"text index\"", "owner   = \"text\"\nmore = \"text\"");
    let trial = database.try_projection("accounts", Format::Toml, &changed).await.unwrap();
    assert_eq!((trial.events, trial.rows, trial.changed, trial.same), (50, 7, 7, 0));
    assert_eq!(trial.examples[0].key, "account-0");
    assert_eq!((&trial.examples[0].before["moves"], &trial.examples[0].after["moves"]), (&json!(8), &json!(80)));
    assert_eq!(define(&database, "accounts", &changed).await, Change::Changed);
    // What was in use goes on until the new rows are there, however often the server stops on the way.
    database.close().await.unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    let found = async {
        loop {
            let page = database.query_view("accounts", ViewQuery::default(), None, Duration::ZERO).await;
            if page.is_ok_and(|page| page.rows.first().is_some_and(|row| row.values.len() == 6)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.expect("the new rows are promoted");
    settled(&database, "accounts").await;
    let found = rows(&database, "accounts").await;
    assert!(found.len() == 7 && found[0].values.len() == 6 && found[0].values[4] == Value::Integer(80), "{found:?}");
    // A change of the policy alone builds nothing.
    define(&database, "accounts", &format!("on_error = \"park\"\n{changed}")).await;
    assert!(database.projection("accounts").unwrap().rebuild.is_none());
    // The rows of a projection that has ended are gone.
    database.remove_projection("accounts", false).await.unwrap();
    assert!(matches!(database.query_view("accounts", ViewQuery::default(), None, Duration::ZERO).await, Err(Error::ViewNotFound { .. })));
    assert!(matches!(database.projection("accounts"), Err(Error::DefinitionNotFound { .. })));
    define(&database, "accounts", ACCOUNTS).await;
    settled(&database, "accounts").await;
    assert_eq!(rows(&database, "accounts").await.len(), 7);
    database.close().await.unwrap();
}

/// The same as [`ACCOUNTS`] without the fan-out, as a Rust type.
struct Accounts {
    version: u32,
}

impl Projection for Accounts {
    fn name(&self) -> &str {
        "native"
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn columns(&self) -> Vec<(&str, &str)> {
        vec![("account", "text primary key"), ("moves", "bigint default 0"), ("balance", "decimal(12,2) default 0")]
    }

    fn project(&self, event: &Event, rows: &mut Rows<'_>) -> Result<(), ProjectError> {
        let data: Json = serde_json::from_slice(event.record.data()).map_err(|error| ProjectError::from(error.to_string()))?;
        let stream = event.record.stream();
        match event.record.event_type() {
            "Moved" => {
                let (moves, balance) = match rows.get(stream)?.as_ref().map(|row| (&row.values[1], &row.values[2])) {
                    Some((Value::Integer(moves), Value::Decimal(balance))) => (*moves, balance.to_string().parse::<f64>().unwrap_or(0.0)),
                    _ => (0, 0.0),
                };
                let amount = data["amount"].as_f64().ok_or("the amount is no number")?;
                rows.upsert(stream, json!({"moves": moves + i64::from(self.version), "balance": balance + amount}))
            }
            "Closed" => rows.delete(stream),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_rust_type_is_a_projection_too() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(Options::new(directory.path())).await.unwrap();
    database.project(Arc::new(Accounts { version: 1 })).await.unwrap();
    let mut traffic = Traffic::new("a_rust_type_is_a_projection_too");
    traffic.run(&database, 300).await;
    settled(&database, "native").await;
    let moves = |rows: &[Row]| rows.iter().map(|row| row.values[1].clone()).collect::<Vec<_>>();
    let counted = |factor: i64| {
        move |ledger: &Ledger| ledger.0.values().filter(|row| row.2 > 0).map(|row| Value::Integer(row.2 * factor)).collect::<Vec<_>>()
    };
    assert_eq!(moves(&rows(&database, "native").await), counted(1)(&traffic.ledger));
    database.close().await.unwrap();

    let database = Database::open(Options::new(directory.path())).await.unwrap();
    assert!(matches!(database.projection("native"), Err(Error::DefinitionNotFound { .. })), "it is put in force by the program");
    database.project(Arc::new(Accounts { version: 1 })).await.unwrap();
    traffic.run(&database, 50).await;
    settled(&database, "native").await;
    assert_eq!(moves(&rows(&database, "native").await), counted(1)(&traffic.ledger));
    // A newer version builds its rows anew.
    database.project(Arc::new(Accounts { version: 3 })).await.unwrap();
    state(&database, "native", State::Running).await;
    let found = async {
        while moves(&rows(&database, "native").await) != counted(3)(&traffic.ledger) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found).await.expect("the rows of the new version");
    database.close().await.unwrap();
}

#[tokio::test]
async fn a_module_makes_the_rows_that_handlers_make() {
    let script = r#"
export function project(event, rows) {
  const key = event.stream;
  if (event.type === "Opened") rows.upsert(key, { owner: event.data.owner, last: event.occurred_at });
  if (event.type === "Moved") {
    const row = rows.get(key) ?? { balance: 0, moves: 0 };
    rows.upsert(key, { balance: Number(row.balance) + event.data.amount, moves: row.moves + 1, last: event.occurred_at });
  }
  if (event.type === "Renamed") rows.update({ owner: event.data.from }, { owner: event.data.to });
  if (event.type === "Closed") rows.delete(key);
}
"#;
    let database = memory().await;
    let columns: toml::Table = toml::from_str(ACCOUNTS).unwrap();
    let document = json!({"source": {"categories": ["account"]}, "columns": columns["columns"], "script": script});
    database.define(Kind::Projection, "module", Format::Json, &document.to_string(), false).await.unwrap();
    define(&database, "accounts", ACCOUNTS).await;
    let mut traffic = Traffic::new("a_module_makes_the_rows_that_handlers_make");
    traffic.run(&database, 400).await;
    settled(&database, "module").await;
    settled(&database, "accounts").await;
    traffic.ledger.check(&rows(&database, "accounts").await);
    assert_eq!(by_name(&database, "module").await, by_name(&database, "accounts").await);
}

/// All rows with their cells by name: the columns of a document in JSON may stand in another order.
async fn by_name(database: &Database, view: &str) -> Vec<BTreeMap<String, Value>> {
    let columns = database.view_columns(view).unwrap();
    let named = |row: Row| columns.names().into_iter().map(str::to_owned).zip(row.values).collect();
    let mut all: Vec<BTreeMap<String, Value>> = rows(database, view).await.into_iter().map(named).collect();
    all.sort_by_cached_key(|row| row["account"].clone());
    all
}

#[tokio::test]
async fn definitions_that_make_no_sense_are_refused_with_the_place() {
    let database = memory().await;
    let columns = "[columns]\nid = \"text primary key\"\nn = \"bigint\"\n";
    for (text, pointer, detail) in [
        ("", None, "columns"),
        ("[columns]\nid = \"text\"\n[on.X]\nkey = \"$.stream\"", Some("/columns"), "primary key"),
        ("[columns]\nid = \"words primary key\"\n[on.X]\nkey = \"$.stream\"", Some("/columns/id"), "is no type"),
        ("[columns]\nId = \"text primary key\"\n[on.X]\nkey = \"$.stream\"", Some("/columns/Id"), "a-z"),
        ("[columns]\nid = \"text primary key\"\nn = \"decimal(40,2)\"\n[on.X]\nkey = \"$.stream\"", Some("/columns/n"), "1 to 28"),
        (columns, Some("/on"), "says nothing"),
        (&format!("{columns}[on.X]\nset = {{ n = 1 }}"), Some("/on/X"), "neither"),
        (&format!("{columns}[on.X]\nkey = \"$.stream\"\nset = {{ m = 1 }}"), Some("/on/X/set/m"), "no column"),
        (&format!("{columns}[on.X]\nkey = \"$.stream\"\nset = {{ n = \"'one'\" }}"), Some("/on/X/set/n"), "whole number"),
        (&format!("{columns}[on.X]\nkey = \"$.stream\"\nset = {{ n = \"one\" }}"), Some("/on/X/set/n"), "'one'"),
        (&format!("{columns}[on.X]\nkey = \"$.strema\""), Some("/on/X/key"), "finds nothing in any event"),
        (&format!("{columns}[on.X]\nkey = \"$[\""), Some("/on/X/key"), "RFC 9535"),
        (&format!("{columns}[on.X]\nkey = \"$.stream\"\nadd = {{ id = 1 }}"), Some("/on/X/add/id"), "numbers"),
        (&format!("{columns}[on.X]\nkey = \"$.stream\"\ndelete = true\nset = {{ n = 1 }}"), Some("/on/X/delete"), "goes"),
        (&format!("{columns}[on.X]\nkye = \"$.stream\""), Some("/on/X/kye"), "a handler has"),
        (&format!("{columns}[on.X]\nkey = \"$.stream\"\n[target]\nkind = \"embedded\"\ntable = \"t\""), Some("/target/table"), "postgres"),
        (
            &format!("{columns}[on.X]\nkey = \"$.stream\"\n[target]\nkind = \"postgres\"\nurl_env = \"NOT_SET_HERE\""),
            Some("/target/url_env"),
            "no environment variable",
        ),
        (&format!("module = \"x.js\"\n{columns}"), Some("/module"), "script"),
        (&format!("script = \"export const x = 1;\"\n{columns}"), None, "project"),
    ] {
        let refused = database.define(Kind::Projection, "view", Format::Toml, text, false).await;
        let Err(Error::InvalidDefinition(fault)) = refused else { panic!("{text}: {refused:?}") };
        assert_eq!(fault.pointer.as_deref(), pointer, "{text}: {fault:?}");
        assert!(fault.detail.contains(detail), "{text}: {fault:?}");
    }
    let unread = database.define(Kind::Projection, "view", Format::Toml, "a = 1\n[columns\n", false).await;
    assert!(matches!(unread, Err(Error::InvalidDefinition(fault)) if fault.line == Some(2)));
    for name in ["", "$mine", "a/b"] {
        assert!(
            matches!(database.define(Kind::Projection, name, Format::Toml, ACCOUNTS, false).await, Err(Error::Invalid { .. })),
            "{name}"
        );
    }
    assert!(database.projections().is_empty());
}

#[tokio::test]
async fn rows_are_found_by_their_columns() {
    let database = memory().await;
    define(&database, "accounts", ACCOUNTS).await;
    let mut traffic = Traffic::new("rows_are_found_by_their_columns");
    let cursor = traffic.run(&database, 300).await;
    let owner = database.view_columns("accounts").unwrap().place("owner").unwrap();
    let filters = vec![Comparison { place: owner, test: Test::Equal(Value::Text("owner 3".into())) }];
    let query = ViewQuery { filters, count: true, ..ViewQuery::default() };
    let page = database.query_view("accounts", query, Some(&cursor), Duration::from_secs(20)).await.unwrap();
    let expected: Vec<_> =
        traffic.ledger.0.iter().filter(|(_, row)| row.0.as_deref() == Some("owner 3")).map(|(key, _)| key.as_str()).collect();
    let found: Vec<_> = page
        .rows
        .iter()
        .map(|row| {
            let Value::Text(text) = &row.values[0] else { panic!("{row:?}") };
            text.as_ref()
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(page.count, Some(expected.len() as u64));
}
