//! How do parts of the server keep what they know in streams of the system? Clients of the database can't write there.

use bytes::Bytes;
use factum_storage as storage;
use storage::Direction;
use storage::ExpectedVersion;
use storage::RecordedEvent;
use storage::StreamAppend;
use storage::StreamName;
use storage::Transaction;
use storage::Version;

use super::Database;
use crate::Error;
use crate::shard::Write;
use crate::shard::system_event;

impl Database {
    /// Appends events (type and data) to a stream of the system and returns the last one's version once they are on disk.
    ///
    /// # Errors
    ///
    /// As [`Database::append`].
    pub(crate) async fn append_to_system(
        &self,
        stream: &StreamName,
        events: Vec<(&'static str, Bytes)>,
        expected: ExpectedVersion,
    ) -> Result<Version, Error> {
        debug_assert!(stream.is_system(), "{stream} is no stream of the system");
        let event = |(event_type, data): (&str, Bytes)| system_event(event_type, data);
        let append = StreamAppend { stream: stream.clone(), expected, events: events.into_iter().map(event).collect() };
        let write = Write::Transaction(Transaction { appends: vec![append], conditions: Vec::new() });
        let done = self.write(stream, write).await?;
        Ok(done.appended.streams.first().map_or(Version::ZERO, |(_, _, last)| *last))
    }

    /// Where a stream of the system ends. One look into the index, without leaving the thread: cheap enough to be asked for often.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`]: the database is closed. [`Error::ShardFailed`], [`Error::Storage`].
    pub(crate) fn version_in_system(&self, stream: &StreamName) -> Result<Version, Error> {
        let info = self.router().locate(stream.as_str()).stream_now(stream.as_str())?;
        Ok(info.map_or(Version::ZERO, |info| info.version))
    }

    /// The events of a stream of the system from a version on (inclusive), in order and as they were stored; none if nobody has written
    /// to it.
    ///
    /// # Errors
    ///
    /// As [`Database::version_in_system`].
    pub(crate) async fn read_from_system(&self, stream: &StreamName, from: Version) -> Result<Vec<RecordedEvent>, Error> {
        let mut events = Vec::new();
        let mut from = Some(from);
        while let Some(version) = from {
            let home = self.router().locate(stream.as_str());
            let slice = home.read_stream(stream.clone(), Some(version), Direction::Forward, READ_EVENTS, READ_BYTES).await?;
            let Some(slice) = slice else { break };
            events.extend(slice.events.into_iter().map(|(_, event)| event));
            from = slice.next;
        }
        Ok(events)
    }
}

const READ_EVENTS: usize = 1000;
const READ_BYTES: usize = 4 << 20;
