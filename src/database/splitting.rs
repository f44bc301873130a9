//! When does a database of `range` split a range by itself?
//!
//! It looks from time to time whether one has more events, or is appended to faster, than its settings allow, and begins the change that
//! somebody would ask for. What it says of that names shards and numbers and no keys: they are parts of streams' names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Weak;

use factum_storage as storage;
use storage::Direction;
use storage::Filter;
use storage::Position;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;

use super::Database;
use super::Inner;
use super::NewShard;
use super::Severity;
use super::Splitting;
use super::TopologyChange;
use super::Trouble;
use crate::Error;
use crate::shard::Handle;
use crate::shard::KeyLoad;
use crate::shard::Topology;
use crate::shard::partition_key;
use crate::shard::ranges;

/// What is known since the last look.
struct Splitter {
    settings: Splitting,
    /// When it was, and where each shard's log was then, if nothing has moved since.
    before: Option<(Instant, u64, Vec<Position>)>,
    /// How many events there were in all when they were counted, by which topology, and which ranges had too many.
    counted: Option<(u64, u64, Vec<TooMuch>)>,
}

/// A range that has more than it should.
#[derive(Clone)]
struct TooMuch {
    shard: u16,
    /// Why, in words.
    why: String,
    /// Where it can be split; `None`: all is of one key.
    split: Option<String>,
}

/// Looks until the database closes.
pub(super) fn begin(database: &Database, settings: Splitting) {
    let is_on = settings.above_events.is_some() || settings.above_appends_per_second.is_some();
    if !is_on {
        return;
    }
    let topology = database.router().topology();
    if topology.ranges().is_none() || !topology.elsewhere().is_empty() {
        tracing::warn!("ranges are to be split by themselves, and there are none, or shards are at other servers: nothing will be split");
        return;
    }
    // Whoever holds the database keeps it open, and this must not.
    let (inner, reshaping) = (Arc::downgrade(&database.inner), Arc::clone(&database.inner.reshaping));
    let stopping = reshaping.stopping.clone();
    reshaping.tasks.spawn(async move {
        let looking = looked(inner, settings);
        tokio::select! {
            () = stopping.cancelled() => {}
            () = looking => {}
        }
    });
}

async fn looked(inner: Weak<Inner>, settings: Splitting) {
    let mut every = tokio::time::interval(settings.check_every.max(CHECK_LEAST));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut splitter = Splitter { settings, before: None, counted: None };
    let mut failed = String::new();
    loop {
        every.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let database = Database { inner, reads_stored: true, left_out: None };
        let failure = splitter.look(&database).await.err().map(|error| error.to_string()).unwrap_or_default();
        // Once, and not as often as it looks.
        if !failure.is_empty() && failure != failed {
            tracing::warn!(error = failure, "whether a range has too much can't be told, or it can't be split");
        }
        failed = failure;
        database.inner.reshaping.split_checks.send_modify(|checks| *checks += 1);
    }
}

impl Splitter {
    /// Looks once, and begins a change if one is needed and can be.
    async fn look(&mut self, database: &Database) -> Result<(), Error> {
        let topology = database.router().topology();
        let ends = database.router().shards().iter().map(Handle::committed).collect::<Vec<_>>();
        let before = self.before.replace((Instant::now(), topology.version(), ends.clone()));
        if topology.goal().is_some() {
            // One change at a time, and who moves now is not who was appended to.
            self.before = None;
            return Ok(());
        }
        let mut found = Vec::new();
        if let (Some(limit), Some((then, version, began))) = (self.settings.above_appends_per_second, before)
            && version == topology.version()
        {
            let seconds = then.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
            found.extend(hot(database, &topology, (limit, seconds), &began, &ends).await?);
        }
        if let Some(limit) = self.settings.above_events {
            found.extend(self.large(database, &topology, limit, ends.iter().map(|end| end.get()).sum()).await?);
        }
        self.act(database, &topology, found).await
    }

    /// Ranges that have more events than this, the largest first. All events are counted only if enough of them have come since.
    async fn large(&mut self, database: &Database, topology: &Topology, limit: u64, all: u64) -> Result<Vec<TooMuch>, Error> {
        if all <= limit {
            return Ok(Vec::new());
        }
        if let Some((counted, version, found)) = &self.counted
            && *version == topology.version()
            && all <= counted + limit / RECOUNT_SHARE
        {
            return Ok(found.clone());
        }
        let found = large(topology, limit, &database.key_loads(topology).await?);
        self.counted = Some((all, topology.version(), found.clone()));
        Ok(found)
    }

