//! Traces: one picture from the request to the rows, kept as asked, and never at the cost of a request.

use serde_json::Value;
use serde_json::json;

use crate::collector::Collector;
use crate::http::Api;
use crate::measurements::series;
use crate::process::Place;
use crate::process::Server;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// What an append leads to, in the end.
const PIECES: [&str; 3] = ["request", "projection.commit", "subscription.deliver"];
const CLIENT: &str = "b7ad6b7169203331";

fn start(place: &Place, endpoint: &str, sample: &str) -> Server {
    let start = place.start().env("FACTUM_TELEMETRY__OTLP_ENDPOINT", endpoint).env("FACTUM_TELEMETRY__SAMPLE", sample);
    let start = start.env("FACTUM_TELEMETRY__OTLP_PROTOCOL", "http/json").env("FACTUM_TELEMETRY__OTLP_SIGNALS", "traces");
    start.env("FACTUM_TELEMETRY__SLOW", "1h").ready()
}

async fn project(api: &Api) {
    let toml = "[columns]\nid = \"text primary key\"\nn = \"bigint\"\n[on.Paid]\nkey = \"$.stream\"\nset = { n = \"$.data\" }\n";
    assert_eq!(api.put("/v1/projections/rows", "application/toml", toml).await.0, 201);
}

/// Appends an event, in a client's trace if one is given.
async fn append(server: &Server, stream: &str, traceparent: Option<&str>) {
    let body = json!({"events": [{"type": "Paid", "data": 1}]}).to_string();
    let request = reqwest::Client::new().post(format!("{}/v1/streams/{stream}/events", server.url)).body(body);
    let request = request.header("content-type", "application/json").header("tracestate", "vendor=1");
    let request = match traceparent {
        Some(parent) => request.header("traceparent", parent),
        None => request,
    };
    assert_eq!(request.send().await.expect("an answer").status().as_u16(), 201);
}

/// The one span of a trace with this name.
#[track_caller]
fn one<'a>(spans: &'a [Value], trace: &str, name: &str) -> &'a Value {
    let found: Vec<&Value> = spans.iter().filter(|span| span["traceId"] == trace && span["name"] == name).collect();
    let [one] = found[..] else { panic!("{} of {name} in {spans:#?}", found.len()) };
    one
}

fn has(spans: &[Value], trace: &str, name: &str) -> bool {
    spans.iter().any(|span| span["traceId"] == trace && span["name"] == name)
}

