//! What does the engine ask of a disk?
//!
//! The seam between the engine and everything below it. [`RealDisk`] is the machine's; [`MemDisk`] keeps files in
//! memory and forgets them; the simulated disk (feature `simulation`) loses power, tears writes and lies on command.
//! Paths are relative to the disk's root, with `/` between the parts.

use std::io;
use std::sync::Arc;

mod mem;
mod real;
#[cfg(feature = "simulation")]
pub mod sim;

pub use mem::MemDisk;
pub use real::RealDisk;

/// A directory tree. After a power cut a created, renamed or removed name is as it was unless its directory was synced since.
pub trait Disk: Send + Sync + 'static {
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    ///
    /// `NotFound`, or what the system says.
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates a file that must not exist.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, `StorageFull`, or what the system says.
    fn create_new(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates a directory and those above it; fine if it is there.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn create_dir(&self, path: &str) -> io::Result<()>;

    /// Renames a file, replacing the target. Durable after [`Disk::sync_dir`] of its directory.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// `NotFound`, or what the system says.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// The names (not paths) of the files and directories in a directory, sorted.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Forces a directory's entries to disk.
    ///
    /// # Errors
    ///
    /// What the system says; the entries are then in doubt.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Bytes that can still be written.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn available(&self) -> io::Result<u64>;

    /// Takes a lock file for this process until the guard is dropped, and writes `owner` into it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` with the other owner's text as its message if another process has it.
    fn lock(&self, path: &str, owner: &str) -> io::Result<Box<dyn LockGuard>>;
}

/// An open file. Shared between threads; ranges that are written are never read or written by another thread meanwhile.
pub trait DiskFile: Send + Sync + 'static {
    /// The file's length.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads some bytes, at most `buffer.len()`; 0 at the end of the file. May read fewer (see [`read_exact_at`]).
    ///
    /// # Errors
    ///
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some bytes, extending the file if need be. May write fewer (see [`write_all_at`]).
    ///
    /// # Errors
    ///
    /// What the system says; any part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts or extends (with zeros) the file.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Forces the file's bytes (and its length) to disk.
    ///
    /// # Errors
    ///
    /// What the system says; what was written since the last sync is then in doubt, for ever.
    fn sync_data(&self) -> io::Result<()>;
}

/// Holds a lock file until it is dropped.
pub trait LockGuard: Send + Sync {}

/// Reads exactly `buffer.len()` bytes.
///
/// # Errors
///
/// `UnexpectedEof` if the file ends before, or what the disk says. An interrupted call is repeated.
pub fn read_exact_at(file: &dyn DiskFile, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer = buffer.get_mut(read..).unwrap_or_default();
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bytes`.
///
/// # Errors
///
/// What the disk says; a part may have been written. An interrupted call is repeated, a short write continued.
pub fn write_all_at(file: &dyn DiskFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
