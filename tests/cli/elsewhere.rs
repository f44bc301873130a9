//! Shards at other servers, each a process of its own: the real data over three of them, and what becomes of it when one is stopped or
//! killed.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use crate::http::Api;
use crate::process::Place;
use crate::process::Server;
use crate::process::Start;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/domestic-declarations.ndjson.gz");
const EVENTS: u64 = 55_628;

fn over(place: &Place, servers: &[&Server]) -> Start {
    servers.iter().fold(place.start(), |start, server| start.flag(&["--shard-url", &server.url]))
}

fn address(server: &Server) -> String {
    server.url.trim_start_matches("http://").to_owned()
}

async fn until(what: &str, looks: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !looks().await {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        tokio::task::yield_now().await;
    }
}

async fn position(url: &str, shard: usize) -> u64 {
    let shards = Api::new(url).get("/v1/shards").await.unwrap_or_default();
    shards["shards"][shard]["position"].as_u64().unwrap_or_default()
}

/// Every event of the file once, each stream in its order, and each server with its part.
async fn check_all(server: &Server) {
    let (events, _) = Api::new(&server.url).events_after("0").await;
    assert_eq!(events.len() as u64, EVENTS);
    let (mut versions, mut shares): (BTreeMap<&str, u64>, BTreeMap<u64, u64>) = Default::default();
    for event in &events {
        let version = versions.entry(event["stream"].as_str().expect("a name")).or_default();
        *version += 1;
        assert_eq!(event["version"], json!(*version), "{event}");
        *shares.entry(event["shard"].as_u64().expect("a shard")).or_default() += 1;
    }
    assert!(shares.len() == 3 && shares.values().all(|share| (EVENTS / 4..EVENTS / 2).contains(share)), "{shares:?}");
}

/// L1: a server that is killed in the middle of an import has what it acknowledged; the import is done again, and nothing is there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_the_real_data_over_three_servers_one_of_which_is_killed() {
    let (here, one, two) = (Place::new(), Place::new(), Place::new());
    let (first, second) = (one.start().ready(), two.start().ready());
    let server = over(&here, &[&first, &second]).ready();
    let url = server.url.clone();
    let importing = thread::spawn(move || crate::process::run(&["import", DATA], "", &[("FACTUM_URL", &url)]));
    let far = second.url.clone();
    until("nothing is imported", async || position(&far, 0).await > 1_000).await;
    let listen = address(&second);
    second.kill();
    let broken = importing.join().expect("it ends");
    assert_ne!(broken.code, Some(0), "{}", broken.stdout);
    let second = two.start_at(&listen).ready();
    let url = server.url.clone();
    until("the shard is not there again", async || {
        let shards = Api::new(&url).get("/v1/shards").await.unwrap_or_default();
        shards["shards"][2]["state"] == "ok"
    })
    .await;
    let done = server.run(&["import", DATA]).exits(0).json_lines().pop().expect("a last line");
    let number = |name: &str| done[name].as_u64().expect("a number");
    assert_eq!(number("imported") + number("duplicates"), EVENTS);
    check_all(&server).await;
    // The router may be killed as well: it has nothing that it could not read again.
    server.kill();
    let server = over(&here, &[&first, &second]).ready();
    check_all(&server).await;
    let again = server.run(&["import", DATA]).exits(0).json_lines().pop().expect("a last line");
    assert_eq!((&again["imported"], &again["duplicates"]), (&json!(0), &json!(EVENTS)));
    let shards = server.run(&["shards"]).exits(0).json_lines().remove(0);
    assert_eq!((&shards["shards"][0]["location"], &shards["shards"][2]["location"]), (&json!("local"), &json!(second.url)));
    for server in [server, first, second] {
        assert_eq!(server.terminate(), Some(0));
    }
}

/// R3: a server that is stopped holds up nobody but who wants something of it, and goes on when it is woken: nothing is lost or there
/// twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r3_a_server_that_is_stopped_is_given_up_and_taken_back() {
    let (here, one, two) = (Place::new(), Place::new(), Place::new());
    let (first, second) = (one.start().ready(), two.start().ready());
    let server = over(&here, &[&first, &second]).env("FACTUM_SHARDS__TIMEOUT", "700ms").ready();
    let api = Api::new(&server.url);
    let mut homes: BTreeMap<u64, String> = BTreeMap::new();
    for number in 0..100 {
        let located = api.get(&format!("/v1/shards/locate/s-{number}")).await.expect("a place");
        homes.entry(located["shard"].as_u64().expect("a shard")).or_insert(format!("s-{number}"));
    }
    for home in homes.values() {
        api.write(home, "Tested", json!(1)).await;
    }
    second.signal("STOP");
    let event = json!({"type": "Tested", "data": 2, "id": "0192f0a4-0000-7000-8000-000000000001"});
    let body = json!({ "events": [event] }).to_string();
    let append =
        async |home: &str| api.post(&format!("/v1/streams/{home}/events"), "application/json", body.clone()).await.expect("an answer");
    let began = Instant::now();
    let (status, text) = append(&homes[&2]).await;
    let problem: Value = serde_json::from_str(&text).expect("a problem");
    assert_eq!((status, &problem["type"]), (503, &json!("urn:factum:problem:shard-unavailable")), "{text}");
    // It may have arrived, or not: what the answer says is what a client has to do.
    assert!(problem["outcome"] == "unknown" || problem["outcome"] == "not-stored", "{text}");
    assert_eq!(append(&homes[&1]).await.0, 201);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let part = api.get("/v1/streams?allow_partial=true").await.expect("a part");
    assert_eq!(part["missing_shards"], json!([2]));
    second.signal("CONT");
    until("the shard is not there again", async || append(&homes[&2]).await.0 < 300).await;
    let page = api.get(&format!("/v1/streams/{}/events", homes[&2])).await.expect("a page");
    assert_eq!(page["events"].as_array().map(Vec::len), Some(2), "{page}");
    for server in [server, first, second] {
        assert_eq!(server.terminate(), Some(0));
    }
}
