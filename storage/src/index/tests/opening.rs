//! Is whatever stands at the index's name either the index of this log or replaced?

use std::sync::Arc;

use crate::Disk;
use crate::EventId;
use crate::Position;
use crate::Timestamp;
use crate::Version;
use crate::disk::write_all_at;
use crate::index::Entry;
use crate::index::INDEX_FILE;
use crate::index::Index;

use super::CACHE;
use super::LOG;
use super::Random;
use super::apply;
use super::disk;
use super::event;
use super::model::Model;
use super::model::check;
use super::model::more;
use super::open;

fn open_with_reason(disk: &Arc<dyn Disk>) -> (Index, Option<String>) {
    Index::open(Arc::clone(disk), LOG, CACHE).unwrap()
}

fn replace(disk: &Arc<dyn Disk>, bytes: &[u8]) {
    if disk.open(INDEX_FILE).is_ok() {
        disk.remove(INDEX_FILE).unwrap();
    }
    write_all_at(&*disk.create_new(INDEX_FILE).unwrap(), bytes, 0).unwrap();
}

fn bytes_of(disk: &Arc<dyn Disk>) -> Vec<u8> {
    let file = disk.open(INDEX_FILE).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    crate::disk::read_exact_at(&*file, &mut bytes, 0).unwrap();
    bytes
}

#[test]
fn i1_an_index_behind_the_log_takes_the_rest() {
    let disk = disk();
    let (index, why) = open_with_reason(&disk);
    assert_eq!(why.as_deref(), Some("missing"));
    let (mut random, mut model) = (Random(3), Model::default());
    let events = more(&mut random, &model, 300);
    apply(&index, &events);
    events.into_iter().for_each(|event| model.add(event));
    index.flush().unwrap();
    let flushed = index.durable();
    let events = more(&mut random, &model, 200);
    apply(&index, &events);
    events.into_iter().for_each(|event| model.add(event));
    drop(index);
    assert_eq!(Index::peek_durable(&disk, LOG), Some(flushed));
    let (index, why) = open_with_reason(&disk);
    assert_eq!((why, index.durable(), index.applied()), (None, flushed, flushed));
    apply(&index, &model.events);
    check(&index, &model, &mut random);
}

#[test]
fn i3_a_missing_empty_or_foreign_file_is_replaced() {
    let disk = disk();
    assert_eq!(Index::peek_durable(&disk, LOG), None);
    replace(&disk, b"");
    assert_eq!(open_with_reason(&disk).1.as_deref(), Some("empty"));
    let (index, why) = open_with_reason(&disk);
    assert_eq!(why, None);
    apply(&index, &[event(1, "a-1", 1)]);
    index.flush().unwrap();
    drop(index);
    let other = Index::open(Arc::clone(&disk), [7; 16], CACHE).unwrap();
    assert_eq!((other.1.as_deref(), other.0.durable()), (Some("of another log"), Position::ZERO));
    assert_eq!(other.0.head("a-1").unwrap(), None);
}

#[test]
fn i3_random_bytes_are_replaced() {
    let mut random = Random::from_env(9);
    for length in [1, 100, 320, 4096, 4097, 70_000, 1 << 20] {
        let disk = disk();
        let noise: Vec<u8> = (0..length).map(|_| random.next().to_le_bytes()[0]).collect();
        replace(&disk, &noise);
        let (index, why) = open_with_reason(&disk);
        assert!(why.is_some(), "{length} random bytes");
        apply(&index, &[event(1, "a-1", 1)]);
        index.flush().unwrap();
        drop(index);
        assert_eq!(open_with_reason(&disk).1, None);
    }
}

#[test]
fn i3_a_cut_or_spoilt_file_never_panics_and_never_answers_for_the_caller_to_trust_blindly() {
    let mut random = Random::from_env(4);
    let disk = disk();
    let index = open(&disk);
    let mut model = Model::default();
    for _ in 0..3 {
        let events = more(&mut random, &model, 400);
        apply(&index, &events);
        events.into_iter().for_each(|event| model.add(event));
        index.flush().unwrap();
    }
    drop(index);
    let whole = bytes_of(&disk);
    for round in 0..90 {
        let mut spoilt = whole.clone();
        if round % 3 == 0 {
            spoilt.truncate(usize::try_from(random.below(whole.len() as u64)).unwrap());
        } else {
            for _ in 0..=random.below(4) {
                let at = usize::try_from(random.below(whole.len() as u64)).unwrap();
                let upto = spoilt.len().min(at + 512);
                spoilt[at..upto].fill(random.next().to_le_bytes()[0]);
            }
        }
        let disk = super::disk();
        replace(&disk, &spoilt);
        let (index, _) = open_with_reason(&disk);
        // Any answer or an error will do; what must not happen is a panic that gets out, or a file that stays unusable unnoticed.
        let mut failed = false;
        for name in model.heads.keys() {
            failed |= index.head(name).is_err();
            failed |= index.stream_positions(name, Version::new(1), 1000, false).is_err();
        }
        failed |= index.types().is_err();
        // One more event, wherever the file says that its stream ends.
        let version = index.head("busy-0").ok().flatten().map_or(1, |head| head.version.get() + 1);
        failed |= index.apply(&[entry(index.applied().get().max(version) + 1, version)]).is_err() || index.flush().is_err();
        assert!(!failed || index.needs_rebuild(), "an error that no rebuild is asked for");
        index.clear().unwrap();
        apply(&index, &model.events);
        index.flush().unwrap();
        check(&index, &model, &mut random);
    }
}

fn entry(position: u64, version: u64) -> Entry<'static> {
    Entry {
        position: Position::new(position),
        stream: "busy-0",
        version: Version::new(version),
        event_type: "Type0",
        id: EventId::from_bytes([1; 16]),
        tags: &[],
        recorded_at: Timestamp::from_micros(1),
        control: None,
    }
}

#[test]
fn clear_forgets_everything() {
    let disk = disk();
    let index = open(&disk);
    let (mut random, mut model) = (Random(8), Model::default());
    let events = more(&mut random, &model, 600);
    apply(&index, &events[..400]);
    index.flush().unwrap();
    apply(&index, &events[400..]);
    index.clear().unwrap();
    assert_eq!((index.applied(), index.durable(), index.pending_events()), (Position::ZERO, Position::ZERO, 0));
    assert!(index.hidden().is_empty());
    check(&index, &model, &mut random);
    apply(&index, &events);
    events.into_iter().for_each(|event| model.add(event));
    check(&index, &model, &mut random);
}

#[test]
fn lost_positions_at_the_end_are_skipped() {
    let disk = disk();
    let index = open(&disk);
    apply(&index, &[event(1, "a-1", 1)]);
    index.skip_to(Position::new(10));
    index.skip_to(Position::new(4));
    assert_eq!(index.applied(), Position::new(10));
    index.flush().unwrap();
    drop(index);
    assert_eq!(open(&disk).durable(), Position::new(10));
}
