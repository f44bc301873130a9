//! Logs and traces as tables: asked in SQL, read by DuckDB as files, whole after `kill -9`, and never in the way of a request.

use std::fs;

use serde_json::Value;
use serde_json::json;

use crate::busy::SECRET;
use crate::busy::keep_busy;
use crate::http::Api;
use crate::logs::tell_secrets;
use crate::measurements::series;
use crate::others::python;
use crate::others::run;
use crate::process::Place;
use crate::process::Start;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn with_lake(start: Start) -> Start {
    let start = start.env("FACTUM_TELEMETRY__LAKE", "true").env("FACTUM_TELEMETRY__LAKE_INTERVAL", "100ms");
    start.env("FACTUM_TELEMETRY__SAMPLE", "0").env("FACTUM_LOG", "debug")
}

/// The rows of a query.
async fn rows(api: &Api, query: &str) -> Vec<Value> {
    let (status, said) = api.post("/v1/sql", "application/json", json!({"query": query}).to_string()).await.expect("an answer");
    assert_eq!(status, 200, "{query}: {said}");
    let document: Value = serde_json::from_str(&said).expect("JSON");
    document["rows"].as_array().cloned().unwrap_or_else(|| panic!("{document}"))
}

/// Asks until there are rows: what is written can be asked for, a moment after it has happened. Each try is a request, and takes its time.
async fn rows_once(api: &Api, query: &str) -> Vec<Value> {
    for _ in 0..5_000 {
        let found = rows(api, query).await;
        if !found.is_empty() {
            return found;
        }
    }
    panic!("nothing came of {query}");
}

async fn append(url: &str, stream: &str) {
    let body = json!({"events": [{"type": "Paid", "data": {"amount": 1}}]}).to_string();
    let request = reqwest::Client::new().post(format!("{url}/v1/streams/{stream}/events")).body(body);
    let request = request.header("content-type", "application/json").header("x-request-id", format!("of-{stream}"));
    let answer = request.header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01")).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 201);
}