// The collector takes spans while the test waits for the server to end.
#[tokio::test(flavor = "multi_thread")]
async fn append_and_projection_are_one_trace() {
    let (place, collector) = (Place::new(), Collector::start().await);
    let server = start(&place, &collector.url, "0");
    let api = Api::new(&server.url);
    project(&api).await;
    assert_eq!(api.put("/v1/subscriptions/mail", "application/json", "{}").await.0, 201);
    append(&server, "order-1", Some(&format!("00-{TRACE}-{CLIENT}-01"))).await;
    api.text("/v1/subscriptions/mail/events?limit=1").await.expect("a delivery");
    let spans = collector.wait_for("the projection", |spans| PIECES.iter().all(|piece| has(spans, TRACE, piece))).await;
    let request = one(&spans, TRACE, "request");
    assert_eq!((&request["parentSpanId"], &request["traceState"], &request["kind"]), (&json!(CLIENT), &json!("vendor=1"), &json!(2)));
    let said = request["attributes"].to_string();
    assert!(said.contains("/v1/streams/{stream}/events") && said.contains("201") && !said.contains("order-1"), "{said}");
    for piece in ["shard.queue", "shard.commit"] {
        assert_eq!(one(&spans, TRACE, piece)["parentSpanId"], request["spanId"], "{piece}");
    }
    let batch = one(&spans, TRACE, "projection.batch");
    assert_eq!((&batch["parentSpanId"], &batch["kind"]), (&json!(CLIENT), &json!(5)), "what the event remembers");
    assert_eq!(one(&spans, TRACE, "projection.commit")["parentSpanId"], batch["spanId"]);
    assert_eq!(one(&spans, TRACE, "subscription.deliver")["parentSpanId"], CLIENT);
    let of_others = spans.iter().filter(|span| span["traceId"] != TRACE).count();
    assert_eq!(of_others, 0, "nothing else is sampled: {spans:#?}");
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_begins_here_goes_on_through_the_event() {
    let (place, collector) = (Place::new(), Collector::start().await);
    let server = start(&place, &collector.url, "1");
    let api = Api::new(&server.url);
    project(&api).await;
    append(&server, "order-1", None).await;
    let event = api.get("/v1/streams/order-1/events/1").await.expect("the event");
    let parent = event["metadata"]["traceparent"].as_str().expect("it remembers").to_owned();
    let parts: Vec<&str> = parent.split('-').collect();
    let [_, trace, span, "01"] = parts[..] else { panic!("{parent}") };
    let spans = collector.wait_for("the projection", |spans| has(spans, trace, "projection.batch") && has(spans, trace, "request")).await;
    assert_eq!(one(&spans, trace, "request")["spanId"], span);
    assert_eq!(one(&spans, trace, "projection.batch")["parentSpanId"], span);
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_kept_and_a_clients_no_counts() {
    let (place, collector) = (Place::new(), Collector::start().await);
    let server = start(&place, &collector.url, "0");
    let api = Api::new(&server.url);
    project(&api).await;
    append(&server, "order-1", None).await;
    let event = api.get("/v1/streams/order-1/events/1").await.expect("the event");
    assert!(event["metadata"]["traceparent"].is_null(), "{event}");
    append(&server, "order-1", Some(&format!("00-{TRACE}-{CLIENT}-00"))).await;
    assert_eq!(api.post("/v1/projections/rows/pause", "application/json", String::new()).await.expect("an answer").0, 200);
    append(&server, "order-2", None).await;
    let end = api.get("/v1/status").await.expect("a status")["cursor"].as_str().expect("a cursor").to_owned();
    let request = reqwest::Client::new().get(format!("{}/v1/views/rows", server.url));
    let answer = request.header("factum-min-position", &end).header("prefer", "wait=0").send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 503);
    // What is kept is sent before the end.
    assert_eq!(server.terminate(), Some(0));
    let spans = collector.all();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    assert_eq!((&spans[0]["name"], &spans[0]["status"]["code"]), (&json!("request"), &json!(2)), "{}", spans[0]);
    assert_ne!(spans[0]["traceId"], TRACE);
}

#[cfg(feature = "analytics")]
#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_in_its_requests_trace() {
    let (place, collector) = (Place::new(), Collector::start().await);
    let server = start(&place, &collector.url, "0");
    let request = reqwest::Client::new().post(format!("{}/v1/sql", server.url)).header("traceparent", format!("00-{TRACE}-{CLIENT}-01"));
    let body = json!({"query": "select 'hush' as said"}).to_string();
    let answer = request.header("content-type", "application/json").body(body).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    assert!(answer.text().await.expect("a body").contains("hush"));
    let spans = collector.wait_for("the query", |spans| has(spans, TRACE, "sql.query") && has(spans, TRACE, "request")).await;
    let query = one(&spans, TRACE, "sql.query");
    assert_eq!(query["parentSpanId"], one(&spans, TRACE, "request")["spanId"]);
    assert!(query["attributes"].to_string().contains("answered") && !format!("{spans:?}").contains("hush"), "{spans:#?}");
    assert_eq!(server.terminate(), Some(0));
}

