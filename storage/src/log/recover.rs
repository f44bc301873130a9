//! What does a directory hold: a whole log, a torn tail to cut, or damage to report? See `docs/format.md`, "What is torn and what is
//! damage".

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use parking_lot::RwLock;

use crate::Damage;
use crate::Disk;
use crate::DiskFile;
use crate::Error;
use crate::Position;
use crate::disk::read_exact_at;
use crate::disk::write_all_at;
use crate::plant;
use crate::plant::Plant;

use super::Log;
use super::OpenTable;
use super::Preparation;
use super::Segment;
use super::frame;
use super::frame::BadFrame;
use super::reader::TableCache;
use super::scan::Expected;
use super::scan::FoundFrame;
use super::scan::Scan;
use super::scan::scan;
use super::segment;
use super::segment::Bad;
use super::segment::Footer;
use super::segment::HEADER_BYTES;
use super::segment::Header;
use super::segment::LOG_DIR;
use super::writer::Batch;
use super::writer::Failure;
use super::writer::LogWriter;
use super::writer::Sizes;
use super::writer::Tip;
use super::writer::begin_segment;
use super::writer::create_zeroed;
use super::writer::seat_frames;

/// How a log is opened.
pub(crate) struct Opening {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) sizes: Sizes,
    /// The log id if there is no log yet.
    pub(crate) new_log_id: [u8; 16],
    /// The last position that the index of this log has; 0 if there is none that is usable.
    pub(crate) index_durable: u64,
    /// Change nothing on disk, whatever is found.
    pub(crate) inspect_only: bool,
    pub(crate) prepare: bool,
}

/// An opened log.
pub(crate) struct Recovered {
    pub(crate) log: Arc<Log>,
    /// `None` if the log is read-only.
    pub(crate) writer: Option<LogWriter>,
    pub(crate) cut_bytes: u64,
}

/// A segment file as found.
struct Candidate {
    header: Header,
    file: Arc<dyn DiskFile>,
    length: u64,
    footer: Option<Footer>,
}

/// The newest segment, read as a whole.
struct Newest {
    bytes: Vec<u8>,
    scan: Scan,
    /// The highest position that is known to be synced.
    durable: u64,
    /// How many good frames end at or below it.
    proven: usize,
}

/// Opens the log of a shard's directory, making it if there is none.
pub(crate) fn recover(opening: Opening) -> Result<Recovered, Error> {
    let disk = &opening.disk;
    if !opening.inspect_only {
        disk.create_dir(LOG_DIR).map_err(|error| Error::io("create log", error))?;
    }
    let names = disk.list(LOG_DIR).map_err(|error| Error::io("list log", error))?;
    let ids: Vec<u64> = names.iter().filter_map(|name| segment::id_of(name)).collect();
    let mut damages = Vec::new();
    let candidates = read_candidates(&opening, &ids, &mut damages)?;
    if !opening.inspect_only {
        remove_temporaries(disk, &names)?;
    }
    if candidates.is_empty() {
        return begin_log(opening, damages);
    }
    check_continuity(&candidates, &mut damages);
    let mut segments = Vec::new();
    let last_sealed_id = candidates.iter().rev().find(|candidate| candidate.footer.is_some()).map(|candidate| candidate.header.segment);
    let mut walk = candidates.into_iter().peekable();
    let mut last_sealed: Option<Footer> = None;
    let mut newest = None;
    while let Some(candidate) = walk.next() {
        let next_first = walk.peek().map(|next| next.header.first);
        match (candidate.footer, next_first) {
            (Some(footer), _) => {
                let segment = Segment::new(candidate.header, candidate.file, OpenTable::default(), Some(footer));
                if last_sealed_id == Some(segment.header.segment) {
                    damages.extend(super::check::check_segment(&segment)?);
                }
                if next_first.is_none() {
                    damages.push(segment.damage(
                        candidate.length,
                        footer.first + footer.count,
                        footer.first + footer.count,
                        MISSING_NEWEST,
                    ));
                }
                last_sealed = Some(footer);
                segments.push(segment);
            }
            (None, Some(next_first)) => segments.push(read_unsealed(candidate, next_first, &mut damages)?),
            (None, None) => newest = Some(candidate),
        }
    }
    let Some(newest) = newest else {
        // Only damage leads here: the newest segment is missing or not readable.
        let last = last_sealed.map_or(0, |footer| footer.first + footer.count - 1);
        let log = assemble(&opening, segments, damages, last, last_sealed.map_or([0; 32], |footer| footer.chain));
        return Ok(Recovered { log, writer: None, cut_bytes: 0 });
    };
    let inspected = read_newest(&newest, opening.index_durable, &mut damages)?;
    settle(&opening, segments, newest, inspected, damages)
}

