//! Do modules make the same rows, however the events are cut into batches?

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::memory::MemoryWriter;
use super::super::row::Row;
use super::super::spec::Columns;
use super::super::spec::Logic;
use super::super::spec::Spec;
use super::super::value::Value;
use super::super::working::Stamp;
use super::*;
use crate::definition::Format;

const COLUMNS: &str = "id = \"text primary key\"\nn = \"bigint default 0\"\ntotal = \"decimal(12,2)\"\nratio = \"double\"\nname = \"text\"
at = \"timestamp\"\nday = \"date\"\nflag = \"boolean default false\"\ntags = \"json\"\nowner = \"uuid\"\nsmall = \"integer index\"";

fn sandbox() -> Sandbox {
    let options = crate::script::Options { threads: 1, wall: Duration::from_secs(60), interrupts_max: 2_000, ..Default::default() };
    Sandbox::new(options)
}

fn parts(columns: &str, script: &str) -> (Arc<Columns>, Arc<Module>) {
    let text = format!("module = \"v.js\"\nscript = '''\n{script}'''\n[columns]\n{columns}\n");
    let spec = Spec::read("v", "v.toml", Format::Toml, &text).unwrap();
    let Logic::Module(module) = spec.logic else { panic!("there is a script") };
    (spec.columns, module)
}

/// Another view: each key from `p0` to `p3` has a row.
struct Payers;

impl Lookup for Payers {
    fn row<'a>(&'a self, view: &'a str, key: &'a Json) -> BoxFuture<'a, Result<Option<Json>, Unanswered>> {
        Box::pin(async move {
            match view {
                "payers" => {}
                "away" => return Err(Unanswered::Fault(Fault::Passing("it is away".to_owned()))),
                _ => return Err(Unanswered::Key(format!("{view} has no such keys"))),
            }
            let number = key.as_str().and_then(|key| key.strip_prefix('p')).and_then(|key| key.parse::<u8>().ok());
            Ok(number.filter(|number| *number < 4).map(|number| serde_json::json!({ "id": key, "rank": number })))
        })
    }
}

type Rows = BTreeMap<Value, Row>;

/// What these events have in `key` stands for the name of their stream.
fn asked(columns: &Columns, event: &Json) -> Asked {
    let own_key = event["key"].as_str().filter(|_| columns.has_text_keys()).map(|key| Value::Text(key.into()));
    Asked { text: Bytes::from(event.to_string()), own_key }
}

/// The rows after all events, and which were stepped over and why.
async fn run(columns: &Arc<Columns>, module: &Arc<Module>, events: &[Json], batch: usize) -> (Rows, Vec<(usize, String)>) {
    let sandbox = sandbox();
    let mut writer = MemoryWriter::new(Arc::clone(columns));
    let mut parked = Vec::new();
    let mut habit = Habit::default();
    for (number, chunk) in events.chunks(batch).enumerate() {
        let mut working = Working::new(Arc::clone(columns));
        let asked = chunk.iter().map(|event| Some(asked(columns, event))).collect();
        let mut calls = Calls::of_events(("v", module), &sandbox, &Payers, &mut habit, asked);
        for at in 0..chunk.len() {
            let place = number * batch + at;
            let position = u64::try_from(place).unwrap() + 1;
            if events[place]["step_over"] == true {
                continue;
            }
            let done = match calls.changes(at, &mut working, &mut writer).await {
                Ok(changes) => working.apply(&mut writer, changes, Stamp { version: position, position }).await,
                Err(refusal) => Err(refusal),
            };
            match done {
                Ok(()) => {}
                Err(Refusal::Poison(reason)) => {
                    calls.forget();
                    parked.push((place, reason));
                }
                Err(Refusal::Fault(fault) | Refusal::Waits(fault)) => panic!("memory does not fail: {fault}"),
            }
        }
        for write in working.into_writes() {
            match write.row {
                Some(row) => drop(writer.rows.insert(write.key, row)),
                None => drop(writer.rows.remove(&write.key)),
            }
        }
    }
    (writer.rows.into_iter().collect(), parked)
}

