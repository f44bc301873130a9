//! Does the simulated disk lose what a real one may lose, and nothing else?

use std::io;
use std::sync::Arc;

use super::*;
use crate::Disk;
use crate::DiskFile;
use crate::disk::read_exact_at;
use crate::disk::write_all_at;

fn file_with(disk: &SimDisk, path: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = disk.create_new(path).expect("the name is free");
    write_all_at(&*file, bytes, 0).expect("nothing is set to go wrong");
    file.sync_data().expect("nothing is set to go wrong");
    disk.sync_dir("").expect("nothing is set to go wrong");
    file
}

fn read(disk: &SimDisk, path: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).expect("small")];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}

#[test]
fn what_was_synced_stays_and_the_rest_is_lost_or_kept_as_asked() {
    let disk = SimDisk::new();
    let file = file_with(&disk, "a", b"durable");
    file.write_at(b"DUR", 0).unwrap();
    file.set_len(3).unwrap();
    assert_eq!(read(&disk, "a").unwrap(), b"DUR");
    assert_eq!(read(&disk.crash(Cut::LoseAll, 1), "a").unwrap(), b"durable");
    assert_eq!(read(&disk.restart(), "a").unwrap(), b"DUR");
    assert!(file.len().is_err() && disk.open("a").is_err(), "the old disk is off");
}

#[test]
fn a_random_cut_tears_and_reorders() {
    let disk = SimDisk::new();
    let file = file_with(&disk, "a", &[b'.'; 2048]);
    file.write_at(&[b'1'; 1024], 0).unwrap();
    file.write_at(&[b'2'; 1024], 1024).unwrap();
    let found: BTreeSet<Vec<u8>> = (0..2000).map(|seed| read(&disk.crash(Cut::Random, seed), "a").unwrap()).collect();
    let sectors = |bytes: &[u8]| bytes.chunks(512).map(|sector| char::from(sector[0])).collect::<String>();
    let whole: BTreeSet<String> = found.iter().map(|bytes| sectors(bytes)).collect();
    for expected in ["....", "1122", "11..", "..22", "1...", ".1.2", "..2."] {
        assert!(whole.contains(expected), "{expected} of {whole:?}");
    }
    assert!(found.iter().any(|bytes| bytes[511] == b'1' && bytes[0] == b'1' && bytes[1000] == b'.'), "torn inside a sector");
    assert!(found.iter().all(|bytes| bytes.len() == 2048));
}

#[test]
fn a_name_is_durable_only_once_its_directory_was_synced() {
    let disk = SimDisk::new();
    disk.create_dir("log").unwrap();
    disk.sync_dir("").unwrap();
    let file = disk.create_new("log/a.tmp").unwrap();
    file.write_at(b"x", 0).unwrap();
    file.sync_data().unwrap();
    assert!(disk.crash(Cut::LoseAll, 0).list("log").unwrap().is_empty());
    let disk = disk.restart();
    disk.rename("log/a.tmp", "log/a").unwrap();
    assert_eq!(disk.fork().crash(Cut::LoseAll, 0).list("log").unwrap(), ["a.tmp"]);
    disk.sync_dir("log").unwrap();
    disk.remove("log/a").unwrap();
    assert!(disk.list("log").unwrap().is_empty());
    assert_eq!(read(&disk.crash(Cut::LoseAll, 0), "log/a").unwrap(), b"x");
}

#[test]
fn a_directory_that_was_not_synced_above_is_lost_with_its_files() {
    let disk = SimDisk::new();
    disk.create_dir("a/b").unwrap();
    disk.create_new("a/b/c").unwrap();
    disk.sync_dir("a/b").unwrap();
    assert_eq!(disk.fork().crash(Cut::LoseAll, 0).files(), Vec::<String>::new());
    disk.sync_dir("a").unwrap();
    disk.sync_dir("").unwrap();
    assert_eq!(disk.crash(Cut::LoseAll, 0).files(), ["a/b/c"]);
}

#[test]
fn a_failed_sync_leaves_its_writes_in_doubt_for_ever() {
    let disk = SimDisk::new();
    let file = file_with(&disk, "a", b"....");
    file.write_at(b"1", 0).unwrap();
    disk.add_rule(Rule::next(Call::Sync, Fault::Eio));
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
    file.write_at(b"2", 1).unwrap();
    file.sync_data().unwrap();
    assert_eq!(read(&disk, "a").unwrap(), b"12..");
    let found: BTreeSet<Vec<u8>> = (0..200).map(|seed| read(&disk.crash(Cut::Random, seed), "a").unwrap()).collect();
    assert_eq!(found, BTreeSet::from([b".2..".to_vec(), b"12..".to_vec()]));
}

#[test]
fn a_lying_sync_keeps_nothing_and_a_misdirected_write_lands_elsewhere() {
    let disk = SimDisk::new();
    let file = file_with(&disk, "a", b"....");
    disk.add_rule(Rule::next(Call::Write, Fault::Misdirect(2)));
    disk.add_rule(Rule::next(Call::Sync, Fault::Lie).on("a"));
    assert_eq!(file.write_at(b"1", 0).unwrap(), 1);
    file.sync_data().unwrap();
    assert_eq!(read(&disk, "a").unwrap(), b"..1.");
    assert_eq!(read(&disk.crash(Cut::LoseAll, 0), "a").unwrap(), b"....");
}

