//! Do readers see a whole index while one thread applies and another one flushes?

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;

use crate::Filter;
use crate::Position;
use crate::QueryItem;
use crate::Version;
use crate::index::Index;
use crate::index::Selection;

use super::apply;
use super::disk;
use super::event;
use super::open;

const EVENTS: u64 = 40_000;

/// Whatever was applied when the reader began is in every answer.
fn read_all(index: &Index) {
    let applied = index.applied().get();
    let version = applied / 2;
    let head = index.head("busy-1").unwrap().map_or(0, |head| head.version.get());
    assert!(head >= version, "at {applied} the stream was at {head}");
    let found = index.stream_positions("busy-1", Version::new(1), usize::MAX, false).unwrap();
    assert!(found.len() as u64 >= version);
    assert!(found.iter().all(|(version, position)| position.get() == version.get() * 2));
    let item = QueryItem { types: vec!["Rare".into()], tags: vec![] };
    let last = index.last_match(&item, Position::ZERO).unwrap().unwrap_or_default().get();
    assert!(last >= applied / 10 * 10 && last.is_multiple_of(10), "at {applied} the last was {last}");
    let filter = Filter { types: vec!["Rare".to_owned()], ..Filter::default() };
    if let Selection::Positions { positions, .. } =
        index.select(&filter, Position::ZERO, Position::new(applied), false, usize::MAX).unwrap()
    {
        assert_eq!(positions.len() as u64, applied / 10);
        assert!(positions.iter().zip(1..).all(|(position, number)| position.get() == number * 10));
    }
    let streams = index.streams(None, "", usize::MAX).unwrap().len() as u64;
    assert!(streams >= applied.div_ceil(2), "at {applied} there were {streams} streams");
}

#[test]
fn readers_miss_nothing_while_others_apply_and_flush() {
    let disk = disk();
    let index = open(&disk);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for position in 1..=EVENTS {
                let mut event =
                    if position % 2 == 0 { event(position, "busy-1", position / 2) } else { event(position, &format!("s-{position}"), 1) };
                if position % 10 == 0 {
                    event.event_type = "Rare".to_owned();
                }
                apply(&index, &[event]);
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                index.flush().unwrap();
            }
        });
        while !done.load(Ordering::Acquire) {
            read_all(&index);
        }
    });
    read_all(&index);
    index.flush().unwrap();
    read_all(&index);
}
