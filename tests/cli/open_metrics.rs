//! OpenMetrics: what the parser of Prometheus' own client for Python reads is what the catalogue promises, with traces beside it.

use factum::telemetry::catalogue::METRICS;
use serde_json::Value;

use crate::busy::SECRET;
use crate::busy::keep_busy;
use crate::http::Api;
use crate::measurements::is_expected;
use crate::others::python;
use crate::others::run;
use crate::process::Place;
use crate::process::Server;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// What a scraper gets that accepts this, and how it is called.
async fn scraped(server: &Server, accept: Option<&str>) -> (String, String) {
    let request = reqwest::Client::new().get(format!("{}/metrics", server.url));
    let request = match accept {
        Some(accept) => request.header("accept", accept),
        None => request,
    };
    let answer = request.send().await.expect("an answer");
    let media_type = answer.headers()["content-type"].to_str().expect("text").to_owned();
    (media_type, answer.text().await.expect("a body"))
}

#[tokio::test]
async fn a_parser_of_others_reads_open_metrics_and_its_exemplars() {
    let Some(python) = python("open metrics", "prometheus_client.openmetrics.parser") else { return };
    let place = Place::new();
    // The collector is away: exemplars need traces to be kept, not to be taken.
    let start = place.start().env("FACTUM_TELEMETRY__OTLP_ENDPOINT", "http://127.0.0.1:1").env("FACTUM_TELEMETRY__SAMPLE", "0");
    let server = if cfg!(feature = "analytics") { start.env("FACTUM_TELEMETRY__LAKE", "true") } else { start }.ready();
    keep_busy(&Api::new(&server.url)).await;
    let body = r#"{"events": [{"type": "Paid", "data": {"amount": 1}}]}"#;
    let request = reqwest::Client::new().post(format!("{}/v1/streams/bill-1/events", server.url)).body(body);
    let request = request.header("content-type", "application/json").header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"));
    assert_eq!(request.send().await.expect("an answer").status().as_u16(), 201);
    scraped(&server, None).await;
    let (media_type, text) = scraped(&server, Some(OF_PROMETHEUS)).await;
    assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(!text.contains(SECRET), "what a client makes up is measured:\n{text}");
    let read: Value = serde_json::from_str(&run(&python, PARSER, &text)).expect("JSON");
    for metric in METRICS.iter().filter(|metric| is_expected(metric.name)) {
        let family = &read[metric.name.strip_suffix("_total").unwrap_or(metric.name)];
        assert_eq!(family["type"], metric.kind.as_str(), "{}: {family}", metric.name);
        assert!(family["samples"].as_u64().is_some_and(|samples| samples > 0), "{}: {family}", metric.name);
    }
    assert_eq!(read["factum_append_bytes"]["unit"], "bytes");
    let route = "/v1/streams/{stream}/events";
    for (family, label, value) in [("factum_http_request_seconds", "route", route), ("factum_commit_seconds", "shard", "0")] {
        let exemplars = read[family]["exemplars"].as_array().expect("a list");
        let of_trace = exemplars.iter().find(|exemplar| exemplar["exemplar"]["trace_id"] == TRACE);
        let exemplar = of_trace.unwrap_or_else(|| panic!("{family} has none of the trace: {exemplars:?}"));
        assert_eq!((&exemplar["name"], &exemplar["labels"][label]), (&format!("{family}_bucket").into(), &value.into()));
        let bound = exemplar["labels"]["le"].as_str().and_then(|bound| bound.parse::<f64>().ok()).expect("a bound");
        assert!(exemplar["value"].as_f64().is_some_and(|took| took > 0.0 && took <= bound), "{exemplar}");
        assert!(exemplars.iter().all(|exemplar| exemplar["exemplar"]["trace_id"] == TRACE), "nothing else is kept: {exemplars:?}");
    }
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test]
async fn whoever_does_not_ask_for_open_metrics_gets_the_text_format() {
    let place = Place::new();
    let server = place.start().ready();
    for accept in [None, Some("*/*"), Some("text/plain"), Some("application/openmetrics-text;q=0.1,text/plain"), Some("image/png")] {
        let (media_type, text) = scraped(&server, accept).await;
        assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8", "{accept:?}");
        assert!(!text.contains("# EOF"), "{accept:?}");
    }
    let (media_type, text) = scraped(&server, Some("application/openmetrics-text")).await;
    assert!(media_type.starts_with("application/openmetrics-text") && text.ends_with("\n# EOF\n"), "{media_type}");
    assert_eq!(server.terminate(), Some(0));
}

/// As Prometheus asks.
const OF_PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
    application/openmetrics-text;version=0.0.1;q=0.4,\
    text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

const PARSER: &str = r#"
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
found = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    exemplars = [
        {"name": sample.name, "labels": sample.labels, "exemplar": sample.exemplar.labels, "value": sample.exemplar.value}
        for sample in family.samples if sample.exemplar
    ]
    found[family.name] = {"type": family.type, "unit": family.unit, "samples": len(family.samples), "exemplars": exemplars}
print(json.dumps(found))
"#;
