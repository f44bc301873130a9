//! What has happened, and what happens next, on all shards?

use std::sync::Arc;
use std::time::Duration;

use factum_storage::Direction;
use factum_storage::Filter;
use factum_storage::Position;
use futures::future::select;
use futures::future::select_all;
use futures::future::try_join_all;
use tokio::sync::watch;

use super::Cursor;
use super::Event;
use super::FEED_BOUNDS;
use super::FeedItem;
use super::merge;
use super::merge::Barriers;
use super::merge::Lane;
use super::merge::Next;
use crate::Error;
use crate::shard::Follower;
use crate::shard::Handle;
use crate::shard::Interest;
use crate::shard::Router;
use crate::shard::Table;

/// A feed over the log of all shards.
pub(super) struct LogFeed {
    router: Arc<Router>,
    /// The shards that there were when it looked last, and tells of each change.
    table: Table,
    versions: watch::Receiver<u64>,
    filter: Arc<Filter>,
    lanes: Vec<Lane>,
    barriers: Barriers,
    /// One for each lane, unless a shard was away when it began: then nothing is read until there is.
    followers: Vec<Follower>,
    interest: Interest,
    lane_events_max: usize,
    lane_bytes_max: usize,
    stage: Stage,
    progress: Progress,
    /// The place that the reader was told last.
    told: Cursor,
    /// How often it was woken in a row for nothing that it wants.
    idle_wakes: u32,
}

/// Whether the reader is told of the end each time that it moves, and not only when it is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Untold,
    /// Within so long.
    ToldWithin(Duration),
}

/// What the reader knows of where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It was not told yet that it has reached the end.
    History,
    /// It was told, and was given something since.
    Live,
    /// It was told, and that was the last that it heard.
    CaughtUp,
}

impl LogFeed {
    pub(super) fn new(router: Arc<Router>, filter: Filter, after: &Cursor) -> Self {
        let versions = router.versions();
        let table = router.table();
        // Following begins before anything is read, so no commit falls between the two.
        let interest = Interest::of(&filter);
        let followers = follow_all(&table, &interest);
        let lane = |shard: &Handle| Lane::new(shard.number(), Direction::Forward, after.position(shard.number()));
        let lanes: Vec<Lane> = table.shards().iter().map(lane).collect();
        Self {
            filter: Arc::new(filter),
            barriers: Barriers::new(table.topology(), &lanes),
            lane_events_max: lane_events_max(lanes.len()),
            lane_bytes_max: lane_bytes_max(lanes.len()),
            lanes,
            followers,
            interest,
            table,
            versions,
            stage: Stage::History,
            progress: Progress::Untold,
            told: after.clone(),
            idle_wakes: 0,
            router,
        }
    }

    #[cfg(feature = "analytics")]
    pub(super) fn telling_progress(mut self) -> Self {
        // Whatever is written moves the end, so it is woken for that.
        self.progress = Progress::ToldWithin(PROGRESS_FAR);
        self.interest = Interest::Everything;
        self.followers = follow_all(&self.table, &self.interest);
        self
    }

    pub(super) fn telling_progress_within(mut self, time: Duration) -> Self {
        self.progress = Progress::ToldWithin(time);
        self
    }

    pub(super) fn hurry(&mut self) {
        self.idle_wakes = 0;
    }

    pub(super) async fn next(&mut self) -> Result<FeedItem, Error> {
        loop {
            if *self.versions.borrow_and_update() != self.table.topology().version() {
                self.take_up_changes();
            }
            self.table.shards().iter().try_for_each(Handle::check_open)?;
            if self.followers.len() != self.lanes.len() {
                // One that was away then is there again. Nothing was read meanwhile, so nothing was missed.
                let followers = self.table.shards().iter().map(|shard| shard.follow(self.interest.clone()));
                self.followers = followers.collect::<Result<_, _>>()?;
            }
            if self.read_from_memory() == Memory::TooShort {
                if self.stage != Stage::History {
                    self.stage = Stage::History;
                    return Ok(FeedItem::FellBehind(merge::cursor(&self.router, &self.lanes)));
                }
                self.read_from_disk().await?;
            }
            let events = self.take_events();
            if !events.is_empty() {
                self.idle_wakes = 0;
                if self.stage == Stage::CaughtUp {
                    self.stage = Stage::Live;
                }
                self.told = merge::cursor(&self.router, &self.lanes);
                return Ok(FeedItem::Events(events));
            }
            if self.lanes.iter().all(Lane::is_done) {
                let end = merge::cursor(&self.router, &self.lanes);
                if self.stage != Stage::CaughtUp || (self.progress != Progress::Untold && end != self.told) {
                    self.stage = Stage::CaughtUp;
                    self.told = end.clone();
                    return Ok(FeedItem::CaughtUp(end));
                }
                if !self.has_changed().await {
                    continue;
                }
                // Thousands who want nothing of what is written must not slow down who writes: they look at it in larger portions.
                if self.idle_wakes >= IDLE_WAKES_MAX {
                    tokio::time::sleep(IDLE_PAUSE).await;
                }
                self.idle_wakes = self.idle_wakes.saturating_add(1);
            } else if !self.barriers.is_empty() {
                // A lane may have something that must wait for what another one has on disk by now.
                self.read_from_disk().await?;
            }
        }
    }

