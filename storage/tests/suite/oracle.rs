//! Does a store say what the model says?

use factum_storage::Direction;
use factum_storage::EventSlice;
use factum_storage::Filter;
use factum_storage::Position;
use factum_storage::Reader;
use factum_storage::RecordedEvent;
use factum_storage::StreamInfo;
use factum_storage::Timestamp;
use factum_storage::Version;
use factum_storage::disk::sim::Rng;

use crate::model::Event;
use crate::model::Model;
use crate::script::STREAMS;
use crate::script::TAGS;
use crate::script::TYPES;
use crate::world::check;

/// All that is visible and every stream's head: the part that every crash is followed by.
pub(crate) fn check_log(reader: &Reader, model: &Model, now: Timestamp) -> Result<(), String> {
    check(reader.committed() == model.end(), || format!("ends at {}, expected {}", reader.committed(), model.end()))?;
    if let Some(refusal) = reader.refuses_appends() {
        return Err(format!("refuses appends: {refusal:?}"));
    }
    let everything = Filter { include_system: true, ..Filter::default() };
    let found = read_all(reader, &everything, Direction::Forward, 1000, 1 << 20)?;
    check_events(&found, &model.visible(&everything, now), model)?;
    for stream in STREAMS.iter().copied().chain(["$streams"]) {
        check_head(reader, stream, model, now)?;
    }
    Ok(())
}

/// Everything else that can be asked.
pub(crate) fn check_answers(reader: &Reader, model: &Model, now: Timestamp, rng: &mut Rng) -> Result<(), String> {
    for _ in 0..12 {
        let filter = filter(rng, model);
        let direction = *rng.pick(&[Direction::Forward, Direction::Backward]).expect("not empty");
        let (limit, bytes_max) = (1 + rng.index(20), 1 + rng.index(3000));
        let found = read_all(reader, &filter, direction, limit, bytes_max)?;
        let mut expected = model.visible(&filter, now);
        if direction == Direction::Backward {
            expected.reverse();
        }
        check_events(&found, &expected, model).map_err(|why| format!("{why}, {direction:?} {limit} {filter:?}"))?;
        check_piece(reader, model, &filter, now, rng)?;
        check_streams_page(reader, model, now, rng)?;
    }
    for stream in STREAMS.iter().copied().chain(["$streams", "nobody"]) {
        check_stream(reader, stream, model, now, rng)?;
    }
    for (event, position) in model.log.iter().zip(1..) {
        let found = reader.event_by_id(event.id).map_err(|error| format!("event by id: {error:?}"))?;
        let is_visible = model.visible_in(&event.stream, now).is_some_and(|visible| visible.contains(&position));
        let expected = is_visible.then_some(Position::new(position));
        check(found.as_ref().map(RecordedEvent::position) == expected, || {
            format!("{:?} is at {expected:?}, found {:?}", event.id, found.as_ref().map(RecordedEvent::position))
        })?;
    }
    check_counts(reader, model)
}

/// Reads page after page to the end.
pub(crate) fn read_all(
    reader: &Reader,
    filter: &Filter,
    direction: Direction,
    limit: usize,
    bytes_max: usize,
) -> Result<Vec<RecordedEvent>, String> {
    let mut after = match direction {
        Direction::Forward => Position::ZERO,
        Direction::Backward => Position::new(u64::MAX),
    };
    let mut found = Vec::new();
    for _ in 0..100_000 {
        let page = reader.read_events(filter, after, direction, limit, bytes_max).map_err(|error| format!("read: {error:?}"))?;
        let EventSlice { events, through, at_end } = page;
        check(events.len() <= limit, || format!("{} events, the limit was {limit}", events.len()))?;
        found.extend(events);
        if at_end {
            return Ok(found);
        }
        let goes_on = match direction {
            Direction::Forward => through > after,
            Direction::Backward => through < after,
        };
        check(goes_on, || format!("a page after {after} went through {through} and was not at the end, {direction:?}"))?;
        after = through;
    }
    Err("reading does not end".to_owned())
}

