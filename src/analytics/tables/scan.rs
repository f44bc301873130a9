//! How does a plan read the log?

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::DisplayAs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::PlanProperties;
use datafusion::physical_plan::SortOrderPushdownResult;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::Boundedness;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::metrics::BaselineMetrics;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use factum_storage::Direction;
use futures::stream;

use super::super::rows;
use super::super::rows::EnvelopeColumn;
use super::super::rows::Wanted;
use super::pieces::Share;
use super::pieces::Shares;
use super::pieces::Work;
use super::source::Shared;
use super::source::Source;

/// A read of the log, a partition for each share of it.
#[derive(Clone)]
pub(super) struct LogScan {
    shared: Arc<Shared>,
    shares: Arc<[Share]>,
    wanted: Arc<[Wanted]>,
    direction: Direction,
    fetch: Option<usize>,
    statistics: Arc<Statistics>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl LogScan {
    pub(super) fn new(shared: Arc<Shared>, shares: Shares, wanted: Vec<Wanted>, fetch: Option<usize>) -> Self {
        let schema = rows::schema(&wanted, &shared.columns);
        // Hidden events are counted too.
        let statistics = Statistics { num_rows: Precision::Inexact(shares.events), ..Statistics::new_unknown(&schema) };
        let mut list = shares.list;
        if list.is_empty() {
            // A plan has at least one partition.
            let nothing = Work::Pieces(Vec::new());
            list.push(Share { shard: 0, end: factum_storage::Position::ZERO, work: nothing });
        }
        let properties = Arc::new(properties(schema, &list, &wanted, Direction::Forward));
        Self {
            shared,
            shares: list.into(),
            wanted: wanted.into(),
            direction: Direction::Forward,
            fetch,
            statistics: Arc::new(statistics),
            properties,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// The same, read from the end on.
    fn backward(&self) -> Self {
        let properties = properties(self.schema(), &self.shares, &self.wanted, Direction::Backward);
        Self { direction: Direction::Backward, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }
    }
}

/// What the plan may rest on: the events of a share come in the order of the log, or of their stream.
fn properties(schema: SchemaRef, shares: &[Share], wanted: &[Wanted], direction: Direction) -> PlanProperties {
    let options = SortOptions { descending: direction == Direction::Backward, nulls_first: direction == Direction::Backward };
    let ordered: &[EnvelopeColumn] = if shares.iter().all(|share| matches!(&share.work, Work::Pieces(_))) {
        &[EnvelopeColumn::Position, EnvelopeColumn::RecordedAt]
    } else if shares.iter().all(|share| matches!(&share.work, Work::Streams(streams) if streams.len() == 1)) {
        &[EnvelopeColumn::Position, EnvelopeColumn::RecordedAt, EnvelopeColumn::Version]
    } else {
        &[]
    };
    let orderings = ordered.iter().filter_map(|column| {
        let place = wanted.iter().position(|wanted| *wanted == Wanted::Envelope(*column))?;
        let expr: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), place));
        LexOrdering::new([PhysicalSortExpr { expr, options }])
    });
    let equivalence = EquivalenceProperties::new_with_orderings(schema, orderings.collect::<Vec<_>>());
    let partitioning = Partitioning::UnknownPartitioning(shares.len());
    PlanProperties::new(equivalence, partitioning, EmissionType::Incremental, Boundedness::Bounded)
        .with_scheduling_type(SchedulingType::Cooperative)
}

impl fmt::Debug for LogScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogScan").field("demand", &self.shared.demand).finish_non_exhaustive()
    }
}

impl DisplayAs for LogScan {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<String> = self.schema().fields().iter().map(|field| field.name().clone()).collect();
        write!(f, "LogScan: columns=[{}], {}", columns.join(", "), self.shared.demand)?;
        if self.direction == Direction::Backward {
            f.write_str(", newest first")?;
        }
        self.fetch.map_or(Ok(()), |fetch| write!(f, ", limit={fetch}"))
    }
}

impl ExecutionPlan for LogScan {
    fn name(&self) -> &'static str {
        "LogScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(&self, _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let share = self.shares.get(partition).ok_or_else(|| DataFusionError::Internal(format!("there is no partition {partition}")))?;
        let source = Source::new(Arc::clone(&self.shared), share, &self.wanted, self.direction, self.fetch);
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batches = stream::try_unfold((source, metrics), |(mut source, metrics)| async move {
            let batch = source.next().await.map_err(|error| DataFusionError::External(Box::new(error)))?;
            Ok(batch.map(|batch| {
                metrics.record_output(batch.num_rows());
                (batch, (source, metrics))
            }))
        });
        Ok(make_cooperative(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        if args.partition().is_some() {
            return Ok(Arc::new(Statistics::new_unknown(&self.schema())));
        }
        Ok(Arc::clone(&self.statistics))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn with_fetch(&self, fetch: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(Self { fetch, metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }))
    }

    /// The log can be read from its end just as well.
    fn try_pushdown_sort(&self, order: &[PhysicalSortExpr]) -> Result<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        for scan in [self.clone(), self.backward()] {
            if scan.properties.eq_properties.ordering_satisfy(order.iter().cloned())? {
                return Ok(SortOrderPushdownResult::Exact { inner: Arc::new(scan) });
            }
        }
        Ok(SortOrderPushdownResult::Unsupported)
    }
}
