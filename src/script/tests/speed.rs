//! How long calls take. Not run by default: it prints figures, and judges nothing that depends on the machine.

use std::time::Instant;

use super::*;

#[tokio::test]
#[ignore = "prints times instead of checking anything"]
async fn times_of_calls() {
    let sandbox = Sandbox::new(Options { threads: 1, ..Options::default() });
    let module = module(DECLARATION);
    let start = Instant::now();
    sandbox.inspect(&module).await.unwrap();
    println!("first call: {:?}", start.elapsed());

    let mut times = Vec::new();
    for _ in 0..2_000 {
        let start = Instant::now();
        let state = Bytes::from_static(br#"{"status":"submitted","amount":5,"rejections":1}"#);
        sandbox.decide(&module, "reject", Some(state), Bytes::from_static(br#"{"by":"x","reason":"y"}"#)).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!("decide: median {:?}, 99th of 100 {:?}, slowest {:?}", times[1_000], times[1_980], times[1_999]);

    let event = Bytes::from(format!(
        r#"{{"id":"0190c0f5-7b3c-7c3a-9d5e-1f2a3b4c5d6e","stream":"declaration-4711","version":12,"position":"123456","type":"DeclarationRejected","data":{{"by":"employee-12","reason":"{}"}},"metadata":{{"user":"someone","correlation_id":"0190c0f5-7b3c-7c3a-9d5e-1f2a3b4c5d6e"}},"occurred_at":"2026-01-02T03:04:05.678Z","recorded_at":"2026-01-02T03:04:05.678Z"}}"#,
        "missing receipt, ".repeat(5)
    ));
    for every_step in [false, true] {
        let start = Instant::now();
        for _ in 0..50 {
            sandbox.fold(&module, None, vec![event.clone(); 1_000], every_step).await.unwrap();
        }
        println!("fold, every step {every_step}, {} bytes an event: {:.0} events/s", event.len(), 50_000.0 / start.elapsed().as_secs_f64());
    }
}
