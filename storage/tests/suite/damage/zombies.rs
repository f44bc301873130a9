//! Can a frame that was cut come back to life?

use super::Fixture;
use super::frames;
use super::reseal;
use crate::world::check;
use crate::world::fill;
use crate::world::options;

/// Two frames that nobody was told of, the first of them broken: both are cut. Then the store goes on, and the old bytes come back.
pub(crate) fn check_old_bytes_come_back(disk_is_full: bool, bytes: usize) -> Result<(), String> {
    let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 3, 60))?;
    let acknowledged = fixture.contents(&fixture.newest());
    let path = fixture.newest();
    let whole = {
        let more = fixture.fork();
        let (mut store, _) = more.open().map_err(|error| format!("{error:?}"))?;
        fill(&mut store, "order-1", 10, 2, 60).map_err(|error| format!("{error:?}"))?;
        drop(store);
        more.contents(&path)
    };
    let tail = frames(&acknowledged).last().ok_or("no frame")?.end();
    fixture.disk.edit(&path, |there| {
        there.copy_from_slice(&whole);
        // The frame of position 4 is broken, so position 5 behind it is cut with it. Nothing says that 4 was synced.
        let behind = frames(&whole).into_iter().nth(4).expect("five frames");
        there[behind.offset..behind.end()].fill(0);
        there[tail + 90] ^= 1;
    });
    if disk_is_full {
        fixture.disk.limit_free(Some(0));
    }
    let opened = fixture.open();
    fixture.disk.limit_free(None);
    let (mut store, report) = opened.map_err(|error| format!("open: {error:?}"))?;
    check(report.damage.is_none() && report.committed.get() == 3, || format!("{report:?}"))?;
    fill(&mut store, "order-2", 20, 1, bytes).map_err(|error| format!("{error:?}"))?;
    let events = super::all(&store.reader())?;
    drop(store);
    // The old sectors are back: behind what was written since, if that is in the same file.
    fixture.disk.edit(&path, |there| {
        let end = frames(there).last().map_or(tail, |frame| frame.end());
        there[end..].copy_from_slice(&whole[end..]);
    });
    let fixture = Fixture { events, ..fixture };
    fixture.opens_with(4).map(drop)
}

#[test]
fn l17_zombie_tail_is_not_revived() {
    for bytes in [1, 20, 60, 61, 140, 400] {
        check_old_bytes_come_back(false, bytes).unwrap_or_else(|why| panic!("{bytes} bytes: {why}"));
    }
}

#[test]
fn l17_zombie_tail_is_not_revived_when_the_disk_was_full() {
    for bytes in [1, 20, 60, 61, 140, 400] {
        check_old_bytes_come_back(true, bytes).unwrap_or_else(|why| panic!("{bytes} bytes: {why}"));
    }
}

/// Changes the frame that nobody was told of, makes its checksum right, and expects that it is cut.
/// `change` is given the frame and the chain value before it.
fn forge(change: impl Fn(&mut [u8], [u8; 32])) -> Result<(), String> {
    let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 3, 60))?.unacknowledged(60)?;
    // A recovery raises the epoch, so that there is an earlier one; then one more frame that nobody is told of.
    let (store, report) = fixture.open().map_err(|error| format!("{error:?}"))?;
    check(report.committed.get() == 4, || format!("{report:?}"))?;
    let events = super::all(&store.reader())?;
    drop(store);
    let fixture = Fixture { events, ..fixture };
    let fixture = fixture.unacknowledged_again()?;
    let path = fixture.newest();
    let id = fixture.segment_paths().len() as u64;
    let there = frames(&fixture.contents(&path));
    let [.., before, tail] = there[..] else { return Err("too few frames".to_owned()) };
    check(tail.first == 5, || format!("the tail begins at {}", tail.first))?;
    fixture.disk.edit(&path, |bytes| {
        let chain = bytes[before.offset + 40..before.offset + 72].try_into().expect("32 bytes");
        change(&mut bytes[tail.offset..tail.end()], chain);
        reseal(bytes, tail, id);
    });
    fixture.opens_with(4).map(drop)
}

pub(crate) fn check_earlier_epoch() -> Result<(), String> {
    forge(|frame, _| frame[16..20].copy_from_slice(&1u32.to_le_bytes()))
}

#[test]
fn l17_frame_of_an_earlier_epoch_is_cut() {
    check_earlier_epoch().expect("cut");
}

pub(crate) fn check_foreign_chain() -> Result<(), String> {
    forge(|frame, _| frame[40] ^= 1)
}

#[test]
fn l17_frame_whose_chain_does_not_follow_is_cut() {
    check_foreign_chain().expect("cut");
}

pub(crate) fn check_gap() -> Result<(), String> {
    forge(|frame, chain| {
        frame[24] += 1;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&chain);
        hasher.update(&frame[12..16]);
        hasher.update(&frame[20..32]);
        hasher.update(&frame[72..]);
        frame[40..72].copy_from_slice(hasher.finalize().as_bytes());
    })
}

#[test]
fn l17_frame_behind_a_gap_is_cut() {
    check_gap().expect("cut");
}

/// Without a change the frame is taken, so the tests above fail for the reason they give.
#[test]
fn l17_unchanged_frame_is_kept() {
    let cut = forge(|_, _| {}).expect_err("the frame is whole");
    assert!(cut.contains("opened at 5"), "{cut}");
}
