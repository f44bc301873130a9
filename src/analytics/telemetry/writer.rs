//! What writes one table? It keeps the rows of the file that grows, and replaces that file by itself with more rows in it.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use factum_storage::Disk;
use jiff::Timestamp;
use metrics::Counter;
use metrics::counter;

use super::TelemetryLimits;
use super::files;
use super::files::Files;
use super::files::GROWS_FOR;
use super::rows::Table;
use crate::telemetry::lake::ROWS;
use crate::telemetry::queue::Outlet;

/// What writes one table.
pub(super) struct Writer<T> {
    table: Table,
    disk: Arc<dyn Disk>,
    limits: TelemetryLimits,
    made: fn(&[T]) -> Result<RecordBatch, ArrowError>,
    files: Option<Files>,
    growing: Growing,
    written: Counter,
    failed: Counter,
    is_away: bool,
}

/// The file that grows.
struct Growing {
    name: String,
    since: Instant,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    /// Rows that are in no file yet.
    unwritten: usize,
}

impl<T: Send + 'static> Writer<T> {
    pub(super) fn new(
        table: Table,
        disk: Arc<dyn Disk>,
        limits: TelemetryLimits,
        made: fn(&[T]) -> Result<RecordBatch, ArrowError>,
    ) -> Self {
        let rows = |outcome: &'static str| counter!(ROWS, "table" => table.name(), "outcome" => outcome);
        let (written, failed) = (rows("written"), rows("failed"));
        Self { table, disk, limits, made, files: None, growing: Growing::new(), written, failed, is_away: false }
    }

    /// Writes, for ever: what has come within an interval at once.
    pub(super) async fn run(mut self, mut outlet: Outlet<T>, interval: Duration) {
        while let Some(mut batch) = outlet.next(ROWS_AT_ONCE, interval).await {
            let items = std::mem::take(&mut batch.items);
            if !items.is_empty() {
                let written = tokio::task::spawn_blocking(move || {
                    self.take(&items, Timestamp::now());
                    self
                });
                let Ok(writer) = written.await else { return };
                self = writer;
            }
            batch.done();
        }
    }

    /// Puts rows into the file that grows. Waits for the disk.
    pub(super) fn take(&mut self, items: &[T], now: Timestamp) {
        match (self.made)(items) {
            Ok(batch) => self.growing.push(batch),
            Err(error) => return self.lose(items.len(), &error.to_string()),
        }
        match self.write(now) {
            Ok(()) => {
                self.written.increment(std::mem::take(&mut self.growing.unwritten) as u64);
                if std::mem::take(&mut self.is_away) {
                    tracing::info!(table = self.table.name(), "telemetry is written again");
                }
                if self.growing.is_full() || self.growing.since.elapsed() > GROWS_FOR {
                    self.growing = Growing::new();
                }
            }
            // What is not written waits for the next time, up to a bound.
            Err(reason) if self.growing.is_full() => {
                let lost = std::mem::replace(&mut self.growing, Growing::new());
                self.lose(lost.unwritten, &reason);
            }
            Err(reason) => self.lose(0, &reason),
        }
    }

    fn write(&mut self, now: Timestamp) -> Result<(), String> {
        let files = match &mut self.files {
            Some(files) => files,
            none => none.insert(Files::open(Arc::clone(&self.disk), self.table).map_err(|error| error.to_string())?),
        };
        let bytes = files::encoded(self.table, &self.growing.batches).map_err(|error| error.to_string())?;
        // Room first: a disk that is full because of these files gets well by itself.
        files.retain(self.limits, now).map_err(|error| error.to_string())?;
        files.publish(&self.growing.name, &bytes).map_err(|error| error.to_string())
    }

    #[cfg(test)]
    pub(super) fn rows_in_memory(&self) -> usize {
        self.growing.rows
    }

    fn lose(&mut self, rows: usize, reason: &str) {
        self.failed.increment(rows as u64);
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(table = self.table.name(), reason, "telemetry cannot be written; it waits, and is dropped when it is too much");
        }
    }
}

impl Growing {
    fn new() -> Self {
        Self { name: Files::draw(), since: Instant::now(), batches: Vec::new(), rows: 0, bytes: 0, unwritten: 0 }
    }

    fn push(&mut self, batch: RecordBatch) {
        if self.batches.is_empty() {
            // It is named after its first row, not after the end of the file before.
            (self.name, self.since) = (Files::draw(), Instant::now());
        }
        self.rows += batch.num_rows();
        self.unwritten += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch);
    }

    fn is_full(&self) -> bool {
        self.rows >= FILE_ROWS_MAX || self.bytes >= FILE_BYTES_MAX || self.batches.len() >= FILE_BATCHES_MAX
    }
}

const ROWS_AT_ONCE: usize = 4_096;
const FILE_ROWS_MAX: usize = 65_536;
/// In memory; on the disk it is a tenth of that.
const FILE_BYTES_MAX: usize = 32 << 20;
/// Each replaces the file with all those before it.
const FILE_BATCHES_MAX: usize = 256;