fn files(place: &Place, table: &str) -> Vec<String> {
    let folder = place.data().join("telemetry").join(table);
    let names = fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("read").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_spans_are_tables_and_lead_to_each_other() {
    let place = Place::new();
    let server = with_lake(place.start()).ready();
    let api = Api::new(&server.url);
    append(&server.url, "order-1").await;
    let query = format!(
        "select s.name, s.attributes ->> 'http.route' as route, l.fields ->> 'status' as status, l.level from spans s join logs l \
         on l.trace_id = s.trace_id and l.span_id = s.span_id \
         where s.trace_id = '{TRACE}' and l.request_id = 'of-order-1' and l.message = 'answered'"
    );
    let found = rows_once(&api, &query).await;
    let expected = json!(["request", "/v1/streams/{stream}/events", "201", "DEBUG"]);
    assert_eq!(found, [expected]);
    let pieces = rows(&api, &format!("select name from telemetry.spans where trace_id = '{TRACE}' order by name")).await;
    assert_eq!(pieces, [json!(["request"]), json!(["shard.commit"]), json!(["shard.queue"])]);
    let tables = api.get("/v1/tables").await.expect("tables");
    let listed = tables["tables"].as_array().expect("a list").iter().filter(|table| table["kind"] == "telemetry");
    assert_eq!(listed.map(|table| table["name"].clone()).collect::<Vec<_>>(), [json!("logs"), json!("spans")]);
    // A category comes first under a name that both have.
    append(&server.url, "logs-1").await;
    assert_eq!(rows(&api, "select stream from logs").await, [json!(["logs-1"])]);
    assert!(!rows(&api, "select time from telemetry.logs limit 1").await.is_empty());
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test]
async fn without_the_setting_there_are_neither_tables_nor_files() {
    let place = Place::new();
    let server = place.start().ready();
    let api = Api::new(&server.url);
    let (status, said) =
        api.post("/v1/sql", "application/json", json!({"query": "select * from logs"}).to_string()).await.expect("an answer");
    assert_eq!(status, 400, "{said}");
    assert_eq!(server.terminate(), Some(0));
    assert!(!place.data().join("telemetry").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_reads_the_files_and_finds_the_last_line_of_the_server() {
    let Some(python) = python("telemetry lake", "duckdb") else { return };
    let place = Place::new();
    let server = with_lake(place.start()).ready();
    keep_busy(&Api::new(&server.url)).await;
    append(&server.url, "order-1").await;
    assert_eq!(server.terminate(), Some(0));
    let read: Value = serde_json::from_str(&run(&python, DUCKDB, &place.data().join("telemetry").display().to_string())).expect("JSON");
    assert_eq!((&read["stopping"], &read["answered"]), (&json!(1), &json!(1)), "{read}");
    assert_eq!(read["spans"], json!(["request", "shard.commit", "shard.queue"]), "{read}");
    assert_eq!(read["time"], json!("TIMESTAMP WITH TIME ZONE"), "{read}");
}

/// What was asked for once is there after `kill -9`, and the files of both processes are whole.
#[tokio::test(flavor = "multi_thread")]
async fn crash_kill_nine_leaves_whole_files() {
    let place = Place::new();
    for round in 0..5 {
        let server = with_lake(place.start()).ready();
        let api = Api::new(&server.url);
        for before in 0..round {
            let of_before = format!("select time from logs where request_id = 'of-order-{before}' and message = 'answered'");
            assert_eq!(rows(&api, &of_before).await.len(), 1, "round {round}, {before}");
        }
        append(&server.url, &format!("order-{round}")).await;
        rows_once(&api, &format!("select time from logs where request_id = 'of-order-{round}' and message = 'answered'")).await;
        server.kill();
    }
    assert!(files(&place, "logs").len() >= 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_costs_no_request() {
    let place = Place::new();
    let server = place.start().ready();
    assert_eq!(server.terminate(), Some(0));
    // A file lies where the folder should be.
    fs::write(place.data().join("telemetry"), "in the way").expect("written");
    let server = with_lake(place.start()).ready();
    let api = Api::new(&server.url);
    for number in 0..20 {
        append(&server.url, &format!("order-{number}")).await;
    }
    let is_told = |log: &str| log.contains("telemetry cannot be written");
    for _ in 0..10_000 {
        if is_told(&server.log()) {
            break;
        }
        append(&server.url, "order-0").await;
    }
    assert!(is_told(&server.log()), "{}", server.log());
    // Asked for, it says what is wrong, and nothing else does.
    let (status, said) =
        api.post("/v1/sql", "application/json", json!({"query": "select * from logs"}).to_string()).await.expect("an answer");
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("target-unavailable"), "{said}");
    assert_eq!(rows(&api, "select count(*) as n from events").await.len(), 1);
    // The way is free again: what has waited is written.
    fs::remove_file(place.data().join("telemetry")).expect("removed");
    append(&server.url, "order-last").await;
    rows_once(&api, "select time from logs where request_id = 'of-order-1' and message = 'answered'").await;
    let text = api.text("/metrics").await.expect("measurements");
    assert!(series(&text, r#"factum_telemetry_lake_rows_total{table="logs",outcome="written"}"#).is_some_and(|rows| rows > 0.0), "{text}");
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn h10_the_tables_say_nothing_that_clients_have_sent() {
    let place = Place::new();
    let server = with_lake(place.start()).env("FACTUM_LOG", "trace").env("FACTUM_TELEMETRY__SAMPLE", "1").ready();
    tell_secrets(&server, &Api::new(&server.url)).await;
    assert_eq!(server.terminate(), Some(0));
    let server = with_lake(place.start()).ready();
    let api = Api::new(&server.url);
    for table in ["logs", "spans"] {
        let all = rows(&api, &format!("select * from {table}")).await;
        assert!(all.len() >= 30, "{table} has {} rows", all.len());
        let told: Vec<String> = all.iter().map(ToString::to_string).filter(|row| row.contains(SECRET)).collect();
        assert!(told.is_empty(), "{}", told.join("\n"));
    }
    assert_eq!(server.terminate(), Some(0));
}

const DUCKDB: &str = r#"
import json, sys, duckdb
folder = sys.stdin.read()
def one(query):
    return duckdb.sql(query.replace("LOGS", f"'{folder}/logs/*.parquet'").replace("SPANS", f"'{folder}/spans/*.parquet'")).fetchall()
trace = "0af7651916cd43dd8448eb211c80319c"
print(json.dumps({
    "stopping": one("select count(*) from LOGS where message = 'stopping'")[0][0],
    "answered": one(f"select count(*) from LOGS where trace_id = '{trace}' and message = 'answered' and request_id = 'of-order-1'")[0][0],
    "spans": [row[0] for row in one(f"select name from SPANS where trace_id = '{trace}' and name in ('request', 'shard.commit', 'shard.queue') order by name")],
    "time": one("select typeof(time) from LOGS limit 1")[0][0],
}))
"#;
