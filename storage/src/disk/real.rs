//! The machine's disk: std files below a root directory.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::FlockOperation;

use super::Disk;
use super::DiskFile;
use super::LockGuard;

/// Files below a directory of the machine.
#[derive(Clone, Debug)]
pub struct RealDisk {
    root: PathBuf,
    syncs: bool,
}

impl RealDisk {
    /// A disk whose paths are relative to `root`. The directory is made when something is created in it.
    #[must_use]
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self { root: root.as_ref().to_owned(), syncs: true }
    }

    /// The same, but a sync does nothing: what was acknowledged may be lost. For bulk loads that can be repeated, and to measure what
    /// syncs cost.
    #[must_use]
    pub fn relaxed(root: impl AsRef<Path>) -> Self {
        Self { root: root.as_ref().to_owned(), syncs: false }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place of the engine that touches the machine's files")]
impl Disk for RealDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = File::options().read(true).write(true).open(self.path(path))?;
        Ok(Arc::new(RealFile { file, syncs: self.syncs }))
    }

    fn create_new(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = File::options().read(true).write(true).create_new(true).open(self.path(path))?;
        Ok(Arc::new(RealFile { file, syncs: self.syncs }))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(dir))? {
            // A name that is not text is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        if self.syncs { File::open(self.path(dir))?.sync_all() } else { Ok(()) }
    }

    fn available(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &str, owner: &str) -> io::Result<Box<dyn LockGuard>> {
        let path = self.path(path);
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                let owner = fs::read_to_string(&path).unwrap_or_default();
                return Err(io::Error::new(io::ErrorKind::WouldBlock, owner.trim().to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.write_all(owner.as_bytes())?;
        Ok(Box::new(RealLock { _file: file }))
    }
}

struct RealFile {
    file: File,
    syncs: bool,
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
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
        if self.syncs { self.file.sync_data() } else { Ok(()) }
    }
}

/// The system frees the lock when the file is closed, also when the process is killed.
struct RealLock {
    _file: File,
}

impl LockGuard for RealLock {}
