//! What has happened, and what happens next, in one stream?

use std::sync::Arc;

use factum_storage as storage;
use futures::future::select;
use storage::Direction;
use storage::Position;
use storage::RecordedEvent;
use storage::StreamName;
use storage::Version;
use tokio::sync::watch;

use super::Cursor;
use super::Event;
use super::FEED_BOUNDS;
use super::FeedItem;
use crate::Error;
use crate::shard::Follower;
use crate::shard::Handle;
use crate::shard::Interest;
use crate::shard::Router;
use crate::shard::ends;

/// A feed of one stream's visible events.
///
/// History is read by version, what is live by position. Both skip what is below `next`, the first version that was not
/// given yet, so the hand-over can neither repeat nor lose an event.
pub(super) struct StreamFeed {
    router: Arc<Router>,
    /// Tells when the stream may have gone to another shard.
    versions: watch::Receiver<u64>,
    /// Of the topology by which it has looked for the stream.
    version: u64,
    /// Where the stream goes on.
    shard: Handle,
    follower: Follower,
    stream: StreamName,
    next: Version,
    /// Where the log stood when the feed began; this shard's position goes on with what is given.
    cursor: Cursor,
    stage: Stage,
    /// The reader was told that it is at the live end, and not yet that it has left it.
    was_caught_up: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Reads the stream from disk.
    History,
    /// Everything up to this position was looked at. `is_told`: so was the reader, and has been given nothing since.
    Live { looked: Position, is_told: bool },
}

impl StreamFeed {
    pub(super) fn new(router: Arc<Router>, stream: StreamName, from: Version) -> Result<Self, Error> {
        let versions = router.versions();
        let version = *versions.borrow();
        let home = router.locate(stream.as_str());
        let shard = home.owner().clone();
        let follower = shard.follow(Interest::of_stream(stream.as_str()))?;
        let cursor = home.all().fold(Cursor::end(&router), |cursor, shard| cursor.at_start_of(shard.number()));
        let next = from.max(Version::new(1));
        Ok(Self { router, versions, version, shard, follower, stream, next, cursor, stage: Stage::History, was_caught_up: false })
    }

    /// The stream may live on another shard by now: what it has there is found by version, like all history.
    fn follow_owner(&mut self) -> Result<(), Error> {
        let home = self.router.locate(self.stream.as_str());
        if home.number() != self.shard.number() {
            self.shard = home.owner().clone();
            self.follower = self.shard.follow(Interest::of_stream(self.stream.as_str()))?;
            self.stage = Stage::History;
        }
        Ok(())
    }

    pub(super) async fn next(&mut self) -> Result<FeedItem, Error> {
        loop {
            let version = *self.versions.borrow_and_update();
            if version != self.version {
                self.version = version;
                self.follow_owner()?;
            }
            self.shard.check_open()?;
            let Stage::Live { looked, is_told } = self.stage else {
                let (events, stage) = self.read_history().await?;
                self.stage = stage;
                if !events.is_empty() {
                    return Ok(self.give(events));
                }
                continue;
            };
            match self.read_live(looked) {
                Live::Events(events, looked) => {
                    self.stage = Stage::Live { looked, is_told: false };
                    let shard = self.shard.number();
                    return Ok(self.give(events.into_iter().map(|event| (shard, event)).collect()));
                }
                Live::Nothing { looked, at_end } => {
                    self.stage = Stage::Live { looked, is_told: is_told || at_end };
                    if at_end && !is_told {
                        self.seen(looked);
                        self.was_caught_up = true;
                        return Ok(FeedItem::CaughtUp(self.cursor.clone()));
                    }
                    if at_end {
                        // Either way it is looked at again.
                        drop(select(Box::pin(self.follower.changed()), Box::pin(self.versions.changed())).await);
                    }
                }
                Live::TooShort => {
                    self.stage = Stage::History;
                    if std::mem::replace(&mut self.was_caught_up, false) {
                        return Ok(FeedItem::FellBehind(self.cursor.clone()));
                    }
                }
                Live::Ended => return Err(storage::Error::StreamDeleted(self.stream.clone()).into()),
            }
        }
    }

    /// A page of the stream from disk, and what comes after it.
    async fn read_history(&mut self) -> Result<(Vec<(u16, RecordedEvent)>, Stage), Error> {
        // Taken before the stream is read: whatever of it stands behind this position is looked at again, and skipped by its version.
        let looked = self.shard.committed();
        let bounds = FEED_BOUNDS;
        let home = self.router.locate(self.stream.as_str());
        let read = home.read_stream(self.stream.clone(), Some(self.next), Direction::Forward, bounds.events_max, bounds.bytes_max);
        let live = Stage::Live { looked, is_told: false };
        match read.await? {
            Some(slice) => {
                self.next = self.next.max(slice.next.unwrap_or_default());
                Ok((slice.events, if slice.next.is_some() { Stage::History } else { live }))
            }
            None => {
                let info = home.stream(self.stream.clone()).await?;
                if info.is_some_and(|info| info.is_tombstoned) {
                    return Err(storage::Error::StreamDeleted(self.stream.clone()).into());
                }
                Ok((Vec::new(), live))
            }
        }
    }

    /// What memory has behind `looked`.
    fn read_live(&mut self, looked: Position) -> Live {
        let name = self.stream.as_str();
        let next = self.next;
        let wanted = |event: &RecordedEvent| (event.stream() == name && event.version() >= next) || ends(event, name);
        let Some(slice) = self.follower.read(looked, wanted, FEED_BOUNDS.events_max, FEED_BOUNDS.bytes_max) else {
            return Live::TooShort;
        };
        if slice.events.iter().any(|event| ends(event, name)) {
            return Live::Ended;
        }
        if slice.events.is_empty() {
            return Live::Nothing { looked: slice.through, at_end: slice.at_end };
        }
        Live::Events(slice.events, slice.through)
    }

    fn give(&mut self, events: Vec<(u16, RecordedEvent)>) -> FeedItem {
        let mut given = Vec::with_capacity(events.len());
        for (shard, record) in events {
            self.next = record.version().next();
            self.cursor.advance(shard, record.position());
            given.push((Event { shard, record }, self.cursor.clone()));
        }
        FeedItem::Events(given)
    }

    fn seen(&mut self, position: Position) {
        self.cursor.advance(self.shard.number(), position);
    }
}

/// What memory has for the feed.
enum Live {
    Events(Vec<RecordedEvent>, Position),
    Nothing {
        looked: Position,
        at_end: bool,
    },
    /// It does not reach back far enough.
    TooShort,
    /// The stream is ended for ever.
    Ended,
}
