//! What would be in the file: what the books have handed out to be stored, as the next books find it.

use std::collections::BTreeMap;

use super::Change;
use super::Progress;
use crate::subscription::group::marks::Bits;
use crate::subscription::group::store::Kept;

/// The progress of a group on one shard.
#[derive(Clone)]
pub(super) struct Stored {
    checkpoint: u64,
    done: BTreeMap<u64, Box<Bits>>,
    kept: BTreeMap<u64, Kept>,
}

impl Stored {
    pub(super) fn new(checkpoint: u64) -> Self {
        Self { checkpoint, done: BTreeMap::new(), kept: BTreeMap::new() }
    }

    pub(super) fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Checkpoint { position, .. } => {
                    assert!(position > self.checkpoint, "the checkpoint went back from {} to {position}", self.checkpoint);
                    self.checkpoint = position;
                }
                Change::Done { block, bits: Some(bits), .. } => drop(self.done.insert(block, bits)),
                Change::Done { block, bits: None, .. } => drop(self.done.remove(&block)),
                Change::Kept { position, row: Some(row), .. } => drop(self.kept.insert(position, row)),
                Change::Kept { position, row: None, .. } => drop(self.kept.remove(&position)),
            }
        }
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            checkpoints: vec![self.checkpoint],
            done: self.done.iter().map(|(block, bits)| (0, *block, bits.clone())).collect(),
            kept: self.kept.iter().map(|(position, row)| (0, *position, row.clone())).collect(),
        }
    }

    pub(super) fn checkpoint(&self) -> u64 {
        self.checkpoint
    }

    pub(super) fn rows(&self) -> usize {
        self.kept.len()
    }
}
