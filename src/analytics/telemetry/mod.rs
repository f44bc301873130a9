//! What has the server done, asked in SQL? Lines of the log and spans of traces as Parquet files, within bounds of age and size.
//!
//! A file is published by its name, and grows by being replaced as a whole: whoever reads it has all of one state. Nothing here is waited
//! for by a request, and what goes wrong here is said in the log and counted.

mod files;
mod reader;
mod rows;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use factum_storage::Disk;
use factum_storage::disk::RealDisk;

pub(super) use reader::names;
pub(super) use reader::read;
pub(crate) use rows::Table;
use writer::Writer;

use crate::telemetry;

/// How much is kept, and how soon it can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelemetryLimits {
    /// What has happened is in a file within this time.
    pub interval: Duration,
    /// Files are removed that are older,
    pub keep: Duration,
    /// and the oldest ones when all have more bytes than this.
    pub bytes: u64,
}

/// The files of a database's telemetry.
pub(crate) struct TelemetryLake {
    pub(super) disk: Arc<dyn Disk>,
    limits: TelemetryLimits,
}

impl TelemetryLake {
    /// In a folder below the data directory.
    pub(crate) fn new(folder: &Path, limits: TelemetryLimits) -> Self {
        Self { disk: Arc::new(RealDisk::new(folder)), limits }
    }

    /// Writes what the process keeps, for ever; ends at once if another one does already.
    pub(crate) async fn run(&self) {
        let Some(outlets) = telemetry::lake::outlets() else { return };
        let TelemetryLimits { interval, .. } = self.limits;
        let logs = Writer::new(Table::Logs, Arc::clone(&self.disk), self.limits, rows::logs);
        let spans = Writer::new(Table::Spans, Arc::clone(&self.disk), self.limits, rows::spans);
        tokio::join!(logs.run(outlets.records, interval), spans.run(outlets.spans, interval));
    }
}

/// Where they are below the data directory, beside the lakes of exports.
pub(crate) fn folder(data: &Path) -> PathBuf {
    data.join("telemetry")
}
