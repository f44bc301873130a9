//! What of segments that nobody writes to any more?

use std::collections::BTreeSet;

use factum_storage::Direction;
use factum_storage::Error;
use factum_storage::Filter;
use factum_storage::Position;
use factum_storage::disk::sim::Rng;

use super::FOOTER_BYTES;
use super::Fixture;
use super::HEADER_BYTES;
use super::all;
use super::frames;
use super::segment;
use crate::world::check;
use crate::world::fill;
use crate::world::options;

/// Turns over each bit of the bytes from quarter `part` of a sealed segment of 64 KiB and asks for a proof.
fn flip_quarter(part: usize) {
    let fixture = Fixture::sealed(71_250).expect("a fixture").without_index();
    let path = segment(2);
    let length = fixture.contents(&path).len();
    assert!(length * 8 >= 524_288, "{length} bytes are too few");
    for byte in part * length / 4..(part + 1) * length / 4 {
        for bit in 0..8 {
            flip_is_proven(&fixture, &path, (byte * 8 + bit) as u64).unwrap_or_else(|why| panic!("bit {bit} of byte {byte}: {why}"));
        }
    }
}

fn flip_is_proven(fixture: &Fixture, path: &str, bit: u64) -> Result<(), String> {
    fixture.disk.flip_bit(path, bit);
    let damages = fixture.damages();
    fixture.disk.heal(path);
    check(!damages.is_empty(), || "nobody noticed".to_owned())?;
    check(damages.iter().all(|damage| damage.file.is_empty() || damage.file == path), || format!("another file is blamed too: {damages:?}"))
}

#[test]
fn l11_bit_flip_at_every_bit_of_a_sealed_segment_first_quarter() {
    flip_quarter(0);
}

#[test]
fn l11_bit_flip_at_every_bit_of_a_sealed_segment_second_quarter() {
    flip_quarter(1);
}

#[test]
fn l11_bit_flip_at_every_bit_of_a_sealed_segment_third_quarter() {
    flip_quarter(2);
}

#[test]
fn l11_bit_flip_at_every_bit_of_a_sealed_segment_last_quarter() {
    flip_quarter(3);
}

/// A store that is open meets a flip in each byte: it answers with the right events or with an error, and well again once the flip is gone.
#[test]
fn l11_bit_flip_under_an_open_store_never_reads_as_another_event() {
    let fixture = Fixture::sealed(20_000).expect("a fixture");
    let (store, _) = fixture.open().expect("opens");
    let (reader, path) = (store.reader(), segment(2));
    let everything = Filter::default();
    let read = || reader.read_events(&everything, Position::new(4), Direction::Forward, 1000, 1 << 20).map(|page| page.events);
    let right = read().expect("nothing is wrong yet");
    assert!(right.len() > 50);
    let length = fixture.contents(&path).len();
    let mut noticed = 0;
    for byte in 0..length {
        fixture.disk.flip_bit(&path, (byte * 8 + byte % 8) as u64);
        match read() {
            Ok(events) => assert_eq!(events, right, "byte {byte}"),
            Err(Error::Corrupt(damage)) => {
                assert_eq!(damage.file, path);
                noticed += 1;
            }
            Err(other) => panic!("byte {byte}: {other:?}"),
        }
        fixture.disk.heal(&path);
    }
    assert!(noticed > length / 2, "only {noticed} of {length} flips were noticed by reading");
    assert_eq!(read().expect("well again"), right);
}

/// A flip that is there when the store opens: whether open notices or not, no wrong event is read and no other segment suffers.
#[test]
fn l11_store_that_opens_on_a_flipped_bit_reads_no_wrong_event() {
    let fixture = Fixture::sealed(8_000).expect("a fixture");
    for id in 1..=3 {
        let path = segment(id);
        let length = fixture.contents(&path).len();
        for byte in (0..length).step_by(13) {
            fixture.disk.flip_bit(&path, (byte * 8 + byte % 8) as u64);
            check_flipped(&fixture).unwrap_or_else(|why| panic!("{path}, byte {byte}: {why}"));
            fixture.disk.heal(&path);
        }
    }
}

fn check_flipped(fixture: &Fixture) -> Result<(), String> {
    let fixture = fixture.fork();
    let before = fixture.segment_paths();
    let (store, _) = fixture.open().map_err(|error| format!("open: {error:?}"))?;
    fixture.reads_right(&store.reader())?;
    check(fixture.segment_paths() == before, || "open changed which segments there are".to_owned())
}

fn cut_to(fixture: &Fixture, path: &str, length: usize) -> Result<(), String> {
    let fixture = fixture.fork();
    fixture.disk.edit(path, |bytes| bytes.resize(length, 0));
    fixture.opens_damaged(path)
}

