//! Does the index live on when the disk below it fails?

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

use crate::Disk;
use crate::DiskFile;
use crate::Error;
use crate::LockGuard;
use crate::MemDisk;
use crate::index::Index;

use super::CACHE;
use super::LOG;
use super::Random;
use super::apply;
use super::model::Model;
use super::model::check;
use super::model::more;

/// A disk whose files fail from the n-th write, sync or resize on, until it is mended.
#[derive(Clone, Default)]
struct FailingDisk {
    inner: MemDisk,
    trouble: Arc<Trouble>,
}

struct Trouble {
    /// The disk is full, rather than broken.
    full: AtomicBool,
    /// Calls that still work.
    left: AtomicI64,
    reads_too: AtomicI64,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { full: AtomicBool::new(false), left: AtomicI64::new(i64::MAX), reads_too: AtomicI64::new(i64::MAX) }
    }
}

impl FailingDisk {
    fn fail_writes_after(&self, calls: i64) {
        self.trouble.left.store(calls, Ordering::Relaxed);
    }

    fn fail_reads_after(&self, calls: i64) {
        self.trouble.reads_too.store(calls, Ordering::Relaxed);
    }

    fn mend(&self) -> bool {
        let failed = self.trouble.left.load(Ordering::Relaxed) < 0 || self.trouble.reads_too.load(Ordering::Relaxed) < 0;
        self.fail_writes_after(i64::MAX);
        self.fail_reads_after(i64::MAX);
        failed
    }
}

impl Trouble {
    fn count(&self, left: &AtomicI64) -> io::Result<()> {
        if left.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Ok(());
        }
        // EIO is the most that is known when a disk dies.
        Err(if self.full.load(Ordering::Relaxed) { io::ErrorKind::StorageFull.into() } else { io::Error::from_raw_os_error(5) })
    }
}

struct FailingFile {
    inner: Arc<dyn DiskFile>,
    trouble: Arc<Trouble>,
}

impl Disk for FailingDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FailingFile { inner: self.inner.open(path)?, trouble: Arc::clone(&self.trouble) }))
    }
    fn create_new(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FailingFile { inner: self.inner.create_new(path)?, trouble: Arc::clone(&self.trouble) }))
    }
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.inner.create_dir(path)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.inner.remove(path)
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }
    fn available(&self) -> io::Result<u64> {
        self.inner.available()
    }
    fn lock(&self, path: &str, owner: &str) -> io::Result<Box<dyn LockGuard>> {
        self.inner.lock(path, owner)
    }
}

impl DiskFile for FailingFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.trouble.count(&self.trouble.reads_too)?;
        self.inner.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.trouble.count(&self.trouble.left)?;
        self.inner.write_at(bytes, offset)
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.trouble.count(&self.trouble.left)?;
        self.inner.set_len(length)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.trouble.count(&self.trouble.left)?;
        self.inner.sync_data()
    }
}

fn grow(index: &Index, model: &mut Model, random: &mut Random, events: u64) {
    let events = more(random, model, events);
    apply(index, &events);
    events.into_iter().for_each(|event| model.add(event));
}

#[test]
fn i5_a_flush_that_fails_at_any_call_loses_nothing() {
    let mut random = Random::from_env(2);
    let mut failures = 0;
    for calls in 0..200 {
        let disk = FailingDisk::default();
        let index = Index::open(Arc::new(disk.clone()), LOG, CACHE).unwrap().0;
        let mut model = Model::default();
        grow(&index, &mut model, &mut random, 300);
        index.flush().unwrap();
        grow(&index, &mut model, &mut random, 200);
        disk.fail_writes_after(calls);
        let flushed = index.flush();
        let failed = disk.mend();
        assert_eq!(flushed.is_err(), failed, "{flushed:?}");
        failures += u64::from(failed);
        // More comes before the disk is tried again.
        grow(&index, &mut model, &mut random, 100);
        if !index.needs_rebuild() {
            check(&index, &model, &mut random);
        }
        index.flush().unwrap();
        assert!(!index.needs_rebuild());
        assert_eq!((index.durable(), index.pending_events()), (index.applied(), 0));
        check(&index, &model, &mut random);
        drop(index);
        let index = Index::open_existing(Arc::new(disk), LOG, CACHE).unwrap();
        check(&index, &model, &mut random);
        if !failed {
            break;
        }
    }
    assert!(failures > 5, "only {failures} calls failed");
}

#[test]
fn i5_reads_go_on_after_a_read_that_failed() {
    let mut random = Random::from_env(6);
    let disk = FailingDisk::default();
    // Without a cache every read is one of the disk.
    let index = Index::open(Arc::new(disk.clone()), LOG, 0).unwrap().0;
    let mut model = Model::default();
    grow(&index, &mut model, &mut random, 3000);
    index.flush().unwrap();
    grow(&index, &mut model, &mut random, 50);
    let mut failures = 0;
    for calls in 0..40 {
        disk.fail_reads_after(calls);
        for name in model.heads.keys() {
            failures += u64::from(index.stream_positions(name, crate::Version::new(1), 500, false).is_err());
        }
        disk.mend();
        index.flush().unwrap();
        assert!(!index.needs_rebuild());
        check(&index, &model, &mut random);
    }
    assert!(failures > 0, "no read failed");
}

#[test]
fn i3_a_failure_while_the_file_is_made_leaves_nothing_in_the_way() {
    for calls in 0..500 {
        let disk = FailingDisk::default();
        disk.fail_writes_after(calls);
        let made = Index::open(Arc::new(disk.clone()), LOG, CACHE).map(drop);
        if !disk.mend() {
            made.unwrap();
            assert!(calls > 5, "only {calls} calls failed");
            return;
        }
        // Whether it was made or not, what is there now opens.
        let index = Index::open(Arc::new(disk), LOG, CACHE).unwrap().0;
        let mut model = Model::default();
        grow(&index, &mut model, &mut Random(calls.unsigned_abs()), 20);
        index.flush().unwrap();
        check(&index, &model, &mut Random(1));
    }
    panic!("it never was made");
}

#[test]
fn l10_a_full_disk_is_told_as_such_and_reads_go_on() {
    let mut random = Random::from_env(12);
    let disk = FailingDisk::default();
    let index = Index::open(Arc::new(disk.clone()), LOG, CACHE).unwrap().0;
    let mut model = Model::default();
    grow(&index, &mut model, &mut random, 500);
    index.flush().unwrap();
    disk.trouble.full.store(true, Ordering::Relaxed);
    for calls in [0, 1, 3] {
        grow(&index, &mut model, &mut random, 300);
        // Only what the failed flush wrote is refused; to open the file again needs no more space.
        disk.fail_writes_after(calls);
        let flushed = index.flush();
        assert!(matches!(flushed, Err(Error::StorageFull)), "{calls}: {flushed:?}");
        disk.mend();
        check(&index, &model, &mut random);
    }
    index.flush().unwrap();
    check(&index, &model, &mut random);
}
