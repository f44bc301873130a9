//! Where do traces, measurements and lines of the log go besides? To a collector, by OTLP, without anybody waiting for it.
//!
//! Spans and lines wait in bounded queues that a task each empties; measurements are read at intervals, as Prometheus would read them. What
//! a collector does not take in time is dropped and counted.

mod collector;
mod exporter;
mod lines;
mod measurements;
pub(super) mod message;

use std::sync::OnceLock;

use jiff::Timestamp;
use metrics::Counter;
use metrics::counter;
use parking_lot::Mutex;

use super::families;
use super::metrics::Present;
use super::process;
use super::queue;
use super::queue::Queue;
use super::records::Record;
use super::traces::span;
use super::traces::span::Span;
use collector::Collector;
use exporter::Exporter;
use exporter::Told;

pub use collector::Protocol;
pub use collector::Signal;

/// What is sent, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A collector, such as `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// What it is told.
    pub signals: Vec<Signal>,
}

/// Where spans and lines of the log go in, if they go anywhere.
#[derive(Clone, Default)]
pub(super) struct Queues {
    pub(super) spans: Option<Queue<Span>>,
    pub(super) lines: Option<Queue<Record>>,
}

/// Makes what sends; nothing leaves before [`run`]. Returns where spans and lines of the log go in.
///
/// # Errors
///
/// A sentence: the endpoint is none.
pub(super) fn install(options: &Options) -> Result<Queues, String> {
    let collector = |signal: Signal| {
        let is_wanted = options.signals.contains(&signal);
        is_wanted.then(|| Collector::new(&options.endpoint, options.protocol, signal)).transpose()
    };
    let (traces, metrics, logs) = (collector(Signal::Traces)?, collector(Signal::Metrics)?, collector(Signal::Logs)?);
    let (spans, traces) = traces.map(|traces| exporter(traces, SPANS, span::message)).unzip();
    let (lines, logs) = logs.map(|logs| exporter(logs, LINES, lines::log_record)).unzip();
    let metrics = metrics.map(|collector| tokio::sync::Mutex::new(told(collector, METRICS)));
    let queues = Queues { spans, lines };
    HOUSE.get_or_init(|| House { queues: queues.clone(), exporters: Mutex::new(Exporters { traces, logs }), metrics });
    Ok(queues)
}

fn exporter<T>(collector: Collector, name: &'static str, written: fn(&T) -> message::Message) -> (Queue<T>, Exporter<T>) {
    let (queue, outlet) = queue::new(QUEUE_ITEMS, counted(name, "dropped"));
    (queue, Exporter { outlet, collector: told(collector, name), written })
}

fn told(collector: Collector, name: &'static str) -> Told {
    Told::new(collector, counted(name, "exported"), counted(name, "failed"))
}

fn counted(name: &'static str, outcome: &'static str) -> Counter {
    counter!(name, "outcome" => outcome)
}

/// Sends spans and lines of the log, for ever; ends at once where neither goes anywhere.
pub async fn run() {
    let Some(house) = HOUSE.get() else { return };
    let Exporters { traces, logs } = std::mem::take(&mut *house.exporters.lock());
    let traces = async {
        if let Some(traces) = traces {
            traces.run().await;
        }
    };
    let logs = async {
        if let Some(logs) = logs {
            logs.run().await;
        }
    };
    tokio::join!(traces, logs);
}

/// Whether a collector is told the measurements.
#[must_use]
pub fn takes_metrics() -> bool {
    HOUSE.get().is_some_and(|house| house.metrics.is_some())
}

/// Tells the collector all measurements as they are now, if it is to be told. `present` is as for [`super::metrics::text`].
pub async fn send_metrics(present: &[Present]) {
    let Some(metrics) = HOUSE.get().and_then(|house| house.metrics.as_ref()) else { return };
    let Some(text) = super::metrics::text(present) else { return };
    let nanoseconds = |at: Timestamp| u64::try_from(at.as_nanosecond()).unwrap_or_default();
    let span = measurements::Span { began: nanoseconds(process::began()), now: nanoseconds(Timestamp::now()) };
    let families = families::read(&text);
    let messages = families.iter().filter(|family| !family.series.is_empty()).map(|family| measurements::metric(family, span)).collect();
    metrics.lock().await.send(messages, 1).await;
}

/// Waits until the spans and lines that were kept so far are sent.
pub async fn flush() {
    let Some(house) = HOUSE.get() else { return };
    if let Some(spans) = &house.queues.spans {
        spans.flush().await;
    }
    if let Some(lines) = &house.queues.lines {
        lines.flush().await;
    }
}

struct House {
    queues: Queues,
    exporters: Mutex<Exporters>,
    /// Held while they are sent: the last ones before the end wait for those before them.
    metrics: Option<tokio::sync::Mutex<Told>>,
}

/// What sends; taken by who runs it.
#[derive(Default)]
struct Exporters {
    traces: Option<Exporter<Span>>,
    logs: Option<Exporter<Record>>,
}

static HOUSE: OnceLock<House> = OnceLock::new();

const SPANS: &str = "factum_trace_spans_total";
const LINES: &str = "factum_otlp_log_records_total";
const METRICS: &str = "factum_otlp_metric_exports_total";
/// Some seconds of a busy server.
const QUEUE_ITEMS: usize = 8_192;
