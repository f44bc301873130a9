//! What does a power cut leave of a file?

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::pages::Pages;
use super::rng::Rng;

/// A file: what reads see, what is on the platter, and what was asked for in between.
#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    /// Its newest path, for traces and for rules that name a file.
    pub(super) path: Arc<str>,
    /// What reads see.
    live: Pages,
    /// What is on the platter for certain.
    durable: Pages,
    /// What was done since `durable`, in order.
    operations: Vec<(Operation, Fate)>,
    /// Bits that reads give wrong: an overlay, so that the true bytes stay known.
    flips: BTreeMap<u64, u8>,
}

#[derive(Clone, Debug)]
enum Operation {
    Write { offset: u64, bytes: Bytes },
    SetLen(u64),
}

/// What is known of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Not synced yet: the next sync that works makes it durable.
    Pending,
    /// A sync failed: the system took its page for clean. It may or may not be there, and no later sync changes that.
    Doubtful,
    /// Synced, after something that is doubtful for ever.
    Durable,
}

/// What a power cut does to all that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Each write is kept, lost, cut at any byte or kept in some of its 512-byte sectors; each change of a directory is kept or lost.
    Random,
    /// All of it is lost.
    LoseAll,
    /// All of it is kept.
    KeepAll,
}

impl FileNode {
    pub(super) fn at(path: &str) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// A file that is on the platter as it is.
    pub(super) fn durable(path: &str, bytes: &[u8]) -> io::Result<Self> {
        let mut live = Pages::default();
        live.write(bytes, 0)?;
        Ok(Self { path: path.into(), durable: live.clone(), live, ..Self::default() })
    }

    pub(super) fn live(&self) -> &Pages {
        &self.live
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let count = self.live.read(buffer, offset);
        if !self.flips.is_empty() {
            for (at, mask) in self.flips.range(offset..offset.saturating_add(count as u64)) {
                if let Some(byte) = usize::try_from(at - offset).ok().and_then(|index| buffer.get_mut(index)) {
                    *byte ^= mask;
                }
            }
        }
        count
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.live.write(bytes, offset)?;
        self.operations.push((Operation::Write { offset, bytes: Bytes::copy_from_slice(bytes) }, Fate::Pending));
        if !self.flips.is_empty() {
            let end = offset + bytes.len() as u64;
            self.flips.retain(|at, _| !(offset..end).contains(at));
        }
        Ok(())
    }

    pub(super) fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.live.set_len(length)?;
        self.operations.push((Operation::SetLen(length), Fate::Pending));
        Ok(())
    }

    /// A sync that worked.
    pub(super) fn sync(&mut self) {
        if self.operations.iter().any(|(_, fate)| *fate == Fate::Doubtful) {
            self.settle(Fate::Durable);
        } else {
            self.durable = self.live.clone();
            self.operations.clear();
        }
    }

    /// A sync that failed: what was pending is in doubt from now on, and reads go on seeing it.
    pub(super) fn fail_sync(&mut self) {
        self.settle(Fate::Doubtful);
    }

    fn settle(&mut self, to: Fate) {
        for (_, fate) in self.operations.iter_mut().filter(|(_, fate)| *fate == Fate::Pending) {
            *fate = to;
        }
    }

    /// Turns bits over in what reads see of the byte at `offset`.
    pub(super) fn flip(&mut self, offset: u64, mask: u8) {
        let byte = self.flips.entry(offset).or_default();
        *byte ^= mask;
    }

    pub(super) fn heal(&mut self) {
        self.flips.clear();
    }

    /// Whether a power cut could take something away.
    pub(super) fn is_settled(&self) -> bool {
        self.operations.is_empty()
    }

    /// The file after a power cut.
    pub(super) fn after(&self, cut: Cut, keep_percent: u64, rng: &mut Rng) -> io::Result<Self> {
        let mut left = self.durable.clone();
        for (operation, fate) in &self.operations {
            let is_kept = *fate == Fate::Durable || cut == Cut::KeepAll || (cut == Cut::Random && rng.chance(keep_percent));
            match operation {
                Operation::SetLen(length) if is_kept => left.set_len(*length)?,
                Operation::Write { offset, bytes } if is_kept => left.write(bytes, *offset)?,
                Operation::Write { offset, bytes } if cut == Cut::Random => write_torn(&mut left, *offset, bytes, rng)?,
                Operation::SetLen(_) | Operation::Write { .. } => {}
            }
        }
        Ok(Self { path: Arc::clone(&self.path), durable: left.clone(), live: left, operations: Vec::new(), flips: self.flips.clone() })
    }
}

/// Writes nothing, a prefix, or some sectors.
fn write_torn(to: &mut Pages, offset: u64, bytes: &[u8], rng: &mut Rng) -> io::Result<()> {
    match rng.below(3) {
        0 => Ok(()),
        1 => to.write(bytes.get(..rng.index(bytes.len() + 1)).unwrap_or_default(), offset),
        _ => {
            let mut at = offset;
            let mut rest = bytes;
            while !rest.is_empty() {
                let room = SECTOR_BYTES - usize::try_from(at % SECTOR_BYTES as u64).unwrap_or(0);
                let (sector, others) = rest.split_at(rest.len().min(room));
                if rng.chance(50) {
                    to.write(sector, at)?;
                }
                at += sector.len() as u64;
                rest = others;
            }
            Ok(())
        }
    }
}

const SECTOR_BYTES: usize = 512;
