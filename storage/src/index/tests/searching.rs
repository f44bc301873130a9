//! Do searches find what reading everything would?

use std::sync::Arc;

use crate::Filter;
use crate::Position;
use crate::QueryItem;
use crate::category;
use crate::index::Index;
use crate::index::Selection;
use crate::is_system;

use super::Event;
use super::Random;
use super::apply;
use super::disk;
use super::event;
use super::model::Model;
use super::open;

/// Returns how many searches the index found something for.
pub(super) fn check(index: &Index, model: &Model, random: &mut Random) -> usize {
    (0..20)
        .filter(|_| {
            check_last_match(index, model, random);
            check_select(index, model, random)
        })
        .count()
}

fn some(random: &mut Random, kind: &str, of: u64, upto: u64) -> Vec<String> {
    (0..random.below(upto)).map(|_| format!("{kind}{}", random.below(of))).collect()
}

fn check_last_match(index: &Index, model: &Model, random: &mut Random) {
    let arcs = |texts: Vec<String>| texts.into_iter().map(Arc::from).collect();
    let item = QueryItem { types: arcs(some(random, "Type", 11, 3)), tags: arcs(some(random, "tag:", 4, 3)) };
    let after = random.below(model.events.last().unwrap().position + 3);
    let matches = |event: &Event| {
        (item.types.is_empty() || item.types.iter().any(|wanted| **wanted == event.event_type))
            && item.tags.iter().all(|wanted| event.tags.iter().any(|tag| **wanted == *tag))
            && !(item.types.is_empty() && item.tags.is_empty() && is_system(&event.stream))
    };
    let expected = model.events_with(matches).last().copied().filter(|last| *last > after).map(Position::new);
    assert_eq!(index.last_match(&item, Position::new(after)).unwrap(), expected, "{item:?} after {after}");
}

/// Whether the index answered, rather than left it to a scan.
fn check_select(index: &Index, model: &Model, random: &mut Random) -> bool {
    let filter = Filter {
        categories: match random.below(4) {
            0 => vec!["busy".to_owned()],
            1 => some(random, "rare", 30, 4),
            _ => Vec::new(),
        },
        types: some(random, "Type", 11, 3),
        tags: some(random, "tag:", 500, 3),
        stream_prefix: (random.below(4) == 0).then(|| format!("quiet-{}", random.below(40))),
        ..Filter::default()
    };
    let last = model.events.last().unwrap().position;
    let (after, through) = (random.below(last), 1 + random.below(last + 5));
    let (backward, limit) = (random.below(2) == 0, usize::try_from(1 + random.below(40)).unwrap());
    let any = |wanted: &[String], has: &dyn Fn(&str) -> bool| wanted.is_empty() || wanted.iter().any(|wanted| has(wanted));
    let by_terms = |event: &Event| {
        any(&filter.categories, &|wanted| wanted == category(&event.stream))
            && any(&filter.types, &|wanted| wanted == event.event_type)
            && any(&filter.tags, &|wanted| event.tags.iter().any(|tag| tag == wanted))
    };
    let by_prefix = |event: &Event| filter.stream_prefix.as_ref().is_none_or(|prefix| event.stream.starts_with(prefix.as_str()));
    let window = |position: u64| position > after && position <= through;
    let answer = index.select(&filter, Position::new(after), Position::new(through), backward, limit).unwrap();
    let Selection::Positions { positions, through: reached, at_end } = answer else {
        let none_named = filter.categories.is_empty() && filter.types.is_empty() && filter.tags.is_empty();
        assert!(none_named || !rare_name(model, &filter), "{filter:?}");
        return false;
    };
    let found: Vec<u64> = positions.iter().map(|position| position.get()).collect();
    assert!(found.len() <= limit);
    let covered = |position: u64| window(position) && if backward { position >= reached.get() } else { position <= reached.get() };
    let mut wanted: Vec<u64> = model.events_with(|event| by_terms(event) && by_prefix(event) && covered(event.position));
    let mut allowed: Vec<u64> = model.events_with(|event| by_terms(event) && covered(event.position));
    if backward {
        wanted.reverse();
        allowed.reverse();
    }
    let context = format!("{filter:?} of ({after}, {through}] backward {backward} limit {limit}");
    assert!(found.iter().all(|position| allowed.contains(position)), "{context}: {found:?} has more than {allowed:?}");
    let hits: Vec<u64> = found.iter().copied().filter(|position| wanted.contains(position)).collect();
    assert_eq!(hits, wanted, "{context}");
    if at_end {
        let all = model.events_with(|event| by_terms(event) && by_prefix(event) && window(event.position));
        assert!(all.iter().all(|position| found.contains(position)), "{context}: the end was not reached");
    } else {
        assert_eq!(found.len(), limit, "{context}: stopped for no reason");
    }
    !found.is_empty()
}

/// Whether one of the filter's names has less than a quarter of the log.
fn rare_name(model: &Model, filter: &Filter) -> bool {
    let count = |terms: &[String], has: &dyn Fn(&Event, &str) -> bool| {
        let each = terms.iter().map(|term| model.events.iter().filter(|event| has(event, term)).count());
        if terms.is_empty() { usize::MAX } else { each.sum() }
    };
    let fewest = count(&filter.categories, &|event, term| category(&event.stream) == term)
        .min(count(&filter.types, &|event, term| event.event_type == term))
        .min(count(&filter.tags, &|event, term| event.tags.iter().any(|tag| tag == term)));
    fewest.saturating_mul(4) <= model.events.len()
}

#[test]
fn a_long_intersection_stops_and_goes_on() {
    let disk = disk();
    let index = open(&disk);
    // Two tags that take turns and meet once, at the very start; a third part of the log is neither.
    let events: Vec<Event> = (1..=700_000)
        .map(|position| {
            let mut event = event(position, "a-1", position);
            match position % 10 {
                _ if position == 1 => event.tags = vec!["even".to_owned(), "odd".to_owned()],
                0 => event.tags = vec!["even".to_owned()],
                5 => event.tags = vec!["odd".to_owned()],
                _ => {}
            }
            event
        })
        .collect();
    apply(&index, &events);
    index.flush().unwrap();
    let item = QueryItem { types: vec![], tags: vec!["even".into(), "odd".into()] };
    assert_eq!(index.last_match(&item, Position::ZERO).unwrap(), Some(Position::new(1)));
    let filter = Filter { tags: vec!["even".to_owned()], types: vec!["Happened".to_owned()], ..Filter::default() };
    let answer = index.select(&filter, Position::ZERO, Position::new(u64::MAX), false, usize::MAX).unwrap();
    let Selection::Positions { positions, through, at_end } = answer else { panic!("a tenth of the log is selective") };
    assert!(!at_end, "so many steps are not taken at once");
    let rest = index.select(&filter, through, Position::new(u64::MAX), false, usize::MAX).unwrap();
    let Selection::Positions { positions: rest, at_end, .. } = rest else { panic!("still selective") };
    assert!(at_end);
    assert_eq!(positions.len() + rest.len(), 70_001);
}
