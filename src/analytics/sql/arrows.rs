//! `data->'items'->0->>'sku'`: the functions that these stand for.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::planner::PlannerResult;
use datafusion::logical_expr::planner::RawBinaryExpr;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::BinaryOperator;
use datafusion_functions_json::udfs::json_as_text_udf;
use datafusion_functions_json::udfs::json_get_udf;

/// Plans `->` and `->>`, each named as it is written. The planner that comes with the functions does the same, but leaves each step of a
/// path with a name of its own: whoever then asks for the type of the last asks for each one before it twice, and a path of thirty steps
/// takes years.
#[derive(Debug)]
pub(super) struct Arrows;

impl ExprPlanner for Arrows {
    fn plan_binary_op(&self, expr: RawBinaryExpr, _: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let Some((sign, func)) = function(&expr.op) else { return Ok(PlannerResult::Original(expr)) };
        let name = format!("{} {sign} {}", written(&expr.left), written(&expr.right));
        let args = [expr.left, expr.right].map(|operand| operand.unalias_nested().data).into();
        let call = Expr::ScalarFunction(ScalarFunction { func, args });
        Ok(PlannerResult::Planned(Expr::Alias(Alias::new(call, None::<&str>, name))))
    }
}

fn function(op: &BinaryOperator) -> Option<(&'static str, Arc<ScalarUDF>)> {
    match op {
        BinaryOperator::Arrow => Some(("->", json_get_udf())),
        BinaryOperator::LongArrow => Some(("->>", json_as_text_udf())),
        _ => None,
    }
}

/// About as it stands in the query.
fn written(expr: &Expr) -> String {
    match expr {
        Expr::Alias(alias) => alias.name.clone(),
        Expr::Column(column) => column.name.clone(),
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => format!("'{text}'"),
        Expr::Literal(value, _) => value.to_string(),
        other => other.to_string(),
    }
}
