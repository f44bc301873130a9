//! How is a list of positions written down?
//!
//! As the differences between neighbours, zig-zag, in LEB128: one or two bytes for most events of a busy list. Zero stands for
//! a lost event, which is why a difference may be negative.

/// Entries of a page; what is left over stands in the list's row.
pub(super) const PAGE: usize = 128;

/// Appends the positions to `out`.
pub(super) fn encode(positions: &[u64], out: &mut Vec<u8>) {
    let mut before = 0u64;
    for &position in positions {
        let difference = position.wrapping_sub(before).cast_signed();
        let mut rest = (difference << 1 ^ difference >> 63).cast_unsigned();
        while rest >= 0x80 {
            out.push(low_byte(rest) | 0x80);
            rest >>= 7;
        }
        out.push(low_byte(rest));
        before = position;
    }
}

fn low_byte(number: u64) -> u8 {
    let [low, ..] = number.to_le_bytes();
    low
}

/// Reads positions to the end of `bytes`; `None` if these are not positions.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<u64>> {
    let mut positions = Vec::with_capacity(bytes.len().min(PAGE));
    let mut before = 0u64;
    let mut rest = bytes.iter();
    while let Some(&first) = rest.next() {
        let mut number = u64::from(first & 0x7f);
        let mut shift = 7;
        let mut byte = first;
        while byte & 0x80 != 0 {
            byte = *rest.next()?;
            if shift > 63 {
                return None;
            }
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        let difference = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
        before = before.wrapping_add_signed(difference);
        positions.push(before);
    }
    Some(positions)
}

/// At most a page of entries that ends with the largest one that is not above `position`.
pub(super) fn at_most(entries: &[u64], position: u64) -> Option<Vec<u64>> {
    let end = entries.partition_point(|&entry| entry <= position);
    (end > 0).then(|| entries.get(end.saturating_sub(PAGE)..end).unwrap_or_default().to_vec())
}

/// At most a page of entries that begins with the smallest one that is not below `position`.
pub(super) fn at_least(entries: &[u64], position: u64) -> Option<Vec<u64>> {
    let start = entries.partition_point(|&entry| entry < position);
    let chunk = entries.get(start..entries.len().min(start + PAGE)).unwrap_or_default();
    (!chunk.is_empty()).then(|| chunk.to_vec())
}
