//! What does a projection say while its target is away, hangs, is full, was altered, or refuses; and does it go on?

use std::fs;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use crate::faults::SmallDisk;
use crate::http::Api;
use crate::process::Place;
use crate::process::note;
use crate::process::skipped;
use crate::projection_server::URL;
use crate::projection_server::beside;
use crate::projection_server::define;
use crate::projection_server::hasty;
use crate::projection_server::into_postgres;
use crate::projection_server::measured;
use crate::projection_server::settled;
use crate::projection_server::sql;
use crate::projection_server::started;
use crate::projection_server::state;

const ORDERS: &str = r#"
[source]
categories = ["order"]

[columns]
id    = "text primary key"
count = "bigint default 0"
note  = "text"

[on.Placed]
key = "$.stream"
set = { note = "$.data.note" }
add = { count = 1 }

[on.Counted]
key = "$.stream"
add = { count = 1 }
"#;

async fn place_order(api: &Api, order: &str) {
    api.write(order, "Placed", json!({"note": "a note"})).await;
}

async fn order(api: &Api, resume: &str) {
    let answer = api.post(&format!("/v1/projections/{resume}"), "application/json", String::new()).await;
    assert!(matches!(answer, Some((200, _))), "{resume}: {answer:?}");
}

async fn counts(cluster: &crate::cluster::Cluster) -> Vec<Vec<Option<String>>> {
    sql(cluster, "SELECT id, count FROM orders ORDER BY id").await
}

