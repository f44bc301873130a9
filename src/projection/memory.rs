//! Where do the rows of a trial go? Into memory, and nowhere else.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::row::Row;
use super::spec::Columns;
use super::target::Batch;
use super::target::Fault;
use super::target::Writer;
use super::value::Value;
use crate::subscription::Cursor;

/// A target that is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct MemoryWriter {
    columns: Arc<Columns>,
    pub(crate) rows: HashMap<Value, Row>,
    checkpoint: Option<Cursor>,
}

impl MemoryWriter {
    pub(crate) fn new(columns: Arc<Columns>) -> Self {
        Self { columns, rows: HashMap::new(), checkpoint: None }
    }

    pub(crate) fn columns(&self) -> &Arc<Columns> {
        &self.columns
    }
}

impl Writer for MemoryWriter {
    fn checkpoint(&self) -> Option<&Cursor> {
        self.checkpoint.as_ref()
    }

    fn load<'a>(&'a mut self, keys: &'a [Value]) -> BoxFuture<'a, Result<Vec<Option<Row>>, Fault>> {
        Box::pin(async move { Ok(keys.iter().map(|key| self.rows.get(key).cloned()).collect()) })
    }

    fn find<'a>(&'a mut self, matching: &'a [(usize, Value)]) -> BoxFuture<'a, Result<Vec<Row>, Fault>> {
        let is_meant = |row: &&Row| matching.iter().all(|(place, value)| row.values.get(*place) == Some(value));
        let found = self.rows.values().filter(is_meant).cloned().collect();
        Box::pin(async move { Ok(found) })
    }

    fn commit(&mut self, batch: Batch) -> BoxFuture<'_, Result<(), Fault>> {
        for write in batch.writes {
            match write.row {
                Some(row) => self.rows.insert(write.key, row),
                None => self.rows.remove(&write.key),
            };
        }
        self.checkpoint = Some(batch.through);
        Box::pin(async { Ok(()) })
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
}
