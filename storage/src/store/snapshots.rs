//! Where is a cached state of a stream kept? In the index: it may be lost at any time, and is never trusted when anything about it is
//! wrong.

use bytes::Bytes;

use crate::Error;
use crate::Snapshot;
use crate::SnapshotInfo;
use crate::StreamName;
use crate::Version;

use super::Reader;

impl Reader {
    /// Keeps a state of a stream at a version, made by the definition with this hash; replaces one of the same version and hash.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], [`Error::StorageFull`], [`Error::Io`].
    pub fn put_snapshot(&self, stream: &StreamName, version: Version, definition_hash: [u8; 32], state: &[u8]) -> Result<(), Error> {
        let snapshot = Snapshot { stream: stream.clone(), version, definition_hash, state: Bytes::copy_from_slice(state) };
        self.put_snapshots(&[snapshot], &|_, _| true)
    }

    /// Keeps several with one sync, and removes those of the same streams that `keep` says no to, given what is put.
    ///
    /// # Errors
    ///
    /// As [`Reader::put_snapshot`]; then nothing has changed.
    pub fn put_snapshots(&self, snapshots: &[Snapshot], keep: &dyn Fn(&Snapshot, &SnapshotInfo) -> bool) -> Result<(), Error> {
        self.shared.index()?.put_snapshots(snapshots, keep)
    }

    /// The newest snapshot of a stream at or below a version, made by the definition with this hash.
    /// One that is damaged, or newer than the stream, is as good as none.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn snapshot(&self, stream: &StreamName, version: Version, definition_hash: [u8; 32]) -> Result<Option<(Version, Vec<u8>)>, Error> {
        self.shared.index()?.snapshot_at_or_below(stream.as_str(), version, definition_hash)
    }

    /// All snapshots of a stream.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn snapshots(&self, stream: &StreamName) -> Result<Vec<SnapshotInfo>, Error> {
        self.shared.index()?.list_snapshots(stream.as_str())
    }

    /// Removes a stream's snapshots: those of one definition, or all. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`], [`Error::Io`].
    pub fn remove_snapshots(&self, stream: &StreamName, definition_hash: Option<[u8; 32]>) -> Result<u64, Error> {
        self.shared.index()?.remove_snapshots(stream.as_str(), definition_hash)
    }
}