/// A piece of the log, in portions, and what the index and the times say about it beforehand.
fn check_piece(reader: &Reader, model: &Model, filter: &Filter, now: Timestamp, rng: &mut Rng) -> Result<(), String> {
    let visible = model.visible(filter, now);
    let at_most = reader.matches_at_most(filter).map_err(|error| format!("at most: {error:?}"))?;
    check(at_most.is_none_or(|at_most| at_most >= visible.len() as u64), || format!("at most {at_most:?} of {visible:?}, {filter:?}"))?;
    if let Some(event) = model.log.get(rng.index(model.log.len() + 1)) {
        let expected = model.log.iter().take_while(|other| other.recorded_at < event.recorded_at).count() as u64;
        let found = reader.position_at(event.recorded_at).map_err(|error| format!("position at: {error:?}"))?;
        // Behind the last event before it that is there: trimmed ones have no time.
        check(found.get() <= expected, || format!("{expected} events are older than {:?}, found {found}", event.recorded_at))?;
        let between = model.visible(&Filter { include_system: true, ..Filter::default() }, now);
        let is_left_out = between.iter().any(|position| *position > found.get() && *position <= expected);
        check(!is_left_out, || format!("position {found} of {:?} leaves visible older events behind it", event.recorded_at))?;
    }
    let end = model.log.len() as u64;
    let (one, other) = (rng.index(model.log.len() + 1) as u64, rng.index(model.log.len() + 3) as u64);
    let (after, through) = (one.min(other), one.max(other));
    let direction = *rng.pick(&[Direction::Forward, Direction::Backward]).expect("not empty");
    let mut expected: Vec<u64> = visible.into_iter().filter(|position| *position > after && *position <= through.min(end)).collect();
    let (mut found, mut bounds) = (Vec::new(), (Position::new(after), Position::new(through)));
    for _ in 0..100_000 {
        let page = reader.read_piece(filter, bounds, direction, 1 + rng.index(20), 1 + rng.index(3000));
        let page = page.map_err(|error| format!("read piece: {error:?}"))?;
        found.extend(page.events);
        if page.at_end {
            if direction == Direction::Backward {
                expected.reverse();
            }
            return check_events(&found, &expected, model)
                .map_err(|why| format!("{why}, piece {after}..={through} {direction:?} {filter:?}"));
        }
        match direction {
            Direction::Forward => bounds.0 = page.through,
            Direction::Backward => bounds.1 = Position::new(page.through.get() - 1),
        }
    }
    Err("reading a piece does not end".to_owned())
}

fn check_events(found: &[RecordedEvent], expected: &[u64], model: &Model) -> Result<(), String> {
    let positions: Vec<u64> = found.iter().map(|event| event.position().get()).collect();
    check(positions == expected, || format!("found positions {positions:?}, expected {expected:?}"))?;
    for event in found {
        let place = usize::try_from(event.position().get() - 1).expect("small");
        let (there, expected) = (Event::of(event), &model.log[place]);
        check(there == *expected, || format!("position {} holds {there:?}, expected {expected:?}", event.position()))?;
    }
    Ok(())
}

fn check_head(reader: &Reader, stream: &str, model: &Model, now: Timestamp) -> Result<(), String> {
    let found = reader.stream(stream).map_err(|error| format!("head of {stream}: {error:?}"))?;
    let expected = info(model, stream, now);
    check(found == expected, || format!("head of {stream}: found {found:?}, expected {expected:?}"))
}

fn info(model: &Model, stream: &str, now: Timestamp) -> Option<StreamInfo> {
    let known = model.streams.get(stream).filter(|known| !known.places.is_empty())?;
    let (first, last) = (*known.places.first()?, *known.places.last()?);
    Some(StreamInfo {
        stream: crate::world::name(stream),
        version: Version::new(known.version()),
        first_version: Version::new(model.first_version(known, now)),
        last_position: Position::new(last as u64 + 1),
        created_at: model.log[first].recorded_at,
        updated_at: model.log[last].recorded_at,
        is_deleted: known.is_deleted,
        is_tombstoned: known.is_tombstoned,
        retention: known.retention,
    })
}

/// One stream, page by page, in both directions, from anywhere.
fn check_stream(reader: &Reader, stream: &str, model: &Model, now: Timestamp, rng: &mut Rng) -> Result<(), String> {
    for direction in [Direction::Forward, Direction::Backward] {
        let from = rng.chance(50).then(|| Version::new(rng.below(12)));
        let (limit, bytes_max) = (1 + rng.index(6), 1 + rng.index(1000));
        let expected = model.visible_in(stream, now).map(|mut visible| {
            let version = |position: &u64| model.log[usize::try_from(position - 1).expect("small")].version;
            match direction {
                Direction::Forward => visible.retain(|position| from.is_none_or(|from| version(position) >= from.get())),
                Direction::Backward => {
                    visible.retain(|position| from.is_none_or(|from| version(position) <= from.get()));
                    visible.reverse();
                }
            }
            visible
        });
        let found = read_stream(reader, stream, from, direction, (limit, bytes_max))?;
        match (found, expected) {
            (None, None) => {}
            (Some(found), Some(expected)) => {
                check_events(&found, &expected, model).map_err(|why| format!("{why}, {stream} {direction:?} from {from:?}"))?;
            }
            (found, expected) => return Err(format!("{stream}: found {found:?}, expected {expected:?}")),
        }
    }
    Ok(())
}

