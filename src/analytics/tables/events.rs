//! The tables of events: all of them, or those of a category.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::TableProviderFilterPushDown;
use datafusion::logical_expr::TableType;
use datafusion::logical_expr::binary_expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use factum_storage::StreamName;
use factum_storage::category;
use futures::future::try_join_all;

use super::super::VisibleStreams;
use super::super::columns::CategoryColumns;
use super::super::rows;
use super::super::rows::EnvelopeColumn;
use super::super::rows::Wanted;
use super::demand::Demand;
use super::lake;
use super::lake::Cold;
use super::lake::FileScan;
use super::lake::Footers;
use super::lake::HotCold;
use super::pieces;
use super::pieces::Shares;
use super::pushdown;
use super::scan::LogScan;
use super::source::Shared;
use crate::Error;
use crate::shard::ReadKind;
use crate::shard::Router;
use crate::subscription::Cursor;
use crate::subscription::Reshape;

/// Where a table's events are.
#[derive(Clone)]
pub(in crate::analytics) struct Place {
    pub(in crate::analytics) router: Arc<Router>,
    pub(in crate::analytics) reshape: Arc<dyn Reshape>,
    /// The end of the log, as far as the query sees it.
    pub(in crate::analytics) cut: Cursor,
    /// What there is of them in files, too.
    pub(in crate::analytics) cold: Option<Cold>,
    pub(in crate::analytics) footers: Arc<Footers>,
    /// Who asks sees these streams alone, which are read from the log: there they are told apart before anything else is asked of them.
    pub(in crate::analytics) only: Option<Arc<VisibleStreams>>,
    /// Shards that nothing is read of.
    pub(in crate::analytics) left_out: Arc<[u16]>,
}

/// A table of events, up to a cut of the log.
pub(in crate::analytics) struct EventsTable {
    place: Place,
    category: Option<String>,
    columns: Arc<CategoryColumns>,
    wanted: Vec<Wanted>,
    schema: SchemaRef,
}

/// What a scan is asked for.
struct Request {
    demand: Demand,
    /// Conditions that are asked above, too: they spare reading of files.
    hints: Vec<Expr>,
    wanted: Vec<Wanted>,
    limit: Option<usize>,
}

impl EventsTable {
    /// All events.
    pub(in crate::analytics) fn all(place: Place) -> Self {
        Self::new(place, None)
    }

    /// The events of a category, with its typed columns.
    pub(in crate::analytics) fn of_category(place: Place, category: String, columns: Arc<CategoryColumns>) -> Self {
        Self::new(place, Some((category, columns)))
    }

    fn new(place: Place, category: Option<(String, Arc<CategoryColumns>)>) -> Self {
        let wanted = rows::table_columns(category.as_ref().map(|(_, columns)| &**columns));
        let (category, columns) = category.unzip();
        let columns = columns.unwrap_or_default();
        let schema = rows::schema(&wanted, &columns);
        Self { place, category, columns, wanted, schema }
    }

    /// A read of these shares of the log.
    fn of_log(&self, request: &Request, shares: Shares) -> Arc<LogScan> {
        let shared = Shared {
            router: Arc::clone(&self.place.router),
            reshape: Arc::clone(&self.place.reshape),
            columns: Arc::clone(&self.columns),
            filter: Arc::new(request.demand.filter()),
            demand: request.demand.clone(),
        };
        Arc::new(LogScan::new(Arc::new(shared), shares, request.wanted.clone(), request.limit))
    }

    async fn shares(&self, request: &Request, behind: Option<&Cursor>, readers: usize) -> Result<Shares> {
        let shares = pieces::shares(&self.place.router, &request.demand, (behind, &self.place.cut), readers).await;
        shares.map_err(external)
    }