fn rows(expected: &[(&str, &str)]) -> Vec<Vec<Option<String>>> {
    expected.iter().map(|(id, count)| vec![Some((*id).to_owned()), Some((*count).to_owned())]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_postgres_that_hangs_is_told_in_time_and_caught_up_with() {
    let Some(mut cluster) = started("p1_hangs") else { return };
    let place = Place::new();
    let server = beside(&place, &cluster).ready();
    let api = Api::new(&server.url);
    define(&api, "orders", &into_postgres(ORDERS)).await;
    place_order(&api, "order-1").await;
    settled(&api, "orders").await;

    cluster.hang();
    let began = Instant::now();
    place_order(&api, "order-1").await;
    let status = state(&api, "orders", "retrying", "no answer in").await;
    // Two seconds of a statement and one for the connection, as the URL says.
    assert!(began.elapsed() < Duration::from_secs(20), "told after {:?}", began.elapsed());
    assert!(status["lag_events"].as_u64() >= Some(1), "{status}");
    assert_eq!(measured(&api, r#"factum_projection_state{projection="orders",state="retrying"}"#).await, 1.0);
    cluster.go_on();
    settled(&api, "orders").await;
    assert_eq!(counts(&cluster).await, rows(&[("order-1", "2")]));

    // Away altogether. While it is tried again it does not seem to run in between, and it is not tried without pause.
    cluster.stop_immediately();
    place_order(&api, "order-1").await;
    state(&api, "orders", "retrying", "refused").await;
    let before = measured(&api, r#"factum_projection_retries_total{projection="orders"}"#).await;
    stays_retrying(&api, Duration::from_secs(3)).await;
    let retries = measured(&api, r#"factum_projection_retries_total{projection="orders"}"#).await - before;
    assert!((1.0..=8.0).contains(&retries), "{retries} retries in three seconds");
    // A pause is told as one, whether or not the target answers; also by a server that starts meanwhile.
    order(&api, "orders/pause").await;
    state(&api, "orders", "paused", "").await;
    server.kill();
    let server = beside(&place, &cluster).ready();
    let api = Api::new(&server.url);
    state(&api, "orders", "paused", "").await;
    order(&api, "orders/resume").await;
    state(&api, "orders", "retrying", "refused").await;
    cluster.start_again();
    settled(&api, "orders").await;
    assert_eq!(counts(&cluster).await, rows(&[("order-1", "3")]));
    assert_eq!(server.terminate(), Some(0));
}

/// It does not seem to run between two tries, and blames no event.
async fn stays_retrying(api: &Api, time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        let status = api.get("/v1/projections/orders").await.expect("a status");
        assert_eq!((&status["state"], &status["error"]["event"]), (&json!("retrying"), &Value::Null), "{status}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_row_that_somebody_holds_is_waited_for_and_told_all_the_while() {
    let Some(cluster) = started("p2_lock") else { return };
    let place = Place::new();
    let server = beside(&place, &cluster).ready();
    let api = Api::new(&server.url);
    define(&api, "orders", &into_postgres(ORDERS)).await;
    place_order(&api, "order-1").await;
    settled(&api, "orders").await;
    let (other, connection) = tokio_postgres::connect(&cluster.url(), tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    other.batch_execute("BEGIN; SELECT * FROM orders FOR UPDATE").await.expect("nobody else holds it");
    place_order(&api, "order-1").await;
    state(&api, "orders", "retrying", "55P03").await;
    stays_retrying(&api, Duration::from_secs(3)).await;
    other.batch_execute("ROLLBACK").await.expect("it is still there");
    settled(&api, "orders").await;
    assert_eq!(counts(&cluster).await, rows(&[("order-1", "2")]));
    assert_eq!(server.terminate(), Some(0));
}

const MODULE: &str = r"
export function project(event, rows) {
  if (event.type !== 'Placed') return;
  rows.upsert(event.stream, { payer: rows.lookup(event.data.view ?? 'payers', event.data.payer)?.name ?? 'nobody' });
}
";

fn with_module(script: &str) -> String {
    let text = "on_error = \"park\"\n[source]\ncategories = [\"order\"]\n[columns]\nid = \"text primary key\"\npayer = \"text\"\n";
    format!("script = '''{script}'''\n{text}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_view_that_can_not_be_looked_up_is_waited_for_and_no_event_is_blamed() {
    let Some(mut cluster) = started("p5_lookup") else { return };
    let place = Place::new();
    let server = beside(&place, &cluster).ready();
    let api = Api::new(&server.url);
    let placed = async |api: &Api, order: &str, data: Value| api.write(order, "Placed", data).await;
    // The other view is not even defined yet.
    define(&api, "orders", &with_module(MODULE)).await;
    api.write("payer-1", "Named", json!({"name": "Ada"})).await;
    placed(&api, "order-1", json!({"payer": "payer-1"})).await;
    state(&api, "orders", "retrying", "no view \"payers\"").await;
    let payers = "[source]\ncategories = [\"payer\"]\n[columns]\nid = \"text primary key\"\nname = \"text\"\n\
                  [on.Named]\nkey = \"$.stream\"\nset = { name = \"$.data.name\" }\n";
    define(&api, "payers", &into_postgres(payers)).await;
    settled(&api, "payers").await;
    settled(&api, "orders").await;
    let row = async |api: &Api, order: &str| api.get(&format!("/v1/views/orders/{order}")).await.map(|row| row["payer"].clone());
    let found = row(&api, "order-1").await;
    assert!(found == Some(json!("Ada")) || found == Some(json!("nobody")), "{found:?}");

    cluster.stop_immediately();
    api.write("order-2", "Noted", json!({})).await;
    placed(&api, "order-2", json!({"payer": "payer-1"})).await;
    let status = state(&api, "orders", "retrying", "the view \"payers\" can't be looked up: postgres").await;
    // What was before it counts.
    assert_eq!(status["lag_events"], 1, "{status}");
    server.kill();
    let server = beside(&place, &cluster).ready();
    let api = Api::new(&server.url);
    state(&api, "orders", "retrying", "can't be looked up").await;
    cluster.start_again();
    settled(&api, "orders").await;
    assert_eq!(row(&api, "order-2").await, Some(json!("Ada")));

    // One's own view: no event is parked for it, whatever the policy.
    placed(&api, "order-3", json!({"payer": "order-1", "view": "orders"})).await;
    state(&api, "orders", "failed", "rows.get(key)").await;
    let parked = api.get("/v1/projections/orders/parked").await.expect("a list");
    assert_eq!(parked["parked"], json!([]));
    define(&api, "orders", &with_module(&MODULE.replace("rows.lookup(event.data.view ?? 'payers', event.data.payer)?.name", "'-'"))).await;
    settled(&api, "orders").await;
    assert_eq!(row(&api, "order-3").await, Some(json!("-")));
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_altered_table_fails_the_projection_until_it_is_put_back_or_built_anew() {
    let Some(cluster) = started("altered") else { return };
    let place = Place::new();
    let server = beside(&place, &cluster).ready();
    let api = Api::new(&server.url);
    define(&api, "orders", &into_postgres(ORDERS)).await;
    place_order(&api, "order-1").await;
    settled(&api, "orders").await;

    sql(&cluster, "ALTER TABLE orders RENAME COLUMN note TO remark").await;
    place_order(&api, "order-1").await;
    state(&api, "orders", "failed", "note").await;
    assert_eq!(measured(&api, r#"factum_projection_state{projection="orders",state="failed"}"#).await, 1.0);
    sql(&cluster, "ALTER TABLE orders RENAME COLUMN remark TO note").await;
    order(&api, "orders/resume").await;
    settled(&api, "orders").await;
    assert_eq!(counts(&cluster).await, rows(&[("order-1", "2")]));

    // What hangs on the table keeps new rows from its place. The old ones are kept up to date meanwhile.
    sql(&cluster, "CREATE VIEW busy AS SELECT * FROM orders WHERE count > 1").await;
    order(&api, "orders/rebuild").await;
    let status = state(&api, "orders", "failed", "view busy depends on table orders").await;
    assert_eq!(status["error"]["attempts"], 1, "{status}");
    place_order(&api, "order-2").await;
    let lag = crate::projection_server::until(&api, "orders", "up to date", |status| status["lag_events"] == 0).await;
    assert_eq!((&lag["state"], &lag["error"]["attempts"]), (&json!("failed"), &json!(1)), "it is not tried again by itself: {lag}");
    assert_eq!(counts(&cluster).await, rows(&[("order-1", "2"), ("order-2", "1")]));
    sql(&cluster, "DROP VIEW busy").await;
    order(&api, "orders/resume").await;
    settled(&api, "orders").await;

    // Gone with all of its rows: they are made again.
    sql(&cluster, "DROP TABLE orders").await;
    place_order(&api, "order-2").await;
    state(&api, "orders", "failed", "orders").await;
    order(&api, "orders/rebuild").await;
    settled(&api, "orders").await;
    assert_eq!(counts(&cluster).await, rows(&[("order-1", "2"), ("order-2", "2")]));
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_waited_for() {
    let Some(cluster) = started("credentials") else { return };
    sql(
        &cluster,
        "CREATE ROLE app LOGIN PASSWORD 'another'; GRANT CREATE ON DATABASE postgres TO app; GRANT CREATE ON SCHEMA public TO app",
    )
    .await;
    let rules = cluster.data().join("pg_hba.conf");
    let before = fs::read_to_string(&rules).expect("rules");
    fs::write(&rules, format!("host all app 127.0.0.1/32 scram-sha-256\n{before}")).expect("writes");
    sql(&cluster, "SELECT pg_reload_conf()").await;
    let place = Place::new();
    let server = place.start().env(URL, &hasty(&cluster.url_as("app:a-secret", "postgres"))).ready();
    let api = Api::new(&server.url);
    define(&api, "orders", &into_postgres(ORDERS)).await;
    place_order(&api, "order-1").await;
    let status = state(&api, "orders", "retrying", "28P01").await;
    assert!(!status.to_string().contains("a-secret") && !server.log().contains("a-secret"), "{status}");
    sql(&cluster, "ALTER ROLE app PASSWORD 'a-secret'").await;
    settled(&api, "orders").await;
    assert_eq!(counts(&cluster).await, rows(&[("order-1", "1")]));
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_full_disk_under_the_views_is_waited_for() {
    let place = Place::new();
    // The folder is there before it is a disk of its own.
    assert_eq!(place.start().ready().terminate(), Some(0));
    let views = place.data().join("views");
    let _disk = match SmallDisk::mount(&views, "24m") {
        Ok(disk) => disk,
        Err(reason) => return skipped("p2_full_views", &format!("no tmpfs can be mounted: {reason}")),
    };
    let server = place.start().ready();
    let api = Api::new(&server.url);
    define(&api, "orders", ORDERS).await;
    place_order(&api, "order-0").await;
    settled(&api, "orders").await;
    let ballast = views.join("ballast");
    fs::write(&ballast, vec![1; 16 << 20]).expect("there is room for it");
    for number in 0..20 {
        api.write(&format!("order-{number}"), "Placed", json!({"note": "x".repeat(600_000)})).await;
    }
    let status = state(&api, "orders", "retrying", "full").await;
    assert!(status["error"]["event"].is_null(), "{status}");
    // A restart while it is full works, and says the same.
    server.kill();
    let server = place.start().ready();
    let api = Api::new(&server.url);
    state(&api, "orders", "retrying", "full").await;
    fs::remove_file(&ballast).expect("it is there");
    settled(&api, "orders").await;
    let page = api.get("/v1/views/orders?limit=100").await.expect("rows");
    let found: Vec<i64> = page["rows"].as_array().expect("rows").iter().map(|row| row["count"].as_i64().expect("a number")).collect();
    assert_eq!(found, [vec![2], vec![1; 19]].concat());
    assert_eq!(server.terminate(), Some(0));
}

/// The most memory that a process has had, in MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the system counts it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

const LARGE_ROWS: u64 = 30;

/// 8 MiB.
fn large_note(number: u64) -> String {
    format!("{number:03} ").repeat(2 << 20)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_rows_of_megabytes_do_not_fill_the_memory() {
    let Some(cluster) = started("p5_megabytes") else { return };
    let place = Place::new();
    let start = || beside(&place, &cluster).env("FACTUM_LIMITS__EVENT", "9MiB");
    let server = start().ready();
    let api = Api::new(&server.url);
    for (name, definition) in [("here", ORDERS.to_owned()), ("orders", into_postgres(ORDERS))] {
        define(&api, name, &definition).await;
    }
    for number in 0..LARGE_ROWS {
        api.write(&format!("order-{number}"), "Placed", json!({"note": large_note(number)})).await;
    }
    for view in ["here", "orders"] {
        settled(&api, view).await;
    }
    let after_large = peak_mib(server.pid());
    for view in ["here", "orders"] {
        order(&api, &format!("{view}/pause")).await;
        state(&api, view, "paused", "").await;
    }
    // Small events that come at once, each on a row of megabytes.
    for _ in 0..2 {
        for number in 0..LARGE_ROWS {
            api.write(&format!("order-{number}"), "Counted", json!({})).await;
        }
    }
    assert_eq!(server.terminate(), Some(0));
    let server = start().ready();
    let api = Api::new(&server.url);
    for view in ["here", "orders"] {
        order(&api, &format!("{view}/resume")).await;
    }
    for view in ["here", "orders"] {
        settled(&api, view).await;
    }
    let after_small = peak_mib(server.pid());
    note(&format!("peak of memory: {after_large} MiB with large events, {after_small} MiB with large rows"));
    let expected = format!("{LARGE_ROWS}|3|{}", LARGE_ROWS * (8 << 20));
    let found = sql(&cluster, "SELECT count(*) || '|' || max(count) || '|' || sum(length(note)) FROM orders WHERE count = 3").await;
    assert_eq!(found, [[Some(expected)]]);
    for number in [0, LARGE_ROWS - 1] {
        let row = api.get(&format!("/v1/views/here/order-{number}")).await.expect("a row");
        assert_eq!((&row["count"], row["note"].as_str()), (&json!(3), Some(large_note(number).as_str())));
    }
    for peak in [after_large, after_small] {
        assert!(peak < MEMORY_MIB_MAX, "{peak} MiB at most");
    }
    assert_eq!(server.terminate(), Some(0));
}

/// All rows together are 240 MiB. Without bounds, 220 MiB of rows took 743 MiB.
const MEMORY_MIB_MAX: u64 = 600;
