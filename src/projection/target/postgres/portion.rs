//! How many rows may be asked for at once? As many as will be about a given number of bytes, by what rows were like so far.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use super::super::LOAD_BYTES;

/// What is known of the size of a table's rows, shared by all who write it one after the other.
#[derive(Default)]
pub(super) struct Portion {
    /// 0 as long as nothing is known.
    row_bytes: AtomicUsize,
}

impl Portion {
    /// How many keys to ask for, where so many bytes have come already.
    pub(super) fn keys(&self, bytes: usize) -> usize {
        match self.row_bytes.load(Ordering::Relaxed) {
            0 => KEYS_FIRST,
            each => (LOAD_BYTES.saturating_sub(bytes) / each).max(1),
        }
    }

    /// So many keys had rows of so many bytes in all. Keys without a row count as well: else those of new rows would be asked for a few
    /// at a time wherever the old ones are large. What is large counts at once, and is forgotten by halves.
    pub(super) fn came(&self, keys: usize, bytes: usize) {
        let before = self.row_bytes.load(Ordering::Relaxed);
        self.row_bytes.store((bytes / keys.max(1)).max(before / 2).max(1), Ordering::Relaxed);
    }

    /// Of the rows of so many keys only some came, then it broke off: perhaps since it took too long. Asked for the same again it would
    /// break off again, for ever; so the next time it is half as many at most.
    pub(super) fn broke_off(&self, keys: usize, lines: usize, bytes: usize) {
        let half = LOAD_BYTES.div_ceil((keys / 2).max(1));
        let before = self.row_bytes.load(Ordering::Relaxed);
        self.row_bytes.store(bytes.checked_div(lines).unwrap_or(0).max(half).max(before), Ordering::Relaxed);
    }
}

/// How many rows are asked for as long as nothing is known of their size.
const KEYS_FIRST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_small_are_asked_for_by_thousands_again() {
        let portion = Portion::default();
        assert_eq!(portion.keys(0), KEYS_FIRST);
        portion.came(16, 16 * (8 << 20));
        assert_eq!(portion.keys(0), 4);
        for _ in 0..16 {
            portion.came(portion.keys(0), portion.keys(0) * 100);
        }
        assert!(portion.keys(0) > 100_000, "{}", portion.keys(0));
        assert_eq!(portion.keys(LOAD_BYTES), 1);
    }

    #[test]
    fn what_breaks_off_is_asked_for_by_halves_down_to_one() {
        for lines in [0, 1] {
            let portion = Portion::default();
            portion.came(1_000, 100_000);
            let mut asked = portion.keys(0);
            for _ in 0..40 {
                portion.broke_off(asked, lines, lines * 100);
                let next = portion.keys(0);
                assert!(next <= (asked / 2).max(1), "{asked} → {next}");
                asked = next;
            }
            assert_eq!(asked, 1);
        }
        // What did come tells more.
        let portion = Portion::default();
        portion.broke_off(16, 3, 3 * (16 << 20));
        assert_eq!(portion.keys(0), 2);
    }
}