/// The id of the log that lies on a disk, without opening it; `None` if there is no segment whose header can be read.
///
/// # Errors
///
/// [`Error::UnknownFormat`], [`Error::Io`].
pub fn log_id(disk: &Arc<dyn Disk>) -> Result<Option<[u8; 16]>, Error> {
    let names = match disk.list(LOG_DIR) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("list log", error)),
    };
    // One file that was put there from elsewhere must not speak for the rest: the id that most of them bear counts, the newest's among
    // equals.
    let mut votes: Vec<([u8; 16], u64)> = Vec::new();
    for id in names.iter().filter_map(|name| segment::id_of(name)) {
        let path = segment::path(id);
        let file = disk.open(&path).map_err(|error| Error::io(format!("open {path}"), error))?;
        if let Ok(header) = segment::read_header(&*file, &path)? {
            let count = votes.iter().position(|(log_id, _)| *log_id == header.log_id).map_or(0, |index| votes.remove(index).1);
            votes.push((header.log_id, count + 1));
        }
    }
    Ok(votes.into_iter().max_by_key(|(_, count)| *count).map(|(log_id, _)| log_id))
}

/// Opens every segment file and reads both its ends.
fn read_candidates(opening: &Opening, ids: &[u64], damages: &mut Vec<Damage>) -> Result<Vec<Candidate>, Error> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let known_id = log_id(&opening.disk)?;
    for id in ids {
        let path = segment::path(*id);
        let file = opening.disk.open(&path).map_err(|error| Error::io(format!("open {path}"), error))?;
        let length = file.len().map_err(|error| Error::io(format!("length of {path}"), error))?;
        let known_to =
            candidates.last().map_or(0, |before| before.footer.map_or(before.header.first, |footer| footer.first + footer.count));
        let mut bad = |detail: String| {
            damages.push(Damage {
                file: path.clone(),
                offset: 0,
                first: Position::new(known_to.max(1)),
                last: Position::new(u64::MAX),
                detail,
            });
        };
        let header = match segment::read_header(&*file, &path)? {
            Ok(header) => header,
            Err(Bad::Format(found)) => return Err(Error::UnknownFormat { file: path.into(), found, known: segment::FORMAT }),
            Err(reason) => {
                bad(format!("header: {}", reason.detail()));
                continue;
            }
        };
        if header.segment != *id {
            bad(format!("holds segment {}: the file was copied or renamed", header.segment));
            continue;
        }
        if known_id.is_some_and(|known| known != header.log_id) {
            bad("belongs to another log".to_owned());
            continue;
        }
        if length > SEGMENT_BYTES_MAX {
            bad(format!("has {length} bytes, more than any segment"));
            continue;
        }
        let footer = Footer::read(&*file, length).map_err(|error| Error::io(format!("read {path}"), error))?;
        let footer = footer.filter(|footer| footer.segment == *id && footer.log_id == header.log_id && footer.first == header.first);
        candidates.push(Candidate { header, file, length, footer });
    }
    Ok(candidates)
}