    /// Splits the first that can be split, and tells of those that are left as they are.
    async fn act(&self, database: &Database, topology: &Topology, found: Vec<TooMuch>) -> Result<(), Error> {
        let has_room = topology.shards() < self.settings.shards_max;
        let told = found.iter().filter(|range| range.split.is_none() || !has_room).map(|range| {
            let (why_not, todo) = if range.split.is_none() {
                ("all of it is of one partition key, so it can't be split", "give what is appended there more keys than one")
            } else {
                ("there are as many shards as may be (shards.max_shards)", "raise shards.max_shards, or the limit for splits")
            };
            let problem = format!("{}, and {why_not}", range.why);
            Trouble { severity: Severity::Warning, part: "shard", name: range.shard.to_string(), problem, todo: todo.to_owned() }
        });
        database.inner.reshaping.tell_unsplit(told.collect());
        let splittable = found.into_iter().find(|range| range.split.is_some() && has_room);
        let Some(TooMuch { shard, why, split }) = splittable else { return Ok(()) };
        let new = NewShard { split, ..NewShard::default() };
        match database.begin_change(TopologyChange::Add(new), Some(why.clone())).await {
            Ok(job) => tracing::info!(shard, why, job = job.id, "a range is split by itself"),
            // Somebody has begun another one meanwhile: it is looked at again after that.
            Err(Error::TopologyConflict { detail }) => tracing::debug!(shard, why, detail, "a range is not split now"),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Of loads that were counted: ranges that have more events than this, the largest first.
fn large(topology: &Topology, limit: u64, loads: &[KeyLoad]) -> Vec<TooMuch> {
    let ranges = topology.ranges().into_iter().flat_map(|ranges| ranges.iter());
    let mut found: Vec<(u64, TooMuch)> = Vec::new();
    for (range, shard) in ranges {
        let loads = ranges::within(&range, loads);
        let events = ranges::events(loads);
        if events > limit {
            let why = format!("a range of shard {shard} has {events} events, more than {limit}");
            found.push((events, TooMuch { shard: *shard, why, split: ranges::half(loads).map(str::to_owned) }));
        }
    }
    found.sort_by_key(|(events, _)| std::cmp::Reverse(*events));
    found.into_iter().map(|(_, range)| range).collect()
}

/// Ranges that were appended to faster than the limit, by the newest events of each shard that was.
async fn hot(
    database: &Database,
    topology: &Topology,
    (limit, seconds): (u64, f64),
    began: &[Position],
    ends: &[Position],
) -> Result<Vec<TooMuch>, Error> {
    let mut found = Vec::new();
    let Some(ranges) = topology.ranges() else { return Ok(found) };
    for ((shard, began), end) in database.router().shards().iter().zip(began).zip(ends) {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = end.get().saturating_sub(began.get()) as f64 / seconds;
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        if rate <= limit as f64 || shard.is_absent() {
            continue;
        }
        let (loads, sampled) = newest(shard, topology, *began).await?;
        for (range, _) in ranges.iter().filter(|(_, owner)| **owner == shard.number()) {
            let loads = ranges::within(&range, &loads);
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            let rate = rate * ranges::events(loads) as f64 / sampled.max(1) as f64;
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            if rate > limit as f64 {
                let why = format!("a range of shard {} is appended to with {rate:.0} events a second, more than {limit}", shard.number());
                found.push(TooMuch { shard: shard.number(), why, split: ranges::half(loads).map(str::to_owned) });
            }
        }
    }
    Ok(found)
}

/// How many of a shard's newest events, behind a position, are of which key that it still owns; and how many were looked at.
async fn newest(shard: &Handle, topology: &Topology, began: Position) -> Result<(Vec<KeyLoad>, u64), Error> {
    let everything = Arc::new(Filter::default());
    let newest = shard.read_events(everything, Position::new(u64::MAX), Direction::Backward, SAMPLED, usize::MAX).await?;
    let (mut keys, mut sampled) = (BTreeMap::<String, u64>::new(), 0);
    for event in newest.events.iter().filter(|event| event.position() > began) {
        sampled += 1;
        if topology.owner(event.stream()) == shard.number() {
            *keys.entry(partition_key(event.stream()).to_owned()).or_default() += 1;
        }
    }
    Ok((keys.into_iter().map(|(key, events)| KeyLoad { key, events }).collect(), sampled))
}

/// So many of its newest events say what a shard is appended to.
const SAMPLED: usize = 1_024;
/// All events are counted again when a sixteenth of the limit has come since.
const RECOUNT_SHARE: u64 = 16;
/// However often it is asked for.
const CHECK_LEAST: std::time::Duration = std::time::Duration::from_millis(1);
