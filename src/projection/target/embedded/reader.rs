//! What do readers of a view see? One transaction, and so one consistent state of rows, indexes and checkpoint.

use std::sync::Arc;

use factum_storage::Position;
use redb::ReadTransaction;
use redb::ReadableDatabase;

use super::super::super::row::Row;
use super::super::super::spec::Columns;
use super::super::super::value::Value;
use super::super::Fault;
use super::encoding;
use super::fault::Trouble;
use super::fault::guarded;
use super::file::OpenFile;
use super::sortable::push_sortable;
use super::tables;
use crate::subscription::Cursor;

/// A reader of one generation. Reading waits for the disk: not on the runtime's own threads.
pub(crate) struct Reader {
    file: Arc<OpenFile>,
    columns: Arc<Columns>,
}

impl Reader {
    pub(super) fn new(file: Arc<OpenFile>, columns: Arc<Columns>) -> Result<Self, Fault> {
        if !file.has_columns(&columns) {
            return Err(Fault::Passing("the view has just got other columns: try again".to_owned()));
        }
        Ok(Self { file, columns })
    }

    /// The columns that the rows have.
    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// One state of the view, to be read as long as it is held.
    ///
    /// # Errors
    ///
    /// What redb says.
    pub(crate) fn snapshot(&self) -> Result<ReadTransaction, Trouble> {
        Ok(self.file.database()?.begin_read()?)
    }

    /// Keeps a failure of the file in mind: it is opened again for the next one.
    pub(crate) fn note(&self, trouble: &Trouble) {
        self.file.note(trouble);
    }

    fn read<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, Trouble>) -> Result<T, Trouble> {
        guarded(|| read(&self.snapshot()?)).inspect_err(|trouble| self.note(trouble))
    }

    /// The checkpoint of a snapshot: everything up to it is in the rows.
    pub(crate) fn checkpoint(&self, snapshot: &ReadTransaction) -> Result<Cursor, Trouble> {
        let found = tables::read_checkpoint(&snapshot.open_table(tables::META)?)?;
        Ok(found.unwrap_or_else(|| Cursor::new(vec![Position::ZERO; usize::from(self.file.shards)])))
    }

    /// The row of a key, and the checkpoint that it goes with.
    ///
    /// # Errors
    ///
    /// What the file says.
    pub(crate) fn row(&self, key: &Value) -> Result<(Option<Row>, Cursor), Fault> {
        let mut sortable = Vec::new();
        if let Some(column) = self.columns.list().get(self.columns.primary_key()) {
            push_sortable(&mut sortable, key, column.column_type);
        }
        let found = self.read(|snapshot| {
            let rows = snapshot.open_table(tables::ROWS)?;
            let bytes = rows.get(sortable.as_slice())?;
            let row = bytes.map(|bytes| encoding::row(bytes.value(), &self.columns)).transpose()?;
            Ok((row, self.checkpoint(snapshot)?))
        })?;
        Ok(found)
    }

    /// How many rows there are, and the checkpoint that goes with it, for tests.
    ///
    /// # Errors
    ///
    /// What the file says.
    #[cfg(test)]
    pub(crate) fn count(&self) -> Result<(u64, Cursor), Fault> {
        let found = self.read(|snapshot| {
            let count = tables::read_row_count(&snapshot.open_table(tables::META)?)?;
            Ok((count, self.checkpoint(snapshot)?))
        })?;
        Ok(found)
    }
}