const EVERYTHING: &str = r#"
export function project(event, rows) {
  const { kind, key, other, n } = event;
  switch (kind) {
    case "count": {
      const row = rows.get(key);
      rows.upsert(key, { n: (row?.n ?? 0) + n, total: (row?.total ?? 0) + n / 8, at: event.at, name: `${row?.name ?? ""}${n}`.slice(-5) });
      break;
    }
    case "write":
      rows.upsert(key, { tags: { b: [n, { c: null }], a: n / 7 }, total: n / 3, small: n % 3 });
      rows.upsert(key, { day: event.at.slice(0, 10), owner: event.owner });
      break;
    case "move": {
      const row = rows.get(key);
      if (row === null) throw new Error(`there is no ${key}`);
      const to = rows.get(other);
      rows.delete(key);
      rows.upsert(other, { n: row.n + (to?.n ?? 0), tags: [to?.tags ?? row.tags, rows.get(key)], ratio: row.total * 0.1, flag: !row.flag });
      break;
    }
    case "sweep":
      rows.update({ small: n % 3 }, { small: (n + 1) % 3, name: "swept", total: n / 16 });
      if (n % 2) rows.upsert(other, { name: rows.get(other)?.name ?? "new" });
      break;
    case "delete":
      rows.delete(key);
      break;
    case "chain": {
      let at = key;
      for (let steps = 0; steps < 5; steps += 1) {
        const row = rows.get(at);
        if (row === null) break;
        at = `k${(row.n * 7 + (row.name ?? "").length + Math.round(row.total * 100)) % 20}`;
      }
      rows.upsert(at, { n, name: at });
      break;
    }
    case "lookup":
      rows.upsert(key, { n: rows.lookup("payers", `p${n % 6}`)?.rank ?? -1 });
      break;
    case "unknown":
      rows.lookup("nobody", key);
      break;
    case "swallow":
      try { rows.upsert(key, { n: rows.get(other).n + 1 }); } catch { rows.upsert(key, { name: "caught" }); }
      break;
    case "bad":
      rows.upsert(key, { name: "before" });
      rows.upsert(key, { n: "five" });
      break;
    case "too large":
      rows.upsert(key, { total: 1e10 - 0.5 + n });
      break;
    default:
  }
}
"#;

#[derive(Clone, Copy)]
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn event(&mut self) -> Json {
        let kinds = [
            "count",
            "count",
            "count",
            "write",
            "write",
            "move",
            "sweep",
            "delete",
            "chain",
            "chain",
            "lookup",
            "unknown",
            "swallow",
            "bad",
            "too large",
            "other",
        ];
        let kind = kinds[usize::try_from(self.below(16)).unwrap()];
        let (key, other, n) = (self.below(20), self.below(20), self.below(50));
        let owner = uuid::Uuid::from_u64_pair(n, key).to_string().to_uppercase();
        let at = format!("2026-01-{:02}T03:04:05{}Z", 1 + n % 28, if key.is_multiple_of(2) { ".000001" } else { "" });
        let mut event = serde_json::json!({
            "kind": kind, "key": format!("k{key}"), "other": format!("k{other}"), "n": n, "owner": owner, "at": at,
        });
        if self.below(40) == 0 {
            event["step_over"] = Json::Bool(true);
        }
        event
    }
}

#[tokio::test]
async fn rows_do_not_depend_on_where_batches_end() {
    let seed = std::env::var("SEED").map_or(0x00FA_C701, |seed| seed.parse().expect("SEED is a number"));
    println!("SEED={seed}");
    let (columns, module) = parts(COLUMNS, EVERYTHING);
    for round in 0..4_u64 {
        let mut random = Random(seed + round);
        let events: Vec<Json> = (0..400).map(|_| random.event()).collect();
        let (rows, parked) = run(&columns, &module, &events, 1).await;
        assert!(rows.len() > 5 && parked.len() > 20, "SEED={seed} round {round}: {} rows, {} parked", rows.len(), parked.len());
        for batch in [7, 512] {
            let (other, other_parked) = run(&columns, &module, &events, batch).await;
            assert_eq!(other_parked, parked, "SEED={seed} round {round} batch {batch}");
            assert_eq!(other, rows, "SEED={seed} round {round} batch {batch}");
        }
    }
}

/// Most events keep to the rows of their streams, and are asked about side by side; what the others do must not be missed by them.
#[tokio::test]
async fn events_that_are_asked_about_side_by_side_come_to_the_same() {
    let seed = std::env::var("SEED").map_or(0x00FA_C702, |seed| seed.parse().expect("SEED is a number"));
    println!("SEED={seed}");
    let (columns, module) = parts(COLUMNS, EVERYTHING);
    for round in 0..4_u64 {
        let mut random = Random(seed + round);
        let mut events: Vec<Json> = (0..2_000).map(|_| random.event()).collect();
        for event in &mut events {
            if random.below(300) > round {
                event["kind"] = Json::from(["count", "count", "write", "delete"][usize::try_from(random.below(4)).unwrap()]);
            }
        }
        let (rows, parked) = run(&columns, &module, &events, 1).await;
        let (other, other_parked) = run(&columns, &module, &events, 2_000).await;
        assert_eq!((other, other_parked), (rows, parked), "SEED={seed} round {round}");
    }
}

