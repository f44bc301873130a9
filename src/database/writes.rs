//! What can a program change?

use std::sync::Arc;

use factum_storage as storage;
use storage::Appended;
use storage::Condition;
use storage::EventId;
use storage::ExpectedVersion;
use storage::NewEvent;
use storage::Retention;
use storage::StreamAppend;
use storage::StreamName;
use storage::Transaction;
use uuid::Uuid;

use super::AppendResult;
use super::Database;
use super::ImportResult;
use super::TransactionRequest;
use super::validate;
use crate::Error;
use crate::shard;
use crate::shard::Control;
use crate::shard::Handle;
use crate::shard::Write;
use crate::subscription::After;
use crate::subscription::Cursor;

impl Database {
    /// Appends to one stream, all or nothing, and returns once it is on disk.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`], [`Error::Invalid`], [`Error::SystemStream`], [`Error::Overloaded`], [`Error::Unavailable`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future does not withdraw the append. Retry with the same event ids.
    pub async fn append(&self, mut append: StreamAppend) -> Result<AppendResult, Error> {
        validate::appends(std::slice::from_ref(&append), |_| "events".to_owned())?;
        self.check_shapes(&mut append.events, || "events".to_owned())?;
        self.check_residency(std::slice::from_ref(&append), |_, part| part.to_owned())?;
        let shard = self.router().locate(append.stream.as_str());
        let transaction = Transaction { appends: vec![append], conditions: Vec::new() };
        self.write(shard, Write::Transaction(transaction)).await
    }

    /// Appends to several streams of one shard under conditions, all or nothing, and returns once it is on disk.
    ///
    /// # Errors
    ///
    /// As [`Database::append`], and [`Error::CrossShard`], [`Error::BadCursor`].
    ///
    /// # Cancellation
    ///
    /// As [`Database::append`].
    pub async fn transact(&self, mut request: TransactionRequest) -> Result<AppendResult, Error> {
        validate::appends(&request.appends, |append| format!("appends[{append}].events"))?;
        validate::conditions(&request.conditions)?;
        for (index, append) in request.appends.iter_mut().enumerate() {
            self.check_shapes(&mut append.events, || format!("appends[{index}].events"))?;
        }
        self.check_residency(&request.appends, |append, part| format!("appends[{append}].{part}"))?;
        let shard = self.transaction_shard(&request)?;
        let condition = |asked: super::ConditionRequest| {
            let after = match &asked.after {
                After::Start => storage::Position::ZERO,
                After::End => shard.committed(),
                After::Cursor(cursor) => {
                    cursor.check(self.router(), 0)?;
                    cursor.position(shard.number())
                }
            };
            Ok(Condition { query: asked.query, after })
        };
        let conditions: Result<Vec<Condition>, Error> = request.conditions.into_iter().map(condition).collect();
        let transaction = Transaction { appends: request.appends, conditions: conditions? };
        self.write(shard, Write::Transaction(transaction)).await
    }

    /// Appends those events that are not there yet with the same content. Not atomic: what comes before an error stays. Order per stream is
    /// that of the calls' starts; many may be under way at once: they share syncs.
    ///
    /// # Errors
    ///
    /// As [`Database::append`]; `Storage(EventIdReused)` names an id that is there with other content.
    ///
    /// # Cancellation
    ///
    /// As [`Database::append`].
    pub async fn import(&self, stream: StreamName, mut events: Vec<NewEvent>) -> Result<ImportResult, Error> {
        validate::import(&stream, &events)?;
        self.check_shapes(&mut events, || "events".to_owned())?;
        let append = StreamAppend { stream, expected: ExpectedVersion::Any, events };
        self.check_residency(std::slice::from_ref(&append), |_, part| part.to_owned())?;
        let StreamAppend { stream, events, .. } = append;
        let shard = self.router().locate(stream.as_str());
        let done = shard.import(stream, events).await?;
        Ok(ImportResult { imported: done.imported, duplicates: done.duplicates, position: done.position })
    }

    /// Deletes a stream softly, or for ever (`permanent`).
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`], and as [`Database::append`].
    pub async fn delete_stream(&self, stream: StreamName, permanent: bool) -> Result<AppendResult, Error> {
        self.control(stream, if permanent { Control::Tombstoned } else { Control::Deleted }).await
    }

    /// Sets what hides a stream's old events, in place of what was set before.
    ///
    /// # Errors
    ///
    /// [`Error::StreamNotFound`], and as [`Database::append`].
    pub async fn set_retention(&self, stream: StreamName, retention: Retention) -> Result<AppendResult, Error> {
        self.control(stream, Control::Retention(retention)).await
    }

    async fn control(&self, stream: StreamName, control: Control) -> Result<AppendResult, Error> {
        validate::client_stream(&stream)?;
        let shard = self.router().locate(stream.as_str());
        let id = EventId::from_bytes(*Uuid::now_v7().as_bytes());
        self.write(shard, Write::Control(stream, control, id)).await
    }

    pub(super) async fn write(&self, shard: &Handle, write: Write) -> Result<AppendResult, Error> {
        let appended = match shard.write(write).await {
            Err(Error::Storage(storage::Error::StreamNotFound(stream))) => {
                return Err(Error::StreamNotFound { stream: stream.to_string() });
            }
            written => written?,
        };
        Ok(AppendResult { cursor: self.cursor_behind(shard, &appended), shard: shard.number(), appended })
    }

    /// A point that has seen the append.
    fn cursor_behind(&self, shard: &Handle, appended: &Appended) -> Cursor {
        let at = |other: &Handle| if other.number() == shard.number() { appended.position } else { other.committed() };
        Cursor::of(self.router(), self.router().shards().iter().map(at).collect())
    }

    /// The one shard that all streams of a transaction live on.
    fn transaction_shard(&self, request: &TransactionRequest) -> Result<&Handle, Error> {
        let router = self.router();
        let Some(first) = request.appends.first() else {
            return match router.shards() {
                [only] if !request.conditions.is_empty() => Ok(only),
                _ => {
                    let detail = "must name a stream, which may be without events: it says which shard the conditions are about";
                    Err(Error::Invalid { field: "appends".to_owned(), detail: detail.to_owned() })
                }
            };
        };
        let number = router.shard_of(first.stream.as_str());
        if request.appends.iter().all(|append| router.shard_of(append.stream.as_str()) == number) {
            return Ok(router.shard(number));
        }
        let mut streams: Vec<(String, u16)> =
            request.appends.iter().map(|append| (append.stream.to_string(), router.shard_of(append.stream.as_str()))).collect();
        streams.sort();
        streams.dedup();
        // Streams with the key of one of them in braces join it where it is.
        let mut keys = request.appends.iter().map(|append| shard::partition_key(append.stream.as_str()));
        let partition_key = keys.find(|key| shard::partition_key(&format!("{{{key}}}")) == *key);
        let partition_key = partition_key.unwrap_or("together").to_owned();
        Err(Error::CrossShard { streams: Arc::from(streams), partition_key })
    }
}
