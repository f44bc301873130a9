//! The same demand, as a condition on the rows of files.

use datafusion::common::Column;
use datafusion::functions_nested::array_has::array_has_any_udf;
use datafusion::functions_nested::make_array::make_array_udf;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::binary_expr;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::lit;
use datafusion::scalar::ScalarValue;
use factum_storage::StreamName;

use super::super::super::rows::EnvelopeColumn;
use super::super::demand::Demand;
use super::super::demand::Span;

/// All that must hold of a row; `None` if nothing. Ids are not asked for here: who wants some asks the index. `hidden` are left out, and
/// categories are not asked for where the files say them.
pub(in crate::analytics::tables) fn condition(demand: &Demand, hidden: &[StreamName], asks_category: bool) -> Option<Expr> {
    let mut parts = Vec::new();
    if let Some(categories) = demand.categories.as_ref().filter(|_| asks_category) {
        parts.push(one_of(EnvelopeColumn::Category, categories, false));
    }
    if let Some(types) = &demand.types {
        parts.push(one_of(EnvelopeColumn::Type, types, false));
    }
    if let Some(streams) = &demand.streams {
        parts.push(one_of(EnvelopeColumn::Stream, streams, false));
    }
    for prefix in &demand.prefixes {
        parts.extend(begins_with(prefix));
    }
    for group in &demand.tags {
        let list = call(make_array_udf(), group.iter().map(|tag| lit(tag.as_str())).collect());
        parts.push(call(array_has_any_udf(), vec![column(EnvelopeColumn::Tags), list]));
    }
    let wide = |number: i64| ScalarValue::Int64(Some(number));
    let narrow = |number: i64| ScalarValue::Int32(Some(i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })));
    let time = |micros: i64| ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
    within(&mut parts, EnvelopeColumn::Position, demand.positions, wide);
    within(&mut parts, EnvelopeColumn::Version, demand.versions, wide);
    within(&mut parts, EnvelopeColumn::Shard, demand.shards, narrow);
    within(&mut parts, EnvelopeColumn::RecordedAt, demand.recorded, time);
    if !hidden.is_empty() {
        parts.push(one_of(EnvelopeColumn::Stream, hidden.iter().map(StreamName::as_str), true));
    }
    parts.into_iter().reduce(|all, part| binary_expr(all, Operator::And, part))
}

/// What is exact without statistics alone would read everything: the range is what statistics are held against.
fn begins_with(prefix: &str) -> Vec<Expr> {
    let stream = || column(EnvelopeColumn::Stream);
    if prefix.is_empty() {
        return Vec::new();
    }
    let exact = call(datafusion::functions::string::starts_with(), vec![stream(), text(prefix)]);
    vec![binary_expr(stream(), Operator::GtEq, text(prefix)), exact]
}

fn one_of(own: EnvelopeColumn, values: impl IntoIterator<Item = impl AsRef<str>>, negated: bool) -> Expr {
    let list = values.into_iter().map(|value| text(value.as_ref())).collect();
    Expr::InList(InList { expr: Box::new(column(own)), list, negated })
}

fn within(parts: &mut Vec<Expr>, own: EnvelopeColumn, span: Span, value: impl Fn(i64) -> ScalarValue) {
    if span.first > i64::MIN {
        parts.push(binary_expr(column(own), Operator::GtEq, Expr::Literal(value(span.first), None)));
    }
    if span.last < i64::MAX {
        parts.push(binary_expr(column(own), Operator::LtEq, Expr::Literal(value(span.last), None)));
    }
}

/// By its name as it is, whatever is in it.
fn column(own: EnvelopeColumn) -> Expr {
    Expr::Column(Column::new_unqualified(own.name()))
}

fn text(text: &str) -> Expr {
    Expr::Literal(ScalarValue::Utf8View(Some(text.to_owned())), None)
}

fn call(func: std::sync::Arc<datafusion::logical_expr::ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction { func, args })
}