#[test]
fn short_and_interrupted_calls_are_finished_by_those_who_ask_for_all() {
    let disk = SimDisk::new();
    disk.add_rule(Rule::next(Call::Write, Fault::Short(3)));
    disk.add_rule(Rule::nth(Call::Write, 1, Fault::Interrupted));
    disk.add_rule(Rule::next(Call::Read, Fault::Short(2)));
    disk.add_rule(Rule::next(Call::Read, Fault::Interrupted));
    file_with(&disk, "a", b"abcdefgh");
    assert_eq!(read(&disk, "a").unwrap(), b"abcdefgh");
}

#[test]
fn a_full_disk_takes_what_fits_and_goes_on_when_there_is_space() {
    let disk = SimDisk::new();
    let file = file_with(&disk, "a", &[1; 4096]);
    disk.limit_free(Some(4096));
    assert_eq!(disk.available().unwrap(), 4096);
    assert_eq!(file.write_at(&[2; 8192], 4000).unwrap(), 4192);
    assert_eq!(file.write_at(&[2; 1], 8192).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.write_at(&[3; 10], 0).unwrap(), 10, "what is there can be written over");
    disk.remove("a").unwrap();
    assert_eq!(disk.available().unwrap(), 8192);
    disk.limit_free(None);
    assert_eq!(file.write_at(&[2; 100], 20_000).unwrap(), 100);
}

#[test]
fn the_power_goes_at_the_call_that_was_named() {
    let disk = SimDisk::new();
    let file = file_with(&disk, "a", b"old");
    disk.power_off_at(2);
    assert!(file.len().is_ok());
    assert!(file.write_at(b"new", 0).is_err() && file.len().is_err());
    assert_eq!(read(&disk.crash(Cut::LoseAll, 0), "a").unwrap(), b"old");
    assert_eq!(read(&disk.restart(), "a").unwrap(), b"new", "the write may have been under way");
}

#[test]
fn snapshots_stand_before_each_effect_and_at_the_end() {
    let disk = SimDisk::new();
    disk.record_snapshots();
    file_with(&disk, "a", b"x");
    let snapshots = disk.take_snapshots();
    let found: Vec<Option<Vec<u8>>> = snapshots.iter().map(|snapshot| read(&snapshot.crash(Cut::KeepAll, 0), "a").ok()).collect();
    let x = Some(b"x".to_vec());
    assert_eq!(found, [None, Some(Vec::new()), x.clone(), x.clone(), x.clone()]);
    let lost: Vec<bool> = snapshots.iter().map(|snapshot| read(&snapshot.crash(Cut::LoseAll, 0), "a").is_err()).collect();
    assert_eq!(lost, [true, true, true, true, false]);
    assert_eq!(snapshots.iter().map(|snapshot| snapshot.effects).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn damage_is_an_overlay_that_heals() {
    let disk = SimDisk::new();
    let file = file_with(&disk, "a", b"abc");
    disk.flip_bit("a", 8);
    assert_eq!(read(&disk, "a").unwrap(), b"acc");
    assert_eq!(disk.contents("a").unwrap(), b"abc");
    disk.heal("a");
    assert_eq!(read(&disk, "a").unwrap(), b"abc");
    disk.flip_bit("a", 0);
    file.write_at(b"z", 0).unwrap();
    assert_eq!(read(&disk, "a").unwrap(), b"zbc");
    disk.duplicate("a", "b");
    disk.edit("b", |bytes| bytes.truncate(1));
    disk.swap("a", "b");
    assert_eq!((read(&disk, "a").unwrap(), read(&disk, "b").unwrap()), (b"z".to_vec(), b"zbc".to_vec()));
    disk.erase("a");
    assert_eq!(disk.crash(Cut::LoseAll, 0).files(), ["b"]);
}

#[test]
fn a_lock_keeps_others_out_until_it_is_dropped() {
    let disk = SimDisk::new();
    let guard = disk.lock("l", "me").unwrap();
    let refused = disk.lock("l", "you").err().expect("it is taken");
    assert_eq!((refused.kind(), refused.to_string().as_str()), (io::ErrorKind::WouldBlock, "me"));
    drop(guard);
    assert!(disk.lock("l", "you").is_ok());
}

#[test]
fn the_same_calls_have_the_same_trace_and_others_another() {
    let trace = |bytes: &[u8]| {
        let disk = SimDisk::new();
        file_with(&disk, "a", bytes);
        (disk.trace_hash(), disk.calls())
    };
    assert_eq!(trace(b"x"), trace(b"x"));
    assert_ne!(trace(b"x").0, trace(b"y").0);
}

#[test]
fn reads_across_pages_and_holes_see_zeros_where_nothing_was_written() {
    let disk = SimDisk::new();
    let file = disk.create_new("a").unwrap();
    file.write_at(&[7; 10], 4090).unwrap();
    file.set_len(4095).unwrap();
    file.set_len(12_000).unwrap();
    let bytes = read(&disk, "a").unwrap();
    let expected: Vec<u8> = (0..12_000).map(|at| if (4090..4095).contains(&at) { 7 } else { 0 }).collect();
    assert_eq!(bytes, expected);
    assert_eq!(file.read_at(&mut [0; 8], 12_000).unwrap(), 0);
}
