//! What is told of the server, and to whom?

use std::time::Duration;

use crate::telemetry::otlp::Protocol;
use crate::telemetry::otlp::Signal;

/// What is measured and traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Whether measurements are kept for `GET /metrics`.
    pub metrics: bool,
    /// The collector that is told by OTLP; `None`: there is none.
    pub otlp_endpoint: Option<String>,
    /// How it is spoken to.
    pub otlp_protocol: Protocol,
    /// What it is told.
    pub otlp_signals: Vec<Signal>,
    /// How often it is told the measurements.
    pub otlp_interval: Duration,
    /// How many of a million requests become a trace.
    pub sample_of_a_million: u32,
    /// A request that takes longer always becomes one.
    pub slow: Duration,
    /// Whether lines of the log and spans are kept as Parquet, for the tables `logs` and `spans`.
    pub lake: bool,
    /// They can be asked for after this time.
    pub lake_interval: Duration,
    /// How long they are kept.
    pub lake_keep: Duration,
    /// Most bytes of their files.
    pub lake_bytes: u64,
}
