//! What of bytes that mean harm: lengths of 4 GiB, zero, negative, tables that point elsewhere?

use std::fs;
use std::path::PathBuf;

use factum_storage::disk::sim::Rng;
use factum_storage::fuzzing;

use crate::damage::FOOTER_BYTES;
use crate::damage::Fixture;
use crate::damage::HEADER_BYTES;
use crate::damage::frames;
use crate::damage::reseal;
use crate::damage::segment;
use crate::world::check;
use crate::world::fill;
use crate::world::options;

/// Numbers that overflow, underflow or ask for too much, wherever they are put.
const HOSTILE: [u64; 14] =
    [0, 1, 7, 79, 80, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_fff8, 64 << 20, (64 << 20) + 8, 1 << 40, u64::MAX - 1, u64::MAX];

/// Puts a hostile number into a field and makes the checksum around it right, then opens, reads and proves.
fn with_field(fixture: &Fixture, id: u64, at: usize, bytes: usize, value: u64) -> Result<(), String> {
    let forged = fixture.fork();
    forged.disk.edit(&segment(id), |file| {
        let there = frames(file);
        file[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
        let footer = file.len() - FOOTER_BYTES;
        if at < HEADER_BYTES {
            seal(&mut file[..HEADER_BYTES]);
        } else if let Some(frame) = there.iter().find(|frame| (frame.offset..frame.end()).contains(&at)) {
            reseal(file, *frame, id);
        } else if at >= footer {
            seal(&mut file[footer..]);
        }
    });
    let before = peak_kib();
    if let Ok((store, _)) = forged.open() {
        forged.reads_right(&store.reader())?;
    }
    forged.damages();
    let grown = peak_kib().saturating_sub(before);
    check(grown < PEAK_KIB_MAX, || format!("asked for {grown} KiB"))
}

fn seal(bytes: &mut [u8]) {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[8..12]);
    hasher.update(&bytes[16..]);
    bytes[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
}

/// The most address space that this process has asked for, so also what was asked for and never touched.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn every_field(fixture: &Fixture, id: u64, fields: impl Iterator<Item = (usize, usize)>) {
    for (at, bytes) in fields {
        for value in HOSTILE {
            with_field(fixture, id, at, bytes, value).unwrap_or_else(|why| panic!("segment {id}, byte {at}, value {value:#x}: {why}"));
        }
    }
}

#[test]
fn l19_hostile_numbers_in_the_frames_of_the_newest_segment() {
    let fixture = Fixture::with(options(), |store| fill(store, "order-1", 1, 3, 60)).expect("a fixture").without_index();
    for frame in frames(&fixture.contents(&segment(1))) {
        // Length, count, epoch, flags, first position, what it says was durable, the first record's offset.
        let fields = [(8, 4), (12, 4), (16, 4), (20, 4), (24, 8), (32, 8), (72, 4)];
        every_field(&fixture, 1, fields.into_iter().map(|(at, bytes)| (frame.offset + at, bytes)));
        // And the record itself: its format, names, tags, metadata and data lengths.
        let fields = [(4, 1), (6, 1), (7, 1), (8, 2), (12, 4), (16, 4), (20, 8)];
        every_field(&fixture, 1, fields.into_iter().map(|(at, bytes)| (frame.offset + 76 + at, bytes)));
    }
}

#[test]
fn l19_hostile_numbers_in_headers_and_footers() {
    let fixture = Fixture::sealed(4_000).expect("a fixture").without_index();
    for id in 1..=4 {
        // Segment, capacity, first position, epoch.
        every_field(&fixture, id, [(32, 8), (40, 8), (48, 8), (64, 4)].into_iter());
    }
    for id in 1..=3 {
        let footer = fixture.contents(&segment(id)).len() - FOOTER_BYTES;
        // Segment, first position, count, where the data ends, epoch, flags.
        let fields = [(32, 8), (40, 8), (48, 8), (56, 8), (80, 4), (84, 4)];
        every_field(&fixture, id, fields.into_iter().map(|(at, bytes)| (footer + at, bytes)));
    }
}

/// Whoever forges a checksum can write events; nobody can make the engine panic, hang or ask for memory without bound.
#[test]
fn l19_random_forgeries_do_no_harm() {
    let before = peak_kib();
    for seed in crate::replay::seeds(1, 3_000 * crate::replay::effort()) {
        let mut rng = Rng::new(seed);
        let input: Vec<u8> = (0..7 * (1 + rng.index(6))).map(|_| rng.number().to_le_bytes()[0]).collect();
        let outcome = std::panic::catch_unwind(|| fuzzing::recover(&input));
        assert!(outcome.is_ok(), "SEED={seed}: {input:?}");
    }
    assert!(peak_kib() - before < PEAK_KIB_MAX);
}

/// What fuzzing found interesting, on every run.
#[test]
fn l19_fuzz_corpus_does_no_harm() {
    let play = |target: &str, run: fn(&[u8])| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut count = 0;
        for entry in fs::read_dir(&folder).expect("the corpus is there") {
            let path = entry.expect("a readable folder").path();
            let input = fs::read(&path).expect("a readable file");
            assert!(std::panic::catch_unwind(|| run(&input)).is_ok(), "{}", path.display());
            // Cut anywhere, it is another input.
            (0..input.len()).step_by(7).for_each(|end| run(&input[..end]));
            count += 1;
        }
        count
    };
    assert!(play("decode", fuzzing::decode) >= 5);
    assert!(play("recover", fuzzing::recover) >= 5);
}

const PEAK_KIB_MAX: u64 = 1 << 20;