    /// Slots have moved, or a shard has joined: it is read from its start, as nothing was before it was there.
    fn take_up_changes(&mut self) {
        self.table = self.router.table();
        for shard in self.table.shards().iter().skip(self.lanes.len()) {
            self.lanes.push(Lane::new(shard.number(), Direction::Forward, Position::ZERO));
            self.followers.extend(shard.follow(self.interest.clone()));
        }
        self.lane_events_max = lane_events_max(self.lanes.len());
        self.lane_bytes_max = lane_bytes_max(self.lanes.len());
        self.barriers.take_up(self.table.topology(), &self.lanes);
    }

    /// Waits until there may be something that is wanted. Says no if only the end may have moved.
    async fn has_changed(&mut self) -> bool {
        let published = select_all(self.followers.iter_mut().map(|follower| Box::pin(follower.changed())));
        let changed = select(published, Box::pin(self.versions.changed()));
        match self.progress {
            Progress::Untold => {
                changed.await;
                true
            }
            Progress::ToldWithin(time) => tokio::time::timeout(time, changed).await.is_ok(),
        }
    }

    /// Reads empty lanes on as far as memory goes. Lanes that stood at their end are looked at again.
    fn read_from_memory(&mut self) -> Memory {
        let mut memory = Memory::Enough;
        for (lane, follower) in self.lanes.iter_mut().zip(&mut self.followers) {
            if lane.is_empty() {
                let filter = &self.filter;
                match follower.read(lane.after(), |event| filter.matches(event), self.lane_events_max, self.lane_bytes_max) {
                    Some(slice) => lane.accept(slice.events, slice.through, slice.at_end),
                    None => {
                        lane.reopen();
                        memory = Memory::TooShort;
                    }
                }
            }
        }
        memory
    }

    /// Reads the lanes that memory had nothing for, side by side.
    async fn read_from_disk(&mut self) -> Result<(), Error> {
        let wanting: Vec<&mut Lane> = self.lanes.iter_mut().filter(|lane| lane.is_empty() && !lane.is_done()).collect();
        let reads = wanting.iter().map(|lane| {
            let shard = self.table.shard(lane.shard());
            shard.read_events(Arc::clone(&self.filter), lane.after(), Direction::Forward, self.lane_events_max, self.lane_bytes_max)
        });
        let slices = try_join_all(reads).await?;
        for (lane, slice) in wanting.into_iter().zip(slices) {
            lane.accept(slice.events, slice.through, slice.at_end);
        }
        Ok(())
    }

    fn take_events(&mut self) -> Vec<(Event, Cursor)> {
        let mut events = Vec::new();
        while events.len() < FEED_BOUNDS.events_max
            && let Next::Event(event) = merge::next(&mut self.lanes, &mut self.barriers)
        {
            events.push((event, merge::cursor(&self.router, &self.lanes)));
        }
        events
    }
}

/// How much of a shard is read at a time, of so many.
fn lane_events_max(lanes: usize) -> usize {
    FEED_BOUNDS.events_max.div_ceil(lanes).max(LANE_EVENTS_MIN)
}

fn lane_bytes_max(lanes: usize) -> usize {
    (FEED_BOUNDS.bytes_max / lanes).max(LANE_BYTES_MIN)
}

fn follow_all(table: &Table, interest: &Interest) -> Vec<Follower> {
    // Of a shard that is absent the feed's reader is told before any lane is looked at.
    table.shards().iter().filter_map(|shard| shard.follow(interest.clone()).ok()).collect()
}

/// Whether memory reached back to where the lanes stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    Enough,
    TooShort,
}

/// So many commits in a row without anything for a reader make it an idle one,
const IDLE_WAKES_MAX: u32 = 16;
/// which takes this much longer to see what it does want. Whoever can't wait asks anew: a new call looks at once.
const IDLE_PAUSE: Duration = Duration::from_millis(10);
#[cfg(feature = "analytics")]
const PROGRESS_FAR: Duration = Duration::from_secs(3_600);
/// Less at a time would cost more for the asking than for the reading.
const LANE_EVENTS_MIN: usize = 32;
const LANE_BYTES_MIN: usize = 64 << 10;
