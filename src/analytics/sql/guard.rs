//! Does a plan read only, and can none of its expressions take more memory or time at a stroke than there is?
//!
//! The engine asks for memory before it sorts, groups or joins, and can be stopped between batches. What one expression does to one batch
//! it neither counts nor stops. So those that can make much of little are told apart here, and told beforehand how much that may be
//! (`growth`).

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::BinaryExpr;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::expr::ScalarFunction;

use super::concat::Concatenation;
use super::growth::Growth;
use super::growth::Guarded;
use super::weight;

/// The plan, held to its limits.
///
/// # Errors
///
/// It does something else than to read, would become too large, or has an expression that is not allowed; says which.
pub(super) fn hold(plan: LogicalPlan) -> Result<LogicalPlan> {
    // First, as everything else walks over the whole of it.
    weight::check(&plan)?;
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false).verify_plan(&plan)?;
    let concatenation = Arc::new(ScalarUDF::from(Concatenation::new()));
    let held = plan.transform_up_with_subqueries(|node| {
        node.map_expressions(|expr| {
            expr.transform_up(|expr| {
                check(&expr)?;
                Ok(held(expr, &concatenation))
            })
        })
    })?;
    Ok(held.data)
}

/// The names of functions that are taken out: they do nothing that a query needs, and nothing says how much.
pub(super) fn is_taken_out(function: &str) -> bool {
    // As table functions the last two give their rows one by one.
    [
        "arrow_cast",
        "arrow_try_cast",
        "cast_to_type",
        "try_cast_to_type",
        "with_metadata",
        "input_file_name",
        "file_row_index",
        "generate_series",
        "range",
        "gen_range",
    ]
    .contains(&function)
}

fn check(expr: &Expr) -> Result<()> {
    match expr {
        Expr::Cast(cast) => check_type(cast.field.data_type()),
        Expr::TryCast(cast) => check_type(cast.field.data_type()),
        Expr::BinaryExpr(BinaryExpr { op, right, .. }) if is_regex(*op) => check_pattern(right),
        Expr::SimilarTo(like) => check_pattern(&like.pattern),
        Expr::ScalarFunction(call) if call.func.name().starts_with("regexp_") => call.args.get(1).map_or(Ok(()), check_pattern),
        _ => Ok(()),
    }
}

/// A list of a fixed length takes that much for every null.
fn check_type(data_type: &DataType) -> Result<()> {
    match data_type {
        DataType::FixedSizeList(_, _) | DataType::FixedSizeBinary(_) => Err(refused("a type can't have a fixed length: leave it out")),
        DataType::List(item) | DataType::LargeList(item) => check_type(item.data_type()),
        _ => Ok(()),
    }
}

/// A pattern is made ready once; one for every row would take a time that nobody can tell.
fn check_pattern(pattern: &Expr) -> Result<()> {
    match pattern {
        Expr::Literal(..) | Expr::Placeholder(_) => Ok(()),
        Expr::Cast(cast) => check_pattern(&cast.expr),
        _ => Err(refused("a regular expression must be a constant or a parameter")),
    }
}

fn is_regex(op: Operator) -> bool {
    matches!(op, Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch)
}

fn held(expr: Expr, concatenation: &Arc<ScalarUDF>) -> Transformed<Expr> {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) => match Growth::of(func.name()) {
            Some(growth) => Transformed::yes(call(Arc::new(ScalarUDF::from(Guarded::new(func, growth))), args)),
            None => Transformed::no(call(func, args)),
        },
        // A row of them becomes one call: one inside of the other would be named, and so spelled out, over and over.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => match *left {
            Expr::ScalarFunction(ScalarFunction { func, mut args }) if func == *concatenation => {
                args.push(*right);
                Transformed::yes(call(func, args))
            }
            left => Transformed::yes(call(Arc::clone(concatenation), vec![left, *right])),
        },
        other => Transformed::no(other),
    }
}

fn call(func: Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction { func, args })
}

fn refused(detail: &str) -> DataFusionError {
    DataFusionError::Plan(detail.to_owned())
}
