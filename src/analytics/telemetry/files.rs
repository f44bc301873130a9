//! How do files come and go? Whole, by their names: a file that is not finished has another name, and the oldest go first.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use factum_storage::Disk;
use factum_storage::disk::write_all_at;
use jiff::Timestamp;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::basic::ZstdLevel;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use uuid::Uuid;

use super::TelemetryLimits;
use super::rows::Table;

/// The files of one table, each with its bytes, by name. Names are UUIDs of the moment when a file was begun, and so in that order.
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    table: Table,
    known: BTreeMap<String, u64>,
}

impl Files {
    /// Those that are there. What was not finished before the last end is removed.
    pub(super) fn open(disk: Arc<dyn Disk>, table: Table) -> io::Result<Self> {
        disk.create_dir(table.name())?;
        disk.sync_dir("")?;
        let mut known = BTreeMap::new();
        for name in disk.list(table.name())? {
            let path = format!("{}/{name}", table.name());
            if name.ends_with(UNFINISHED) {
                disk.remove(&path)?;
            } else if began(&name).is_some() {
                known.insert(name, disk.open(&path)?.len()?);
            }
        }
        Ok(Self { disk, table, known })
    }

    /// A name that no file has yet.
    pub(super) fn draw() -> String {
        format!("{}{ENDING}", Uuid::now_v7())
    }

    /// Publishes a file, in the place of the one of its name if there is one.
    pub(super) fn publish(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let folder = self.table.name();
        let (unfinished, path) = (format!("{folder}/{name}{UNFINISHED}"), format!("{folder}/{name}"));
        match self.disk.remove(&unfinished) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = self.disk.create_new(&unfinished)?;
        write_all_at(&*file, bytes, 0)?;
        file.sync_data()?;
        self.disk.rename(&unfinished, &path)?;
        self.known.insert(name.to_owned(), bytes.len() as u64);
        self.disk.sync_dir(folder)
    }

    /// Removes what is too old or too much; never the newest.
    pub(super) fn retain(&mut self, limits: TelemetryLimits, now: Timestamp) -> io::Result<()> {
        // Each table has its half. The last row of a file may be as much younger than its name as a file grows.
        let (bytes_max, age_max) = (limits.bytes / 2, limits.keep + GROWS_FOR);
        let oldest = now.checked_sub(age_max).unwrap_or(Timestamp::MIN);
        loop {
            let bytes: u64 = self.known.values().sum();
            let Some(first) = self.known.keys().next().filter(|_| self.known.len() > 1).cloned() else { return Ok(()) };
            let is_old = began(&first).is_some_and(|began| began < oldest);
            if !is_old && bytes <= bytes_max && self.known.len() <= FILES_MAX {
                return Ok(());
            }
            match self.disk.remove(&format!("{}/{first}", self.table.name())) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            self.known.remove(&first);
        }
    }
}

/// A Parquet file of these rows.
pub(super) fn encoded(table: Table, batches: &[RecordBatch]) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(LEVEL)?))
        .set_created_by(format!("factum {}", env!("CARGO_PKG_VERSION")))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), table.schema(), Some(properties))?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.into_inner()
}

/// When a file was begun, if it is one of these.
pub(super) fn began(name: &str) -> Option<Timestamp> {
    let id = Uuid::try_parse(name.strip_suffix(ENDING)?).ok()?;
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
}

/// A file takes rows for so long at most.
pub(super) const GROWS_FOR: Duration = Duration::from_hours(1);
/// Each is opened by a query.
const FILES_MAX: usize = 4_096;
const LEVEL: i32 = 3;
const ENDING: &str = ".parquet";
/// Nobody who looks for Parquet files finds these.
const UNFINISHED: &str = ".unfinished";