    /// The read of files and of the log behind them; `None` if the log alone says it better, or truer.
    async fn of_both(&self, session: &dyn Session, request: &Request) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(cold) = self.place.cold.as_ref().filter(|cold| self.place.cut.covers(cold.through())) else { return Ok(None) };
        let demand = &request.demand;
        if demand.ids.is_some() || demand.streams.is_some() {
            return Ok(None);
        }
        let Some(files) = cold.files(demand, &request.wanted, &self.columns) else { return Ok(None) };
        if files.iter().map(|file| file.rows).sum::<u64>() < FILE_ROWS_MIN {
            return Ok(None);
        }
        let Some(hidden) = self.hidden().await.map_err(external)? else { return Ok(None) };
        let readers = session.config_options().execution.target_partitions;
        let hot = self.shares(request, Some(cold.through()), readers).await?;
        let seen: Vec<StreamName> = hidden.iter().filter(|stream| may_want(demand, stream)).cloned().collect();
        let mut parts: Vec<Arc<dyn ExecutionPlan>> = vec![self.of_files(session, request, files, &hidden)?, self.of_log(request, hot)];
        if !seen.is_empty() {
            parts.push(self.of_log(request, pieces::of_streams(&self.place.router, &seen, cold.through())));
        }
        UnionExec::try_new(parts).map(Some)
    }

    fn of_files(
        &self,
        session: &dyn Session,
        request: &Request,
        files: Vec<super::super::export::PublishedFile>,
        hidden: &[StreamName],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let says_category = files.first().is_some_and(|file| file.category.is_some());
        let exact = lake::condition(&request.demand, hidden, !says_category);
        let condition = exact.into_iter().chain(request.hints.iter().cloned()).reduce(|all, part| binary_expr(all, Operator::And, part));
        let typed = self.columns.fields().iter().map(|field| (field.column.clone(), field.field_type().data_type())).collect();
        let name = |wanted: &Wanted| match wanted {
            Wanted::Envelope(column) => Some(column.name()),
            Wanted::Member(place) => self.columns.fields().get(*place).map(|field| field.column.as_str()),
        };
        let wanted = request.wanted.iter().filter_map(name).collect();
        FileScan { files, typed, condition, wanted, limit: request.limit, footers: Arc::clone(&self.place.footers) }.plan(session)
    }

    /// The streams that hide some of their events, or did when these were exported; `None` if they are too many to be told one by one.
    async fn hidden(&self) -> Result<Option<Vec<StreamName>>, Error> {
        let each = try_join_all(self.place.router.shards().iter().map(|shard| shard.hidden_streams(HIDDEN_MAX))).await?;
        let all: Option<Vec<Vec<StreamName>>> = each.into_iter().collect();
        let all = all.map(|all| {
            let mut all = all.concat();
            // One that has moved is known to several.
            all.sort_unstable();
            all.dedup();
            all
        });
        Ok(all.filter(|all| all.len() <= HIDDEN_MAX))
    }
}

/// Whether there may be something in the stream that is wanted, by its name.
fn may_want(demand: &Demand, stream: &StreamName) -> bool {
    let name = stream.as_str();
    demand.categories.as_ref().is_none_or(|wanted| wanted.contains(category(name)))
        && demand.prefixes.iter().all(|prefix| name.starts_with(prefix.as_str()))
}

/// Whether a condition can be asked of a row of a file: it is about columns that are there as they are.
fn is_of_files(condition: &Expr) -> bool {
    let columns = condition.column_refs();
    let is_plain = columns.iter().all(|column| column.name != EnvelopeColumn::Id.name());
    let is_pure = !condition.is_volatile() && !condition.exists(|part| Ok(matches!(part, Expr::Placeholder(_)))).unwrap_or(true);
    is_plain && is_pure && !columns.is_empty()
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
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
        let supports = |filter: &&Expr| {
            if pushdown::narrow(&mut Demand::default(), filter) {
                TableProviderFilterPushDown::Exact
            } else if self.place.cold.is_some() && is_of_files(filter) {
                TableProviderFilterPushDown::Inexact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
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
        let wanted = match projection {
            Some(places) => places.iter().filter_map(|place| self.wanted.get(*place)).copied().collect(),
            None => self.wanted.clone(),
        };
        let mut demand = Demand::of(self.category.as_deref()).seen_by(self.place.only.as_ref()).without(&self.place.left_out);
        let hints = filters.iter().filter(|filter| !pushdown::narrow(&mut demand, filter)).cloned().collect();
        let request = Request { demand, hints, wanted, limit };
        let shares = self.shares(&request, None, session.config_options().execution.target_partitions).await?;
        let shards: BTreeSet<u16> = shares.list.iter().map(|share| share.shard).collect();
        self.place.router.reached(ReadKind::Sql, shards.len());
        let is_much = shares.events as u64 >= FILE_ROWS_MIN;
        let log: Arc<dyn ExecutionPlan> = self.of_log(&request, shares);
        match if is_much { self.of_both(session, &request).await? } else { None } {
            Some(both) => Ok(Arc::new(HotCold::new(both, log))),
            None => Ok(log),
        }
    }
}

/// So few rows are not worth opening files.
const FILE_ROWS_MIN: u64 = if cfg!(debug_assertions) { 500 } else { 20_000 };
/// More streams that hide something are not told to those who read files.
const HIDDEN_MAX: usize = 1_000;
