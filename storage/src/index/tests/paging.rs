//! Does a list hold together where pages begin and end?

use crate::Filter;
use crate::Position;
use crate::QueryItem;
use crate::Version;
use crate::index::Selection;
use crate::index::TermKind;

use super::apply;
use super::disk;
use super::event;
use super::open;

fn check(index: &crate::index::Index, count: u64) {
    // Every second event is of the stream.
    let position = |version: u64| version * 2;
    for (from, limit) in [(1, usize::MAX), (1, 128), (2, 127), (127, 3), (128, 2), (129, 1), (count, 5), (count + 1, 5)] {
        let expected: Vec<_> =
            (from..=count).take(limit).map(|version| (Version::new(version), Position::new(position(version)))).collect();
        assert_eq!(index.stream_positions("busy-1", Version::new(from), limit, false).unwrap(), expected, "{count} from {from}");
        let expected: Vec<_> =
            (1..=from.min(count)).rev().take(limit).map(|version| (Version::new(version), Position::new(position(version)))).collect();
        assert_eq!(index.stream_positions("busy-1", Version::new(from), limit, true).unwrap(), expected, "{count} back from {from}");
    }
    assert_eq!(index.head("busy-1").unwrap().unwrap().version, Version::new(count));
    assert_eq!(index.term_events(TermKind::Type, "Odd").unwrap(), count);
    let filter = Filter { types: vec!["Odd".to_owned()], categories: vec!["busy".to_owned()], ..Filter::default() };
    assert_eq!(index.select(&filter, Position::ZERO, Position::new(u64::MAX), false, 10).unwrap(), Selection::Scan);
    let odd = QueryItem { types: vec!["Odd".into()], tags: vec![] };
    assert_eq!(index.last_match(&odd, Position::ZERO).unwrap(), Some(Position::new(count * 2)));
    assert_eq!(index.last_match(&odd, Position::new(count * 2)).unwrap(), None);
}

#[test]
fn lists_hold_together_at_page_boundaries() {
    for count in [1, 126, 127, 128, 129, 255, 256, 257, 384, 1000] {
        for flush_every in [0, 1, 64, 127, 128, 129, 300] {
            if flush_every == 1 && count > 257 {
                continue;
            }
            let disk = disk();
            let index = open(&disk);
            for version in 1..=count {
                let other = event(version * 2 - 1, &format!("other-{version}"), 1);
                let mut busy = event(version * 2, "busy-1", version);
                busy.event_type = "Odd".to_owned();
                apply(&index, &[other, busy]);
                if flush_every > 0 && version % flush_every == 0 {
                    index.flush().unwrap();
                }
            }
            check(&index, count);
            index.flush().unwrap();
            check(&index, count);
            assert_eq!(index.durable(), Position::new(count * 2));
            drop(index);
            check(&open(&disk), count);
        }
    }
}

#[test]
fn lost_versions_are_zero() {
    let disk = disk();
    let index = open(&disk);
    apply(&index, &[event(1, "a-1", 1), event(300, "a-1", 250), event(301, "b-1", 3)]);
    for _ in 0..2 {
        let all = index.stream_positions("a-1", Version::new(1), 1000, false).unwrap();
        assert_eq!(all.len(), 250);
        assert_eq!(all.iter().filter(|(_, position)| *position == Position::ZERO).count(), 248);
        assert_eq!(all.last(), Some(&(Version::new(250), Position::new(300))));
        let back = index.stream_positions("b-1", Version::new(u64::MAX), 1000, true).unwrap();
        assert_eq!(back.iter().map(|(_, position)| position.get()).collect::<Vec<_>>(), [301, 0, 0]);
        index.flush().unwrap();
    }
    apply(&index, &[event(400, "a-1", 300)]);
    index.flush().unwrap();
    assert_eq!(index.stream_positions("a-1", Version::new(299), 5, false).unwrap().len(), 2);
    assert_eq!(index.stream_positions("a-1", Version::new(300), 1000, true).unwrap().len(), 300);
    assert_eq!(index.head("a-1").unwrap().unwrap().last_position, Position::new(400));
}