/// Once it was seen that a module looks at the rows of its events' streams, it is not asked twice, and in two lanes.
#[tokio::test]
async fn rows_of_the_events_streams_are_told_ahead() {
    let script = "export function project(event, rows) { rows.upsert(event.to ?? event.key, { n: (rows.get(event.key)?.n ?? 0) + 1 }); }";
    let (columns, module) = parts(COLUMNS, script);
    let events = |count: u64| (0..count).map(|n| serde_json::json!({ "key": format!("k{}", n % 700) })).collect::<Vec<_>>();
    let of = |events: &[Json]| events.iter().map(|event| asked(&columns, event)).collect::<Vec<_>>();
    let mut habit = Habit::default();
    let (few, wanted) = (of(&events(10)), |own: &[&str]| own.iter().map(|key| format!("\"{key}\"")).collect::<Vec<_>>());
    habit.learn(&few, &wanted(&["k1", "x", "y"]));
    assert_eq!(habit.key(&few[0]), None, "two of three are other rows");
    habit.learn(&few, &wanted(&["k1", "k2", "x"]));
    assert_eq!(habit.key(&few[0]), few[0].own_key.as_ref());
    let (sandbox, mut writer) = (sandbox(), MemoryWriter::new(Arc::clone(&columns)));
    let mut all = events(2_000);
    let lane = |key: &str| habit::lane(&Value::Text(key.into()));
    let other = (0..).map(|n| format!("other {n}")).find(|key| lane(key) != lane("k300")).unwrap();
    for (to, expected) in [(None, 2 * EVENTS_MAX), (Some(other), EVENTS_MAX)] {
        all[1_000]["to"] = Json::from(to.clone());
        let mut working = Working::new(Arc::clone(&columns));
        let asked = of(&all).into_iter().map(Some).collect();
        let mut calls = Calls::of_events(("v", &module), &sandbox, &Payers, &mut habit, asked);
        calls.run(&mut working, &mut writer).await.unwrap();
        assert_eq!((calls.ahead.len(), calls.wanted.len()), (expected, 0), "{to:?}");
    }
}

fn cell<'a>(columns: &Columns, rows: &'a Rows, key: &str, name: &str) -> &'a Value {
    &rows[&Value::Text(key.into())].values[columns.place(name).unwrap()]
}

#[tokio::test]
async fn counters_count_and_decimals_add_up() {
    let script = "export function project(event, rows) { const row = rows.get(event.key); \
                  rows.upsert(event.key, { n: (row?.n ?? 0) + 1, total: (row?.total ?? 0) + 0.1 }); }";
    let (columns, module) = parts(COLUMNS, script);
    let events: Vec<Json> = (0..1_500).map(|n| serde_json::json!({ "key": format!("k{}", n % 3) })).collect();
    for batch in [1, 7, 512] {
        let (rows, parked) = run(&columns, &module, &events, batch).await;
        assert_eq!((rows.len(), parked), (3, Vec::new()));
        assert_eq!(cell(&columns, &rows, "k1", "n"), &Value::Integer(500), "batch {batch}");
        assert_eq!(cell(&columns, &rows, "k1", "total"), &Value::Decimal("50.00".parse().unwrap()), "batch {batch}");
        assert_eq!(rows[&Value::Text("k2".into())].position, 1_500);
    }
}

#[tokio::test]
async fn an_event_that_fails_says_where_in_the_module() {
    let script = "export function project(event, rows) {\n  rows.upsert(event.key, { n: 1 });\n  if (event.bad) throw new Error('bad');\n  if (event.slow) for (;;) {}\n}";
    let (columns, module) = parts(COLUMNS, script);
    let mut events: Vec<Json> = (0..30).map(|n| serde_json::json!({ "key": format!("k{n}") })).collect();
    events[11]["bad"] = Json::Bool(true);
    events[17]["slow"] = Json::Bool(true);
    events[20]["key"] = Json::Null;
    let (rows, parked) = run(&columns, &module, &events, 512).await;
    assert_eq!((rows.len(), parked.len()), (27, 3));
    assert_eq!((parked[0].0, parked[0].1.as_str()), (11, "v.js:3:28: bad"));
    assert!(parked[1].0 == 17 && parked[1].1.starts_with("v.js:4:") && parked[1].1.contains("took longer"), "{:?}", parked[1]);
    assert_eq!((parked[2].0, parked[2].1.as_str()), (20, "v.js:2:15: TypeError: rows.upsert: the key is null, but must be a text"));
}