#[cfg(feature = "analytics")]
#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_in_the_traces_of_its_events() {
    let (place, collector) = (Place::new(), Collector::start().await);
    let server = start(&place, &collector.url, "0");
    let api = Api::new(&server.url);
    assert_eq!(api.put("/v1/exports/lake", "application/json", "{}").await.0, 201);
    let other = TRACE.replace('0', "1");
    for (stream, trace) in [("order-1", TRACE), ("order-2", &other)] {
        append(&server, stream, Some(&format!("00-{trace}-{CLIENT}-01"))).await;
    }
    append(&server, "order-3", None).await;
    api.flush("lake").await.expect("published");
    let is_there = |spans: &[Value]| [TRACE, &other].iter().all(|trace| has(spans, trace, "export.flush"));
    let spans = collector.wait_for("the export", is_there).await;
    let flush = one(&spans, TRACE, "export.flush");
    assert_eq!((&flush["parentSpanId"], &flush["kind"]), (&json!(CLIENT), &json!(5)), "what the event remembers");
    let said = flush["attributes"].to_string();
    assert!(said.contains("lake") && !said.contains("order-"), "{said}");
    assert!(said.contains("\"3\""), "all three events: {said}");
    assert_eq!(flush["links"], json!([{"traceId": other, "spanId": CLIENT}]), "the other request of the same files");
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_requests_are_kept() {
    let (place, collector) = (Place::new(), Collector::start().await);
    let start = place.start().env("FACTUM_TELEMETRY__OTLP_ENDPOINT", &collector.url).env("FACTUM_TELEMETRY__SAMPLE", "0");
    let start = start.env("FACTUM_TELEMETRY__OTLP_PROTOCOL", "http/json").env("FACTUM_TELEMETRY__OTLP_SIGNALS", "traces");
    let server = start.env("FACTUM_TELEMETRY__SLOW", "50ms").ready();
    let api = Api::new(&server.url);
    api.get("/v1/types").await.expect("an answer");
    project(&api).await;
    assert_eq!(api.post("/v1/projections/rows/pause", "application/json", String::new()).await.expect("an answer").0, 200);
    append(&server, "order-1", None).await;
    let request = reqwest::Client::new().get(format!("{}/v1/subscriptions/none", server.url));
    assert_eq!(request.send().await.expect("an answer").status().as_u16(), 404);
    // It waits for what a paused projection does not do: a second.
    let end = api.get("/v1/status").await.expect("a status")["cursor"].as_str().expect("a cursor").to_owned();
    let request = reqwest::Client::new().get(format!("{}/v1/views/rows", server.url));
    request.header("factum-min-position", &end).header("prefer", "wait=1").send().await.expect("an answer");
    let is_it = |span: &Value| span["attributes"].to_string().contains("/v1/views/{view}");
    collector.wait_for("the slow one", |spans| spans.iter().any(is_it)).await;
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_in_trouble_costs_no_request() {
    // One that is not there, one that never answers, one that talks nonsense.
    let gone = { format!("http://{}", std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound")) };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent_url = format!("http://{}", silent.local_addr().expect("bound"));
    let nonsense = nonsense().await;
    for (endpoint, counted) in [(gone, "failed"), (silent_url, ""), (nonsense, "failed")] {
        let place = Place::new();
        let server = start(&place, &endpoint, "1");
        let api = Api::new(&server.url);
        for number in 0..50 {
            append(&server, &format!("order-{number}"), None).await;
        }
        if !counted.is_empty() {
            told(&api, &format!("factum_trace_spans_total{{outcome=\"{counted}\"}}")).await;
            let log = server.log();
            assert_eq!(log.matches("the collector of traces does not take them").count(), 1, "{log}");
        }
        assert_eq!(server.terminate(), Some(0), "{endpoint}");
    }
    drop(silent);
}

/// Waits until a counter has moved. Each try is a request, and takes its time.
pub(crate) async fn told(api: &Api, name: &str) {
    for _ in 0..10_000 {
        let text = api.text("/metrics").await.expect("measurements");
        if series(&text, name).is_some_and(|value| value > 0.0) {
            return;
        }
    }
    panic!("{name} stays 0");
}

/// Answers every connection with what is no HTTP, for as long as the test runs.
pub(crate) async fn nonsense() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            // The server may hang up before it has read this.
            drop(tokio::io::AsyncWriteExt::write_all(&mut socket, b"\x00\xffnonsense\r\n\r\n").await);
        }
    });
    url
}
