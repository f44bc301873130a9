//! Is every byte of the log what it was, and what is given up if not?

use crate::Damage;
use crate::Error;
use crate::Position;
use crate::RecordedEvent;
use crate::disk::read_exact_at;
use bytes::Bytes;

use super::Log;
use super::Segment;
use super::frame;
use super::scan::Expected;
use super::scan::Scan;
use super::scan::scan;
use super::segment;
use super::segment::Footer;
use super::segment::HEADER_BYTES;

/// Proves a sealed segment: every frame, its table, its seal. Returns what is wrong.
pub(super) fn check_segment(segment: &Segment) -> Result<Vec<Damage>, Error> {
    let Some(footer) = segment.footer() else { return Ok(Vec::new()) };
    let mut bytes = vec![0; usize::try_from(footer.file_bytes()).unwrap_or(0)];
    read_exact_at(&*segment.file, &mut bytes, 0).map_err(|error| Error::io(format!("read {}", segment.path), error))?;
    let data_end = usize::try_from(footer.data_end).unwrap_or(0);
    let table_end = bytes.len() - segment::FOOTER_BYTES;
    let table: Vec<u32> = bytes
        .get(data_end..table_end)
        .unwrap_or_default()
        .chunks_exact(4)
        .map(|chunk| u32::from_le_bytes(segment::field(chunk, 0)))
        .collect();
    if footer.is_trimmed {
        return Ok(check_trimmed(segment, footer, &Bytes::from(bytes), &table));
    }
    let found = scan_sealed(segment, footer, &bytes);
    let last = found.last(footer.first);
    let end = footer.first + footer.count;
    if let Some(bad) = found.bad {
        let upto = found.stragglers.first().map_or(end - 1, |frame| frame.head.first - 1);
        return Ok(vec![segment.damage(found.end as u64, last + 1, upto, bad.0)]);
    }
    if last + 1 != end || found.end != data_end {
        return Ok(vec![segment.damage(
            found.end as u64,
            last + 1,
            end.max(last + 1),
            "frames and seal disagree on where the segment ends",
        )]);
    }
    if *blake3::hash(bytes.get(..table_end).unwrap_or_default()).as_bytes() != footer.content {
        return Ok(vec![segment.damage(footer.data_end, footer.first, end - 1, "the seal's hash of the file is another")]);
    }
    Ok(Vec::new())
}

/// Recomputes the chain of a segment from its header on. Returns the damage if it is broken, and whether a given-up range interrupts it.
pub(super) fn check_chain(segment: &Segment) -> Result<(Option<Damage>, bool), Error> {
    if segment.footer().is_some_and(|footer| footer.is_trimmed) {
        return Ok((None, true));
    }
    let end = segment.footer().map_or_else(|| segment.open.read().end, |footer| footer.data_end);
    let mut bytes = vec![0; usize::try_from(end).unwrap_or(0)];
    read_exact_at(&*segment.file, &mut bytes, 0).map_err(|error| Error::io(format!("read {}", segment.path), error))?;
    let expected = Expected { segment: segment.header.segment, position: segment.first(), epoch: 0, start: HEADER_BYTES, end: bytes.len() };
    let (mut chain, mut is_interrupted, mut is_behind_lost) = (segment.header.chain, false, false);
    for found in scan(&bytes, expected).frames {
        let content = bytes.get(found.offset..found.end()).unwrap_or_default();
        if !found.head.is_lost && !is_behind_lost && frame::chain_after(&chain, content) != found.head.chain {
            let damage =
                segment.damage(found.offset as u64, found.head.first, found.head.last(), "the chain does not follow: the log was altered");
            return Ok((Some(damage), is_interrupted));
        }
        is_behind_lost = found.head.is_lost;
        is_interrupted |= found.head.is_lost;
        chain = found.head.chain;
    }
    Ok((None, is_interrupted))
}

impl Log {
    /// Proves every segment, sealed or not. `each` hears of every segment's bytes as they are done.
    pub(crate) fn check(&self, chain: bool, each: &mut dyn FnMut(u64)) -> Result<Vec<Damage>, Error> {
        let mut damages: Vec<Damage> = self.damages.iter().map(|damage| Damage::clone(damage)).collect();
        for segment in self.segments().iter() {
            let mut found = check_segment(segment)?;
            if chain && found.is_empty() {
                found.extend(check_chain(segment)?.0);
            }
            // What was found at open is not said twice.
            found.retain(|damage| !damages.iter().any(|known| known.file == damage.file && known.offset == damage.offset));
            damages.extend(found);
            each(segment.footer().map_or(segment.header.capacity, Footer::file_bytes));
        }
        Ok(damages)
    }
}

fn scan_sealed(segment: &Segment, footer: &Footer, bytes: &[u8]) -> Scan {
    let end = usize::try_from(footer.data_end).unwrap_or(0);
    scan(bytes, Expected { segment: segment.header.segment, position: footer.first, epoch: 0, start: HEADER_BYTES, end })
}

/// A trimmed segment has no frames: each record that stayed proves itself.
fn check_trimmed(segment: &Segment, footer: &Footer, bytes: &Bytes, table: &[u32]) -> Vec<Damage> {
    let mut damages = Vec::new();
    for (index, offset) in table.iter().take(usize::try_from(footer.count).unwrap_or(0)).enumerate() {
        if *offset == segment::LOST_OFFSET {
            continue;
        }
        let position = footer.first + index as u64;
        let at = (*offset as usize).min(bytes.len());
        if let Err(bad) = RecordedEvent::decode(Position::new(position), &bytes.slice(at..)) {
            damages.push(segment.damage(u64::from(*offset), position, position, bad.0));
        }
    }
    damages
}
