//! What of the segment that is written to: where does a torn tail end and damage begin?

use factum_storage::Error;
use factum_storage::ExpectedVersion;
use factum_storage::disk::sim::Call;
use factum_storage::disk::sim::Fault;
use factum_storage::disk::sim::Rng;
use factum_storage::disk::sim::Rule;

use super::Fixture;
use super::HEADER_BYTES;
use super::frames;
use super::segment;
use crate::replay::effort;
use crate::world::check;
use crate::world::data;
use crate::world::fill;
use crate::world::options;
use crate::world::plain;
use crate::world::transaction;

/// Every bit of header and frames that a later frame proves to have been synced.
pub(crate) fn check_flips_below_durable(step: usize) -> Result<(), String> {
    let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 6, 60))?.without_index();
    let path = fixture.newest();
    let proven = frames(&fixture.contents(&path)).last().ok_or("no frame")?.offset;
    for bit in (0..proven * 8).step_by(step) {
        let broken = fixture.fork();
        broken.disk.flip_bit(&path, bit as u64);
        let names_it = broken.damages().iter().any(|damage| damage.file == path);
        check(names_it, || format!("bit {} of byte {}: nobody noticed", bit % 8, bit / 8))?;
        if bit % 11 == 0 {
            broken.opens_damaged(&path).map_err(|why| format!("bit {} of byte {}: {why}", bit % 8, bit / 8))?;
        }
    }
    Ok(())
}

#[test]
fn l12_bit_flip_below_durable_upto_is_damage() {
    check_flips_below_durable(1).expect("found");
}

/// The last acknowledged frame: no frame follows that proves it, but the index knows of it.
#[test]
fn l12_bit_flip_in_the_last_frame_is_damage_when_the_index_knows_of_it() {
    let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 3, 60)).expect("a fixture");
    let path = fixture.newest();
    let last = *frames(&fixture.contents(&path)).last().expect("a frame");
    for bit in (last.offset * 8..last.end() * 8).step_by(3) {
        let broken = fixture.fork();
        broken.disk.flip_bit(&path, bit as u64);
        broken.opens_damaged(&path).unwrap_or_else(|why| panic!("bit {bit}: {why}"));
    }
}

/// A tail that was never acknowledged may be cut wherever it is broken; what was acknowledged stays.
pub(crate) fn check_flips_in_the_tail(step: usize) -> Result<(), String> {
    let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 4, 60))?.unacknowledged(80)?;
    let path = fixture.newest();
    let tail = *frames(&fixture.contents(&path)).last().ok_or("no frame")?;
    check(tail.first == 5, || "the fixture has no tail".to_owned())?;
    for bit in (tail.offset * 8..tail.end() * 8).step_by(step) {
        let torn = fixture.fork();
        torn.disk.flip_bit(&path, bit as u64);
        let mut store = torn.opens_with(4).map_err(|why| format!("bit {} of byte {}: {why}", bit % 8, bit / 8))?;
        fill(&mut store, "order-1", 50, 1, 60).map_err(|error| format!("append: {error:?}"))?;
        check(store.reader().committed().get() == 5, || "the next append went elsewhere".to_owned())?;
    }
    Ok(())
}

#[test]
fn l13_bit_flip_in_the_tail_is_cut() {
    check_flips_in_the_tail(3).expect("cut");
}

/// The last commit, cut at byte `at` of `batch`, with what a disk may leave behind the cut.
fn cut_batch(before: &Fixture, path: &str, offset: usize, batch: &[u8], at: usize, left: usize) -> Result<(), String> {
    let torn = before.fork();
    let mut is_whole = at == batch.len();
    torn.disk.edit(path, |bytes| {
        bytes[offset..offset + at].copy_from_slice(&batch[..at]);
        let rest = offset + at..offset + batch.len();
        match left {
            0 => bytes.truncate(offset + at),
            1 => bytes[rest].fill(0),
            2 => {
                let mut rng = Rng::new(at as u64);
                bytes[rest].fill_with(|| rng.number().to_le_bytes()[0]);
            }
            _ => {
                let old = bytes[HEADER_BYTES..offset].to_vec();
                bytes[rest].iter_mut().zip(old.iter().cycle()).for_each(|(byte, old)| *byte = *old);
            }
        }
        is_whole |= bytes.get(offset..offset + batch.len()) == Some(batch);
    });
    let mut store = torn.opens_with(if is_whole { before.events.len() } else { before.events.len() - 1 })?;
    fill(&mut store, "order-1", 60, 1, 10).map_err(|error| format!("append: {error:?}"))?;
    let expected = before.events.len() as u64 + u64::from(is_whole);
    check(store.reader().committed().get() == expected, || "the next append went elsewhere".to_owned())
}

