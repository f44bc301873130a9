//! How is a damaged log made whole, giving up as little as can be?
//!
//! Every good frame stays where its positions are. What is missing between them becomes *lost* frames, so that later positions keep their
//! numbers. A file is replaced only by a whole one (temporary file, synced, renamed), after its bytes were copied aside.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::Damage;
use crate::Disk;
use crate::Error;
use crate::disk::read_exact_at;
use crate::disk::write_all_at;

use super::frame;
use super::frame::Seat;
use super::recover::LOST_EVENTS_MAX;
use super::scan::Expected;
use super::scan::FoundFrame;
use super::scan::scan;
use super::segment;
use super::segment::Footer;
use super::segment::HEADER_BYTES;
use super::segment::Header;
use super::segment::LOG_DIR;

/// What was given up and which files were written anew.
#[derive(Debug, Default)]
pub(crate) struct Salvaged {
    pub(crate) lost: Vec<(u64, u64)>,
    pub(crate) rewritten: Vec<String>,
}

/// A segment as it can be made whole.
struct Part {
    id: u64,
    header: Header,
    /// What is there of it; `None` if the file is missing or another's.
    bytes: Option<Vec<u8>>,
    frames: Vec<FoundFrame>,
    footer: Option<Footer>,
    is_damaged: bool,
}

impl Part {
    fn last(&self) -> u64 {
        let by_frames = self.frames.last().map_or(self.header.first - 1, |frame| frame.head.last());
        self.footer.map_or(by_frames, |footer| footer.first + footer.count - 1)
    }
}

impl Part {
    /// The footer that an unsealed segment will get, as far as the next one keeps it.
    fn unsealed_footer(&self, end: u64, chain: [u8; 32]) -> Footer {
        let Header { log_id, segment, first, epoch, .. } = self.header;
        let chain = self.frames.iter().rfind(|frame| frame.head.last() < end).map_or(chain, |frame| frame.head.chain);
        let zero = [0; 32];
        Footer {
            log_id,
            segment,
            first,
            count: end - first,
            data_end: 0,
            first_recorded_at: 0,
            last_recorded_at: 0,
            epoch,
            is_trimmed: false,
            chain,
            content: zero,
            previous: zero,
        }
    }
}

