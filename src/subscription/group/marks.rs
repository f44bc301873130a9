//! Which events of one shard are done? Everything up to the checkpoint, and above it what a map of bits says.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::store::Change;

/// A shard's part of a group's progress.
#[derive(Default)]
pub(super) struct Marks {
    /// Read from the log up to here.
    through: u64,
    /// The checkpoint that was handed out to be stored last.
    checkpoint: u64,
    /// Read, not done, and not kept in a row of its own: these hold the checkpoint back.
    open: BTreeSet<u64>,
    done: BTreeMap<u64, Box<Bits>>,
    touched: BTreeSet<u64>,
}

/// One bit an event.
pub(super) type Bits = [u8; BLOCK_BYTES];

impl Marks {
    /// As it was stored.
    pub(super) fn new(checkpoint: u64, done: impl IntoIterator<Item = (u64, Box<Bits>)>) -> Self {
        Self { through: checkpoint, checkpoint, done: done.into_iter().collect(), ..Self::default() }
    }

    /// Everything up to here is done, or kept in a row of its own.
    pub(super) fn checkpoint(&self) -> u64 {
        self.open.first().map_or(self.through, |first| first - 1)
    }

    pub(super) fn is_done(&self, position: u64) -> bool {
        position <= self.checkpoint || self.done.get(&(position / BLOCK_EVENTS)).is_some_and(|bits| has(bits, position))
    }

    pub(super) fn read_through(&mut self, position: u64) {
        self.through = self.through.max(position);
    }

    /// An event was read that is not done.
    pub(super) fn open(&mut self, position: u64) {
        self.open.insert(position);
    }

    /// An event that was open is done, or kept in a row of its own from now on.
    pub(super) fn close(&mut self, position: u64) {
        if self.open.remove(&position) {
            let block = position / BLOCK_EVENTS;
            let bits = self.done.entry(block).or_insert_with(|| Box::new([0; BLOCK_BYTES]));
            set(bits, position);
            self.touched.insert(block);
        }
    }

    /// Whether [`Marks::changes`] would say anything.
    pub(super) fn has_changes(&self) -> bool {
        !self.touched.is_empty() || self.checkpoint() != self.checkpoint
    }

    /// What is to be stored.
    pub(super) fn changes(&mut self, shard: u16, out: &mut Vec<Change>) {
        let checkpoint = self.checkpoint();
        if checkpoint != self.checkpoint {
            self.checkpoint = checkpoint;
            out.push(Change::Checkpoint { shard, position: checkpoint });
            // The bits of what lies wholly below say nothing any more. Some were never stored; taking them out costs nothing.
            let above = self.done.split_off(&((checkpoint + 1) / BLOCK_EVENTS));
            for block in std::mem::replace(&mut self.done, above).into_keys() {
                out.push(Change::Done { shard, block, bits: None });
                self.touched.remove(&block);
            }
        }
        for block in std::mem::take(&mut self.touched) {
            // Bits of one block only matter above the checkpoint.
            if let Some(bits) = self.done.get(&block)
                && (block + 1) * BLOCK_EVENTS > checkpoint + 1
            {
                out.push(Change::Done { shard, block, bits: Some(bits.clone()) });
            }
        }
    }
}

/// The last event of a block that is done.
pub(super) fn last_done(block: u64, bits: &Bits) -> Option<u64> {
    let within = bits.iter().enumerate().rev().find_map(|(byte, bits)| Some(byte as u64 * 8 + u64::from(bits.checked_ilog2()?)))?;
    Some(block * BLOCK_EVENTS + within)
}

fn has(bits: &Bits, position: u64) -> bool {
    let (byte, mask) = place(position);
    bits.get(byte).is_some_and(|byte| byte & mask != 0)
}

fn set(bits: &mut Bits, position: u64) {
    let (byte, mask) = place(position);
    if let Some(byte) = bits.get_mut(byte) {
        *byte |= mask;
    }
}

fn place(position: u64) -> (usize, u8) {
    let within = position % BLOCK_EVENTS;
    (usize::try_from(within / 8).unwrap_or_default(), 1 << (within % 8))
}

/// What one stored row tells of.
const BLOCK_EVENTS: u64 = 4_096;
pub(super) const BLOCK_BYTES: usize = 512;
const _: () = assert!(BLOCK_EVENTS == BLOCK_BYTES as u64 * 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkpoint_stops_below_what_is_open() {
        let mut marks = Marks::new(10, []);
        for position in [12, 13, 20] {
            marks.open(position);
        }
        marks.read_through(30);
        assert_eq!(marks.checkpoint(), 11);
        marks.close(13);
        assert!(marks.is_done(13) && !marks.is_done(12) && !marks.is_done(20));
        let mut changes = Vec::new();
        marks.changes(0, &mut changes);
        assert!(matches!(changes[..], [Change::Checkpoint { position: 11, .. }, Change::Done { block: 0, bits: Some(_), .. }]));
        assert!(!marks.has_changes());
        marks.close(12);
        assert_eq!(marks.checkpoint(), 19);
        marks.close(20);
        assert_eq!(marks.checkpoint(), 30);
        marks.read_through(9_000);
        changes.clear();
        marks.changes(0, &mut changes);
        assert!(matches!(changes[..], [Change::Checkpoint { position: 9_000, .. }, Change::Done { block: 0, bits: None, .. }]));
    }

    #[test]
    fn what_was_stored_is_known_again() {
        let mut marks = Marks::new(0, []);
        for position in 1..=10_000 {
            marks.open(position);
        }
        marks.read_through(10_000);
        for position in (2..=10_000).filter(|position| position % 3 != 0) {
            marks.close(position);
        }
        let mut changes = Vec::new();
        marks.changes(0, &mut changes);
        let rows = changes.into_iter().filter_map(|change| match change {
            Change::Done { block, bits, .. } => Some((block, bits?)),
            Change::Checkpoint { .. } | Change::Kept { .. } => None,
        });
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows.iter().filter_map(|(block, bits)| last_done(*block, bits)).collect::<Vec<_>>(), [4_094, 8_191, 10_000]);
        assert_eq!(last_done(7, &[0; BLOCK_BYTES]), None);
        let again = Marks::new(0, rows);
        for position in 1..=10_000 {
            assert_eq!(again.is_done(position), position > 1 && position % 3 != 0, "{position}");
        }
    }
}
