//! Which measurements are there, and what does each mean? One line for each; `# HELP` and the guide are made from it.

use std::fmt::Write;

/// One measurement, as Prometheus knows it.
#[derive(Debug)]
pub struct Metric {
    /// Its name, with the unit in it.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What its series differ in. None of them is a stream, an id or anything else that clients make up request by request.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

/// How a measurement moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up, from 0 at the start of the process.
    Counter,
    /// Up and down.
    Gauge,
    /// A distribution: how many were at most so large.
    Histogram,
}

impl Kind {
    /// As `# TYPE` says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Metric {
    /// In what it is counted.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        let base = self.name.strip_suffix("_total").unwrap_or(self.name);
        let known = UNITS.iter().find(|(suffix, _)| base.ends_with(suffix));
        known.map_or("", |(_, unit)| unit)
    }
}

/// Tells the recorder of the process what the measurements mean.
pub fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

/// The table of `docs/guide/observability.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from("| name | kind | unit | labels | what it says |\n|---|---|---|---|---|\n");
    for metric in METRICS {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(text, "| `{}` | {} | {} | {} | {} |", metric.name, metric.kind.as_str(), metric.unit(), labels.join(" "), metric.help)
            .expect("a String takes everything");
    }
    text
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help }
}

/// All measurements, part by part.
pub const METRICS: &[Metric] = &[
    counter(
        "factum_append_calls_total",
        &["shard", "outcome"],
        "Appends, transactions, deletes and pieces of imports, by what came of them",
    ),
    counter("factum_append_events_total", &["shard"], "Events that were committed"),
    counter("factum_append_bytes_total", &["shard"], "Bytes of the log that were committed"),
    gauge("factum_append_queue_depth", &["shard"], "Calls that wait for the writer of the shard"),
    histogram("factum_append_queue_seconds", &["shard"], "How long the oldest call of each batch has waited for the writer"),
    histogram("factum_commit_seconds", &["shard"], "How long it takes to write and sync a batch and to note it in the index"),
    histogram("factum_commit_calls", &["shard"], "How many calls share one commit, and its one sync"),
    histogram(
        "factum_disk_sync_seconds",
        &["shard", "file"],
        "How long the disk takes for one sync of a file of the log, of a segment made ready ahead of need, or of the index",
    ),
    histogram("factum_read_shards", &["read"], "How many shards a read asks, by what is read: stream, log, listing, or a table in sql"),
    gauge("factum_disk_available_bytes", &["shard"], "Bytes that can still be written where the shard has its files"),
    gauge("factum_shard_writable", &["shard"], "1 if the shard takes appends, 0 if it refuses them"),
    gauge("factum_log_position", &["shard"], "The last committed position: how many events the shard's log has"),
    gauge("factum_log_bytes", &["shard"], "Bytes of the files of the log"),
    gauge("factum_index_bytes", &["shard"], "Bytes of the file of the index"),
    gauge(
        "factum_index_lag_events",
        &["shard"],
        "Events that the file of the index is behind the log; they are in memory, and read again after a crash",
    ),
    gauge("factum_streams", &["shard"], "Streams that were ever written"),
    gauge("factum_feeds", &["shard"], "Who follows the end of the log: clients, consumer groups, projections, exports, snapshots"),
    counter("factum_cache_hits_total", &["cache"], "What was asked of a cache and was there"),
    counter("factum_cache_misses_total", &["cache"], "What was asked of a cache and had to be read or worked out"),
    gauge("factum_subscription_state", &["subscription", "state"], "1 for the state that the consumer group is in, 0 for the others"),
    gauge(
        "factum_subscription_lag_events",
        &["subscription"],
        "Events of the log behind the last one that the consumer group is done with",
    ),
    gauge("factum_subscription_in_flight_events", &["subscription"], "Events that were given out and are not acknowledged"),
    gauge("factum_subscription_parked_events", &["subscription"], "Events that were put aside for somebody to look at"),
    gauge("factum_subscription_consumers", &["subscription"], "Consumers that are connected"),
    gauge("factum_projection_state", &["projection", "state"], "1 for the state that the projection is in, 0 for the others"),
    gauge("factum_projection_lag_events", &["projection"], "Events of the log behind the last one that is in the rows"),
    gauge("factum_projection_lag_seconds", &["projection"], "How long ago the last event in the rows was recorded; 0 if none is behind it"),
    counter("factum_projection_events_total", &["projection"], "Events that were applied, those of rebuilds included"),
    counter("factum_projection_parked_total", &["projection"], "Events that were stepped over and kept in the list of parked ones"),
    counter("factum_projection_retries_total", &["projection"], "How often the projection could not go on for the moment, and tried again"),
    histogram("factum_projection_batch_seconds", &["projection"], "How long it takes to work out and commit a batch of events"),
    counter("factum_snapshots_total", &["outcome"], "Snapshots of aggregates that were to be kept"),
    histogram("factum_snapshot_write_seconds", &[], "How long it takes to keep some snapshots, with one sync"),
    counter("factum_aggregate_replayed_events_total", &[], "Events that were applied to work out states"),
    histogram("factum_script_call_seconds", &["call", "outcome"], "How long one call of a definition's function takes"),
    gauge("factum_script_queue_depth", &[], "Calls of definitions' functions that wait for a thread"),
    counter("factum_sql_queries_total", &["outcome"], "Queries in SQL, by what came of them"),
    histogram(
        "factum_sql_query_seconds",
        &[],
        "How long a query takes from its turn to the end of its answer, the time included in which the client reads",
    ),
    counter("factum_sql_rows_total", &[], "Rows of answers"),
    gauge("factum_sql_running", &[], "Queries that run"),
    gauge("factum_sql_waiting", &[], "Queries that wait for their turn"),
    gauge("factum_sql_memory_bytes", &[], "Memory that the queries have reserved"),
    gauge("factum_export_state", &["export", "state"], "1 for the state that the export is in, 0 for the others"),
    gauge("factum_export_lag_events", &["export"], "Events of the log behind the last one that is published"),
    gauge(
        "factum_export_lag_seconds",
        &["export"],
        "How long ago the newest event was recorded that this process has published; 0 if none is behind it",
    ),
    gauge("factum_export_files", &["export"], "Parquet files that are published"),
    gauge("factum_export_bytes", &["export"], "Bytes of the Parquet files that are published"),
    counter(
        "factum_http_requests_total",
        &["route", "method", "status"],
        "Requests by their route (as the OpenAPI document names it), method and status",
    ),
    histogram("factum_http_request_seconds", &["route", "method"], "How long it takes from a request to the head of its answer"),
    gauge("factum_http_connections", &[], "Connections that are open"),
    counter(
        "factum_auth_requests_total",
        &["outcome"],
        "Requests where authentication is on: accepted, missing a token, refused with one that does not count, forbidden to its bearer, or throttled by a quota",
    ),
    counter("factum_auth_grants_total", &["outcome"], "Tokens that clients have asked for: issued, or the error of RFC 6749 that they got"),
    counter(
        "factum_trace_spans_total",
        &["outcome"],
        "Spans of traces: exported, dropped because too many waited, or failed at the collector",
    ),
    counter(
        "factum_otlp_log_records_total",
        &["outcome"],
        "Lines of the log for a collector: exported, dropped because too many waited, or failed at the collector",
    ),
    counter("factum_otlp_metric_exports_total", &["outcome"], "How often all measurements were sent to a collector: exported or failed"),
    counter(
        "factum_telemetry_lake_rows_total",
        &["table", "outcome"],
        "Lines of the log and spans for the tables of them: written, dropped because too many waited, or failed at the disk",
    ),
    gauge("factum_build_info", &["version"], "1, for the version that runs"),
    gauge("process_start_time_seconds", &[], "When the process began, in seconds since 1970"),
    counter("process_cpu_seconds_total", &[], "Time that the process has spent on processors"),
    gauge("process_resident_memory_bytes", &[], "Memory that the process has of the machine's"),
    gauge("process_virtual_memory_bytes", &[], "Addresses that the process has reserved"),
    gauge("process_threads", &[], "Threads of the process"),
    gauge("process_open_fds", &[], "Files and sockets that are open"),
    gauge("process_max_fds", &[], "Files and sockets that may be open"),
];

/// How names end, and what that means.
const UNITS: &[(&str, &str)] = &[
    ("_seconds", "seconds"),
    ("_bytes", "bytes"),
    ("_events", "events"),
    ("_calls", "calls"),
    ("_shards", "shards"),
    ("_queue_depth", "calls"),
    ("_rows", "rows"),
    ("_position", "events"),
    ("_files", "files"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_end_as_their_kind_asks() {
        for (at, metric) in METRICS.iter().enumerate() {
            assert!(METRICS.iter().skip(at + 1).all(|other| other.name != metric.name), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", metric.name);
            assert!(!metric.help.is_empty() && !metric.help.ends_with('.') && !metric.help.contains(['|', '\n']), "{}", metric.name);
        }
    }
}