/// Each segment must begin where the one before it ended, in number, position, chain and seal.
fn check_continuity(candidates: &[Candidate], damages: &mut Vec<Damage>) {
    if plant::active(Plant::ForgetSealContinuity) {
        return;
    }
    if let Some(first) = candidates.first()
        && (first.header.segment != 1 || first.header.first != 1)
    {
        let detail = format!("segments before {} are missing", first.header.segment);
        damages.push(missing(1, 1, first.header.first.saturating_sub(1), detail));
    }
    for (before, after) in candidates.iter().zip(candidates.iter().skip(1)) {
        let id = before.header.segment + 1;
        let end = before.footer.map_or(before.header.first, |footer| footer.first + footer.count);
        if after.header.segment != id {
            damages.push(missing(
                id,
                end,
                after.header.first.saturating_sub(1),
                format!("segments {id} to {} are missing", after.header.segment - 1),
            ));
            continue;
        }
        let Some(footer) = before.footer else { continue };
        let path = segment::path(after.header.segment);
        let mut broken = |detail: &str| {
            let first = Position::new(after.header.first.min(end));
            let last = Position::new(after.header.first.max(end));
            damages.push(Damage { file: path.clone(), offset: 0, first, last, detail: detail.to_owned() });
        };
        if after.header.first != end {
            broken("does not begin where the segment before it ends");
        } else if after.header.chain != footer.chain {
            broken("its chain does not follow from the segment before it");
        } else if after.footer.is_some_and(|sealed| sealed.previous != footer.digest()) {
            broken("its seal does not follow from the segment before it");
        }
    }
}

/// A segment that has a successor but was not sealed yet: it holds the positions up to the successor's first.
fn read_unsealed(candidate: Candidate, next_first: u64, damages: &mut Vec<Damage>) -> Result<Segment, Error> {
    let header = candidate.header;
    let bytes = read_all(&candidate)?;
    let mut found = scan(&bytes, expected(&header, &bytes));
    let keep = found.frames.iter().take_while(|frame| frame.head.last() < next_first).count();
    let mut table = table_of(&bytes, &header, found.frames.get(..keep).unwrap_or_default());
    let last = found.frames.get(..keep).and_then(<[_]>::last).map_or(header.first.saturating_sub(1), |frame| frame.head.last());
    let offset = table.end;
    let end = candidate.header.capacity;
    let complete = last + 1 == next_first;
    if !complete {
        found.cut(keep, HEADER_BYTES, found.bad.unwrap_or(BadFrame("frames are missing")));
        add_stragglers(&bytes, &header, &found.stragglers, &mut table);
    }
    let segment = Segment::new(header, candidate.file, table, None);
    if !complete {
        let detail = found.bad.map_or("frames are missing", |bad| bad.0);
        let upto = found.stragglers.first().map_or(next_first - 1, |frame| frame.head.first - 1);
        damages.push(segment.damage(offset, last + 1, upto, detail));
    } else if candidate.length != end {
        // A crash between the seal's bytes and the cut to its length leaves the file as long as it was.
        damages.push(segment.damage(candidate.length, header.first, last, format!("has {} bytes instead of {end}", candidate.length)));
    }
    Ok(segment)
}

/// Reads the newest segment and finds out how much of it is proven, damaged or torn.
fn read_newest(newest: &Candidate, index_durable: u64, damages: &mut Vec<Damage>) -> Result<Newest, Error> {
    let header = newest.header;
    let bytes = read_all(newest)?;
    let mut found = scan(&bytes, expected(&header, &bytes));
    let index_durable = if plant::active(Plant::IndexAheadAccepted) { 0 } else { index_durable };
    let durable = found.proves().max(header.first - 1).max(index_durable);
    let proven = found.frames.iter().take_while(|frame| frame.head.last() <= durable).count();
    if !plant::active(Plant::IgnoreChain) {
        check_chain(&bytes, &header, &mut found, proven);
    }
    let last = found.last(header.first);
    if last < durable && !plant::active(Plant::CutAtFirstBadFrame) {
        let upto = found.stragglers.first().map_or(durable, |frame| frame.head.first - 1);
        let detail = found.bad.map_or_else(
            || format!("ends at position {last}, but position {durable} is known to have been synced"),
            |bad| format!("{}; position {durable} is known to have been synced", bad.0),
        );
        damages.push(Damage {
            file: segment::path(header.segment),
            offset: found.end as u64,
            first: Position::new(last + 1),
            last: Position::new(upto),
            detail,
        });
    }
    let proven = proven.min(found.frames.len());
    Ok(Newest { bytes, scan: found, durable, proven })
}

/// Above what is proven, a frame counts only if its chain follows: an old frame that happens to fit is found out here.
fn check_chain(bytes: &[u8], header: &Header, found: &mut Scan, proven: usize) {
    let mut chain = proven.checked_sub(1).and_then(|index| found.frames.get(index)).map_or(header.chain, |frame| frame.head.chain);
    for index in proven..found.frames.len() {
        let Some(frame) = found.frames.get(index).copied() else { return };
        let content = bytes.get(frame.offset..frame.end()).unwrap_or_default();
        if !frame.head.is_lost && frame::chain_after(&chain, content) != frame.head.chain {
            found.cut(index, HEADER_BYTES, BadFrame("frame's chain does not follow"));
            return;
        }
        chain = frame.head.chain;
    }
}

