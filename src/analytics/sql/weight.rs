//! How large does a plan become while it is worked on?
//!
//! A name in WITH is put in wherever it stands, and a condition over computed columns is asked of what they are computed from: each step
//! that names the step before twice doubles both. So what a plan would become is counted before it is worked on.

use datafusion::common::Column;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::LogicalPlan;

/// Checks that a plan stays of a size that can be worked on in time.
///
/// # Errors
///
/// It does not; says why.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    Scales::default().columns(plan).map(drop)
}

/// What was seen so far.
#[derive(Default)]
struct Scales {
    nodes: usize,
    joins: usize,
    expressions: usize,
}

impl Scales {
    /// For each column of a plan: of how many parts it is, spelled out down to the tables.
    fn columns(&mut self, plan: &LogicalPlan) -> Result<Vec<usize>> {
        self.nodes += 1;
        self.joins += usize::from(matches!(plan, LogicalPlan::Join(_)));
        if self.nodes > NODES_MAX || self.joins > JOINS_MAX {
            return Err(too_large("it reads the same WITH too often, or joins too many tables"));
        }
        let inputs: Vec<Vec<usize>> = plan.inputs().into_iter().map(|input| self.columns(input)).collect::<Result<_>>()?;
        let own: Vec<usize> = plan.expressions().iter().map(|expr| self.weigh(expr, plan, &inputs)).collect::<Result<_>>()?;
        let width = plan.schema().fields().len();
        let mut columns = match plan {
            LogicalPlan::Projection(_) => own,
            // What is summed up can't be asked of what it was summed up from.
            LogicalPlan::Aggregate(aggregate) => own.into_iter().take(aggregate.group_expr.len()).collect(),
            LogicalPlan::Union(_) => {
                let widest = |at: usize| inputs.iter().filter_map(|input| input.get(at)).copied().max().unwrap_or(1);
                (0..width).map(widest).collect()
            }
            LogicalPlan::Join(_) if inputs.iter().map(Vec::len).sum::<usize>() != width => {
                inputs.into_iter().find(|input| input.len() == width).unwrap_or_default()
            }
            _ => inputs.concat(),
        };
        columns.resize(width, 1);
        Ok(columns)
    }

    fn weigh(&mut self, expr: &Expr, plan: &LogicalPlan, inputs: &[Vec<usize>]) -> Result<usize> {
        let mut weight = 0_usize;
        expr.apply(|part| {
            let own = match part {
                Expr::Column(column) => weight_of(column, plan, inputs),
                Expr::ScalarSubquery(query) => self.columns(&query.subquery)?.len(),
                Expr::Exists(exists) => self.columns(&exists.subquery.subquery)?.len(),
                Expr::InSubquery(within) => self.columns(&within.subquery.subquery)?.len(),
                // Of values there may be many, as long as they are not put in over and over.
                Expr::InList(list) => 1 + list.list.len() / VALUES_EACH,
                Expr::Literal(..) => 0,
                _ => 1,
            };
            weight = weight.saturating_add(own);
            Ok(TreeNodeRecursion::Continue)
        })?;
        self.expressions = self.expressions.saturating_add(weight);
        if weight > WEIGHT_MAX || self.expressions > EXPRESSIONS_MAX {
            return Err(too_large("it computes columns from columns that are computed from others, each named more than once"));
        }
        Ok(weight)
    }
}

fn weight_of(column: &Column, plan: &LogicalPlan, inputs: &[Vec<usize>]) -> usize {
    let places = plan.inputs().into_iter().zip(inputs);
    let mut weights = places.filter_map(|(input, weights)| weights.get(input.schema().index_of_column(column).ok()?));
    weights.next().copied().unwrap_or(1)
}

fn too_large(why: &str) -> DataFusionError {
    DataFusionError::Plan(format!("becomes too large a plan: {why}; ask for less at once"))
}

/// How many steps a plan may have, with everything put in its place.
const NODES_MAX: usize = 1_500;
const JOINS_MAX: usize = 64;
/// Of how many parts one expression may be, and all together.
const WEIGHT_MAX: usize = 2_000;
/// So many values of a list weigh as much as anything else.
const VALUES_EACH: usize = 64;
const EXPRESSIONS_MAX: usize = 50_000;
