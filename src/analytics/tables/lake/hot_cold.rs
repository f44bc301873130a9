//! Files and log together, or the log alone where it is read in the order that is asked for.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::Statistics;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_plan::DisplayAs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::PlanProperties;
use datafusion::physical_plan::SortOrderPushdownResult;
use datafusion::physical_plan::filter_pushdown::ChildPushdownResult;
use datafusion::physical_plan::filter_pushdown::FilterDescription;
use datafusion::physical_plan::filter_pushdown::FilterPushdownPhase;
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::statistics::ChildStats;
use datafusion::physical_plan::statistics::StatisticsArgs;

/// A read of files and log. The newest events first, or the oldest, are read from the log alone: it knows where they are.
pub(in crate::analytics::tables) struct HotCold {
    both: Arc<dyn ExecutionPlan>,
    log: Arc<dyn ExecutionPlan>,
}

impl HotCold {
    /// `log` reads alone what `both` does.
    pub(in crate::analytics::tables) fn new(both: Arc<dyn ExecutionPlan>, log: Arc<dyn ExecutionPlan>) -> Self {
        Self { both, log }
    }
}

impl fmt::Debug for HotCold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotCold").field("both", &self.both).finish_non_exhaustive()
    }
}

impl DisplayAs for HotCold {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HotCold: files, and the log behind them")
    }
}

impl ExecutionPlan for HotCold {
    fn name(&self) -> &'static str {
        "HotCold"
    }

    fn schema(&self) -> SchemaRef {
        self.both.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.both.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.both]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let both = children.into_iter().next().ok_or_else(|| DataFusionError::Internal("HotCold has one child".to_owned()))?;
        Ok(Arc::new(Self { both, log: Arc::clone(&self.log) }))
    }

    fn apply_expressions(&self, _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.both.execute(partition, context)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        Ok(inputs.first().map_or_else(|| Arc::new(Statistics::new_unknown(&self.schema())), Arc::clone))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    /// What is passed on may only be what is asked above all the same: the log alone does not know of it.
    fn gather_filters_for_pushdown(
        &self,
        phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        match phase {
            FilterPushdownPhase::Pre => Ok(FilterDescription::all_unsupported(&parent_filters, &self.children())),
            FilterPushdownPhase::Post => FilterDescription::from_children(parent_filters, &self.children()),
        }
    }

    fn handle_child_pushdown_result(
        &self,
        _phase: FilterPushdownPhase,
        result: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_all(result))
    }

    fn try_pushdown_sort(&self, order: &[PhysicalSortExpr]) -> Result<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        self.log.try_pushdown_sort(order)
    }
}
