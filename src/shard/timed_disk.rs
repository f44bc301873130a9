//! How long does the disk take for a sync? A disk that looks at the clock around each, and is otherwise the one below it.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use factum_storage as storage;
use metrics::Histogram;
use metrics::histogram;
use storage::Disk;
use storage::DiskFile;
use storage::LockGuard;

/// A shard's disk.
pub(super) struct TimedDisk {
    disk: Arc<dyn Disk>,
    log: Histogram,
    segment: Histogram,
    index: Histogram,
}

struct TimedFile {
    file: Arc<dyn DiskFile>,
    syncs: Histogram,
}

impl TimedDisk {
    pub(super) fn new(shard: u16, disk: Arc<dyn Disk>) -> Self {
        let syncs = |file: &'static str| histogram!("factum_disk_sync_seconds", "shard" => shard.to_string(), "file" => file);
        Self { disk, log: syncs("log"), segment: syncs("segment"), index: syncs("index") }
    }

    /// Segments are opened to be appended to, and created to be made ready ahead of need.
    fn timed(&self, path: &str, is_new: bool, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let syncs = match (path.starts_with(LOG_FOLDER), is_new) {
            (true, false) => &self.log,
            (true, true) => &self.segment,
            (false, _) => &self.index,
        };
        Arc::new(TimedFile { file, syncs: syncs.clone() })
    }
}

impl Disk for TimedDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path).map(|file| self.timed(path, false, file))
    }

    fn create_new(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create_new(path).map(|file| self.timed(path, true, file))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn available(&self) -> io::Result<u64> {
        self.disk.available()
    }

    fn lock(&self, path: &str, owner: &str) -> io::Result<Box<dyn LockGuard>> {
        self.disk.lock(path, owner)
    }
}

impl DiskFile for TimedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let began = Instant::now();
        let synced = self.file.sync_data();
        self.syncs.record(began.elapsed());
        synced
    }
}

/// Where a store has its segments.
const LOG_FOLDER: &str = "log/";