fn read_stream(
    reader: &Reader,
    stream: &str,
    mut from: Option<Version>,
    direction: Direction,
    (limit, bytes_max): (usize, usize),
) -> Result<Option<Vec<RecordedEvent>>, String> {
    let mut found = Vec::new();
    for _ in 0..10_000 {
        let page = reader.read_stream(stream, from, direction, limit, bytes_max).map_err(|error| format!("read {stream}: {error:?}"))?;
        let Some(page) = page else { return Ok(None) };
        check(page.events.len() <= limit, || format!("{} events, the limit was {limit}", page.events.len()))?;
        check(page.next.is_none() || !page.events.is_empty(), || format!("{stream}: an empty page that goes on at {:?}", page.next))?;
        found.extend(page.events);
        match page.next {
            None => return Ok(Some(found)),
            next => from = next,
        }
    }
    Err(format!("reading {stream} does not end"))
}

fn check_streams_page(reader: &Reader, model: &Model, now: Timestamp, rng: &mut Rng) -> Result<(), String> {
    let after = rng.chance(50).then(|| *rng.pick(&STREAMS).expect("not empty"));
    let prefix = *rng.pick(&["", "", "o", "order", "order-", "user-1", "x", "$"]).expect("not empty");
    let category = rng.chance(40).then(|| *rng.pick(&["order", "user", "plain", "$streams", "ord"]).expect("not empty"));
    let (include_system, limit) = (rng.chance(30), rng.index(8));
    let found = reader.streams((after, prefix, category), include_system, false, limit).map_err(|error| format!("streams: {error:?}"))?;
    let expected: Vec<StreamInfo> = model
        .streams
        .iter()
        .filter(|(name, stream)| {
            after.is_none_or(|after| name.as_str() > after)
                && name.starts_with(prefix)
                && category.is_none_or(|category| name.split('-').next() == Some(category))
                && (include_system || !name.starts_with('$'))
                && !stream.is_deleted
                && !stream.is_tombstoned
        })
        .filter_map(|(name, _)| info(model, name, now))
        .take(limit)
        .collect();
    check(found == expected, || {
        format!("streams after {after:?}, prefix {prefix}, category {category:?}, limit {limit}: found {found:?}, expected {expected:?}")
    })
}

fn check_counts(reader: &Reader, model: &Model) -> Result<(), String> {
    let streams = model.streams.iter().filter(|(name, stream)| !name.starts_with('$') && !stream.places.is_empty()).count() as u64;
    let found = reader.stream_count().map_err(|error| format!("stream count: {error:?}"))?;
    check(found == streams, || format!("{found} streams, expected {streams}"))?;
    for include_system in [false, true] {
        let found = reader.categories(include_system).map_err(|error| format!("categories: {error:?}"))?;
        let found: Vec<(String, u64, u64)> = found.into_iter().map(|found| (found.category, found.streams, found.events)).collect();
        let all = model.categories().into_iter().filter(|(name, _)| include_system || !name.starts_with('$'));
        let expected: Vec<(String, u64, u64)> = all.map(|(name, (streams, events))| (name, streams, events)).collect();
        check(found == expected, || format!("categories: found {found:?}, expected {expected:?}"))?;
        let found = reader.types(include_system).map_err(|error| format!("types: {error:?}"))?;
        let found: Vec<(String, u64)> = found.into_iter().map(|found| (found.event_type, found.events)).collect();
        let all = model.types().into_iter().filter(|(_, (_, is_clients))| include_system || *is_clients);
        let expected: Vec<(String, u64)> = all.map(|(name, (events, _))| (name, events)).collect();
        check(found == expected, || format!("types: found {found:?}, expected {expected:?}"))?;
    }
    Ok(())
}

fn filter(rng: &mut Rng, model: &Model) -> Filter {
    let mut some = |items: &[&str], percent: u64| -> Vec<String> {
        if !rng.chance(percent) {
            return Vec::new();
        }
        (0..=rng.index(2)).map(|_| (*rng.pick(items).expect("not empty")).to_owned()).collect()
    };
    let categories = some(&["order", "user", "plain", "zählung", "nobody"], 35);
    let types = some(&TYPES, 35);
    let tags = some(&TAGS, 35);
    let mut time = |percent: u64| {
        let event = rng.chance(percent).then(|| rng.pick(&model.log)).flatten();
        event.map(|event| event.recorded_at)
    };
    let (recorded_after, recorded_before) = (time(15), time(15));
    let stream_prefix = rng.chance(20).then(|| (*rng.pick(&["order", "user-1", "z", "nobody"]).expect("not empty")).to_owned());
    Filter {
        categories,
        types,
        tags,
        stream_prefix,
        recorded_after,
        recorded_before,
        include_system: rng.chance(30),
        leave_out_undecided: false,
    }
}
