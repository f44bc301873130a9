//! Where do thousands of short keys lie, without an allocation for each?

use std::ops::Range;

/// Byte strings behind each other.
#[derive(Default)]
pub(super) struct Spans {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

impl Spans {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self { bytes: Vec::with_capacity(count * 24), ranges: Vec::with_capacity(count) }
    }

    /// Adds the string that `write` appends.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.ranges.push(start..self.bytes.len());
    }

    /// The string that was added as number `at`, from 0.
    pub(super) fn get(&self, at: usize) -> &[u8] {
        self.ranges.get(at).and_then(|range| self.bytes.get(range.clone())).unwrap_or_default()
    }

    /// The numbers of all strings, in the order of the strings: a tree is written from left to right.
    pub(super) fn in_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.ranges.len()).collect();
        order.sort_unstable_by(|&one, &other| self.get(one).cmp(self.get(other)));
        order
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }
}
