//! What stands next in the log of all shards, as one answer?

use std::sync::Arc;

use factum_storage::Direction;
use factum_storage::Filter;
use factum_storage::Position;

use super::Cursor;
use super::Event;
use super::merge;
use super::merge::Barriers;
use super::merge::Lane;
use super::merge::Next;
use crate::Error;
use crate::shard::Handle;
use crate::shard::LeftOut;
use crate::shard::ReadKind;
use crate::shard::Router;
use crate::shard::Table;
use crate::shard::ask_all;

/// A page of the log of all shards.
pub(crate) struct Page {
    pub(crate) events: Vec<Event>,
    pub(crate) cursor: Cursor,
    pub(crate) at_end: bool,
}

/// How much a page may hold.
#[derive(Clone, Copy)]
pub(crate) struct PageBounds {
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
}

/// Reads a page behind `after`. Work is bounded: a filter that finds little gives a page that is short, and not at the end.
///
/// # Errors
///
/// Those of the shards' reads.
pub(crate) async fn read(
    router: &Router,
    filter: Filter,
    (after, direction): (&Cursor, Direction),
    bounds: PageBounds,
    left_out: Option<&LeftOut>,
) -> Result<Page, Error> {
    let filter = Arc::new(Filter { leave_out_undecided: left_out.is_some(), ..filter });
    let table = router.table();
    let mut lanes: Vec<Lane> =
        table.shards().iter().map(|shard| Lane::new(shard.number(), direction, after.position(shard.number()))).collect();
    let is_forward = direction == Direction::Forward;
    let mut barriers = if is_forward { Barriers::new(table.topology(), &lanes) } else { Barriers::default() };
    let mut events = Vec::new();
    let mut bytes = 0;
    let mut rounds = 0;
    while events.len() < bounds.events_max && bytes < bounds.bytes_max {
        match merge::next(&mut lanes, &mut barriers) {
            Next::Event(event) => {
                bytes += event.record.stored_bytes();
                events.push(event);
            }
            Next::ReadOn if rounds < ROUNDS_MAX => {
                rounds += 1;
                read_on(&table, &filter, &mut lanes, (direction, bounds), left_out).await?;
                // What waits for one of them would wait for ever.
                barriers.forget_left_out(&lanes);
            }
            Next::ReadOn | Next::Done => break,
        }
    }
    router.reached(ReadKind::Log, lanes.iter().filter(|lane| !lane.is_left_out()).count());
    Ok(Page { events, cursor: merge::cursor(router, &lanes), at_end: lanes.iter().all(Lane::is_done) })
}

/// Reads all empty lanes on, side by side.
async fn read_on(
    table: &Table,
    filter: &Arc<Filter>,
    lanes: &mut [Lane],
    (direction, bounds): (Direction, PageBounds),
    left_out: Option<&LeftOut>,
) -> Result<(), Error> {
    let lane_events = bounds.events_max.div_ceil(lanes.len()).max(LANE_EVENTS_MIN.min(bounds.events_max));
    let lane_bytes = (bounds.bytes_max / lanes.len()).max(1);
    let empty: Vec<&mut Lane> = lanes.iter_mut().filter(|lane| lane.is_empty() && !lane.is_done()).collect();
    let starts: Vec<(u16, Position)> = empty.iter().map(|lane| (lane.shard(), lane.after())).collect();
    let shards: Vec<Handle> = starts.iter().map(|(shard, _)| table.shard(*shard).clone()).collect();
    let slices = ask_all(&shards, left_out, |shard| {
        let start = starts.iter().find(|(number, _)| *number == shard.number());
        let after = start.map_or(Position::ZERO, |(_, after)| *after);
        shard.read_events(Arc::clone(filter), after, direction, lane_events, lane_bytes)
    });
    let mut slices = slices.await?.into_iter().peekable();
    for lane in empty {
        match slices.next_if(|(shard, _)| shard.number() == lane.shard()) {
            Some((_, slice)) => lane.accept(slice.events, slice.through, slice.at_end),
            None => lane.leave_out(),
        }
    }
    Ok(())
}

/// How often a page may go back to the shards.
const ROUNDS_MAX: usize = 64;
/// Fewer events at a time would cost more for the asking than for the reading.
const LANE_EVENTS_MIN: usize = 16;