#[tokio::test]
async fn a_module_without_project_is_refused() {
    let (_, module) = parts(COLUMNS, "export const evolve = {};");
    let error = check(&sandbox(), &module).await.unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (Kind::Definition, "a projection's module must export a function project(event, rows)")
    );
    let (_, module) = parts(COLUMNS, EVERYTHING);
    check(&sandbox(), &module).await.unwrap();
}

#[tokio::test]
async fn a_sandbox_that_is_busy_is_tried_again_later() {
    let (columns, module) = parts(COLUMNS, EVERYTHING);
    let sandbox = Sandbox::new(crate::script::Options { queue_max: 0, ..Default::default() });
    let (mut habit, asked) = (Habit::default(), asked(&columns, &serde_json::json!({})));
    let mut calls = Calls::of_events(("v", &module), &sandbox, &Payers, &mut habit, vec![Some(asked)]);
    let mut writer = MemoryWriter::new(Arc::clone(&columns));
    let refusal = calls.changes(0, &mut Working::new(columns), &mut writer).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Fault(Fault::Passing(_))), "{refusal:?}");
}

/// The changes of each event up to the first that is refused, and why.
async fn until_refused(script: &str, events: &[Json]) -> (usize, Refusal) {
    let (columns, module) = parts(COLUMNS, script);
    let (sandbox, mut writer) = (sandbox(), MemoryWriter::new(Arc::clone(&columns)));
    let (mut habit, asked) = (Habit::default(), events.iter().map(|event| Some(asked(&columns, event))).collect());
    let mut working = Working::new(columns);
    let mut calls = Calls::of_events(("v", &module), &sandbox, &Payers, &mut habit, asked);
    for at in 0..events.len() {
        match calls.changes(at, &mut working, &mut writer).await {
            Ok(changes) => working.apply(&mut writer, changes, Stamp { version: 1, position: 1 }).await.unwrap(),
            Err(refusal) => return (at, refusal),
        }
    }
    panic!("none of {} events was refused", events.len());
}

#[tokio::test]
async fn p5_a_view_that_is_away_is_waited_for_and_no_event_is_blamed() {
    let event = |key: &str, view: Option<&str>| serde_json::json!({ "key": key, "view": view });
    let caught = "export function project(event, rows) { try { if (event.view) rows.lookup(event.view, 'p1'); } catch {} \
                  rows.upsert(event.key, { n: 1 }); }";
    let events = [event("a", Some("payers")), event("b", None), event("c", Some("away")), event("d", None)];
    let (at, refusal) = until_refused(caught, &events).await;
    assert!(at == 2 && matches!(&refusal, Refusal::Waits(Fault::Passing(text)) if text == "it is away"), "{at}: {refusal:?}");

    // The second event only seems to look there, until the first has been applied.
    let first_time = "export function project(event, rows) { const row = rows.get(event.key); \
                      if (row === null) rows.lookup(event.view, 'p1'); rows.upsert(event.key, { n: (row?.n ?? 0) + 1 }); }";
    let events = [event("a", Some("payers")), event("a", Some("away")), event("a", Some("v")), event("b", Some("away"))];
    let (at, refusal) = until_refused(first_time, &events).await;
    assert!(at == 3 && matches!(refusal, Refusal::Waits(Fault::Passing(_))), "{at}: {refusal:?}");
}

#[tokio::test]
async fn a_module_that_looks_up_its_own_view_is_told_what_to_do_instead() {
    let script = "export function project(event, rows) { try { rows.lookup('v', event.key); } catch {} rows.upsert(event.key, { n: 1 }); }";
    let (at, refusal) = until_refused(script, &[serde_json::json!({ "key": "a" })]).await;
    assert!(at == 0 && matches!(&refusal, Refusal::Waits(Fault::Lasting(text)) if text.contains("rows.get(key)")), "{at}: {refusal:?}");
}
