//! A disk that lives in memory and is gone with the process.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use parking_lot::RwLock;

use super::Disk;
use super::DiskFile;
use super::LockGuard;

/// Files in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemDisk {
    files: Arc<Mutex<BTreeMap<String, Arc<MemFile>>>>,
    locks: Arc<Mutex<BTreeSet<String>>>,
}

impl MemDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Disk for MemDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let files = self.files.lock();
        let file = files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::clone(file) as Arc<dyn DiskFile>)
    }

    fn create_new(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files.lock();
        if files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(MemFile::default());
        files.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn create_dir(&self, _path: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.files.lock().remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let files = self.files.lock();
        let names: BTreeSet<String> = files
            .keys()
            .filter_map(|path| if dir.is_empty() { Some(path.as_str()) } else { path.strip_prefix(dir)?.strip_prefix('/') })
            .filter_map(|rest| rest.split('/').next().map(str::to_owned))
            .collect();
        Ok(names.into_iter().collect())
    }

    fn sync_dir(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }

    fn available(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn lock(&self, path: &str, _owner: &str) -> io::Result<Box<dyn LockGuard>> {
        if !self.locks.lock().insert(path.to_owned()) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "this process"));
        }
        Ok(Box::new(MemLock { path: path.to_owned(), locks: Arc::clone(&self.locks) }))
    }
}

#[derive(Debug, Default)]
struct MemFile {
    bytes: RwLock<Vec<u8>>,
}

impl DiskFile for MemFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.read().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes.read();
        let start = index(offset)?.min(bytes.len());
        let available = bytes.get(start..).unwrap_or_default();
        let count = available.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), available.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn write_at(&self, source: &[u8], offset: u64) -> io::Result<usize> {
        let start = index(offset)?;
        let mut bytes = self.bytes.write();
        if bytes.len() < start + source.len() {
            bytes.resize(start + source.len(), 0);
        }
        if let Some(target) = bytes.get_mut(start..start + source.len()) {
            target.copy_from_slice(source);
        }
        Ok(source.len())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut bytes = self.bytes.write();
        bytes.resize(index(length)?, 0);
        bytes.shrink_to_fit();
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

struct MemLock {
    path: String,
    locks: Arc<Mutex<BTreeSet<String>>>,
}

impl LockGuard for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.locks.lock().remove(&self.path);
    }
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}
