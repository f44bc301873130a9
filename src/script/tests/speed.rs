//! How long calls take. Not run by default: it prints figures, and judges nothing that depends on the machine.

use std::time::Instant;

use super::*;

/// The processor time of this process, in milliseconds; a busy machine does not change it as it changes the clock.
fn processor() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    stat.split_whitespace().skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

#[tokio::test]
#[ignore = "prints times instead of checking anything"]
async fn times_of_decisions() {
    let sandbox = Sandbox::new(Options { threads: 1, ..Options::default() });
    let module = module(DECLARATION);
    let start = Instant::now();
    sandbox.inspect(&module).await.unwrap();
    println!("first call: {:?}", start.elapsed());

    let mut times = Vec::new();
    let before = processor();
    for _ in 0..2_000 {
        let start = Instant::now();
        let state = Bytes::from_static(br#"{"status":"submitted","amount":5,"rejections":1}"#);
        sandbox.decide(&module, "reject", Some(state), Bytes::from_static(br#"{"by":"x","reason":"y"}"#)).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!("decide: median {:?}, 99th of 100 {:?}, slowest {:?}", times[1_000], times[1_980], times[1_999]);
    println!("decide: {} us of processor a call", (processor() - before) / 2);
}

#[tokio::test]
#[ignore = "prints times instead of checking anything"]
async fn times_of_folds() {
    let sandbox = Sandbox::new(Options { threads: 1, ..Options::default() });
    let module = module(DECLARATION);
    let event = Bytes::from(format!(
        r#"{{"id":"0190c0f5-7b3c-7c3a-9d5e-1f2a3b4c5d6e","stream":"declaration-4711","version":12,"position":"123456",
            "type":"DeclarationRejected","data":{{"by":"employee-12","reason":"{}"}},"metadata":{{"user":"someone"}},
            "occurred_at":"2026-01-02T03:04:05.678Z","recorded_at":"2026-01-02T03:04:05.678Z"}}"#,
        "missing receipt, ".repeat(5)
    ));
    for every_step in [false, true] {
        let (start, before) = (Instant::now(), processor());
        for _ in 0..50 {
            sandbox.fold(&module, None, vec![event.clone(); 1_000], every_step).await.unwrap();
        }
        let rate = 50_000.0 / start.elapsed().as_secs_f64();
        let cost = (processor() - before) as f64 / 50.0;
        println!("fold, every step {every_step}, {} bytes an event: {rate:.0} events/s, {cost:.2} us of processor an event", event.len());
    }
}

#[test]
#[ignore = "prints times instead of checking anything"]
fn times_of_one_thread() {
    let options = Options::default();
    let module = module(DECLARATION);
    let mut realms = Vec::new();
    let start = Instant::now();
    for _ in 0..100 {
        realms.push(super::super::realm::Realm::new(&options).unwrap());
    }
    println!("a runtime: {:?}", start.elapsed() / 100);
    let mut realm = realms.pop().unwrap();
    let start = Instant::now();
    drop(realms);
    println!("dropping one: {:?}", start.elapsed() / 99);
    let state = Bytes::from_static(br#"{"status":"submitted","amount":5,"rejections":1}"#);
    let input = Bytes::from_static(br#"{"by":"x","reason":"y"}"#);
    let work = Work::Decide { command: "reject".to_owned(), state: Some(state), input };
    let mut prepared = Vec::new();
    let mut called = Vec::new();
    for _ in 0..300 {
        let start = Instant::now();
        realm.prepare_ahead(&module);
        prepared.push(start.elapsed());
        let start = Instant::now();
        realm.call(&module, &work).unwrap();
        called.push(start.elapsed());
    }
    prepared.sort();
    called.sort();
    println!("an instance: median {:?}, a decision with it: median {:?}", prepared[150], called[150]);
}

#[tokio::test]
#[ignore = "prints times instead of checking anything"]
async fn times_of_projections() {
    let sandbox = Sandbox::new(Options { threads: 1, ..Options::default() });
    let count = module("export function project(event, rows) { rows.upsert(event.stream, { n: (rows.get(event.stream)?.n ?? 0) + 1 }); }");
    let write = module("export function project(event, rows) { rows.upsert(event.stream, { n: event.version, at: event.occurred_at }); }");
    let events: Vec<Bytes> = (0..512)
        .map(|n| {
            let text = format!(
                r#"{{"id":"0190c0f5-7b3c-7c3a-9d5e-1f2a3b4c5d6e","stream":"declaration-{}","version":12,"type":"DeclarationRejected",
                "data":{{"by":"employee-12","amount":12.5}},"metadata":{{"user":"someone"}},"occurred_at":"2026-01-02T03:04:05.678000Z"}}"#,
                n / 4
            );
            Bytes::from(text)
        })
        .collect();
    let rows: Vec<String> = (0..128).map(|n| format!(r#""\"declaration-{n}\"":{{"id":"declaration-{n}","n":5,"at":null}}"#)).collect();
    let view = r#"{"key":"id","blank":{"id":null,"n":0,"at":null},"kinds":{"id":"text","n":"integer","at":"timestamp"}}"#;
    for (name, module, known) in [("read and write", &count, true), ("read what is not known", &count, false), ("write", &write, false)] {
        let rows = if known { format!("{{{}}}", rows.join(",")) } else { "{}".to_owned() };
        let call =
            Projecting { events: events.clone(), rows: Bytes::from(rows), lookups: Bytes::from_static(b"{}"), view: Bytes::from(view) };
        let start = Instant::now();
        for _ in 0..100 {
            sandbox.project(module, call.clone()).await.unwrap();
        }
        println!("project, {name}: {:.0} events/s", 51_200.0 / start.elapsed().as_secs_f64());
    }
}
