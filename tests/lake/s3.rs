//! A lake in a bucket: a real S3-compatible server, and a way to it on which requests are refused, hang, and lose their answers.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;

use http::Method;
use serde_json::Value;
use serde_json::json;

use crate::process::Place;
use crate::process::Server;
use crate::process::note;
use crate::proxy::Fault;
use crate::proxy::Proxy;
use crate::python::ask;
use crate::python::interpreter;
use crate::python::program;
use crate::stand::Api;
use crate::stand::EVENTS;
use crate::stand::Fold;

/// `moto_server` on a free port, with a bucket; stopped when dropped.
struct Bucket {
    process: Child,
    url: String,
}

impl Bucket {
    async fn start(interpreter: &Path) -> Self {
        let mut process = Command::new(program(interpreter, "moto_server"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto_server starts");
        let mut lines = BufReader::new(process.stderr.take().expect("stderr is piped")).lines();
        let url = lines.by_ref().find_map(|line| line.ok()?.split("Running on ").nth(1).map(|url| url.trim().to_owned()));
        let url = url.expect("it says where it is");
        // Read on, so that it never finds its stderr closed or full.
        thread::spawn(move || lines.for_each(drop));
        let bucket = Self { process, url };
        let made = reqwest::Client::new().put(format!("{}/lake", bucket.url)).send().await.expect("an answer");
        assert!(made.status().is_success(), "{}", made.status());
        bucket
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A server whose lakes lie behind `endpoint`.
fn server(place: &Place, endpoint: &str) -> Server {
    let start = place.start().env("LAKE_ENDPOINT", endpoint).env("FACTUM_EXPORTS__ALLOW", "s3://lake");
    start.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret").env("AWS_REGION", "us-east-1").ready()
}

fn definition(folder: &str) -> Value {
    json!({
        "url": format!("s3://lake/{folder}"), "s3": {"endpoint_env": "LAKE_ENDPOINT"}, "target_file_bytes": 256 << 10, "flush_seconds": 1
    })
}

/// What other readers find in the bucket, and what Factum says is there, is every event once.
async fn check(python: &Path, bucket: &Bucket, api: &Api, folder: &str, why: &str) {
    let fold = Fold::of_the_data();
    let cents: i64 = fold.types.values().map(|(_, cents)| cents).sum();
    let found = ask(python, "s3_rows", &json!({"endpoint": bucket.url, "bucket": "lake", "folder": folder}));
    assert_eq!(found, json!({"rows": EVENTS, "ids": EVENTS, "cents": cents}), "{why}");
    let query = format!("select count(*), count(distinct id), count(distinct stream || '/' || version) from exports.{folder}");
    assert_eq!(api.sql(&query).await.0, [json!([EVENTS, EVENTS, EVENTS])], "{why}");
}

#[tokio::test]
async fn a_lake_in_a_bucket_is_read_by_others() {
    let Some(python) = interpreter("a_lake_in_a_bucket_is_read_by_others") else { return };
    let bucket = Bucket::start(&python).await;
    let place = Place::new();
    let server = server(&place, &bucket.url);
    let api = Api::new(&server.url);
    api.import().await;
    api.export("plain", &definition("plain")).await;
    let status = api.flush("plain").await;
    assert_eq!(status["state"], "running");
    check(&python, &bucket, &api, "plain", "").await;
}

/// P6: whatever goes wrong on the way, each event is in the lake once in the end.
#[tokio::test]
async fn p6_a_store_that_fails_hangs_and_loses_answers_loses_and_repeats_nothing() {
    let name = "p6_a_store_that_fails_hangs_and_loses_answers_loses_and_repeats_nothing";
    let Some(python) = interpreter(name) else { return };
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| u64::from(std::process::id()));
    note(&format!("SEED={seed}"));
    let bucket = Bucket::start(&python).await;
    let proxy = Proxy::start(&bucket.url).await;
    let (mut state, mut calls) = (seed, 0_u32);
    proxy.plan(move |_, _| {
        calls += 1;
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match state >> 58 {
            // Whatever chance has in store, there is one of each.
            _ if calls == 2 => Fault::Status(503),
            _ if calls == 4 => Fault::LostAnswer,
            0..6 => Fault::Status(503),
            6..9 => Fault::Status(500),
            9 => Fault::Hang,
            10..18 => Fault::LostAnswer,
            _ => Fault::None,
        }
    });
    let place = Place::new();
    let server = server(&place, &proxy.url());
    let api = Api::new(&server.url);
    api.export("faulty", &definition("faulty")).await;
    api.import().await;
    let why = || format!("SEED={seed}\n{}", proxy.told());
    let status = api.flush("faulty").await;
    assert_eq!(status["lag_events"], 0, "{}", why());
    for fault in [Fault::Status(503), Fault::LostAnswer] {
        assert!(proxy.count(fault) > 0, "no {fault:?} came about: {}", why());
    }
    proxy.plan(|_, _| Fault::None);
    check(&python, &bucket, &api, "faulty", &why()).await;
}

/// P6, P7: killed at a random time while answers get lost, again and again; what was put is found, and nothing is put twice.
#[tokio::test]
async fn p6_p7_kills_amid_lost_answers_repeat_nothing() {
    let Some(python) = interpreter("p6_p7_kills_amid_lost_answers_repeat_nothing") else { return };
    let bucket = Bucket::start(&python).await;
    let proxy = Proxy::start(&bucket.url).await;
    let place = Place::new();
    let mut server = self::server(&place, &proxy.url());
    let mut api = Api::new(&server.url);
    api.import().await;
    api.export("killed", &definition("killed")).await;
    for round in 1..=KILLS {
        let (killed, kill) = tokio::sync::oneshot::channel();
        let mut killed = Some(killed);
        let mut puts = 0;
        // The answer of the n-th object that is put is lost, and the server with it.
        proxy.plan(move |method, _| {
            puts += usize::from(method == Method::PUT);
            if method == Method::PUT && puts == round * 3 {
                if let Some(killed) = killed.take() {
                    // The test waits for it.
                    killed.send(()).unwrap_or_default();
                }
                return Fault::LostAnswer;
            }
            Fault::None
        });
        // Wherever the export is at the end of its work already, no more is put, and it is killed there.
        let done = tokio::time::timeout(std::time::Duration::from_secs(20), kill).await;
        note(&format!("round {round}: killed {}", if done.is_ok() { "amid a put" } else { "at rest" }));
        server.kill();
        proxy.plan(|_, _| Fault::None);
        server = self::server(&place, &proxy.url());
        api = Api::new(&server.url);
    }
    api.flush("killed").await;
    check(&python, &bucket, &api, "killed", &proxy.told()).await;
}

/// A store that is not there is told, and waited for.
#[tokio::test]
async fn p6_a_store_that_is_away_is_told_and_caught_up_with() {
    let Some(python) = interpreter("p6_a_store_that_is_away_is_told_and_caught_up_with") else { return };
    let bucket = Bucket::start(&python).await;
    let proxy = Proxy::start(&bucket.url).await;
    let place = Place::new();
    let server = server(&place, &proxy.url());
    let api = Api::new(&server.url);
    proxy.plan(|_, _| Fault::Status(503));
    api.export("away", &definition("away")).await;
    api.import().await;
    let mut status = api.status("away").await;
    while status["state"] != "retrying" {
        tokio::task::yield_now().await;
        status = api.status("away").await;
    }
    // The definition is behind, too.
    assert!(status["error"]["reason"].is_string() && status["lag_events"] == EVENTS + 1, "{status}");
    // Appends and queries do not wait for it.
    assert_eq!(api.sql("select count(*) from events").await.0, [json!([EVENTS])]);
    proxy.plan(|_, _| Fault::None);
    api.flush("away").await;
    check(&python, &bucket, &api, "away", &proxy.told()).await;
}

const KILLS: usize = 4;
