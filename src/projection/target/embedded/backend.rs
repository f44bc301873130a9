//! How does redb reach a file, and how is it kept from it?

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use factum_storage::DiskFile;
use factum_storage::disk::read_exact_at;
use factum_storage::disk::write_all_at;

/// A file of a disk, as redb wants it. After a failure the same file is opened again while somebody may still hold the database that has
/// failed: cutting it off keeps the two from writing into one file.
pub(super) struct Backend {
    file: Arc<dyn DiskFile>,
    is_cut_off: Arc<AtomicBool>,
}

impl Backend {
    pub(super) fn new(file: Arc<dyn DiskFile>, is_cut_off: Arc<AtomicBool>) -> Self {
        Self { file, is_cut_off }
    }

    fn file(&self) -> io::Result<&dyn DiskFile> {
        if self.is_cut_off.load(Ordering::Acquire) { Err(io::Error::other("the file was opened again")) } else { Ok(&*self.file) }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file()?.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        read_exact_at(self.file()?, out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file()?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file()?.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        write_all_at(self.file()?, data, offset)
    }
}
