//! Where do rows go? Every target keeps the rows *and* the checkpoint, and changes both in one transaction: an event is in the rows
//! exactly if the checkpoint is behind it.

pub(crate) mod postgres;

use std::sync::Arc;

use factum_storage::Timestamp;
use futures::future::BoxFuture;

use super::row::Row;
use super::row::Write;
use super::spec::Columns;
use super::value::Value;
use crate::subscription::Cursor;

pub(crate) mod absent;
pub(crate) mod embedded;

/// A generation of a view: the rows that one definition makes. While a changed definition is built beside the one in use, there are two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    /// The hash of the definition that makes the rows.
    pub(crate) hash: [u8; 16],
    /// The definition's text (JSON), so that it can go on while its successor is built.
    pub(crate) definition: String,
    /// Its rows are the ones that readers see.
    pub(crate) is_live: bool,
}

/// An event that a definition could not digest, kept beside the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parked {
    pub(crate) shard: u16,
    pub(crate) position: u64,
    pub(crate) stream: String,
    pub(crate) version: u64,
    pub(crate) event_type: String,
    pub(crate) reason: String,
    pub(crate) parked_at: Timestamp,
}

/// Which generation a writer is opened for.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) hash: [u8; 16],
    pub(crate) definition: String,
    pub(crate) columns: Arc<Columns>,
    /// The database whose events they are: a checkpoint says nothing of another one's.
    pub(crate) database: [u8; 16],
    /// How many shards the database has: the checkpoint holds a position for each.
    pub(crate) shards: u16,
    /// If it is not there yet: make it the one that readers see. There is then no other.
    pub(crate) is_live: bool,
}

/// All that one target keeps of one view. Opening, promoting and dropping are rare; rows go through a [`Writer`].
pub(crate) trait Target: Send + Sync {
    /// Where the rows are, for people: `embedded`, or `postgres:public.declarations`.
    fn described(&self) -> String;

    /// The generations that are there.
    fn generations(&self) -> BoxFuture<'_, Result<Vec<Generation>, Fault>>;

    /// Opens a generation for writing and makes it if it is not there: tables, indexes, an empty checkpoint. Whoever had it open for
    /// writing before, also on another server, can't commit any more ([`Fault::Fenced`]).
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Box<dyn Writer>, Fault>>;

    /// Makes the rows of a generation the ones that readers see, and drops the others, in one step. Its writer, and those of the others,
    /// were dropped before; it is opened anew after.
    fn promote(&self, hash: [u8; 16]) -> BoxFuture<'_, Result<(), Fault>>;

    /// Drops a generation: rows, checkpoint and parked events. Nothing happens if it is not there. `keep_rows` leaves a table that others
    /// may read where it is.
    fn drop_generation(&self, hash: [u8; 16], keep_rows: bool) -> BoxFuture<'_, Result<(), Fault>>;

    /// Parked events of a generation behind `after` (shard and position, exclusive), in order.
    fn parked(&self, hash: [u8; 16], after: Option<(u16, u64)>, limit: usize) -> BoxFuture<'_, Result<Vec<Parked>, Fault>>;

    /// The row of a key in the live generation, as of the last commit; `None` if it is not there.
    fn row<'a>(&'a self, columns: &'a Columns, key: &'a Value) -> BoxFuture<'a, Result<Option<Row>, Fault>>;
}

/// What a batch comes to.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// At most one for each key.
    pub(crate) writes: Vec<Write>,
    /// Events of it that were stepped over.
    pub(crate) parked: Vec<Parked>,
    /// The new checkpoint: everything up to it is in the rows.
    pub(crate) through: Cursor,
}

/// One generation of one view, opened for writing. A batch is: `load` and `find` as often as needed, then `commit`. What was loaded holds
/// until then; whatever fails ends the batch and changes nothing, and the writer is of no use any more: it is opened anew, and the
/// checkpoint that is found then says where to go on. That is how a commit whose answer was lost is neither repeated nor missed.
pub(crate) trait Writer: Send {
    /// The checkpoint as it was found when the writer was opened; `None`: nothing was written yet.
    fn checkpoint(&self) -> Option<&Cursor>;

    /// The rows of these keys, in their order; of the first of them only (at least one), where all would be more than [`LOAD_BYTES`].
    fn load<'a>(&'a mut self, keys: &'a [Value]) -> BoxFuture<'a, Result<Vec<Option<Row>>, Fault>>;

    /// All rows that have all of these values in these columns (by place).
    fn find<'a>(&'a mut self, matching: &'a [(usize, Value)]) -> BoxFuture<'a, Result<Vec<Row>, Fault>>;

    /// Puts rows, parked events and checkpoint in place, all or nothing.
    fn commit(&mut self, batch: Batch) -> BoxFuture<'_, Result<(), Fault>>;

    /// Makes durable what is not yet; called now and then when there is nothing else to do, and before the writer is dropped in peace.
    fn flush(&mut self) -> BoxFuture<'_, Result<(), Fault>>;
}

/// About how much of large rows is loaded at once.
pub(crate) const LOAD_BYTES: usize = 32 << 20;

/// Why a target did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// It may work if it is tried again: no connection, a deadlock, no space.
    #[error("{0}")]
    Passing(String),
    /// Somebody has to do something about it first: a table that was altered, a file that is damaged, a missing permission.
    #[error("{0}")]
    Lasting(String),
    /// Another server has taken the target over.
    #[error("{0}")]
    Fenced(String),
    /// The target refuses this row, whoever asks: the event that made it is poison.
    #[error("the row {key:?}: {detail}")]
    Row {
        /// Which row.
        key: Value,
        /// Why.
        detail: String,
    },
}