/// A batch of `bytes` bytes that nobody was told of, cut at every `step`th byte, with four kinds of leavings behind the cut.
pub(crate) fn check_torn_batch(bytes: usize, step: usize) -> Result<(), String> {
    let options = factum_storage::Options { small_segment_bytes: bytes as u64 * 2 + 4096, ..options() };
    let acknowledged = Fixture::with(options, |store| fill(store, "order-1", 1, 3, 80))?;
    let whole = {
        let fixture = acknowledged.fork();
        let (mut store, _) = fixture.open().map_err(|error| format!("{error:?}"))?;
        fill(&mut store, "order-1", 4, 1, bytes).map_err(|error| format!("{error:?}"))?;
        let events = super::all(&store.reader())?;
        drop(store);
        Fixture { events, ..fixture }
    };
    let path = acknowledged.newest();
    let frame = *frames(&whole.contents(&path)).last().ok_or("no frame")?;
    let batch = whole.contents(&path)[frame.offset..frame.end()].to_vec();
    let before = Fixture { events: whole.events, ..acknowledged };
    for at in (0..=batch.len()).step_by(step) {
        for left in 0..4 {
            cut_batch(&before, &path, frame.offset, &batch, at, left).map_err(|why| format!("cut at byte {at}, leavings {left}: {why}"))?;
        }
    }
    Ok(())
}

#[test]
fn l2_last_batch_cut_at_every_byte() {
    check_torn_batch(500, 1).expect("cut");
}

#[test]
fn l2_last_batch_of_64_kib_cut() {
    let step = if effort() > 1 { 1 } else { 443 };
    check_torn_batch(64 << 10, step).expect("cut");
}

/// A commit lands elsewhere in the file and the disk says that all is well: the next commit's frame gives it away.
pub(crate) fn check_misdirected_commit() -> Result<(), String> {
    for target in [0, 64, 128, 200, 2048, 3000] {
        let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 3, 60))?;
        let (mut store, _) = fixture.open().map_err(|error| format!("{error:?}"))?;
        fixture.disk.add_rule(Rule::next(Call::Write, Fault::Misdirect(target)).on(".seg"));
        fill(&mut store, "order-1", 10, 2, 60).map_err(|error| format!("{error:?}"))?;
        drop(store);
        let broken = Fixture { disk: fixture.disk.restart(), ..fixture };
        broken.opens_damaged(".seg").map_err(|why| format!("to {target}: {why}"))?;
    }
    Ok(())
}

#[test]
fn l16_misdirected_commit_is_damage() {
    check_misdirected_commit().expect("found");
}

/// A segment of a newer format is not touched, and the message says who can read it.
#[test]
fn l20_newer_format_is_refused() {
    let fixture = Fixture::sealed(8_000).expect("a fixture");
    for id in 1..=4 {
        let newer = fixture.fork();
        newer.disk.edit(&segment(id), |bytes| {
            bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&bytes[8..12]);
            hasher.update(&bytes[16..HEADER_BYTES]);
            bytes[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
        });
        let before = newer.contents(&segment(id));
        match newer.open().err() {
            Some(Error::UnknownFormat { file, found: 2, known: 1 }) => assert_eq!(&*file, segment(id)),
            other => panic!("segment {id}: {other:?}"),
        }
        assert_eq!(newer.contents(&segment(id)), before);
    }
}

/// A transaction over several streams is one frame: however it is torn, its streams agree.
#[test]
fn l2_torn_transaction_leaves_no_stream_behind() {
    let appends = ["order-1", "order-2", "user-1"].iter().zip(0..).map(|(stream, n)| {
        let mut transaction = transaction(stream, ExpectedVersion::Any, vec![plain(20 + n, &data(n, 70))]);
        transaction.appends.remove(0)
    });
    let transaction = factum_storage::Transaction { appends: appends.collect(), conditions: Vec::new() };
    let acknowledged = Fixture::with(options(), |store| fill(store, "order-1", 1, 2, 60)).expect("a fixture");
    let whole = acknowledged.fork();
    let (mut store, _) = whole.open().expect("opens");
    store.stage(&transaction).expect("stages");
    store.commit().expect("commits");
    drop(store);
    let path = acknowledged.newest();
    let frame = *frames(&whole.contents(&path)).last().expect("a frame");
    let batch = whole.contents(&path);
    for at in frame.offset..frame.end() - 8 {
        let torn = acknowledged.fork();
        torn.disk.edit(&path, |bytes| bytes[frame.offset..at].copy_from_slice(&batch[frame.offset..at]));
        torn.opens_with(2).unwrap_or_else(|why| panic!("cut at byte {at}: {why}"));
    }
}
