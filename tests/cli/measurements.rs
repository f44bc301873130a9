//! Measurements: what a real server says of itself is what the catalogue promises, in a form that Prometheus takes.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use factum::telemetry::catalogue::Kind;
use factum::telemetry::catalogue::METRICS;

use crate::busy::SECRET;
use crate::busy::keep_busy;
use crate::http::Api;
use crate::process::Place;
use crate::promtool;

/// One family of the text format.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    help: String,
    /// The labels of its series, `le` aside.
    pub(crate) labels: BTreeSet<String>,
    /// The values that each label has.
    pub(crate) values: BTreeMap<String, BTreeSet<String>>,
}

/// What `/metrics` says, by the names of families.
pub(crate) fn families(text: &str) -> BTreeMap<String, Family> {
    let mut found: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            let before = std::mem::replace(&mut found.entry(name.to_owned()).or_default().help, help.to_owned());
            assert!(before.is_empty(), "{name} is described twice");
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kind.clone_into(&mut found.entry(name.to_owned()).or_default().kind);
        } else {
            let name = line.split(['{', ' ']).next().expect("a name");
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = of_histogram.filter(|base| found.contains_key(*base)).unwrap_or(name);
            let family = found.get_mut(family).unwrap_or_else(|| panic!("{line} has no head"));
            for (label, value) in labels(line) {
                family.labels.insert(label.clone());
                family.values.entry(label).or_default().insert(value);
            }
        }
    }
    found
}

/// The labels of a series, without the bounds of buckets.
fn labels(line: &str) -> Vec<(String, String)> {
    let Some((_, rest)) = line.split_once('{') else { return Vec::new() };
    let inside = rest.rsplit_once('}').expect("what is opened is closed").0;
    let pairs = inside.split("\",").map(|pair| pair.split_once("=\"").expect("a label"));
    pairs.filter(|(label, _)| *label != "le").map(|(label, value)| (label.to_owned(), value.trim_end_matches('"').to_owned())).collect()
}

/// The value of a series.
pub(crate) fn series(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// Whether a build without SQL and exports has it.
pub(crate) fn is_expected(name: &str) -> bool {
    cfg!(feature = "analytics")
        || !["factum_sql_", "factum_export_", "factum_telemetry_lake_"].iter().any(|prefix| name.starts_with(prefix))
}

#[tokio::test]
async fn the_measurements_are_those_of_the_catalogue() {
    let place = Place::new();
    // What is told elsewhere has counters too, whether or not anybody takes it.
    let start = place.start().env("FACTUM_TELEMETRY__OTLP_ENDPOINT", "http://127.0.0.1:1");
    let start = if cfg!(feature = "analytics") { start.env("FACTUM_TELEMETRY__LAKE", "true") } else { start };
    let server = start.ready();
    let api = Api::new(&server.url);
    keep_busy(&api).await;
    // The first reading is itself a request, which the second one tells of.
    api.text("/metrics").await.expect("measurements");
    let text = api.text("/metrics").await.expect("measurements");
    let families = families(&text);
    for metric in METRICS.iter().filter(|metric| is_expected(metric.name)) {
        let family = families.get(metric.name).unwrap_or_else(|| panic!("{} is not measured:\n{text}", metric.name));
        assert_eq!((family.kind.as_str(), family.help.as_str()), (metric.kind.as_str(), metric.help), "{}", metric.name);
        let labels: BTreeSet<String> = metric.labels.iter().map(|label| (*label).to_owned()).collect();
        assert_eq!(family.labels, labels, "{}", metric.name);
    }
    for name in families.keys() {
        assert!(METRICS.iter().any(|metric| metric.name == name), "{name} is not in the catalogue");
    }
    assert!(!text.contains(SECRET), "what a client makes up is measured:\n{text}");
    promtool::check_metrics(&text);
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test]
async fn what_is_counted_is_what_has_happened() {
    let place = Place::new();
    let server = place.start().flag(&["--shards", "1"]).ready();
    let api = Api::new(&server.url);
    let before = api.text("/metrics").await.expect("measurements");
    keep_busy(&api).await;
    let text = api.text("/metrics").await.expect("measurements");
    let grown = |name: &str| series(&text, name).unwrap_or_else(|| panic!("{name} in:\n{text}")) - series(&before, name).unwrap_or(0.0);
    assert_eq!(grown(r#"factum_append_calls_total{shard="0",outcome="version_conflict"}"#), 4.0);
    assert_eq!(grown(r#"factum_append_events_total{shard="0"}"#), grown(r#"factum_log_position{shard="0"}"#));
    assert_eq!(grown(r#"factum_append_calls_total{shard="0",outcome="appended"}"#), grown(r#"factum_append_events_total{shard="0"}"#));
    let commits = grown(r#"factum_commit_seconds_count{shard="0"}"#);
    assert!(commits > 0.0 && grown(r#"factum_commit_calls_sum{shard="0"}"#) >= commits, "{text}");
    // Each commit is one sync of the log; a new segment may take more.
    assert!(grown(r#"factum_disk_sync_seconds_count{shard="0",file="log"}"#) >= commits, "{text}");
    let events = r#"route="/v1/streams/{stream}/events",method="POST""#;
    assert_eq!(grown(&format!(r#"factum_http_requests_total{{{events},status="201"}}"#)), 4.0);
    assert_eq!(grown(&format!(r#"factum_http_requests_total{{{events},status="409"}}"#)), 4.0);
    assert_eq!(grown(&format!(r#"factum_http_request_seconds_count{{{events}}}"#)), 8.0);
    assert_eq!(grown(r#"factum_http_requests_total{route="unmatched",method="GET",status="404"}"#), 1.0);
    assert_eq!(grown(r#"factum_shard_writable{shard="0"}"#), 0.0, "it is 1 all the time");
    assert_eq!(series(&text, r#"factum_subscription_lag_events{subscription="mail"}"#), series(&text, r#"factum_log_position{shard="0"}"#));
    assert_eq!(series(&text, r#"factum_projection_lag_events{projection="notes"}"#), Some(0.0));
    assert!(grown(r#"factum_cache_hits_total{cache="aggregate_states"}"#) >= 1.0, "{text}");
    #[cfg(feature = "analytics")]
    {
        assert_eq!(grown(r#"factum_sql_queries_total{outcome="answered"}"#), 1.0);
        assert_eq!(grown(r#"factum_sql_queries_total{outcome="invalid"}"#), 1.0);
        assert_eq!(grown("factum_sql_rows_total"), 1.0);
    }
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn every_kind_is_one_that_prometheus_knows() {
    assert!(METRICS.iter().all(|metric| matches!(metric.kind, Kind::Counter | Kind::Gauge | Kind::Histogram)));
    let read = families("# HELP a b c\n# TYPE a histogram\na_bucket{x=\"1\",le=\"+Inf\"} 1\na_sum{x=\"1\"} 1\na_count{x=\"1\"} 1\n");
    assert_eq!(
        (read["a"].kind.as_str(), read["a"].help.as_str(), &read["a"].labels),
        ("histogram", "b c", &BTreeSet::from(["x".to_owned()]))
    );
}
