//! How do events become Parquet files that others read, each event once, and each file where a manifest says so?
//!
//! An export is a writer of a lake: a folder or a bucket. It follows the log (`intake`), gathers events (`gather`), and puts them as files
//! (`write`, `file`) in steps that a crash may cut off anywhere (`session`, `manifest`); small files are merged into larger ones
//! (`compact`, `merge`). Everything that touches the lake goes through `lake`, which tries until it succeeds.

mod compact;
mod control;
mod encoding;
mod fault;
mod file;
mod gather;
mod intake;
mod lake;
mod log;
mod manifest;
mod merge;
mod partition;
mod pick;
mod place;
mod published;
mod readers;
mod registry;
mod remove;
mod runner;
mod session;
mod spec;
mod status;
#[cfg(test)]
mod tests;
mod threads;
mod url;
mod write;

pub(crate) use published::Published;
pub(crate) use published::PublishedFile;
pub(crate) use registry::Exports;
pub(crate) use registry::Handle;
pub(crate) use registry::Options;
pub(crate) use spec::Spec;
pub use status::ExportFailure;
pub use status::ExportState;
pub(crate) use url::Allowed;
pub(crate) use url::own_folder;