pub(crate) fn check_lengths() -> Result<(), String> {
    let fixture = Fixture::sealed(8_000)?;
    for id in 1..=3 {
        let path = segment(id);
        let (length, capacity) = (fixture.contents(&path).len(), if id == 2 { 0 } else { 4096 });
        let shorter = [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 90, length / 2, length - FOOTER_BYTES, length - 8, length - 1];
        let longer = [length + 1, length + 8, length + FOOTER_BYTES, length + 4096];
        for wrong in shorter.into_iter().chain(longer).filter(|wrong| *wrong != capacity) {
            cut_to(&fixture, &path, wrong).map_err(|why| format!("{path} with {wrong} instead of {length} bytes: {why}"))?;
        }
    }
    Ok(())
}

#[test]
fn l14_sealed_segment_truncated_extended_or_empty() {
    check_lengths().expect("found");
}

/// Each segment missing, copied over another, exchanged with another, from another log, copied to a new name.
pub(crate) fn check_misplaced() -> Result<(), String> {
    let fixture = Fixture::sealed(8_000)?;
    let other = Fixture::with(factum_storage::Options { new_log_id: [9; 16], ..options() }, |store| {
        fill(store, "order-1", 1, 30, 300)?;
        while store.maintainer().step()? {}
        Ok(())
    })?;
    let breaks = |what: String, names: &str, act: &dyn Fn(&Fixture)| {
        for with_index in [true, false] {
            let broken = if with_index { fixture.fork() } else { fixture.fork().without_index() };
            act(&broken);
            broken.opens_damaged(names).map_err(|why| format!("{what}, with index: {with_index}: {why}"))?;
        }
        Ok::<_, String>(())
    };
    for id in 1..=4 {
        breaks(format!("{id} is missing"), ".seg", &|broken| broken.disk.erase(&segment(id)))?;
        breaks(format!("{id} is of another log"), &segment(id), &|broken| broken.disk.put(&segment(id), &other.contents(&segment(id))))?;
        for to in (1..=6).filter(|to| *to != id) {
            breaks(format!("{id} is copied to {to}"), ".seg", &|broken| broken.disk.duplicate(&segment(id), &segment(to)))?;
        }
        for with in (1..=4).filter(|with| *with > id) {
            breaks(format!("{id} is exchanged with {with}"), ".seg", &|broken| broken.disk.swap(&segment(id), &segment(with)))?;
        }
    }
    breaks("2 and 3 are missing".to_owned(), ".seg", &|broken| {
        broken.disk.erase(&segment(2));
        broken.disk.erase(&segment(3));
    })?;
    breaks("all but the newest are missing".to_owned(), ".seg", &|broken| (1..=3).for_each(|id| broken.disk.erase(&segment(id))))
}

#[test]
fn l15_segment_missing_duplicated_swapped_or_of_another_log() {
    check_misplaced().expect("found");
}

/// A segment from a shard that has the same positions: only the log's id and the chain tell.
#[test]
fn l15_segment_of_a_twin_with_the_same_id_is_told_by_its_chain() {
    let fixture = Fixture::sealed(8_000).expect("a fixture");
    let twin = Fixture::sealed_for("other", 8_000).expect("a twin");
    assert_eq!(fixture.events.len(), twin.events.len());
    for id in 1..=3 {
        let broken = fixture.fork().without_index();
        broken.disk.put(&segment(id), &twin.contents(&segment(id)));
        broken.opens_read_only(".seg", false).unwrap_or_else(|why| panic!("segment {id} is the twin's: {why}"));
    }
}

/// The newest segment is gone, and the one before it was not sealed yet: the index remembers.
#[test]
fn l15_newest_segment_missing_before_the_one_before_it_was_sealed() {
    let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 20, 300)).expect("a fixture");
    assert!(fixture.segment_paths().len() >= 2);
    fixture.disk.erase(&fixture.newest());
    fixture.opens_damaged(".seg").expect("found");
}

/// Every 4 KiB block of a sealed segment, written over every other place of its kind.
pub(crate) fn check_misdirected() -> Result<(), String> {
    let fixture = Fixture::sealed(24_000)?.without_index();
    let path = segment(2);
    let bytes = fixture.contents(&path);
    let blocks = bytes.len() / 4096;
    for from in 0..blocks {
        for to in (0..blocks).filter(|to| *to != from) {
            let broken = fixture.fork();
            broken.disk.edit(&path, |there| there[to * 4096..(to + 1) * 4096].copy_from_slice(&bytes[from * 4096..(from + 1) * 4096]));
            check(!broken.damages().is_empty(), || format!("block {from} was written over block {to}, and nobody noticed"))?;
        }
    }
    // A whole frame, over one of another segment and over one of its own.
    for (id, other) in [(1, 3), (3, 1)] {
        let frame = *frames(&fixture.contents(&segment(id))).first().ok_or("no frame")?;
        let bytes = fixture.contents(&segment(id));
        for at in frames(&fixture.contents(&segment(other))) {
            let broken = fixture.fork();
            broken.disk.edit(&segment(other), |there| {
                let end = (at.offset + frame.length).min(there.len());
                there[at.offset..end].copy_from_slice(&bytes[frame.offset..frame.offset + end - at.offset]);
            });
            check(!broken.damages().is_empty(), || format!("a frame of {id} was written into {other}, and nobody noticed"))?;
        }
    }
    Ok(())
}

