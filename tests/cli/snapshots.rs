//! A crash while snapshots are written: the states afterwards are those of the events, whatever became of the snapshots.

use std::fs;
use std::hash::BuildHasher;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

use crate::http::Answer;
use crate::http::Api;
use crate::process::Place;
use crate::process::note;

/// Keeps snapshots all the time, and a state that tells any lost, repeated or exchanged event.
const MODULE: &str = "export const initial = { count: 0, sum: 0, last: null };
export const snapshotEvery = 3;
export const evolve = {
  Tested: (state, event) => ({ count: state.count + 1, sum: (state.sum * 31 + event.data.length * event.version) % 1000003, last: event.data }),
};
";
const STREAMS: usize = 4;
const KILLS: u64 = 5;

/// The same fold, by hand.
fn folded(events: &[Value]) -> Value {
    let start = (0_u64, 0_u64, Value::Null);
    let (count, sum, last) = events.iter().fold(start, |(count, sum, _), event| {
        let length = event["data"].as_str().expect("text").len() as u64;
        (count + 1, (sum * 31 + length * event["version"].as_u64().expect("a version")) % 1_000_003, event["data"].clone())
    });
    json!({"count": count, "sum": sum, "last": last})
}

/// Appends to all streams until the server is gone.
async fn load(api: Api, place: usize) {
    let stream = format!("counted-{place}");
    let found = api.get(&format!("/v1/streams/{stream}")).await;
    let mut version = found.and_then(|stream| stream["version"].as_u64()).unwrap_or_default();
    loop {
        let fill = "x".repeat(usize::try_from(version % 97).expect("small") + 1);
        match api.append(&stream, version, &[Uuid::now_v7()], &fill).await {
            Answer::Acknowledged(_) => version += 1,
            Answer::Refused(status, problem) => panic!("{status}: {problem}"),
            Answer::Unknown => return,
        }
        // Commands of others want the state all the time.
        if version.is_multiple_of(2) && api.get(&format!("/v1/aggregates/counted/{place}")).await.is_none() {
            return;
        }
    }
}

async fn check(api: &Api, context: &str) -> usize {
    let mut snapshots = 0;
    for place in 0..STREAMS {
        let Some(page) = api.get(&format!("/v1/streams/counted-{place}/events?limit=10000")).await else { continue };
        let events = page["events"].as_array().expect("events");
        let last = events.len();
        for version in [1, last / 3, last / 2, last - 1, last].into_iter().filter(|version| *version > 0) {
            let path = format!("/v1/aggregates/counted/{place}?version={version}");
            let state = api.get(&path).await.unwrap_or_else(|| panic!("{context}: {path} is told"));
            assert_eq!(state["state"], folded(&events[..version]), "{context}: {path}");
        }
        let head = api.get(&format!("/v1/aggregates/counted/{place}")).await.expect("a state");
        assert_eq!((&head["version"], &head["state"]), (&json!(last), &folded(events)), "{context}: counted-{place}");
        let listed = api.get(&format!("/v1/aggregates/counted/{place}/snapshots")).await.expect("a list");
        snapshots += listed["snapshots"].as_array().expect("a list").len();
    }
    snapshots
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_while_snapshots_are_written_changes_no_state() {
    let seed = std::env::var("SEED").ok().map(|text| text.parse().expect("SEED is a number"));
    let seed = seed.unwrap_or_else(|| std::hash::RandomState::new().hash_one(0_u8));
    note(&format!("SEED={seed}"));
    let place = Place::new();
    let module = place.path("definitions").join("aggregates/counted.js");
    fs::create_dir_all(module.parent().expect("a folder")).unwrap();
    fs::write(module, MODULE).unwrap();
    let folder = place.path("definitions");
    let flag = ["--definitions", folder.to_str().expect("text")];
    let mut snapshots = 0;
    for kill in 0..=KILLS {
        let server = place.start().flag(&flag).env("FACTUM_STORAGE__SEGMENT", "1MiB").ready();
        let api = Api::new(&server.url);
        let context = format!("SEED={seed} after kill {kill}");
        snapshots = snapshots.max(check(&api, &context).await);
        if kill == KILLS {
            assert_eq!(server.terminate(), Some(0));
            break;
        }
        let writers: Vec<_> = (0..STREAMS).map(|place| tokio::spawn(load(api.clone(), place))).collect();
        // Not a wait for something: the fault's own random time.
        let delay = 200 + (seed.rotate_left(u32::try_from(kill * 11).expect("small")) % 400);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        server.kill();
        for writer in writers {
            writer.await.expect("a writer does not panic");
        }
    }
    assert!(snapshots > 0, "snapshots were kept, so that a crash could come while one is written");
}
