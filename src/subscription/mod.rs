//! What has happened, and what happens next, in one ordered feed over all shards?

use crate::Error;
use crate::database::Cursor;
use crate::database::Event;

/// One reader's feed: history first, then live. Holds no more than one page in memory; a slow reader costs only itself.
pub struct Feed {
    _private: (),
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

#[expect(clippy::todo, reason = "signatures first")]
impl Feed {
    /// The next item; waits when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] when the log cannot be read, [`Error::Unavailable`] when the database closes.
    ///
    /// # Cancellation
    ///
    /// Safe: dropping the future loses nothing; the next call gives the same item.
    pub async fn next(&mut self) -> Result<FeedItem, Error> {
        todo!()
    }
}
