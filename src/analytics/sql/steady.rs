//! Can a plan be stopped wherever it is?
//!
//! What reads gives way from time to time. What multiplies, as joins do, can be busy for hours without reading anything: after each of its
//! batches it gives way here, and while it finds nothing that fits, each look at its condition is a chance to end.

use std::fmt;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::FieldRef;
use datafusion::arrow::datatypes::Schema;
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::joins::NestedLoopJoinExecBuilder;
use datafusion::physical_plan::joins::utils::JoinFilter;

/// The same plan, which can be stopped: `has_ended` says that nobody wants its rows any more.
pub(super) fn stoppable(plan: Arc<dyn ExecutionPlan>, has_ended: &Arc<AtomicBool>) -> Result<Arc<dyn ExecutionPlan>> {
    let steadied = plan.transform_up(|node| {
        let node = with_checkpoints(node, has_ended)?;
        if !MULTIPLY.contains(&node.name()) {
            return Ok(Transformed::no(node));
        }
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(steadied.data)
}

fn with_checkpoints(node: Arc<dyn ExecutionPlan>, has_ended: &Arc<AtomicBool>) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        let filter = checked(filter, has_ended);
        let same = NestedLoopJoinExecBuilder::new(Arc::clone(join.left()), Arc::clone(join.right()), *join.join_type());
        let same = same.with_projection_ref(join.projection().clone()).with_filter(Some(filter));
        return Ok(Arc::new(same.build()?));
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        return join.builder().with_filter(Some(checked(filter, has_ended))).build_exec();
    }
    Ok(node)
}

fn checked(filter: &JoinFilter, has_ended: &Arc<AtomicBool>) -> JoinFilter {
    let expression = Checkpoint { inner: Arc::clone(filter.expression()), has_ended: Arc::clone(has_ended) };
    JoinFilter::new(Arc::new(expression), filter.column_indices().to_vec(), Arc::clone(filter.schema()))
}

/// A condition that fails once the query has ended.
#[derive(Debug)]
struct Checkpoint {
    inner: Arc<dyn PhysicalExpr>,
    has_ended: Arc<AtomicBool>,
}

impl PhysicalExpr for Checkpoint {
    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.has_ended.load(Ordering::Relaxed) {
            return Err(DataFusionError::Execution("the query has ended".to_owned()));
        }
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.into_iter().next().ok_or_else(|| DataFusionError::Internal("a checkpoint has one child".to_owned()))?;
        Ok(Arc::new(Self { inner, has_ended: Arc::clone(&self.has_ended) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PartialEq for Checkpoint {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Checkpoint {}

impl Hash for Checkpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

/// What makes more rows than it is given.
const MULTIPLY: [&str; 9] = [
    "CrossJoinExec",
    "NestedLoopJoinExec",
    "HashJoinExec",
    "SortMergeJoinExec",
    "SymmetricHashJoinExec",
    "PiecewiseMergeJoinExec",
    "RecursiveQueryExec",
    "UnnestExec",
    "InterleaveExec",
];