/// Puts the log together: goes on in the newest segment after a clean end, else moves what is not proven to a fresh one.
fn settle(
    opening: &Opening,
    mut segments: Vec<Segment>,
    newest: Candidate,
    inspected: Newest,
    damages: Vec<Damage>,
) -> Result<Recovered, Error> {
    let header = newest.header;
    let Newest { bytes, scan, durable, proven } = inspected;
    let last = scan.last(header.first);
    let chain = scan.frames.last().map_or(header.chain, |frame| frame.head.chain);
    let epoch = scan.frames.iter().chain(&scan.stragglers).map(|frame| frame.head.epoch).max().unwrap_or(header.epoch);
    let mut table = table_of(&bytes, &header, &scan.frames);
    let is_dirty = scan.bad.is_some() || newest.length != header.capacity;
    // Behind damage nothing is torn: what stands there may have been acknowledged.
    let cut_bytes = if is_dirty && damages.is_empty() { torn_bytes(&bytes, scan.end) } else { 0 };
    if !damages.is_empty() || opening.inspect_only {
        let readable = if damages.is_empty() { last } else { add_stragglers(&bytes, &header, &scan.stragglers, &mut table).max(last) };
        segments.push(Segment::new(header, newest.file, table, None));
        let log = assemble(opening, segments, damages, readable, chain);
        return Ok(Recovered { log, writer: None, cut_bytes });
    }
    let is_unproven = last > durable && !plant::active(Plant::TrustUnprovenTail);
    let tip = Tip { position: last, offset: scan.end as u64, epoch, chain };
    if !is_unproven && !is_dirty {
        segments.push(Segment::new(header, newest.file, table, None));
        let log = assemble(opening, segments, damages, last, chain);
        return Ok(with_writer(opening, log, tip, 0));
    }
    let kept = scan.frames.get(..proven).unwrap_or_default();
    let carried: Vec<FoundFrame> = scan.frames.get(proven..).unwrap_or_default().to_vec();
    let proven_table = table_of(&bytes, &header, kept);
    let proven_chain = kept.last().map_or(header.chain, |frame| frame.head.chain);
    let proven_last = kept.last().map_or(header.first - 1, |frame| frame.head.last());
    let file = Arc::clone(&newest.file);
    if newest.length != header.capacity {
        // Once it has a successor, any other length is damage.
        file.set_len(header.capacity).and_then(|()| file.sync_data()).map_err(|error| Error::io("restore a segment's length", error))?;
    }
    segments.push(Segment::new(header, newest.file, proven_table, None));
    let log = assemble(opening, segments, damages, proven_last, proven_chain);
    let mut batch = batch_of(&bytes, &carried);
    let proven_tip = Tip { position: proven_last, offset: 0, epoch: epoch + 1, chain: proven_chain };
    match carry_over(&log, opening.sizes, &mut batch, proven_tip, header.segment + 1) {
        Ok(tip) => Ok(with_writer(opening, log, tip, cut_bytes)),
        Err(Failure::Nothing(Error::StorageFull)) => {
            // No space for a fresh segment: the same bytes once more into the blocks they have, and zeros over what is torn.
            rewrite_in_place(&*file, &bytes, &scan, proven)
                .map_err(|error| Error::io(format!("rewrite {}", segment::path(header.segment)), error))?;
            let segments = log.segments();
            if let Some(segment) = segments.last() {
                *segment.open.write() = table;
            }
            log.publish(last, chain);
            Ok(with_writer(opening, log, Tip { epoch: epoch + 1, ..tip }, cut_bytes))
        }
        Err(Failure::Nothing(error)) => Err(error),
        Err(Failure::Unknown(error)) => Err(Error::io("begin a fresh segment", error)),
    }
}

