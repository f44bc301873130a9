//! What has happened, and what happens next, in one ordered feed over all shards?

use std::sync::Arc;
use std::time::Duration;

use factum_storage::RecordedEvent;
use futures::future::BoxFuture;

use crate::Error;
use crate::shard::Router;

mod cursor;
pub(crate) mod event_json;
pub(crate) mod group;
pub(crate) mod json_text;
mod log_feed;
mod merge;
mod page;
mod stream_feed;
pub(crate) mod time;

pub use cursor::After;
pub use cursor::Cursor;
pub use cursor::Event;
pub(crate) use page::PageBounds;
pub(crate) use page::read as read_page;

use log_feed::LogFeed;
use stream_feed::StreamFeed;

/// One reader's feed: history first, then live. Holds no more than one page in memory; a slow reader costs only itself.
pub struct Feed {
    source: Source,
    reshape: Option<Arc<dyn Reshape>>,
    /// Taken from the source, and not given yet: a reader who stops waiting loses nothing.
    taken: Option<FeedItem>,
}

/// Brings events into the shape that readers want.
pub(crate) trait Reshape: Send + Sync {
    /// Whether any event may need it.
    fn is_needed(&self) -> bool;

    /// Names the shapes that events get now: another one as soon as any event may get another shape, the same after a restart.
    #[cfg(feature = "analytics")]
    fn generation(&self) -> u64;

    /// The same events, in the same order.
    fn reshape(&self, events: Vec<(u16, RecordedEvent)>) -> BoxFuture<'_, Result<Vec<(u16, RecordedEvent)>, Error>>;
}

enum Source {
    Log(LogFeed),
    Stream(StreamFeed),
}

/// What a feed gives.
#[derive(Clone, Debug)]
pub enum FeedItem {
    /// Events in order, each with the cursor to resume behind it.
    Events(Vec<(Event, Cursor)>),
    /// The live end was reached; what follows is new.
    CaughtUp(Cursor),
    /// The reader was too slow to be served from memory and is served from disk again. Nothing is skipped.
    FellBehind(Cursor),
}

impl Feed {
    pub(crate) fn of_log(router: Arc<Router>, filter: factum_storage::Filter, after: &Cursor) -> Self {
        Self { source: Source::Log(LogFeed::new(router, filter, after)), reshape: None, taken: None }
    }

    pub(crate) fn of_stream(router: Arc<Router>, stream: factum_storage::StreamName, from: factum_storage::Version) -> Result<Self, Error> {
        Ok(Self { source: Source::Stream(StreamFeed::new(router, stream, from)?), reshape: None, taken: None })
    }

    /// The same feed, which also gives [`FeedItem::CaughtUp`] each time that the end has moved over events that the filter leaves out:
    /// for a reader whose own place must keep up with the log's end. A feed of one stream has no such events.
    #[cfg(feature = "analytics")]
    pub(crate) fn telling_progress(mut self) -> Self {
        self.source = match self.source {
            Source::Log(feed) => Source::Log(feed.telling_progress()),
            Source::Stream(feed) => Source::Stream(feed),
        };
        self
    }

    /// The same feed, which also gives [`FeedItem::CaughtUp`] when the end has moved over events that the filter leaves out; only after a
    /// while, since who has to know it at once is woken for everything that is written. A feed of one stream has no such events.
    pub(crate) fn telling_progress_within(mut self, time: Duration) -> Self {
        self.source = match self.source {
            Source::Log(feed) => Source::Log(feed.telling_progress_within(time)),
            Source::Stream(feed) => Source::Stream(feed),
        };
        self
    }

    /// Somebody waits for what may come next: an idle feed looks at it as soon as it is there.
    pub(crate) fn hurry(&mut self) {
        match &mut self.source {
            Source::Log(feed) => feed.hurry(),
            Source::Stream(_) => {}
        }
    }

    /// The same feed, its events in another shape.
    pub(crate) fn reshaped_by(mut self, reshape: Option<Arc<dyn Reshape>>) -> Self {
        self.reshape = reshape;
        self
    }

    /// The next item; waits when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] when the log cannot be read or the stream that is followed is ended for ever, [`Error::Unavailable`] when the
    /// database closes.
    ///
    /// # Cancellation
    ///
    /// Safe: dropping the future loses nothing; the next call gives the same item.
    pub async fn next(&mut self) -> Result<FeedItem, Error> {
        if self.taken.is_none() {
            let item = match &mut self.source {
                Source::Log(feed) => feed.next().await?,
                Source::Stream(feed) => feed.next().await?,
            };
            self.taken = Some(item);
        }
        if let (Some(FeedItem::Events(events)), Some(reshape)) = (&self.taken, &self.reshape)
            && reshape.is_needed()
        {
            let records = events.iter().map(|(event, _)| (event.shard, event.record.clone())).collect();
            let shaped = reshape.reshape(records).await?;
            if let Some(FeedItem::Events(events)) = &mut self.taken {
                for ((event, _), (_, record)) in events.iter_mut().zip(shaped) {
                    event.record = record;
                }
            }
        }
        Ok(self.taken.take().unwrap_or_else(|| FeedItem::Events(Vec::new())))
    }
}

/// What a feed reads at a time, over all shards.
const FEED_BOUNDS: PageBounds = PageBounds { events_max: 512, bytes_max: 1 << 20 };
