//! The tables of events: all of them, or those of a category.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::TableProviderFilterPushDown;
use datafusion::logical_expr::TableType;
use datafusion::physical_plan::ExecutionPlan;

use super::super::columns::CategoryColumns;
use super::super::rows;
use super::super::rows::Wanted;
use super::demand::Demand;
use super::pieces;
use super::pushdown;
use super::scan::LogScan;
use super::source::Shared;
use crate::shard::Router;
use crate::subscription::Cursor;
use crate::subscription::Reshape;

/// A table of events, up to a cut of the log.
pub(crate) struct EventsTable {
    router: Arc<Router>,
    reshape: Arc<dyn Reshape>,
    cut: Cursor,
    category: Option<String>,
    columns: Arc<CategoryColumns>,
    wanted: Vec<Wanted>,
    schema: SchemaRef,
}

impl EventsTable {
    /// All events.
    pub(crate) fn all(router: Arc<Router>, reshape: Arc<dyn Reshape>, cut: Cursor) -> Self {
        Self::new(router, reshape, cut, None)
    }

    /// The events of a category, with its typed columns.
    pub(crate) fn of_category(
        router: Arc<Router>,
        reshape: Arc<dyn Reshape>,
        cut: Cursor,
        category: String,
        columns: Arc<CategoryColumns>,
    ) -> Self {
        Self::new(router, reshape, cut, Some((category, columns)))
    }

    fn new(router: Arc<Router>, reshape: Arc<dyn Reshape>, cut: Cursor, category: Option<(String, Arc<CategoryColumns>)>) -> Self {
        let wanted = rows::table_columns(category.as_ref().map(|(_, columns)| &**columns));
        let (category, columns) = category.unzip();
        let columns = columns.unwrap_or_default();
        let schema = rows::schema(&wanted, &columns);
        Self { router, reshape, cut, category, columns, wanted, schema }
    }
}

impl fmt::Debug for EventsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventsTable").field("category", &self.category).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for EventsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let supports = |filter: &&Expr| match pushdown::narrow(&mut Demand::default(), filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(supports).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = match projection {
            Some(places) => places.iter().filter_map(|place| self.wanted.get(*place)).copied().collect(),
            None => self.wanted.clone(),
        };
        let mut demand = Demand::of(self.category.as_deref());
        for filter in filters {
            if !pushdown::narrow(&mut demand, filter) {
                return Err(DataFusionError::Internal(format!("a condition was taken over that the log can't tell: {filter}")));
            }
        }
        let readers = state.config_options().execution.target_partitions;
        let shares = pieces::shares(&self.router, &demand, &self.cut, readers).await;
        let shares = shares.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let shared = Shared {
            router: Arc::clone(&self.router),
            reshape: Arc::clone(&self.reshape),
            columns: Arc::clone(&self.columns),
            filter: Arc::new(demand.filter()),
            demand,
        };
        Ok(Arc::new(LogScan::new(Arc::new(shared), shares, wanted, limit)))
    }
}
