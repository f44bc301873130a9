//! How does anybody see what the process does? Lines of the log, measurements and traces; everyone else only uses the macros of `tracing`
//! and `metrics`.

pub mod catalogue;
pub mod exemplars;
mod families;
pub mod logs;
pub mod metrics;
mod open_metrics;
pub mod otlp;
mod process;
mod queue;
mod records;
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
}

/// Keeps traces and lines of the log for these from here on. Once is enough; again does nothing.
///
/// # Errors
///
/// A sentence: the collector's endpoint is none.
pub fn install_outputs(outputs: &Outputs) -> Result<(), String> {
    let (spans, lines) = outputs.otlp.as_ref().map(otlp::install).transpose()?.unwrap_or_default();
    traces::install(&outputs.traces, spans.into_iter().collect());
    records::install(lines.into_iter().collect());
    Ok(())
}
