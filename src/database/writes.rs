//! What can a program change?

use std::collections::BTreeMap;
use std::sync::Arc;

use factum_storage as storage;
use storage::Appended;
use storage::Condition;
use storage::Direction;
use storage::EventId;
use storage::ExpectedVersion;
use storage::FailedCheck;
use storage::Filter;
use storage::NewEvent;
use storage::QueryItem;
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
use crate::shard::Table;
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
        let stream = append.stream.clone();
        let transaction = Transaction { appends: vec![append], conditions: Vec::new() };
        self.write(&stream, Write::Transaction(transaction)).await
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
        for condition in &request.conditions {
            if let After::Cursor(cursor) = &condition.after {
                cursor.check(self.router(), 0)?;
            }
        }
        let streams: Vec<StreamName> = request.appends.iter().map(|append| append.stream.clone()).collect();
        let streams: Vec<&StreamName> = streams.iter().collect();
        loop {
            let table = self.router().table();
            self.check_history(&table, &request).await?;
            let version = table.topology().version();
            let mut has_moved = false;
            let written = self.router().write(&streams, |table| {
                let shard = transaction_shard(table, &request)?;
                // What the history of these slots was looked at for, may have grown since.
                has_moved = table.topology().version() != version;
                if has_moved {
                    return Err(Error::Overloaded { shard });
                }
                let conditions = request.conditions.iter().map(|asked| condition(asked, table.shard(shard))).collect();
                Ok((shard, Write::Transaction(Transaction { appends: std::mem::take(&mut request.appends), conditions })))
            });
            let written = written.await;
            if !has_moved {
                return self.written(written);
            }
        }
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
        let done = self.router().import(stream, events).await?;
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
        let id = EventId::from_bytes(*Uuid::now_v7().as_bytes());
        self.write(&stream.clone(), Write::Control(stream, control, id)).await
    }

    /// Changes the log of the shard that a stream lives on.
    pub(super) async fn write(&self, stream: &StreamName, write: Write) -> Result<AppendResult, Error> {
        let written = self.router().write(&[stream], |table| Ok((table.topology().owner(stream.as_str()), write))).await;
        self.written(written)
    }

    fn written(&self, written: Result<(Handle, Appended), Error>) -> Result<AppendResult, Error> {
        let (shard, appended) = match written {
            Err(Error::Storage(storage::Error::StreamNotFound(stream))) => {
                return Err(Error::StreamNotFound { stream: stream.to_string() });
            }
            written => written?,
        };
        Ok(AppendResult { cursor: self.cursor_behind(&shard, &appended), shard: shard.number(), appended })
    }

    /// A point that has seen the append.
    fn cursor_behind(&self, shard: &Handle, appended: &Appended) -> Cursor {
        let at = |other: &Handle| if other.number() == shard.number() { appended.position } else { other.committed() };
        Cursor::of(self.router(), self.router().shards().iter().map(at).collect())
    }

    /// Checks conditions against what lies in the logs of shards that had slots of this transaction's shard before. Nothing of these slots
    /// is appended there any more, so what is found now is all that there ever will be.
    async fn check_history(&self, table: &Table, request: &TransactionRequest) -> Result<(), Error> {
        if request.conditions.is_empty() || table.topology().moves().is_empty() {
            return Ok(());
        }
        let shard = transaction_shard(table, request)?;
        let mut failed = Vec::new();
        for (index, condition) in request.conditions.iter().enumerate() {
            if let Some((position, event_id)) = self.match_in_history(table, shard, condition).await? {
                failed.push(FailedCheck::Condition { index, position, event_id });
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(storage::Error::Conflict(failed.into()).into()) }
    }

    async fn match_in_history(
        &self,
        table: &Table,
        shard: u16,
        condition: &super::ConditionRequest,
    ) -> Result<Option<(storage::Position, EventId)>, Error> {
        let filter = Arc::new(filter_of(&condition.query));
        // Of each shard that gave some away: how far.
        let mut given: BTreeMap<u16, u64> = BTreeMap::new();
        for moved in table.topology().moves() {
            let end = given.entry(moved.from).or_default();
            *end = moved.from_position.max(*end);
        }
        for (from, end) in given.into_iter().filter(|(from, _)| *from != shard) {
            let mut after = match &condition.after {
                After::Start => storage::Position::ZERO,
                After::End => continue,
                After::Cursor(cursor) => cursor.position(from),
            };
            let end = storage::Position::new(end);
            while after < end {
                let read = table.shard(from).read_piece(Arc::clone(&filter), (after, end), Direction::Forward, READ_EVENTS, READ_BYTES);
                let slice = read.await?;
                let found = slice.events.iter().find(|event| {
                    table.topology().owner(event.stream()) == shard
                        && (condition.query.is_empty() || condition.query.iter().any(|item| item.matches(event)))
                });
                if let Some(event) = found {
                    return Ok(Some((event.position(), event.id())));
                }
                if slice.at_end {
                    break;
                }
                after = slice.through;
            }
        }
        Ok(None)
    }
}

fn condition(asked: &super::ConditionRequest, shard: &Handle) -> Condition {
    let after = match &asked.after {
        After::Start => storage::Position::ZERO,
        After::End => shard.committed(),
        After::Cursor(cursor) => cursor.position(shard.number()),
    };
    Condition { query: asked.query.clone(), after }
}

/// Takes in whatever matches any of the items, by what the index knows.
fn filter_of(query: &[QueryItem]) -> Filter {
    let all_have_types = query.iter().all(|item| !item.types.is_empty());
    let types = query.iter().flat_map(|item| &item.types).map(|name| name.to_string());
    Filter { types: if all_have_types { types.collect() } else { Vec::new() }, ..Filter::default() }
}

/// The one shard that all streams of a transaction live on.
fn transaction_shard(table: &Table, request: &TransactionRequest) -> Result<u16, Error> {
    let owner = |append: &StreamAppend| table.topology().owner(append.stream.as_str());
    let Some(first) = request.appends.first() else {
        return match table.shards() {
            [only] if !request.conditions.is_empty() => Ok(only.number()),
            _ => {
                let detail = "must name a stream, which may be without events: it says which shard the conditions are about";
                Err(Error::Invalid { field: "appends".to_owned(), detail: detail.to_owned() })
            }
        };
    };
    let number = owner(first);
    if request.appends.iter().all(|append| owner(append) == number) {
        return Ok(number);
    }
    let mut streams: Vec<(String, u16)> = request.appends.iter().map(|append| (append.stream.to_string(), owner(append))).collect();
    streams.sort();
    streams.dedup();
    // Streams with the key of one of them in braces join it where it is.
    let mut keys = request.appends.iter().map(|append| shard::partition_key(append.stream.as_str()));
    let partition_key = keys.find(|key| shard::partition_key(&format!("{{{key}}}")) == *key);
    let partition_key = partition_key.unwrap_or("together").to_owned();
    Err(Error::CrossShard { streams: Arc::from(streams), partition_key })
}

/// What is read at a time of what other shards have kept.
const READ_EVENTS: usize = 1_000;
const READ_BYTES: usize = 1 << 20;