/// Makes the log whole. `index_durable` is the last position that the index knew.
pub(crate) fn repair(
    disk: &Arc<dyn Disk>,
    log_id: [u8; 16],
    index_durable: u64,
    damages: &[Damage],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Salvaged, Error> {
    let mut parts = collect(disk, log_id, damages)?;
    let mut salvaged = Salvaged::default();
    let total = parts.len() as u64;
    let (mut chain, mut previous) = (*blake3::hash(&log_id).as_bytes(), [0; 32]);
    for index in 0..parts.len() {
        let next = parts.get(index + 1).map(|next| next.header);
        let Some(part) = parts.get_mut(index) else { break };
        let proven = part.frames.iter().map(|frame| frame.head.durable_upto).max().unwrap_or(0).max(index_durable);
        let end = next.map_or_else(|| part.last().max(proven) + 1, |next| next.first);
        let (whole, footer, lost) = if part.is_damaged || (next.is_none() && part.last() + 1 < end) {
            assemble(part, end, next.map(|next| next.chain), chain, previous)
        } else {
            (Vec::new(), part.footer, Vec::new())
        };
        if !whole.is_empty() {
            replace(disk, part, &whole)?;
            salvaged.rewritten.push(segment::path(part.id));
        }
        salvaged.lost.extend(lost);
        // What the next seal keeps of this one, also where this one is still to be sealed.
        let seal = footer.unwrap_or_else(|| part.unsealed_footer(end, chain));
        (chain, previous) = (seal.chain, seal.digest());
        progress(index as u64 + 1, total);
        let is_sealed = footer.is_some();
        let id = part.id;
        if next.is_none() && is_sealed {
            let epoch = footer.map_or(1, |footer| footer.epoch) + 1;
            begin(disk, &Header { log_id, segment: id + 1, capacity: EMPTY_CAPACITY, first: end, created_at: 0, epoch, chain })?;
        }
    }
    Ok(salvaged)
}

/// Reads every segment as far as it can be read, and puts empty ones where a file is missing.
fn collect(disk: &Arc<dyn Disk>, log_id: [u8; 16], damages: &[Damage]) -> Result<Vec<Part>, Error> {
    let names = disk.list(LOG_DIR).map_err(|error| Error::io("list log", error))?;
    let mut found = BTreeMap::new();
    for id in names.iter().filter_map(|name| segment::id_of(name)) {
        found.insert(id, read(disk, &segment::path(id)).map_err(|error| Error::io(format!("read {}", segment::path(id)), error))?);
    }
    let highest = found.keys().next_back().copied().unwrap_or(0);
    let mut parts: Vec<Part> = Vec::new();
    for id in 1..=highest {
        let first = parts.last().map_or(1, |before| before.last() + 1);
        let path = segment::path(id);
        let is_damaged = damages.iter().any(|damage| damage.file == path);
        parts.push(part_of(id, found.remove(&id), log_id, first, is_damaged));
    }
    Ok(parts)
}

fn part_of(id: u64, bytes: Option<Vec<u8>>, log_id: [u8; 16], first: u64, is_damaged: bool) -> Part {
    let head: Option<[u8; HEADER_BYTES]> = bytes.as_ref().and_then(|bytes| bytes.get(..HEADER_BYTES)?.try_into().ok());
    let header = head.and_then(|head| Header::decode(&head).ok());
    let is_ours = header.is_none_or(|header| header.log_id == log_id && header.segment == id);
    let bytes = bytes.filter(|_| is_ours);
    let known = header.filter(|_| is_ours);
    let header = known.unwrap_or(Header { log_id, segment: id, capacity: 0, first, created_at: 0, epoch: 0, chain: [0; 32] });
    let is_damaged = is_damaged || bytes.is_none() || known.is_none();
    let length = bytes.as_ref().map_or(0, Vec::len);
    let footer = bytes.as_ref().and_then(|bytes| {
        let tail = bytes.get(length.checked_sub(segment::FOOTER_BYTES)?..)?;
        Footer::decode(tail.try_into().ok()?).ok().filter(|footer| footer.file_bytes() == length as u64 && footer.segment == id)
    });
    let frames = bytes.as_ref().map_or_else(Vec::new, |bytes| {
        let end = footer.map_or(length, |footer| usize::try_from(footer.data_end).unwrap_or(length));
        let scanned = scan(bytes, Expected { segment: id, position: header.first, epoch: 0, start: HEADER_BYTES, end });
        scanned.frames.into_iter().chain(scanned.stragglers).collect()
    });
    Part { id, header, bytes, frames, footer, is_damaged }
}

/// The bytes of the whole, sealed segment: good frames at their positions, *lost* ones between. Returns them, their footer and what is
/// lost.
fn assemble(
    part: &Part,
    end: u64,
    next_chain: Option<[u8; 32]>,
    chain: [u8; 32],
    previous: [u8; 32],
) -> (Vec<u8>, Option<Footer>, Vec<(u64, u64)>) {
    let source = part.bytes.as_deref().unwrap_or_default();
    let header = Header { chain, ..part.header };
    let mut out = Rebuilt {
        bytes: header.encode().to_vec(),
        offsets: Vec::new(),
        next: part.header.first,
        chain,
        epoch: header.epoch,
        lost: Vec::new(),
    };
    for found in part.frames.iter().filter(|found| found.head.last() < end) {
        out.give_up(part.id, found.head.first, None);
        let mut frame = source.get(found.offset..found.end()).unwrap_or_default().to_vec();
        out.epoch = out.epoch.max(found.head.epoch);
        frame::reseat(&mut frame, part.id, out.bytes.len() as u64, out.epoch);
        if found.head.is_lost {
            out.offsets.extend((0..found.head.count).map(|_| segment::LOST_OFFSET));
        } else {
            let base = u32::try_from(out.bytes.len()).unwrap_or(u32::MAX);
            out.offsets.extend(frame::record_offsets(&frame, found.head.count).map(|offset| base.saturating_add(offset)));
        }
        out.bytes.extend_from_slice(&frame);
        out.next = found.head.last() + 1;
        out.chain = found.head.chain;
    }
    out.give_up(part.id, end, next_chain);
    let chain = next_chain.unwrap_or(out.chain);
    let data_end = out.bytes.len() as u64;
    for offset in &out.offsets {
        out.bytes.extend_from_slice(&offset.to_le_bytes());
    }
    out.bytes.resize(out.bytes.len().next_multiple_of(8), 0);
    let footer = Footer {
        log_id: part.header.log_id,
        segment: part.id,
        first: part.header.first,
        count: end - part.header.first,
        data_end,
        first_recorded_at: part.footer.map_or(0, |footer| footer.first_recorded_at),
        last_recorded_at: part.footer.map_or(0, |footer| footer.last_recorded_at),
        epoch: out.epoch,
        is_trimmed: false,
        chain,
        content: *blake3::hash(&out.bytes).as_bytes(),
        previous,
    };
    out.bytes.extend_from_slice(&footer.encode());
    (out.bytes, Some(footer), out.lost)
}

struct Rebuilt {
    bytes: Vec<u8>,
    offsets: Vec<u32>,
    next: u64,
    chain: [u8; 32],
    epoch: u32,
    lost: Vec<(u64, u64)>,
}

impl Rebuilt {
    /// Marks everything up to `end` (exclusive) as lost. `chain` is the value that what follows was built on, if it is known.
    fn give_up(&mut self, segment: u64, end: u64, chain: Option<[u8; 32]>) {
        if self.next >= end {
            return;
        }
        self.lost.push((self.next, end - 1));
        while self.next < end {
            let count = (end - self.next).min(LOST_EVENTS_MAX as u64);
            let mut frame = frame::lost(self.next, u32::try_from(count).unwrap_or(u32::MAX));
            let chain = chain.unwrap_or(self.chain);
            let seat = Seat { segment, offset: self.bytes.len() as u64, epoch: self.epoch, durable_upto: self.next - 1, chain };
            self.chain = frame::seat(&mut frame, &seat);
            self.bytes.extend_from_slice(&frame);
            self.offsets.extend((0..count).map(|_| segment::LOST_OFFSET));
            self.next += count;
        }
    }
}

/// Copies the file aside, then puts the whole one in its place.
fn replace(disk: &Arc<dyn Disk>, part: &Part, whole: &[u8]) -> Result<(), Error> {
    let path = segment::path(part.id);
    let kept = format!("{path}.damaged");
    (|| -> io::Result<()> {
        if let Ok(file) = disk.open(&path) {
            let length = usize::try_from(file.len()?).unwrap_or(0);
            let mut bytes = vec![0; length];
            read_exact_at(&*file, &mut bytes, 0)?;
            write_new(disk, &kept, &bytes)?;
        }
        write_new(disk, segment::FRESH, whole)?;
        disk.rename(segment::FRESH, &path)?;
        disk.sync_dir(LOG_DIR)
    })()
    .map_err(|error| Error::io(format!("replace {path}"), error))
}

/// The segment that a log goes on in: empty, behind everything that was kept or given up.
fn begin(disk: &Arc<dyn Disk>, header: &Header) -> Result<(), Error> {
    let path = segment::path(header.segment);
    let mut bytes = header.encode().to_vec();
    bytes.resize(usize::try_from(EMPTY_CAPACITY).unwrap_or(0), 0);
    (|| -> io::Result<()> {
        write_new(disk, segment::FRESH, &bytes)?;
        disk.rename(segment::FRESH, &path)?;
        disk.sync_dir(LOG_DIR)
    })()
    .map_err(|error| Error::io(format!("begin {path}"), error))
}

fn write_new(disk: &Arc<dyn Disk>, path: &str, bytes: &[u8]) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = disk.create_new(path)?;
    write_all_at(&*file, bytes, 0)?;
    file.sync_data()
}

fn read(disk: &Arc<dyn Disk>, path: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let length = file.len()?.min(super::recover::SEGMENT_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}

const EMPTY_CAPACITY: u64 = 4096;
