//! Which snapshots of a stream's state are kept? A snapshot only saves work: whatever is wrong with one, it is as if it were not there.

use bytes::Bytes;

use crate::Error;
use crate::StreamName;
use crate::Version;

use super::Index;
use super::fault::Fault;
use super::fault::guarded;
use super::rows;

/// The largest state that is kept.
pub(crate) const SNAPSHOT_BYTES_MAX: usize = 16 << 20;
const COMPRESSION_LEVEL: i32 = 3;
const HASH_BYTES: usize = 32;

/// A state of a stream at a version, to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Whose.
    pub stream: StreamName,
    /// Of which version.
    pub version: Version,
    /// Of the definition that made it.
    pub definition_hash: [u8; 32],
    /// Opaque bytes.
    pub state: Bytes,
}

/// A snapshot that is there; whether it is whole shows when it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The version of the stream that it is the state of.
    pub version: Version,
    /// Of the definition that made it.
    pub definition_hash: [u8; 32],
    /// What it takes in the file.
    pub bytes: u64,
}

impl Index {
    /// Keeps states of streams, each in place of the one of the same version and definition, with one sync for all of them. Of each
    /// stream the snapshots that `keep` says no to (given what was just put) are removed with it.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], or what the disk says. Then nothing has changed.
    pub(crate) fn put_snapshots(&self, snapshots: &[Snapshot], keep: &dyn Fn(&Snapshot, &SnapshotInfo) -> bool) -> Result<(), Error> {
        let mut rows = Vec::with_capacity(snapshots.len());
        let mut unwanted = Vec::new();
        for snapshot in snapshots {
            let stream = snapshot.stream.as_str();
            if snapshot.state.len() > SNAPSHOT_BYTES_MAX {
                let actual = snapshot.state.len() as u64;
                return Err(Error::TooLarge { what: "snapshot bytes", actual, max: SNAPSHOT_BYTES_MAX as u64 });
            }
            let key = key(stream, snapshot.version.get(), &snapshot.definition_hash);
            let packed = zstd::bulk::compress(&snapshot.state, COMPRESSION_LEVEL).map_err(|error| Error::io("snapshot", error))?;
            let mut value = checksum(&key, &packed).to_le_bytes().to_vec();
            value.extend_from_slice(&packed);
            rows.push((key, value));
            let all = self.list_snapshots(stream)?;
            unwanted.extend(
                all.iter().filter(|old| !keep(snapshot, old)).map(|old| self::key(stream, old.version.get(), &old.definition_hash)),
            );
        }
        self.write_snapshots(|table| {
            for key in &unwanted {
                table.remove(key.as_slice())?;
            }
            for (key, value) in &rows {
                table.insert(key.as_slice(), value.as_slice())?;
            }
            Ok(())
        })
    }

    /// The newest snapshot of a definition that is whole, not above `version`, and not newer than the stream.
    ///
    /// # Errors
    ///
    /// What the disk says; never because a snapshot is damaged.
    pub(crate) fn snapshot_at_or_below(
        &self,
        stream: &str,
        version: Version,
        definition_hash: [u8; 32],
    ) -> Result<Option<(Version, Vec<u8>)>, Error> {
        let Some(head) = self.head(stream)? else { return Ok(None) };
        let high = key(stream, version.min(head.version).get(), &[0xff; HASH_BYTES]);
        self.read(|view| {
            let table = view.snapshots()?;
            for row in table.range::<&[u8]>(prefix(stream).as_slice()..=high.as_slice())?.rev() {
                let (key, value) = row?;
                let whole = parse(stream, key.value()).filter(|(_, hash)| *hash == definition_hash);
                if let Some((version, state)) = whole.and_then(|(version, _)| Some((version, unpack(key.value(), value.value())?))) {
                    return Ok(Some((version, state)));
                }
            }
            Ok(None)
        })
    }

    /// The snapshots of a stream, oldest first.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn list_snapshots(&self, stream: &str) -> Result<Vec<SnapshotInfo>, Error> {
        self.read(|view| {
            let mut found = Vec::new();
            for row in view.snapshots()?.range::<&[u8]>(prefix(stream).as_slice()..end(stream).as_slice())? {
                let (key, value) = row?;
                if let Some((version, definition_hash)) = parse(stream, key.value()) {
                    found.push(SnapshotInfo { version, definition_hash, bytes: value.value().len() as u64 });
                }
            }
            Ok(found)
        })
    }

    /// Removes the snapshots of a stream, or only those of one definition. Returns how many there were.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn remove_snapshots(&self, stream: &str, definition_hash: Option<[u8; 32]>) -> Result<u64, Error> {
        let all = self.list_snapshots(stream)?;
        let keys: Vec<Vec<u8>> = all
            .iter()
            .filter(|snapshot| definition_hash.is_none_or(|hash| hash == snapshot.definition_hash))
            .map(|snapshot| key(stream, snapshot.version.get(), &snapshot.definition_hash))
            .collect();
        if !keys.is_empty() {
            self.write_snapshots(|table| {
                for key in &keys {
                    table.remove(key.as_slice())?;
                }
                Ok(())
            })?;
        }
        Ok(keys.len() as u64)
    }

    fn write_snapshots(
        &self,
        change: impl FnOnce(&mut redb::Table<'_, &'static [u8], &'static [u8]>) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        let _writing = self.writing.lock();
        let written = guarded(|| {
            let database = self.database()?;
            let mut transaction = database.begin_write()?;
            transaction.set_quick_repair(true);
            change(&mut transaction.open_table(rows::SNAPSHOTS)?)?;
            transaction.commit()?;
            Ok(())
        });
        written.or_else(|fault| {
            self.reopen()?;
            Err(fault.into())
        })
    }
}

/// Names hold no NUL, so a name's keys stand together and apart from those of a longer name.
fn prefix(stream: &str) -> Vec<u8> {
    let mut key = stream.as_bytes().to_vec();
    key.push(0);
    key
}

fn end(stream: &str) -> Vec<u8> {
    let mut key = stream.as_bytes().to_vec();
    key.push(1);
    key
}

fn key(stream: &str, version: u64, definition_hash: &[u8; 32]) -> Vec<u8> {
    let mut key = prefix(stream);
    // Big endian, so that keys are in the order of versions.
    key.extend_from_slice(&version.to_be_bytes());
    key.extend_from_slice(definition_hash);
    key
}

fn parse(stream: &str, key: &[u8]) -> Option<(Version, [u8; 32])> {
    let rest = key.strip_prefix(stream.as_bytes())?.strip_prefix(&[0])?;
    let (version, hash) = rest.split_first_chunk::<8>()?;
    Some((Version::new(u64::from_be_bytes(*version)), hash.try_into().ok()?))
}

fn unpack(key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let (sum, packed) = value.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*sum) == checksum(key, packed)).then(|| zstd::bulk::decompress(packed, SNAPSHOT_BYTES_MAX).ok())?
}

/// The key is part of it, so a state that stands in another's place is found out.
fn checksum(key: &[u8], packed: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(packed);
    hasher.finalize()
}
