//! How does anybody see what the process does? Lines of the log and measurements; everyone else only uses the macros of `tracing` and
//! `metrics`.

pub mod catalogue;
pub mod logs;
pub mod metrics;
mod process;
pub mod request;
pub mod traces;

pub use logs::LogFormat;
pub use logs::install;
