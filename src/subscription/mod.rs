//! What has happened, and what happens next, in one ordered feed over all shards?

use std::sync::Arc;

use crate::Error;
use crate::shard::Router;

mod cursor;
pub(crate) mod event_json;
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
        Self { source: Source::Log(LogFeed::new(router, filter, after)) }
    }

    pub(crate) fn of_stream(router: &Router, stream: factum_storage::StreamName, from: factum_storage::Version) -> Self {
        Self { source: Source::Stream(StreamFeed::new(router, stream, from)) }
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
        match &mut self.source {
            Source::Log(feed) => feed.next().await,
            Source::Stream(feed) => feed.next().await,
        }
    }
}

/// What a feed reads at a time, over all shards.
const FEED_BOUNDS: PageBounds = PageBounds { events_max: 512, bytes_max: 1 << 20 };