/// Writes frames that nothing proves to be synced into a fresh segment, and makes them readable there.
fn carry_over(log: &Arc<Log>, sizes: Sizes, batch: &mut Batch, tip: Tip, id: u64) -> Result<Tip, Failure> {
    let room = HEADER_BYTES as u64 + batch.bytes.len() as u64 + segment::table_bytes(batch.events) + segment::FOOTER_BYTES as u64;
    let capacity = sizes.small.max(room.next_multiple_of(4096));
    let seated = seat_frames(batch, id, tip, HEADER_BYTES as u64, tip.position);
    let header = Header {
        log_id: log.log_id,
        segment: id,
        capacity,
        first: tip.position + 1,
        created_at: batch.recorded_at,
        epoch: tip.epoch,
        chain: tip.chain,
    };
    let full = |error: io::Error| {
        drop(log.disk.remove(segment::FRESH));
        if error.kind() == io::ErrorKind::StorageFull { Failure::Nothing(Error::StorageFull) } else { Failure::Unknown(error) }
    };
    create_zeroed(log, segment::FRESH, capacity).map_err(full)?;
    let file = begin_segment(log, segment::FRESH, &header, &batch.bytes, Plant::SkipRecoveryDirSync)?;
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(&batch.bytes);
    let found = scan(&bytes, expected(&header, &bytes));
    let table = table_of(&bytes, &header, &found.frames);
    log.push_segment(Arc::new(Segment::new(header, file, table, None)));
    log.publish(seated.position, seated.chain);
    log.seal_due.store(true, std::sync::atomic::Ordering::Release);
    Ok(seated)
}

fn rewrite_in_place(file: &dyn DiskFile, bytes: &[u8], scan: &Scan, proven: usize) -> io::Result<()> {
    let start = proven.checked_sub(1).and_then(|index| scan.frames.get(index)).map_or(HEADER_BYTES, FoundFrame::end);
    write_all_at(file, bytes.get(start..scan.end).unwrap_or_default(), start as u64)?;
    let torn = usize::try_from(torn_bytes(bytes, scan.end)).unwrap_or(0);
    write_all_at(file, &vec![0; torn], scan.end as u64)?;
    file.sync_data()
}

/// A new log with one empty segment.
fn begin_log(opening: Opening, mut damages: Vec<Damage>) -> Result<Recovered, Error> {
    let is_indexed = match opening.disk.open(INDEX_FILE) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(Error::io("look for an index", error)),
    };
    // The index is made after the log's first segment has its name for good.
    if is_indexed && damages.is_empty() {
        damages.push(missing(1, 1, u64::MAX, "there is an index, but no segment".to_owned()));
    }
    let log_id = opening.new_log_id;
    let chain = *blake3::hash(&log_id).as_bytes();
    if opening.inspect_only && damages.is_empty() {
        damages.push(missing(1, 1, 1, "there is no log here".to_owned()));
    }
    let is_damaged = !damages.is_empty();
    let log = assemble(&opening, Vec::new(), damages, 0, chain);
    if is_damaged {
        return Ok(Recovered { log, writer: None, cut_bytes: 0 });
    }
    // The name of the log's own directory must be durable before anything in it is.
    log.disk.sync_dir("").map_err(|error| Error::io("sync the shard's directory", error))?;
    let tip = Tip { position: 0, offset: 0, epoch: 1, chain };
    match carry_over(&log, opening.sizes, &mut Batch::default(), tip, 1) {
        Ok(tip) => Ok(with_writer(&opening, log, tip, 0)),
        Err(Failure::Nothing(error)) => Err(error),
        Err(Failure::Unknown(error)) => Err(Error::io("begin the first segment", error)),
    }
}

fn assemble(opening: &Opening, segments: Vec<Segment>, damages: Vec<Damage>, last: u64, chain: [u8; 32]) -> Arc<Log> {
    let log_id = segments.first().map_or(opening.new_log_id, |segment| segment.header.log_id);
    let seal_due = segments.iter().any(|segment| segment.footer().is_none());
    Arc::new(Log {
        disk: Arc::clone(&opening.disk),
        log_id,
        segments: RwLock::new(Arc::new(segments.into_iter().map(Arc::new).collect())),
        committed: AtomicU64::new(last),
        chain: Mutex::new((last, chain)),
        poison: OnceLock::new(),
        damages: damages.into_iter().map(Arc::new).collect(),
        preparation: Mutex::new(if opening.prepare { Preparation::Wanted } else { Preparation::Off }),
        seal_due: AtomicBool::new(seal_due),
        tables: TableCache::new(VecDeque::new()),
    })
}

