//! What leaves by OTLP is what OpenTelemetry's own messages can read, over each protocol; and a collector in trouble costs nobody anything.

use std::net::TcpListener;

use serde_json::Value;
use serde_json::json;

use crate::busy::SECRET;
use crate::busy::keep_busy;
use crate::http::Api;
use crate::logs::tell_secrets;
use crate::measurements::families;
use crate::others::OtherCollector;
use crate::others::python;
use crate::process::Place;
use crate::process::Server;
use crate::traces::nonsense;
use crate::traces::told;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const MODULES: &str = "grpc, opentelemetry.proto.collector.logs.v1.logs_service_pb2";

fn start(place: &Place, endpoint: &str, protocol: &str) -> Server {
    let start = place.start().env("FACTUM_TELEMETRY__OTLP_ENDPOINT", endpoint).env("FACTUM_TELEMETRY__OTLP_PROTOCOL", protocol);
    start.env("FACTUM_TELEMETRY__OTLP_INTERVAL", "100ms").env("FACTUM_TELEMETRY__SAMPLE", "1").env("FACTUM_LOG", "debug").ready()
}

/// The items of all messages of a signal.
fn items(came: &[Value], signal: &str) -> Vec<Value> {
    let (resources, scopes, name) = match signal {
        "traces" => ("resourceSpans", "scopeSpans", "spans"),
        "metrics" => ("resourceMetrics", "scopeMetrics", "metrics"),
        _ => ("resourceLogs", "scopeLogs", "logRecords"),
    };
    let of_signal = came.iter().filter(|request| request["signal"] == signal);
    let scope = |request: &Value| {
        let resource = &request["message"][resources][0];
        assert_eq!(attribute(&resource["resource"], "service.name"), Some(json!("factum")), "{request}");
        resource[scopes][0][name].as_array().cloned().unwrap_or_default()
    };
    of_signal.flat_map(scope).collect()
}

/// What is said of an item under this name.
fn attribute(item: &Value, key: &str) -> Option<Value> {
    let attributes = item["attributes"].as_array()?;
    let value = attributes.iter().find(|attribute| attribute["key"] == key)?["value"].as_object()?;
    value.values().next().cloned()
}

/// The line that says how a request was answered.
fn line(came: &[Value], request: &str) -> Option<Value> {
    let lines = items(came, "logs");
    let is_it = |line: &&Value| line["body"]["stringValue"] == "answered" && attribute(line, "request_id") == Some(json!(request));
    lines.iter().find(is_it).cloned()
}

/// The last state of a counter that was told.
fn counted(came: &[Value], name: &str, label: (&str, &str)) -> Option<f64> {
    let metrics = items(came, "metrics");
    let metric = metrics.iter().rev().find(|metric| metric["name"] == name)?;
    let points = metric["sum"]["dataPoints"].as_array()?;
    points.iter().find(|point| attribute(point, label.0) == Some(json!(label.1)))?["asDouble"].as_f64()
}

async fn check_protocol(protocol: &str) {
    let Some(python) = python("otlp", MODULES) else { return };
    let (place, collector) = (Place::new(), OtherCollector::start(&python));
    let endpoint = if protocol == "grpc" { &collector.grpc } else { &collector.http };
    let server = start(&place, endpoint, protocol);
    let api = Api::new(&server.url);
    keep_busy(&api).await;
    let body = json!({"events": [{"type": "Paid", "data": {"amount": 1}}]}).to_string();
    let request = reqwest::Client::new().post(format!("{}/v1/streams/bill-1/events", server.url)).body(body);
    let request = request.header("content-type", "application/json").header("x-request-id", "the-one");
    let answer = request.header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01")).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 201);
    let is_there = |came: &[Value]| {
        let spans = items(came, "traces");
        let has_span = spans.iter().any(|span| span["traceId"] == TRACE && span["name"] == "shard.commit");
        has_span && line(came, "the-one").is_some() && counted(came, "factum_append_events_total", ("shard", "0")).is_some_and(|n| n >= 6.0)
    };
    let came = collector.wait_for("a span, a line and a number", is_there).await;
    assert!(came.iter().all(|request| request["transport"] == protocol), "{came:#?}");
    check_line(&came);
    check_metrics(&came, &api.text("/metrics").await.expect("measurements"));
    assert_eq!(server.terminate(), Some(0));
    let came = collector.all();
    assert!(came.iter().all(|request| request["error"].is_null()), "{came:#?}");
    assert!(items(&came, "logs").iter().any(|line| line["body"]["stringValue"] == "stopping"), "the last lines are sent");
    assert!(!serde_json::to_string(&came).expect("text").contains(SECRET), "what clients have sent leaves: {came:#?}");
}

fn check_line(came: &[Value]) {
    let line = line(came, "the-one").expect("it was there");
    assert_eq!(
        (&line["traceId"], &line["severityText"], &line["severityNumber"]),
        (&json!(TRACE), &json!("DEBUG"), &json!("SEVERITY_NUMBER_DEBUG"))
    );
    let spans = items(came, "traces");
    let request = spans.iter().find(|span| span["traceId"] == TRACE && span["name"] == "request").expect("the request's span");
    assert_eq!(line["spanId"], request["spanId"], "a line leads to its span");
    assert_eq!(attribute(&line, "status"), Some(json!("201")), "{line}");
    assert!(line["timeUnixNano"].as_str().is_some_and(|time| time.len() == 19), "{line}");
}

