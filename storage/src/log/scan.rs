//! Which frames does a segment hold, and what do they prove?

use crate::plant;
use crate::plant::Plant;

use super::frame;
use super::frame::BadFrame;
use super::frame::FrameHead;

/// A good frame and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundFrame {
    pub(super) offset: usize,
    pub(super) head: FrameHead,
}

impl FoundFrame {
    pub(super) fn end(&self) -> usize {
        self.offset + self.head.length as usize
    }
}

/// What a scan is to begin with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) segment: u64,
    pub(super) position: u64,
    pub(super) epoch: u32,
    pub(super) start: usize,
    /// Where frames end at the latest.
    pub(super) end: usize,
}

/// What a segment holds.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    /// Good frames that follow from each other, from the start on.
    pub(super) frames: Vec<FoundFrame>,
    /// Where they end.
    pub(super) end: usize,
    /// Why the next one is not good; `None` if nothing but zeros follows.
    pub(super) bad: Option<BadFrame>,
    /// Good frames behind the first bad one.
    pub(super) stragglers: Vec<FoundFrame>,
}

impl Scan {
    /// The highest position that any frame proves to have been synced.
    pub(super) fn proves(&self) -> u64 {
        self.frames.iter().chain(&self.stragglers).map(|frame| frame.head.durable_upto).max().unwrap_or(0)
    }

    /// The last position of the good frames, or the one before `first` if there is none.
    pub(super) fn last(&self, first: u64) -> u64 {
        self.frames.last().map_or(first.saturating_sub(1), |frame| frame.head.last())
    }

    /// Takes the frames from number `count` on for bad.
    pub(super) fn cut(&mut self, count: usize, start: usize, reason: BadFrame) {
        let cut = self.frames.split_off(count);
        self.stragglers.splice(0..0, cut.into_iter().skip(1));
        self.end = self.frames.last().map_or(start, FoundFrame::end);
        self.bad = Some(reason);
    }
}

/// Reads frame by frame; behind a bad one, looks for more at every place where a frame can begin.
pub(super) fn scan(bytes: &[u8], expected: Expected) -> Scan {
    let mut found = Scan { frames: Vec::new(), end: expected.start, bad: None, stragglers: Vec::new() };
    let limit = expected.end.min(bytes.len());
    let (mut position, mut epoch) = (expected.position, expected.epoch);
    loop {
        match frame_at(bytes, found.end, limit, expected.segment).and_then(|head| follows(head, position, epoch)) {
            Ok(head) => {
                found.frames.push(FoundFrame { offset: found.end, head });
                found.end += head.length as usize;
                position = head.last() + 1;
                epoch = head.epoch;
            }
            Err(reason) => {
                let rest = bytes.get(found.end..limit).unwrap_or_default();
                if rest.iter().any(|byte| *byte != 0) {
                    found.bad = Some(reason);
                    found.stragglers = stragglers(bytes, found.end, limit, expected.segment, position);
                }
                return found;
            }
        }
    }
}

fn frame_at(bytes: &[u8], offset: usize, limit: usize, segment: u64) -> Result<FrameHead, BadFrame> {
    let rest = bytes.get(offset..limit).unwrap_or_default();
    let length = frame::peek_length(rest, rest.len() as u64)?;
    frame::decode(rest.get(..length as usize).unwrap_or_default(), segment, offset as u64)
}

fn follows(head: FrameHead, position: u64, epoch: u32) -> Result<FrameHead, BadFrame> {
    let is_next = head.first == position || (plant::active(Plant::AcceptGapInPositions) && head.first > position);
    if !is_next {
        return Err(BadFrame("frame's first position does not follow"));
    }
    if head.epoch < epoch && !plant::active(Plant::IgnoreEpoch) {
        return Err(BadFrame("frame of an earlier epoch"));
    }
    Ok(head)
}

fn stragglers(bytes: &[u8], from: usize, limit: usize, segment: u64, position: u64) -> Vec<FoundFrame> {
    let mut found: Vec<FoundFrame> = Vec::new();
    // What looks like a frame costs a checksum over its claimed length. Payloads that are made to look like frames must not make this
    // quadratic.
    let mut budget = bytes.len().saturating_mul(64);
    let mut at = from.next_multiple_of(8);
    let mut next = position;
    while at + frame::FRAME_BYTES_MIN <= limit && budget > 0 {
        let rest = bytes.get(at..limit).unwrap_or_default();
        if !rest.starts_with(&frame::MAGIC) {
            at += 8;
            continue;
        }
        budget = budget.saturating_sub(frame::peek_length(rest, rest.len() as u64).unwrap_or(0) as usize);
        match frame_at(bytes, at, limit, segment) {
            Ok(head) if head.first >= next => {
                found.push(FoundFrame { offset: at, head });
                at += head.length as usize;
                next = head.last() + 1;
            }
            Ok(_) | Err(_) => at += 8,
        }
    }
    found
}
