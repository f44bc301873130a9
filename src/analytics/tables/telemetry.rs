//! The tables of the server's own doings: lines of the log and spans, as far as they are written.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::TableType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;

use super::super::telemetry::Table;
use super::super::telemetry::TelemetryLake;
use super::super::telemetry::names;
use super::super::telemetry::read;
use crate::Error;

/// One of them.
pub(in crate::analytics) struct TelemetryTable {
    lake: Arc<TelemetryLake>,
    table: Table,
    schema: SchemaRef,
}

impl TelemetryTable {
    pub(in crate::analytics) fn new(lake: Arc<TelemetryLake>, table: Table) -> Self {
        Self { lake, table, schema: table.schema() }
    }
}

impl fmt::Debug for TelemetryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryTable").field("table", &self.table).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for TelemetryTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(places) => Arc::new(self.schema.project(places)?),
            None => Arc::clone(&self.schema),
        };
        let files = names(&*self.lake.disk, self.table).map_err(|error| unread(self.table, error.to_string()))?;
        // Few read at once, whatever there is: a file is in memory while it is read.
        let readers = session.config().target_partitions().clamp(1, files.len().max(1));
        let mut shares = vec![Vec::new(); readers];
        for (file, share) in files.into_iter().zip((0..readers).cycle()) {
            shares.get_mut(share).into_iter().for_each(|files: &mut Vec<String>| files.push(file.clone()));
        }
        let partition = |files| -> Arc<dyn PartitionStream> {
            Arc::new(Rows { lake: Arc::clone(&self.lake), table: self.table, schema: Arc::clone(&schema), files })
        };
        let partitions = shares.into_iter().map(partition).collect();
        StreamingTable::try_new(Arc::clone(&schema), partitions)?.scan(session, None, &[], limit).await
    }
}

/// The rows of some files, read by a thread that may wait for the disk.
struct Rows {
    lake: Arc<TelemetryLake>,
    table: Table,
    schema: SchemaRef,
    files: Vec<String>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("table", &self.table).finish_non_exhaustive()
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), BATCHES_AHEAD);
        let sender = stream.tx();
        let (lake, table, schema, files) = (Arc::clone(&self.lake), self.table, Arc::clone(&self.schema), self.files.clone());
        let batch_rows = context.session_config().batch_size();
        stream.spawn_blocking(move || {
            let mut give = |batch| sender.blocking_send(Ok(batch)).is_ok();
            for file in &files {
                if !read((&*lake.disk, table), file, &schema, batch_rows, &mut give).map_err(|detail| unread(table, detail))? {
                    return Ok(());
                }
            }
            Ok(())
        });
        stream.build()
    }
}

fn unread(table: Table, detail: String) -> DataFusionError {
    DataFusionError::External(Box::new(Error::TargetUnavailable { view: table.name().to_owned(), detail }))
}

const BATCHES_AHEAD: usize = 2;
