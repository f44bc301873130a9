//! How is what a query wants of the log cut into pieces that are read side by side?

use std::sync::Arc;

use factum_storage::EventId;
use factum_storage::Position;
use factum_storage::StreamName;
use factum_storage::Timestamp;
use futures::future::try_join_all;

use super::demand::Demand;
use crate::Error;
use crate::shard::Handle;
use crate::shard::Router;
use crate::subscription::Cursor;

/// What one reader reads, of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) shard: u16,
    /// The shard's end, as far as this query sees it.
    pub(super) end: Position,
    pub(super) work: Work,
}

/// Where the events of a share are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// In these pieces of the log, ascending: behind the first position, up to the second.
    Pieces(Vec<(Position, Position)>),
    /// In these streams.
    Streams(Vec<StreamName>),
    /// Under these ids.
    Ids(Vec<EventId>),
}

/// All shares, and about how many events there are to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) list: Vec<Share>,
    pub(super) events: usize,
}

/// Cuts what is wanted, behind one cursor and up to another, into about as many shares as there are `readers`. Each is of one shard, so
/// that its events come in the order of their positions, unless they are asked for by stream or id.
///
/// # Errors
///
/// What the shards say.
pub(super) async fn shares(
    router: &Router,
    demand: &Demand,
    (behind, cut): (Option<&Cursor>, &Cursor),
    readers: usize,
) -> Result<Shares, Error> {
    if demand.is_empty() {
        return Ok(Shares { list: Vec::new(), events: 0 });
    }
    let table = router.table();
    let shards: Vec<&Handle> = table.shards().iter().filter(|shard| demand.wants_shard(shard.number())).collect();
    if let Some(ids) = &demand.ids {
        let work = Work::Ids(ids.iter().copied().collect());
        let list = shards.iter().map(|shard| share(shard, cut, work.clone())).collect();
        return Ok(Shares { list, events: ids.len() });
    }
    if let Some(streams) = &demand.streams {
        // A name that no stream can have is the name of none.
        let names: Vec<StreamName> = streams.iter().filter_map(|stream| StreamName::new(stream).ok()).collect();
        let mut shares = of_streams(router, &names, cut);
        shares.list.retain(|share| demand.wants_shard(share.shard));
        return Ok(shares);
    }
    let readers = readers.div_ceil(shards.len().max(1)).max(1);
    let each = try_join_all(shards.iter().map(|shard| of_shard(shard, demand, (behind, cut), readers))).await?;
    let events = each.iter().map(|shares| shares.events).sum();
    Ok(Shares { list: each.into_iter().flat_map(|shares| shares.list).collect(), events })
}

/// These streams, up to a cursor.
pub(super) fn of_streams(router: &Router, streams: &[StreamName], cut: &Cursor) -> Shares {
    let table = router.table();
    // One that has moved has events on each of the shards that it lived on.
    let is_on = |name: &StreamName, shard: &Handle| match table.topology().tenures(name.as_str()) {
        Some(tenures) => tenures.iter().any(|tenure| tenure.shard == shard.number()),
        None => table.topology().owner(name.as_str()) == shard.number(),
    };
    let of = |shard: &Handle| streams.iter().filter(|name| is_on(name, shard)).cloned().collect();
    let each = table.shards().iter().map(|shard| share(shard, cut, Work::Streams(of(shard))));
    let list = each.filter(|share| !matches!(&share.work, Work::Streams(streams) if streams.is_empty())).collect();
    Shares { list, events: streams.len() * STREAM_EVENTS }
}

fn share(shard: &Handle, cut: &Cursor, work: Work) -> Share {
    Share { shard: shard.number(), end: cut.position(shard.number()), work }
}

async fn of_shard(shard: &Handle, demand: &Demand, (behind, cut): (Option<&Cursor>, &Cursor), readers: usize) -> Result<Shares, Error> {
    let end = cut.position(shard.number());
    let number = |position: i64| u64::try_from(position).unwrap_or(0);
    let behind = behind.map_or(0, |behind| behind.position(shard.number()).get());
    let mut after = number(demand.positions.first.saturating_sub(1)).max(behind);
    let mut through = number(demand.positions.last).min(end.get());
    if demand.recorded.first > i64::MIN {
        after = after.max(shard.position_at(Timestamp::from_micros(demand.recorded.first)).await?.get());
    }
    if let Some(behind) = demand.recorded.last.checked_add(1) {
        through = through.min(shard.position_at(Timestamp::from_micros(behind)).await?.get());
    }
    let span = through.saturating_sub(after);
    if span == 0 {
        return Ok(Shares { list: Vec::new(), events: 0 });
    }
    // How much there is that somebody does not see is not to be told from how their query is planned.
    let counted = if demand.only.is_some() { None } else { shard.matches_at_most(Arc::new(demand.filter())).await? };
    let at_most = counted.map_or(span, |at_most| at_most.min(span));
    let events = usize::try_from(at_most).unwrap_or(usize::MAX);
    let list = cut_up(after, through, if at_most <= FEW_EVENTS { 1 } else { readers });
    Ok(Shares { list: list.into_iter().map(|pieces| share(shard, cut, Work::Pieces(pieces))).collect(), events })
}

/// Deals pieces out to readers in turn, so that what is dense in one part of the log is read by all.
fn cut_up(after: u64, through: u64, readers: usize) -> Vec<Vec<(Position, Position)>> {
    if readers == 1 {
        return vec![vec![(Position::new(after), Position::new(through))]];
    }
    let size = ((through - after) / (readers as u64 * PIECES_EACH)).clamp(PIECE_EVENTS_MIN, PIECE_EVENTS_MAX);
    let mut shares = vec![Vec::new(); readers];
    let mut next = after;
    let mut turn = 0;
    while next < through {
        let end = next.saturating_add(size).min(through);
        if let Some(share) = shares.get_mut(turn % readers) {
            share.push((Position::new(next), Position::new(end)));
        }
        (next, turn) = (end, turn + 1);
    }
    shares.retain(|share| !share.is_empty());
    shares
}

/// So few events are not worth a second reader.
const FEW_EVENTS: u64 = 8_192;
/// For guessing how much there is to read.
const STREAM_EVENTS: usize = 16;
/// Each reader gets about so many pieces,
const PIECES_EACH: u64 = 8;
/// of such a size.
const PIECE_EVENTS_MIN: u64 = 8_192;
const PIECE_EVENTS_MAX: u64 = 131_072;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_everything_once_and_ascend() {
        for (after, through, readers) in [(0, 1, 1), (0, 10, 4), (7, 100_000, 3), (0, 5_000_000, 2), (123_456, 9_999_999, 16)] {
            let shares = cut_up(after, through, readers);
            assert!(shares.len() <= readers && shares.iter().all(|share| share.is_sorted() && !share.is_empty()));
            let mut all: Vec<(u64, u64)> = shares.concat().iter().map(|(after, through)| (after.get(), through.get())).collect();
            all.sort_unstable();
            assert_eq!((all[0].0, all[all.len() - 1].1), (after, through));
            assert!(all.iter().all(|(after, through)| after < through));
            assert!(all.windows(2).all(|pair| pair[0].1 == pair[1].0), "{after} {through} {readers}");
        }
    }
}
