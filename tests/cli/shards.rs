//! A server over four shards, seen from outside: is everything there, once and in order, as with one?

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::crash::Random;
use crate::http::Api;
use crate::process::FACTUM;
use crate::process::Place;
use crate::process::Start;
use crate::process::killed_after;
use crate::process::note;
use crate::process::run;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/domestic-declarations.ndjson.gz");
const EVENTS: usize = 55_628;

fn four(place: &Place) -> Start {
    place.start().flag(&["--shards", "4", "--strategy", "ring"])
}

/// Streams and ids of the file, in its order.
fn file() -> Vec<(String, String)> {
    let mut text = String::new();
    let packed = fs::read(DATA).expect("the project's own data");
    flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_string(&mut text).expect("it is gzip");
    let member = |line: &Value, name: &str| line[name].as_str().expect("a text").to_owned();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.map(|line| (member(&line, "stream"), member(&line, "id"))).collect()
}

/// What was read must be the file: each event once, each stream in its order, merged by time.
fn check_all(events: &[Value], wanted: &[(String, String)]) {
    assert_eq!(events.len(), wanted.len());
    let mut streams: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (stream, id) in wanted {
        streams.entry(stream).or_default().push(id);
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut positions: BTreeMap<u64, u64> = BTreeMap::new();
    let mut last = ("", 0);
    for event in events {
        let text = |name: &str| event[name].as_str().expect("a text");
        let (stream, shard) = (text("stream"), event["shard"].as_u64().expect("a shard"));
        let at = seen.entry(stream).or_default();
        assert_eq!(streams.get(stream).and_then(|ids| ids.get(*at)), Some(&text("id")), "{stream}: its {at}. event");
        *at += 1;
        assert_eq!(event["version"].as_u64(), Some(*at as u64), "{stream}");
        let position = positions.entry(shard).or_default();
        *position += 1;
        assert_eq!(event["position"].as_u64(), Some(*position), "shard {shard}");
        let place = (text("recorded_at"), shard);
        assert!(place >= last, "history is in the order of time, then shard: {place:?} behind {last:?}");
        last = place;
    }
    assert_eq!(positions.len(), 4, "all shards have their part");
    let share = |shard: &u64| positions[shard] as f64 / (events.len() as f64 / 4.0);
    assert!(positions.keys().all(|shard| (0.9..=1.1).contains(&share(shard))), "{positions:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_shards_hold_the_real_data_as_one_does() {
    let (place, wanted) = (Place::new(), file());
    assert_eq!(wanted.len(), EVENTS);
    let server = four(&place).ready();
    let done = server.run(&["import", DATA]).exits(0).json_lines().pop().expect("a last line");
    assert_eq!(done["imported"], json!(EVENTS));
    let api = Api::new(&server.url);
    let (events, end) = api.events_after("0").await;
    check_all(&events, &wanted);
    // From any cursor on it goes on exactly there, also over a crash; and again nothing is imported twice.
    let page = api.get("/v1/events?limit=23456&after=0").await;
    assert!(page.is_none(), "a page has at most 10,000");
    let page = api.get("/v1/events?limit=9876").await.expect("a page");
    let middle = page["cursor"].as_str().expect("a cursor").to_owned();
    assert!(middle.starts_with('c') && middle.len() < 32, "{middle}");
    server.kill();
    let server = place.start().ready();
    let api = Api::new(&server.url);
    let (rest, same_end) = api.events_after(&middle).await;
    assert_eq!((rest.len(), same_end), (EVENTS - 9876, end.clone()));
    assert_eq!([page["events"].as_array().expect("events").clone(), rest].concat(), events);
    let again = server.run(&["import", DATA]).exits(0).json_lines().pop().expect("a last line");
    assert_eq!((&again["imported"], &again["duplicates"]), (&json!(0), &json!(EVENTS)));
    assert_eq!(api.get("/v1/status").await.expect("a status")["cursor"], json!(end));
    check_listings(&api, &wanted).await;
    assert_eq!(server.terminate(), Some(0));
}

async fn check_listings(api: &Api, wanted: &[(String, String)]) {
    let streams: BTreeSet<&String> = wanted.iter().map(|(stream, _)| stream).collect();
    let mut listed = Vec::new();
    let mut path = "/v1/streams?limit=4000".to_owned();
    loop {
        let page = api.get(&path).await.expect("a page");
        listed.extend(page["streams"].as_array().expect("streams").iter().map(|one| one["stream"].as_str().expect("a name").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/streams?limit=4000&after={next}");
    }
    assert!(listed.iter().eq(streams), "{} streams", listed.len());
    let category = api.get("/v1/categories").await.expect("categories")["categories"][0].clone();
    assert_eq!(category, json!({"category": "declaration", "streams": listed.len(), "events": EVENTS}));
    let types = api.get("/v1/types").await.expect("types");
    assert_eq!(
        types["types"].as_array().expect("types").iter().map(|one| one["events"].as_u64().expect("a number")).sum::<u64>(),
        EVENTS as u64
    );
    // Where the explanation says that a stream is, there it is.
    for stream in listed.iter().step_by(500) {
        let located = api.get(&format!("/v1/shards/locate/{stream}")).await.expect("a place");
        let info = api.get(&format!("/v1/streams/{stream}")).await.expect("a stream");
        assert_eq!((&located["shard"], &located["reason"]), (&info["shard"], &json!("slot")), "{located}");
        let event = api.get(&format!("/v1/streams/{stream}/events/1")).await.expect("an event");
        let by_id = api.get(&format!("/v1/events/{}", event["id"].as_str().expect("an id"))).await;
        assert_eq!(by_id, Some(event));
    }
}

#[test]
fn the_choice_of_the_first_start_stays() {
    let place = Place::new();
    let server = four(&place).ready();
    let shards = server.run(&["shards"]).exits(0).json_lines().remove(0);
    assert_eq!((&shards["strategy"], &shards["topology_version"], &shards["weights"]), (&json!("ring"), &json!(1), &json!([1, 1, 1, 1])));
    let slots: u64 = shards["shards"].as_array().expect("shards").iter().map(|shard| shard["slots"].as_u64().expect("a number")).sum();
    assert_eq!(slots, 4_096);
    let located = server.run(&["shards", "locate", "order-1", "{order-1}-invoice", "a b/c"]).exits(0).json_lines();
    assert_eq!(located.len(), 3);
    assert_eq!((&located[0]["shard"], &located[0]["slot"]), (&located[1]["shard"], &located[1]["slot"]));
    assert_eq!(located[2]["stream"], "a b/c");
    server.run(&["shards", "locate", ""]).exits(2);
    assert_eq!(server.terminate(), Some(0));
    let (status, said) = place.start().flag(&["--strategy", "hash"]).fails();
    assert!(status.code() == Some(1) && said.contains("shards.strategy") && said.contains("made with ring"), "{said}");
    let (status, said) = place.start().flag(&["--shards", "5"]).fails();
    assert!(status.code() == Some(1) && said.contains("4 shard(s)"), "{said}");
    assert_eq!(place.start().ready().terminate(), Some(0));
    let path = place.data().display().to_string();
    run(&["verify", &path], "", &[]).exits(0);
}

/// R6: what a client and an operator see when the files of a shard are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_a_shard_that_is_missing_is_told_and_the_others_serve() {
    let place = Place::new();
    let server = four(&place).ready();
    let api = Api::new(&server.url);
    let mut homes: BTreeMap<u64, String> = BTreeMap::new();
    for number in 0..100 {
        let stream = format!("s-{number}");
        let located = api.get(&format!("/v1/shards/locate/{stream}")).await.expect("a place");
        homes.entry(located["shard"].as_u64().expect("a shard")).or_insert(stream);
    }
    for stream in homes.values() {
        api.write(stream, "Tested", json!(1)).await;
    }
    assert_eq!(server.terminate(), Some(0));
    fs::rename(place.data().join("shards/2"), place.data().join("aside")).expect("it can be moved");
    let server = place.start().ready();
    let api = Api::new(&server.url);
    for (shard, stream) in &homes {
        let body = json!({"events": [{"type": "Tested", "data": 2}]}).to_string();
        let (status, text) = api.post(&format!("/v1/streams/{stream}/events"), "application/json", body).await.expect("an answer");
        assert_eq!(status, if *shard == 2 { 503 } else { 201 }, "{text}");
        if *shard == 2 {
            let problem: Value = serde_json::from_str(&text).expect("a problem");
            assert_eq!(
                (&problem["type"], &problem["shard"], &problem["outcome"]),
                (&json!("urn:factum:problem:shard-unavailable"), &json!(2), &json!("not-stored"))
            );
        }
        assert_eq!(api.get(&format!("/v1/streams/{stream}/events")).await.is_some(), *shard != 2);
    }
    for (path, expected) in [("/v1/events", 503), ("/v1/streams", 503), ("/health/ready", 503), ("/health/live", 200)] {
        let answer = reqwest::get(format!("{}{path}", server.url)).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), expected, "{path}");
    }
    let shards = server.run(&["shards"]).exits(0).json_lines().remove(0);
    assert_eq!((&shards["shards"][2]["state"], &shards["shards"][1]["state"]), (&json!("unavailable"), &json!("ok")));
    let status = server.run(&["status"]).exits(1).json_lines().remove(0);
    let trouble = status["troubles"].as_array().expect("troubles").iter().find(|trouble| trouble["name"] == "2").expect("it is told");
    assert!(trouble["problem"].as_str().is_some_and(|problem| problem.contains("folder is missing")), "{trouble}");
    assert_eq!(server.terminate(), Some(0));
    fs::rename(place.data().join("aside"), place.data().join("shards/2")).expect("it can be moved");
    let server = place.start().ready();
    let (events, _) = Api::new(&server.url).events_after("0").await;
    assert_eq!(events.len(), 4 + 3);
    assert_eq!(server.terminate(), Some(0));
}

/// Everything that the server gives, stream by stream.
async fn all_of(api: &Api) -> Vec<(String, u64, Value)> {
    let (events, _) = api.events_after("0").await;
    let text = |event: &Value| event["stream"].as_str().expect("a name").to_owned();
    let mut all: Vec<_> =
        events.iter().map(|event| (text(event), event["version"].as_u64().expect("a number"), event["data"].clone())).collect();
    all.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
    all
}

/// L1: the log of a drained shard goes to another place; whenever that is broken off, all of it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_a_drained_shard_is_archived_and_stays_readable() {
    let place = Place::new();
    let server = place.start().flag(&["--shards", "3"]).ready();
    let api = Api::new(&server.url);
    for number in 0..120 {
        api.write(&format!("s-{}", number % 40), "Tested", json!(number)).await;
    }
    server.run(&["shards", "drain", "2"]).exits(0);
    let before = all_of(&api).await;
    let data = place.data().display().to_string();
    let (first, second) = (place.path("cold"), place.path("colder"));
    let archive =
        |shard: &str, to: &std::path::Path| run(&["shards", "archive", shard, "--data", &data, "--to", &to.display().to_string()], "", &[]);
    archive("2", &first).exits(1).says("in use");
    assert_eq!(server.terminate(), Some(0));
    archive("1", &first).exits(1).says("only the log of a drained shard");
    archive("7", &first).exits(2).says("no folder of a shard 7");
    archive("2", &place.data().join("inside")).exits(2).says("no other place");
    fs::create_dir(place.path("full")).expect("it can be made");
    fs::write(place.path("full").join("file"), "mine").expect("it can be written");
    archive("2", &place.path("full")).exits(2).says("is not empty");
    // Killed wherever it is, many times: the folder or the link is there, and a server starts.
    let (mut random, seed) = Random::of_environment();
    note(&format!("SEED={seed}"));
    for _ in 0..8 {
        let mut command = Command::new(FACTUM);
        command.args(["shards", "archive", "2", "--data", &data, "--to"]).arg(&first);
        killed_after(&mut command, Duration::from_micros(random.below(60_000)));
        if fs::symlink_metadata(place.data().join("shards/2")).expect("it is there").is_symlink() {
            break;
        }
    }
    let server = place.start().ready();
    assert_eq!(all_of(&Api::new(&server.url)).await, before);
    assert_eq!(server.terminate(), Some(0));
    if !fs::symlink_metadata(place.data().join("shards/2")).expect("it is there").is_symlink() {
        archive("2", &first).exits(0);
    }
    assert_eq!(fs::read_link(place.data().join("shards/2")).expect("a link"), first.canonicalize().expect("a folder"));
    let done = archive("2", &second).exits(0).json_lines().remove(0);
    assert!(done["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{done}");
    assert!(!first.exists() && second.join("log").is_dir());
    run(&["verify", &data], "", &[]).exits(0);
    let server = place.start().ready();
    let api = Api::new(&server.url);
    assert_eq!(all_of(&api).await, before);
    api.write("s-1", "Tested", json!("again")).await;
    assert_eq!(all_of(&api).await.len(), 121);
    let shards = server.run(&["shards"]).exits(0).json_lines().remove(0);
    assert_eq!((&shards["shards"][2]["state"], &shards["shards"][2]["drained"]), (&json!("ok"), &json!(true)));
    assert_eq!(server.terminate(), Some(0));
    // Without it, what it has is told to be missing.
    fs::rename(&second, &first).expect("it can be moved");
    let server = place.start().ready();
    let status = server.run(&["status"]).exits(1).json_lines().remove(0);
    assert!(status["troubles"].as_array().is_some_and(|troubles| troubles.iter().any(|trouble| trouble["name"] == "2")), "{status}");
    assert_eq!(server.terminate(), Some(0));
}

/// How many reads of a kind there were, and how many shards they asked together.
async fn read_shards(api: &Api, kind: &str) -> (u64, u64) {
    let text = api.text("/metrics").await.expect("measurements");
    let of = |part: &str| {
        let line = format!("factum_read_shards_{part}{{read=\"{kind}\"}} ");
        text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |number| number.parse::<u64>().expect("a number"))
    };
    (of("count"), of("sum"))
}