/// All that Prometheus is told, the collector is told too: names, kinds, labels.
fn check_metrics(came: &[Value], text: &str) {
    let metrics = items(came, "metrics");
    for (name, family) in families(text).iter().filter(|(_, family)| !family.values.is_empty()) {
        let Some(metric) = metrics.iter().rev().find(|metric| metric["name"] == **name) else { panic!("{name} was not sent") };
        let (kind, member) = match family.kind.as_str() {
            "counter" => ("sum", "asDouble"),
            "gauge" => ("gauge", "asDouble"),
            _ => ("histogram", "bucketCounts"),
        };
        let points = metric[kind]["dataPoints"].as_array().unwrap_or_else(|| panic!("{name} is no {kind}: {metric}"));
        assert!(points.iter().all(|point| point[member] != Value::Null && point["timeUnixNano"].is_string()), "{metric}");
        let labels = points.iter().flat_map(|point| point["attributes"].as_array().cloned().unwrap_or_default());
        assert!(
            labels.clone().count() > 0 && labels.into_iter().all(|label| family.labels.contains(label["key"].as_str().expect("a name")))
        );
        if kind == "histogram" {
            // What is 0 is left out by those who read protobuf.
            let count = |point: &Value| point["count"].as_str().map_or(0, |count| count.parse::<u64>().expect("a count"));
            let buckets = |point: &Value| -> u64 {
                let counts = point["bucketCounts"].as_array().expect("counts");
                counts.iter().map(|count| count.as_str().and_then(|count| count.parse::<u64>().ok()).expect("a count")).sum()
            };
            assert!(points.iter().all(|point| count(point) == buckets(point)), "{metric}");
        }
    }
}

// The collector takes messages while the test waits for the server to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_of_others_reads_protobuf_over_http() {
    check_protocol("http/protobuf").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_of_others_reads_json_over_http() {
    check_protocol("http/json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_of_others_reads_grpc() {
    check_protocol("grpc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h10_what_is_exported_says_nothing_that_clients_have_sent() {
    let Some(python) = python("otlp", MODULES) else { return };
    let (place, collector) = (Place::new(), OtherCollector::start(&python));
    let start = place.start().env("FACTUM_TELEMETRY__OTLP_ENDPOINT", &collector.http).env("FACTUM_TELEMETRY__SAMPLE", "1");
    let server = start.env("FACTUM_LOG", "trace").ready();
    tell_secrets(&server, &Api::new(&server.url)).await;
    assert_eq!(server.terminate(), Some(0));
    let came =
        collector.wait_for("the last line", |came| items(came, "logs").iter().any(|line| line["body"]["stringValue"] == "stopping")).await;
    let counts = (line_count(&came), items(&came, "traces").len(), items(&came, "metrics").len());
    assert!(counts.0 > 20 && counts.1 > 20 && counts.2 > 20, "{counts:?}");
    // `tracestate` is a client's own word to whoever reads its traces, and goes where they go.
    let said = items(&came, "logs").into_iter().chain(items(&came, "metrics"));
    let told: Vec<String> = said.map(|item| item.to_string()).filter(|text| text.contains(SECRET)).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    let in_spans = items(&came, "traces").into_iter().map(|mut span| {
        span["traceState"] = Value::Null;
        span.to_string()
    });
    assert_eq!(in_spans.filter(|text| text.contains(SECRET)).collect::<Vec<_>>(), Vec::<String>::new());
}

fn line_count(came: &[Value]) -> usize {
    items(came, "logs").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_told_what_the_settings_say() {
    let Some(python) = python("otlp", MODULES) else { return };
    let (place, collector) = (Place::new(), OtherCollector::start(&python));
    let start = place.start().env("FACTUM_TELEMETRY__OTLP_ENDPOINT", &collector.grpc).env("FACTUM_TELEMETRY__OTLP_PROTOCOL", "grpc");
    let server = start.env("FACTUM_TELEMETRY__OTLP_SIGNALS", "logs").env("FACTUM_TELEMETRY__SAMPLE", "1").ready();
    keep_busy(&Api::new(&server.url)).await;
    assert_eq!(server.terminate(), Some(0));
    let came = collector.wait_for("the last line", |came| line_count(came) > 0).await;
    assert!(came.iter().all(|request| request["signal"] == "logs"), "{came:#?}");
}

/// Over each protocol: nobody there, nobody who answers, one that talks nonsense, one that is there and no collector.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_in_trouble_costs_no_request_over_any_protocol() {
    let gone = { format!("http://{}", TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound")) };
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent_url = format!("http://{}", silent.local_addr().expect("bound"));
    let nonsense = nonsense().await;
    let other = Place::new();
    let no_collector = other.start().ready();
    for protocol in ["grpc", "http/protobuf"] {
        for (endpoint, is_told) in [(&gone, true), (&silent_url, false), (&nonsense, true), (&no_collector.url, true)] {
            let place = Place::new();
            let server = start(&place, endpoint, protocol);
            let api = Api::new(&server.url);
            for number in 0..20 {
                let body = json!({"events": [{"type": "Paid", "data": 1}]}).to_string();
                let (status, _) =
                    api.post(&format!("/v1/streams/order-{number}/events"), "application/json", body).await.expect("an answer");
                assert_eq!(status, 201, "{protocol} {endpoint}");
            }
            for counter in ["trace_spans", "otlp_log_records", "otlp_metric_exports"].iter().filter(|_| is_told) {
                told(&api, &format!("factum_{counter}_total{{outcome=\"failed\"}}")).await;
            }
            let log = server.log();
            for signal in ["traces", "metrics", "logs"].iter().filter(|_| is_told) {
                let said = format!("the collector of {signal} does not take them");
                assert_eq!(log.matches(&said).count(), 1, "{protocol} {endpoint}: {log}");
            }
            assert_eq!(server.terminate(), Some(0), "{protocol} {endpoint}");
        }
    }
    assert_eq!(no_collector.terminate(), Some(0));
    drop(silent);
}