#[test]
fn l16_misdirected_write_of_a_valid_block() {
    check_misdirected().expect("found");
}

/// The segment right before the newest, which recovery is not about: any flip in it is found at open.
pub(crate) fn check_second_to_last(step: usize) -> Result<(), String> {
    let fixture = Fixture::sealed(8_000)?;
    let path = segment(3);
    let length = fixture.contents(&path).len();
    for byte in (0..length).step_by(step) {
        let broken = fixture.fork();
        broken.disk.flip_bit(&path, (byte * 8 + byte % 8) as u64);
        broken.opens_damaged(&path).map_err(|why| format!("sealed, byte {byte}: {why}"))?;
    }
    let unsealed = Fixture::with(options(), |store| fill(store, "order-1", 1, 15, 300))?;
    let paths = unsealed.segment_paths();
    let path = paths.iter().rev().nth(1).ok_or("one segment only")?;
    let end = frames(&unsealed.contents(path)).last().ok_or("no frame")?.end();
    for byte in (0..end).step_by(step) {
        let broken = unsealed.fork();
        broken.disk.flip_bit(path, (byte * 8 + byte % 8) as u64);
        broken.opens_damaged(path).map_err(|why| format!("not sealed, byte {byte}: {why}"))?;
    }
    Ok(())
}

#[test]
fn l22_second_to_last_segment_damaged_is_found_at_open() {
    check_second_to_last(3).expect("found");
}

/// The offset table of a sealed segment leads to another record, somewhere or next door: the record knows that it stands elsewhere.
pub(crate) fn check_exchanged_offsets() -> Result<(), String> {
    let fixture = Fixture::sealed(8_000)?;
    let path = segment(2);
    let count = usize::try_from(frames(&fixture.contents(&path))[0].count).expect("small");
    let mut rng = Rng::new(1);
    for _ in 0..50 {
        let (one, other) = (rng.index(count - 1), rng.index(count));
        let broken = fixture.fork();
        let is_exchange = rng.chance(50);
        broken.disk.edit(&path, |bytes| {
            let table = bytes.len() - FOOTER_BYTES - (count * 4).next_multiple_of(8);
            if is_exchange {
                for at in 0..4 {
                    bytes.swap(table + one * 4 + at, table + other * 4 + at);
                }
            } else {
                bytes.copy_within(table + (one + 1) * 4..table + (one + 2) * 4, table + one * 4);
            }
        });
        let (store, _) = broken.open().map_err(|error| format!("open: {error:?}"))?;
        broken.reads_right(&store.reader())?;
    }
    Ok(())
}

#[test]
fn l11_exchanged_offsets_never_read_as_another_event() {
    check_exchanged_offsets().expect("found");
}

/// Repair gives up what is damaged and nothing else, says what, and the store takes appends again.
#[test]
fn l11_repair_gives_up_the_damaged_positions_and_no_more() {
    let fixture = Fixture::sealed(8_000).expect("a fixture");
    let path = segment(3);
    let frame = frames(&fixture.contents(&path))[1];
    fixture.disk.edit(&path, |bytes| bytes[frame.offset + 100] ^= 1);
    fixture.opens_damaged(&path).expect("found");
    let report = factum_storage::repair(std::sync::Arc::new(fixture.disk.clone()), &mut |_| {}).expect("repairs");
    assert_eq!(report.lost, [(Position::new(frame.first), Position::new(frame.first + frame.count - 1))]);
    let (mut store, opened) = fixture.open().expect("opens");
    assert_eq!(opened.damage, None);
    let expected: Vec<_> = fixture.events.iter().filter(|event| event.position().get() != frame.first).cloned().collect();
    assert_eq!(all(&store.reader()).expect("reads"), expected);
    fill(&mut store, "order-3", 8000, 1, 10).expect("takes appends again");
    let positions: BTreeSet<u64> = all(&store.reader()).expect("reads").iter().map(|event| event.position().get()).collect();
    assert!(positions.contains(&(fixture.events.len() as u64 + 1)), "{positions:?}");
    drop(store);
    assert_eq!(fixture.damages(), []);
}