/// A read that is about one stream asks one shard, however many there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_about_one_stream_asks_one_shard() {
    let place = Place::new();
    let server = four(&place).ready();
    let api = Api::new(&server.url);
    for number in 0..20 {
        api.write(&format!("s-{number}"), "Tested", json!(number)).await;
    }
    let before = read_shards(&api, "stream").await;
    api.get("/v1/streams/s-7/events").await.expect("a page");
    let after = read_shards(&api, "stream").await;
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1));
    let before = read_shards(&api, "log").await;
    api.get("/v1/events").await.expect("a page");
    let after = read_shards(&api, "log").await;
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 4));
    #[cfg(feature = "analytics")]
    for (query, shards) in [
        ("select count(*) from events where stream = 's-7'", 1),
        ("select data from s where stream = 's-7' and version = 1", 1),
        ("select type, count(*) from events group by type", 4),
        ("select count(*) from events where shard = 2", 1),
    ] {
        let before = read_shards(&api, "sql").await;
        server.run(&["sql", query]).exits(0);
        let after = read_shards(&api, "sql").await;
        assert_eq!((after.0 - before.0, after.1 - before.1), (1, shards), "{query}");
    }
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn ranges_are_split_where_somebody_says_and_the_settings_of_before_stay_right() {
    let place = Place::new();
    let start = || place.start().env("FACTUM_SHARDS__SPLITS", "n");
    let server = start().ready();
    for number in 0..6 {
        server.run(&["append", &format!("o-{number}"), "Placed", "1"]).exits(0);
    }
    let plan = server.run(&["shards", "plan", "add"]).exits(0).json_lines().remove(0);
    assert_eq!(plan["moves"][0]["range"], json!({"from": "o-3", "to": null}));
    server.run(&["shards", "add", "--split", "n"]).exits(1).says("split");
    server.run(&["shards", "add", "--region", "eu"]).exits(1).says("region");
    let job = server.run(&["shards", "add", "--split", "o-4"]).exits(0).json_lines().remove(0);
    assert_eq!(
        (&job["state"], &job["unit"], &job["done"], &job["moved_streams"]),
        (&json!("done"), &json!("ranges"), &json!(1), &json!(2))
    );
    let located = server.run(&["shards", "locate", "o-3", "o-4", "x-{o-5}"]).exits(0).json_lines();
    let found: Vec<(&Value, &Value)> = located.iter().map(|place| (&place["shard"], &place["range_from"])).collect();
    assert_eq!(found, [(&json!(1), &json!("n")), (&json!(2), &json!("o-4")), (&json!(2), &json!("o-4"))]);
    server.run(&["shards", "drain", "0"]).exits(3).says("streams of the system");
    assert_eq!(server.terminate(), Some(0));
    // Another split point than the one that it began with is refused, wherever the ranges lie by now.
    let (_, said) = place.start().env("FACTUM_SHARDS__SPLITS", "o-4").fails();
    assert!(said.contains("shards.splits"), "{said}");
    let server = start().ready();
    let list = server.run(&["shards"]).exits(0).json_lines().remove(0);
    assert_eq!(list["splits"], json!(["n", "o-4"]));
    assert_eq!(server.terminate(), Some(0));
}
