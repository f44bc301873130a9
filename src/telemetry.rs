//! How does anybody see what the process does? Lines of the log, measurements and traces; everyone else only uses the macros of `tracing`
//! and `metrics`.

pub mod catalogue;
pub mod exemplars;
mod families;
#[cfg(feature = "analytics")]
pub mod lake;
pub mod logs;
pub mod metrics;
mod open_metrics;
pub mod otlp;
mod process;
pub(crate) mod queue;
pub(crate) mod records;
pub mod request;
pub mod traces;

pub use logs::LogFormat;
pub use logs::install;

/// What happens to traces, measurements and lines of the log beside what everybody can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// Which traces are kept; none if they would go nowhere.
    pub traces: traces::Options,
    /// The collector that is told.
    pub otlp: Option<otlp::Options>,
    /// Whether they are kept for the tables `logs` and `spans`.
    #[cfg(feature = "analytics")]
    pub lake: bool,
}

/// Keeps traces and lines of the log for these from here on. Once is enough; again does nothing.
///
/// # Errors
///
/// A sentence: the collector's endpoint is none.
pub fn install_outputs(outputs: &Outputs) -> Result<(), String> {
    let otlp::Queues { spans, lines } = outputs.otlp.as_ref().map(otlp::install).transpose()?.unwrap_or_default();
    #[cfg(feature = "analytics")]
    let (of_lake, lines_of_lake) = outputs.lake.then(lake::install).unzip();
    #[cfg(not(feature = "analytics"))]
    let (of_lake, lines_of_lake) = (None, None);
    traces::install(&outputs.traces, spans.into_iter().chain(of_lake).collect());
    records::install(lines.into_iter().chain(lines_of_lake).collect());
    Ok(())
}
