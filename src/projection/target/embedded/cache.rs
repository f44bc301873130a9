//! Which rows were seen lately? A batch changes the rows that the one before has changed more often than not.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::super::super::row::Row;
use super::super::super::value::Value;

/// The rows that were loaded or written last, within a bound of bytes. Only what is committed stands in it.
///
/// There are two halves: when the young one is full, it takes the place of the old one; a row that is found in the old half moves to the
/// young one. That keeps about the rows used last, without a list to be kept in order.
pub(super) struct RowCache {
    young: HashMap<Value, Row, RandomState>,
    old: HashMap<Value, Row, RandomState>,
    young_bytes: usize,
    half_bytes_max: usize,
}

impl RowCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { young: HashMap::default(), old: HashMap::default(), young_bytes: 0, half_bytes_max: bytes_max / 2 }
    }

    pub(super) fn get(&mut self, key: &Value) -> Option<&Row> {
        if let Some((key, row)) = self.old.remove_entry(key) {
            self.put(key, row);
        }
        self.young.get(key)
    }

    pub(super) fn put(&mut self, key: Value, row: Row) {
        let bytes = cost(&row);
        self.old.remove(&key);
        if let Some(before) = self.young.insert(key, row) {
            self.young_bytes -= cost(&before);
        }
        self.young_bytes += bytes;
        if self.young_bytes > self.half_bytes_max {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }

    pub(super) fn forget(&mut self, key: &Value) {
        self.old.remove(key);
        if let Some(before) = self.young.remove(key) {
            self.young_bytes -= cost(&before);
        }
    }
}

fn cost(row: &Row) -> usize {
    row.bytes() + 64
}
