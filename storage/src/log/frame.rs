//! How does one append stay whole or leave no trace? See `docs/format.md`, "Frame".

use crate::plant;
use crate::plant::Plant;

use super::segment::field;

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) length: u32,
    pub(crate) count: u32,
    pub(crate) epoch: u32,
    pub(crate) is_lost: bool,
    pub(crate) first: u64,
    pub(crate) durable_upto: u64,
    pub(crate) chain: [u8; 32],
}

impl FrameHead {
    /// The position of its last event.
    pub(crate) fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }
}

/// Where a frame is written and what stands before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) epoch: u32,
    pub(crate) durable_upto: u64,
    pub(crate) chain: [u8; 32],
}

/// Makes room for a frame of `count` events at the end of `out`, and returns where it starts. Records are appended behind;
/// [`set_record`] notes where each begins; [`close`] pads; [`seal`] completes.
pub(crate) fn open(out: &mut Vec<u8>, count: usize) -> usize {
    let start = out.len();
    out.resize(start + FRAME_HEAD_BYTES + 4 * count, 0);
    start
}

/// Notes that record number `index` of the frame at `start` begins at the end of `out`.
pub(crate) fn set_record(out: &mut [u8], start: usize, index: usize) {
    let offset = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    put(out, start + FRAME_HEAD_BYTES + 4 * index, &offset.to_le_bytes());
}

/// Pads the frame and fills in what does not depend on its seat. `out` ends with the frame.
pub(crate) fn close(out: &mut Vec<u8>, start: usize, first: u64, count: u32) {
    out.resize(out.len().next_multiple_of(8), 0);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    put(out, start, &MAGIC);
    put(out, start + 8, &length.to_le_bytes());
    put(out, start + 12, &count.to_le_bytes());
    put(out, start + 24, &first.to_le_bytes());
}

/// Seats the closed frame: epoch, chain, checksum. Returns the chain value after it. Seating it again elsewhere is fine.
pub(crate) fn seat(frame: &mut [u8], seat: &Seat) -> [u8; 32] {
    put(frame, 16, &seat.epoch.to_le_bytes());
    let durable_upto = if plant::active(Plant::NoDurableUptoInFrame) { 0 } else { seat.durable_upto };
    put(frame, 32, &durable_upto.to_le_bytes());
    let chain = if flags(frame) & LOST != 0 { seat.chain } else { chain_after(&seat.chain, frame) };
    put(frame, 40, &chain);
    let sum = checksum(seat.segment, seat.offset, frame);
    put(frame, 4, &sum.to_le_bytes());
    chain
}

/// Moves a seated frame to another place. Its chain and what it proves stay.
pub(crate) fn reseat(frame: &mut [u8], segment: u64, offset: u64, epoch: u32) {
    put(frame, 16, &epoch.to_le_bytes());
    let sum = checksum(segment, offset, frame);
    put(frame, 4, &sum.to_le_bytes());
}

/// A frame that stands for `count` lost positions.
pub(crate) fn lost(first: u64, count: u32) -> Vec<u8> {
    let mut out = vec![0; FRAME_BYTES_MIN];
    close(&mut out, 0, first, count);
    put(&mut out, 20, &LOST.to_le_bytes());
    out
}

/// A frame's declared length, if what stands here looks like a frame that can fit into `available` bytes. Says nothing of its content.
pub(crate) fn peek_length(bytes: &[u8], available: u64) -> Result<u32, BadFrame> {
    if bytes.len() < FRAME_HEAD_BYTES {
        return Err(BadFrame("shorter than a frame's head"));
    }
    if field::<4>(bytes, 0) != MAGIC {
        return Err(BadFrame("frame magic"));
    }
    let length = u32::from_le_bytes(field(bytes, 8));
    let fits = (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&(length as usize)) && u64::from(length) <= available;
    if fits && length.is_multiple_of(8) { Ok(length) } else { Err(BadFrame("frame length")) }
}

