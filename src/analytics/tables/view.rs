//! The table of an embedded view: its rows, all from one state of it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::TableProviderFilterPushDown;
use datafusion::logical_expr::TableType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use redb::ReadTransaction;

use super::view_columns::RowBuilder;
use super::view_columns::comparison;
use super::view_columns::schema;
use crate::Error;
use crate::projection::Columns;
use crate::projection::Comparison;
use crate::projection::query::QueryFault;
use crate::projection::query::scan;
use crate::projection::target::embedded::EmbeddedTarget;
use crate::projection::target::embedded::Reader;

/// One state of a view.
pub(crate) struct ViewTable {
    state: Arc<State>,
    schema: SchemaRef,
}

struct State {
    view: String,
    reader: Reader,
    snapshot: ReadTransaction,
}

impl ViewTable {
    /// The rows as they are now. Waits for the disk.
    ///
    /// # Errors
    ///
    /// [`Error::TargetUnavailable`].
    pub(crate) fn open(view: &str, target: &EmbeddedTarget, columns: &Arc<Columns>) -> Result<Self, Error> {
        let unavailable = |detail: String| Error::TargetUnavailable { view: view.to_owned(), detail };
        let reader = target.reader(columns).map_err(|fault| unavailable(fault.to_string()))?;
        let snapshot = reader.snapshot();
        let snapshot = snapshot.map_err(|trouble| unavailable(crate::projection::target::Fault::from(trouble).to_string()))?;
        let schema = schema(reader.columns());
        Ok(Self { state: Arc::new(State { view: view.to_owned(), reader, snapshot }), schema })
    }
}

impl fmt::Debug for ViewTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewTable").field("view", &self.state.view).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let columns = self.state.reader.columns();
        let supports = |filter: &&Expr| match comparison(filter, columns) {
            Some(_) => TableProviderFilterPushDown::Exact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(supports).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = self.state.reader.columns();
        let places: Vec<usize> = projection.map_or_else(|| (0..columns.list().len()).collect(), Clone::clone);
        let comparisons: Option<Vec<Comparison>> = filters.iter().map(|filter| comparison(filter, columns)).collect();
        let comparisons =
            comparisons.ok_or_else(|| DataFusionError::Internal("a condition was taken over that a view can't tell".to_owned()))?;
        let schema = Arc::new(self.schema.project(&places)?);
        let rows = Rows { state: Arc::clone(&self.state), schema: Arc::clone(&schema), places, comparisons, limit };
        StreamingTable::try_new(schema, vec![Arc::new(rows)])?.scan(session, None, &[], limit).await
    }
}

/// The rows that pass, read by a thread that may wait for the disk.
struct Rows {
    state: Arc<State>,
    schema: SchemaRef,
    places: Vec<usize>,
    comparisons: Vec<Comparison>,
    limit: Option<usize>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("view", &self.state.view).finish_non_exhaustive()
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), BATCHES_AHEAD);
        let sender = stream.tx();
        let (state, schema, places) = (Arc::clone(&self.state), Arc::clone(&self.schema), self.places.clone());
        let (comparisons, limit) = (self.comparisons.clone(), self.limit.unwrap_or(usize::MAX));
        let batch_rows = context.session_config().batch_size().min(limit).max(1);
        stream.spawn_blocking(move || {
            let mut builder = RowBuilder::new(schema, state.reader.columns(), &places, batch_rows);
            let mut seen = 0;
            let mut fault = None;
            let mut hand_over = |batch: Result<RecordBatch>| match batch {
                Ok(batch) => sender.blocking_send(Ok(batch)).is_ok(),
                Err(error) => {
                    fault = Some(error);
                    false
                }
            };
            let read = scan(&state.reader, &state.snapshot, &comparisons, |row| {
                builder.push(&row);
                seen += 1;
                let goes_on = !builder.is_full() || hand_over(builder.finish());
                goes_on && seen < limit
            });
            read.map_err(|fault| DataFusionError::External(Box::new(unread(&state.view, fault))))?;
            if builder.rows() > 0 {
                hand_over(builder.finish());
            }
            fault.map_or(Ok(()), Err)
        });
        stream.build()
    }
}

fn unread(view: &str, fault: QueryFault) -> Error {
    let detail = match fault {
        QueryFault::Invalid { field, detail } => format!("{field} {detail}"),
        QueryFault::TooSlow(detail) => detail,
        QueryFault::Unread(trouble) => crate::projection::target::Fault::from(trouble).to_string(),
    };
    Error::TargetUnavailable { view: view.to_owned(), detail }
}

const BATCHES_AHEAD: usize = 2;
