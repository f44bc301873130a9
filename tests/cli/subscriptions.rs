//! Consumer groups, seen from outside: kills at the worst moment, and what the command says.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::crash::Random;
use crate::process::Place;
use crate::process::Server;
use crate::process::note;

/// What is known of one event of the group: stream and version.
type EventPlace = (String, u64);

/// What consumers know together.
#[derive(Default)]
struct Known {
    /// Acknowledged, and answered.
    done: BTreeSet<EventPlace>,
    /// Acknowledged, and no answer came: done or not.
    in_doubt: BTreeSet<EventPlace>,
}

#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    fn new(server: &Server) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
        Self { http, url: server.url.clone() }
    }

    /// What the server answers; nothing if it does not.
    async fn post(&self, path: &str, body: &Value) -> Option<Value> {
        let sent = self.http.post(format!("{}{path}", self.url)).header("content-type", "application/json").body(body.to_string());
        let response = sent.send().await.ok()?;
        let status = response.status();
        let bytes = response.bytes().await.ok()?;
        assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&bytes));
        serde_json::from_slice(&bytes).ok()
    }

    async fn pull(&self, wait: u32) -> Option<Vec<Value>> {
        let asked = self.http.get(format!("{}/v1/subscriptions/g/events?limit=20", self.url)).header("prefer", format!("wait={wait}"));
        let answer: Value = serde_json::from_slice(&asked.send().await.ok()?.bytes().await.ok()?).ok()?;
        Some(answer["deliveries"].as_array().expect("deliveries").clone())
    }

    /// Acknowledges a batch, after checking that nothing in it was done before. Whether the server still answers.
    async fn settle(&self, batch: &[Value], known: &mut Known, context: &str) -> bool {
        let places: Vec<EventPlace> = batch.iter().map(place).collect();
        for place in &places {
            assert!(!known.done.contains(place), "{context}: {place:?} came again after it was acknowledged");
        }
        let ids: Vec<&Value> = batch.iter().map(|delivery| &delivery["delivery"]).collect();
        let Some(answer) = self.post("/v1/subscriptions/g/ack", &json!({ "deliveries": ids })).await else {
            known.in_doubt.extend(places);
            return false;
        };
        let unknown = answer["unknown"].as_array().expect("a list");
        known.done.extend(places.into_iter().zip(ids).filter(|(_, id)| !unknown.contains(id)).map(|(place, _)| place));
        true
    }
}

fn place(delivery: &Value) -> EventPlace {
    let event = &delivery["event"];
    (event["stream"].as_str().expect("a stream").to_owned(), event["version"].as_u64().expect("a version"))
}

