//! What does a query answer? Record batches as they come, of one cut of the log.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::Stream;
use futures::stream::BoxStream;

use crate::Error;
use crate::subscription::Cursor;

/// The rows of a query, as they are worked out. Dropping it ends the query.
pub struct SqlAnswer {
    schema: SchemaRef,
    cursor: Cursor,
    batches: BoxStream<'static, Result<RecordBatch, Error>>,
}

impl SqlAnswer {
    pub(crate) fn new(schema: SchemaRef, cursor: Cursor, batches: BoxStream<'static, Result<RecordBatch, Error>>) -> Self {
        Self { schema, cursor, batches }
    }

    /// The columns of every batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The cut of the log that was read: all events up to it, and none behind.
    #[must_use]
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }
}

impl Stream for SqlAnswer {
    type Item = Result<RecordBatch, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.as_mut().poll_next(context)
    }
}