/// Checks the frame that fills `frame` and stands at `offset` of `segment`: length, checksum, count, table.
/// That it follows from the frame before is for the caller to check.
pub(crate) fn decode(frame: &[u8], segment: u64, offset: u64) -> Result<FrameHead, BadFrame> {
    let length = peek_length(frame, frame.len() as u64)?;
    if length as usize != frame.len() {
        return Err(BadFrame("frame length"));
    }
    if !plant::active(Plant::IgnoreFrameCrc) && u32::from_le_bytes(field(frame, 4)) != checksum(segment, offset, frame) {
        return Err(BadFrame("frame checksum"));
    }
    let head = FrameHead {
        length,
        count: u32::from_le_bytes(field(frame, 12)),
        epoch: u32::from_le_bytes(field(frame, 16)),
        is_lost: flags(frame) & LOST != 0,
        first: u64::from_le_bytes(field(frame, 24)),
        durable_upto: u64::from_le_bytes(field(frame, 32)),
        chain: field(frame, 40),
    };
    let is_in_range = (1..POSITIONS_MAX).contains(&head.first) && head.durable_upto < head.first;
    let is_too_many = head.is_lost && head.count as usize > super::recover::LOST_EVENTS_MAX;
    if head.count == 0 || head.epoch == u32::MAX || !is_in_range || is_too_many || flags(frame) & !LOST != 0 {
        return Err(BadFrame("frame fields"));
    }
    if !head.is_lost {
        check_table(frame, head.count)?;
    }
    Ok(head)
}

/// Where each record of a frame begins, from the frame's start.
pub(crate) fn record_offsets(frame: &[u8], count: u32) -> impl Iterator<Item = u32> {
    (0..count as usize).map(|index| u32::from_le_bytes(field(frame, FRAME_HEAD_BYTES + 4 * index)))
}

/// The chain value after a frame whose predecessor's is `before`: over content alone, so it holds wherever the frame is seated.
pub(crate) fn chain_after(before: &[u8; 32], frame: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    hasher.update(frame.get(12..16).unwrap_or_default());
    hasher.update(frame.get(20..32).unwrap_or_default());
    hasher.update(frame.get(FRAME_HEAD_BYTES..).unwrap_or_default());
    *hasher.finalize().as_bytes()
}

/// What stands here is not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadFrame(pub(crate) &'static str);

fn check_table(frame: &[u8], count: u32) -> Result<(), BadFrame> {
    let mut least = FRAME_HEAD_BYTES as u64 + 4 * u64::from(count);
    if least > frame.len() as u64 {
        return Err(BadFrame("frame table"));
    }
    for offset in record_offsets(frame, count) {
        if u64::from(offset) < least || u64::from(offset) >= frame.len() as u64 {
            return Err(BadFrame("frame table"));
        }
        least = u64::from(offset) + 1;
    }
    Ok(())
}

fn flags(frame: &[u8]) -> u32 {
    u32::from_le_bytes(field(frame, 20))
}

fn checksum(segment: u64, offset: u64, frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(frame.get(8..).unwrap_or_default());
    hasher.finalize()
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = out.get_mut(at..at + bytes.len()) {
        slot.copy_from_slice(bytes);
    }
}

pub(crate) const FRAME_HEAD_BYTES: usize = 72;
pub(crate) const FRAME_BYTES_MIN: usize = 80;
pub(crate) const FRAME_BYTES_MAX: usize = 64 << 20;
pub(crate) const MAGIC: [u8; 4] = *b"FRM1";
const LOST: u32 = 1;
/// No log comes near it; what claims a position beyond is forged or broken.
pub(crate) const POSITIONS_MAX: u64 = 1 << 47;
const _: () = assert!(crate::types::TRANSACTION_BYTES_MAX + crate::types::TRANSACTION_EVENTS_MAX * 8 + FRAME_HEAD_BYTES < FRAME_BYTES_MAX);