/// Appends a few events to a stream; how many there are now, if the server said so.
async fn append(client: &Client, stream: &str) -> Option<u64> {
    let events: Vec<Value> = (0..3).map(|n| json!({"type": "Happened", "data": n})).collect();
    client.post(&format!("/v1/streams/{stream}/events"), &json!({ "events": events })).await?["last_version"].as_u64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s4_kill_nine_among_consumers_skips_nothing_and_forgets_no_acknowledgement() {
    let kills: u64 = std::env::var("KILLS").ok().map_or(12, |text| text.parse().expect("KILLS is a number"));
    let (mut random, seed) = Random::of_environment();
    note(&format!("SEED={seed} KILLS={kills}"));
    let place = Place::new();
    let mut known = Known::default();
    let mut appended: BTreeMap<String, u64> = BTreeMap::new();
    for kill in 0..kills {
        let context = format!("SEED={seed} before kill {kill}");
        let server = place.start().ready();
        let client = Client::new(&server);
        if kill == 0 {
            let put = client.http.put(format!("{}/v1/subscriptions/g", server.url)).header("content-type", "application/json");
            let terms = r#"{"ack_timeout_ms": 500, "max_attempts": 1000}"#;
            assert_eq!(put.body(terms).send().await.expect("answers").status().as_u16(), 201);
        }
        for _ in 0..4 {
            let stream = format!("s-{}", random.below(5));
            let version = append(&client, &stream).await.expect("the server lives");
            appended.insert(stream, version);
        }
        // Batches whole, in parts or not at all; one is parked for the next round to be replayed.
        client.post("/v1/subscriptions/g/parked/replay", &json!({})).await.expect("the server lives");
        for _ in 0..random.below(6) {
            let batch = client.pull(1).await.expect("the server lives");
            let count = usize::try_from(random.below(batch.len() as u64 + 1)).expect("small");
            client.settle(&batch[..count], &mut known, &context).await;
            if let Some(next) = batch.get(count).filter(|_| random.below(3) == 0) {
                let park = json!({"deliveries": [next["delivery"]], "action": "park", "reason": "later"});
                client.post("/v1/subscriptions/g/nack", &park).await.expect("the server lives");
            }
        }
        // The last acknowledgement and the kill race each other.
        let last = client.pull(1).await.expect("the server lives");
        let (racing, delay) = (client.clone(), Duration::from_micros(random.below(3_000)));
        let race = tokio::spawn(async move {
            let mut known = Known::default();
            racing.settle(&last, &mut known, "racing").await;
            known
        });
        // Not a wait for something: the fault's own random time.
        tokio::time::sleep(delay).await;
        server.kill();
        let raced = race.await.expect("does not panic");
        let again: Vec<_> = raced.done.intersection(&known.done).collect();
        assert!(again.is_empty(), "{context}: {again:?} came again after they were acknowledged");
        known.done.extend(raced.done);
        known.in_doubt.extend(raced.in_doubt);
    }
    let server = place.start().ready();
    let client = Client::new(&server);
    client.post("/v1/subscriptions/g/parked/replay", &json!({})).await.expect("the server lives");
    let all: BTreeSet<EventPlace> =
        appended.iter().flat_map(|(stream, versions)| (1..=*versions).map(move |version| (stream.clone(), version))).collect();
    let mut quiet = 0;
    while quiet < 2 {
        let batch = client.pull(1).await.expect("the server lives");
        quiet = if batch.is_empty() { quiet + 1 } else { 0 };
        client.settle(&batch, &mut known, &format!("SEED={seed} at the end")).await;
    }
    let missing: Vec<_> = all.iter().filter(|place| !known.done.contains(place) && !known.in_doubt.contains(place)).collect();
    assert!(missing.is_empty(), "SEED={seed}: {missing:?} never came");
    note(&format!("{} events, {} in doubt", all.len(), known.in_doubt.len()));
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn the_command_lists_shows_and_sees_to_what_is_parked() {
    let place = Place::new();
    let server = place.start().ready();
    let folder = place.path("definitions");
    std::fs::create_dir_all(folder.join("subscriptions")).expect("a folder");
    std::fs::write(folder.join("subscriptions/mail.toml"), "max_attempts = 1\nfilter.categories = [\"order\"]\n").expect("writes");
    let folder = folder.to_str().expect("text");
    assert_eq!(server.run(&["apply", folder]).exits(0).json_lines()[0]["change"], "created");
    server.run(&["append", "order-1", "Placed", "{}"]).exits(0);
    let list = server.run(&["subscriptions"]).exits(0).json_lines();
    assert_eq!((&list[0]["name"], &list[0]["state"], &list[0]["parked"]), (&"mail".into(), &"idle".into(), &0.into()));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let http = reqwest::Client::new();
    let path = |rest: &str| format!("{}/v1/subscriptions/mail/{rest}", server.url);
    runtime.block_on(async {
        let given = http.get(path("events")).send().await.expect("answers").bytes().await.expect("whole");
        let given: Value = serde_json::from_slice(&given).expect("JSON");
        let nack = json!({"deliveries": [given["deliveries"][0]["delivery"]], "action": "retry", "reason": "no address"});
        let sent = http.post(path("nack")).header("content-type", "application/json").body(nack.to_string()).send().await;
        assert!(sent.expect("answers").status().is_success());
    });
    let parked = server.run(&["subscriptions", "mail", "--parked"]).exits(0).json_lines();
    assert_eq!((&parked[0]["stream"], &parked[0]["reason"]), (&"order-1".into(), &"no address".into()));
    let id = parked[0]["id"].as_str().expect("an id");
    assert_eq!(server.run(&["subscriptions", "mail", "--replay", "--event", id]).exits(0).json_lines()[0]["replayed"], 1);
    assert_eq!(server.run(&["subscriptions", "mail", "--skip"]).exits(0).json_lines()[0]["skipped"], 0);
    assert_eq!(server.run(&["subscriptions", "mail"]).exits(0).json_lines()[0]["parked"], 0);
    server.run(&["subscriptions", "nobody"]).exits(1).says("is not defined");
    server.run(&["subscriptions", "--parked"]).exits(2);
}