fn with_writer(opening: &Opening, log: Arc<Log>, tip: Tip, cut_bytes: u64) -> Recovered {
    let segments = log.segments();
    let active = segments.last().map(Arc::clone);
    let writer = active.map(|active| LogWriter::new(Arc::clone(&log), active, opening.sizes, tip));
    Recovered { log, writer, cut_bytes }
}

fn remove_temporaries(disk: &Arc<dyn Disk>, names: &[String]) -> Result<(), Error> {
    for path in [segment::PREPARED, segment::FRESH] {
        if names.iter().any(|name| path.ends_with(&format!("/{name}"))) {
            disk.remove(path).map_err(|error| Error::io(format!("remove {path}"), error))?;
        }
    }
    Ok(())
}

fn read_all(candidate: &Candidate) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; usize::try_from(candidate.length).unwrap_or(0)];
    read_exact_at(&*candidate.file, &mut bytes, 0)
        .map_err(|error| Error::io(format!("read {}", segment::path(candidate.header.segment)), error))?;
    Ok(bytes)
}

fn expected(header: &Header, bytes: &[u8]) -> Expected {
    Expected { segment: header.segment, position: header.first, epoch: header.epoch, start: HEADER_BYTES, end: bytes.len() }
}

/// The offset table of these frames, which follow from each other.
fn table_of(bytes: &[u8], header: &Header, frames: &[FoundFrame]) -> OpenTable {
    let mut table = OpenTable { offsets: Vec::new(), end: HEADER_BYTES as u64, epoch: header.epoch, chain: header.chain };
    add_frames(bytes, header.first, frames, &mut table);
    table
}

/// Adds frames behind a gap; the positions between are holes. Returns the last position.
fn add_stragglers(bytes: &[u8], header: &Header, stragglers: &[FoundFrame], table: &mut OpenTable) -> u64 {
    add_frames(bytes, header.first, stragglers, table);
    header.first + table.offsets.len() as u64 - 1
}

fn add_frames(bytes: &[u8], first: u64, frames: &[FoundFrame], table: &mut OpenTable) {
    for found in frames {
        let index = usize::try_from(found.head.first.saturating_sub(first)).unwrap_or(usize::MAX);
        // A frame that claims a position far away proves nothing about how many there are.
        if index < table.offsets.len() || index > bytes.len() {
            continue;
        }
        table.offsets.resize(index, segment::LOST_OFFSET);
        if found.head.is_lost {
            let lost = (found.head.count as usize).min(LOST_EVENTS_MAX);
            table.offsets.resize(index + lost, segment::LOST_OFFSET);
        } else {
            let content = bytes.get(found.offset..found.end()).unwrap_or_default();
            let base = u32::try_from(found.offset).unwrap_or(0);
            table.offsets.extend(frame::record_offsets(content, found.head.count).map(|offset| base.saturating_add(offset)));
        }
        table.end = found.end() as u64;
        table.epoch = found.head.epoch;
        table.chain = found.head.chain;
    }
}

fn batch_of(bytes: &[u8], frames: &[FoundFrame]) -> Batch {
    let mut batch = Batch::default();
    for found in frames {
        batch.starts.push(batch.bytes.len());
        batch.bytes.extend_from_slice(bytes.get(found.offset..found.end()).unwrap_or_default());
        batch.events += u64::from(found.head.count);
    }
    batch
}

/// How far what is not zero reaches behind the last good frame.
fn torn_bytes(bytes: &[u8], end: usize) -> u64 {
    let rest = bytes.get(end..).unwrap_or_default();
    rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

fn missing(segment: u64, first: u64, last: u64, detail: String) -> Damage {
    Damage { file: segment::path(segment), offset: 0, first: Position::new(first), last: Position::new(last), detail }
}

/// No segment is larger; a file that is was not written by us.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 256 << 20;
/// The most positions that one *lost* frame stands for.
pub(crate) const LOST_EVENTS_MAX: usize = 1 << 24;
const INDEX_FILE: &str = "index.redb";
const MISSING_NEWEST: &str = "is sealed, so a segment followed it; that one is missing";
