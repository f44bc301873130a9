//! Which conditions of a query does the log answer by itself?
//!
//! Comparisons of `position`, `version`, `shard` and `recorded_at` with constants; `=`, `IN` and `OR` on `stream`, `category`, `type` and
//! `id`; beginnings of `stream`; `array_has`, `array_has_any` and `array_has_all` on `tags`. What is taken over is taken over exactly.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::BinaryExpr;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::scalar::ScalarValue;
use factum_storage::EventId;

use super::super::rows::EnvelopeColumn;
use super::demand::Demand;

/// Narrows a demand by a condition; `false` if the log can't tell whether it holds, and the demand then is as it was.
pub(super) fn narrow(demand: &mut Demand, condition: &Expr) -> bool {
    let mut narrowed = demand.clone();
    let all = split_conjunction(condition).into_iter().all(|part| narrow_part(&mut narrowed, part).is_some());
    if all {
        *demand = narrowed;
    }
    all
}

fn narrow_part(demand: &mut Demand, part: &Expr) -> Option<()> {
    match part {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let mut terms = Vec::new();
            let column = collect_alternatives(left, &mut terms, 0)?;
            (collect_alternatives(right, &mut terms, 0)? == column).then_some(())?;
            narrow_to(demand, column, terms)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (column(left), literal(right)) {
            (Some(column), Some(value)) => compare(demand, column, *op, value),
            _ => compare(demand, column(right)?, op.swap()?, literal(left)?),
        },
        Expr::Between(between) if !between.negated => {
            let column = column(&between.expr)?;
            compare(demand, column, Operator::GtEq, literal(&between.low)?)?;
            compare(demand, column, Operator::LtEq, literal(&between.high)?)
        }
        Expr::InList(InList { expr, list, negated: false }) => {
            let column = column(expr)?;
            let terms: Option<Vec<&ScalarValue>> = list.iter().map(literal).collect();
            narrow_to(demand, column, terms?)
        }
        Expr::Like(like) if !like.negated && !like.case_insensitive && like.escape_char.is_none() => {
            let pattern = text(literal(&like.pattern)?)?;
            let prefix = pattern.strip_suffix('%').filter(|prefix| !prefix.contains(['%', '_', '\\']))?;
            narrow_to_prefix(demand, column(&like.expr)?, prefix)
        }
        Expr::ScalarFunction(call) => narrow_by_function(demand, call),
        _ => None,
    }
}

fn narrow_by_function(demand: &mut Demand, call: &ScalarFunction) -> Option<()> {
    let [first, second] = call.args.as_slice() else { return None };
    let column = column(first)?;
    match (call.func.name(), column) {
        ("starts_with", EnvelopeColumn::Stream) => narrow_to_prefix(demand, column, text(literal(second)?)?),
        ("array_has", EnvelopeColumn::Tags) => {
            demand.tags.push(BTreeSet::from([text(literal(second)?)?.to_owned()]));
            Some(())
        }
        ("array_has_any", EnvelopeColumn::Tags) => {
            demand.tags.push(texts(literal(second)?)?.into_iter().collect());
            Some(())
        }
        ("array_has_all", EnvelopeColumn::Tags) => {
            demand.tags.extend(texts(literal(second)?)?.into_iter().map(|tag| BTreeSet::from([tag])));
            Some(())
        }
        _ => None,
    }
}

fn narrow_to_prefix(demand: &mut Demand, column: EnvelopeColumn, prefix: &str) -> Option<()> {
    (column == EnvelopeColumn::Stream).then(|| demand.prefixes.insert(prefix.to_owned())).map(drop)
}

/// The values of `column = a OR column IN (b, c) OR …`.
fn collect_alternatives<'a>(expr: &'a Expr, terms: &mut Vec<&'a ScalarValue>, depth: usize) -> Option<EnvelopeColumn> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) if depth < TERMS_MAX => {
            let column = collect_alternatives(left, terms, depth + 1)?;
            (collect_alternatives(right, terms, depth + 1)? == column).then_some(column)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let (column, value) = match (column(left), literal(right)) {
                (Some(column), Some(value)) => (column, value),
                _ => (column(right)?, literal(left)?),
            };
            terms.push(value);
            Some(column)
        }
        Expr::InList(InList { expr, list, negated: false }) => {
            let column = column(expr)?;
            for value in list {
                terms.push(literal(value)?);
            }
            Some(column)
        }
        _ => None,
    }
}

/// The column has one of these values.
fn narrow_to(demand: &mut Demand, column: EnvelopeColumn, values: Vec<&ScalarValue>) -> Option<()> {
    if values.len() > if matches!(column, EnvelopeColumn::Stream | EnvelopeColumn::Id) { TERMS_MAX } else { NAMES_MAX } {
        return None;
    }
    let set = match column {
        EnvelopeColumn::Stream => &mut demand.streams,
        EnvelopeColumn::Category => &mut demand.categories,
        EnvelopeColumn::Type => &mut demand.types,
        EnvelopeColumn::Id => {
            // What is no id is the id of no event; written otherwise than ids are, it is not equal either.
            let texts: Option<Vec<&str>> = values.into_iter().map(text).collect();
            let ids: BTreeSet<EventId> = texts?.into_iter().filter_map(event_id).collect();
            let kept = demand.ids.take();
            demand.ids = Some(kept.map_or(ids.clone(), |kept| kept.intersection(&ids).copied().collect()));
            return Some(());
        }
        _ => {
            let [value] = values.as_slice() else { return None };
            return compare(demand, column, Operator::Eq, value);
        }
    };
    let values: Option<BTreeSet<String>> = values.into_iter().map(|value| text(value).map(str::to_owned)).collect();
    let values = values?;
    *set = Some(set.take().map_or_else(|| values.clone(), |kept| kept.intersection(&values).cloned().collect()));
    Some(())
}

fn compare(demand: &mut Demand, column: EnvelopeColumn, op: Operator, value: &ScalarValue) -> Option<()> {
    let span = match column {
        EnvelopeColumn::Position => &mut demand.positions,
        EnvelopeColumn::Version => &mut demand.versions,
        EnvelopeColumn::Shard => &mut demand.shards,
        EnvelopeColumn::RecordedAt => {
            demand.recorded.narrow(&within(op, floor_micros(value)?)?);
            return Some(());
        }
        EnvelopeColumn::Stream | EnvelopeColumn::Category | EnvelopeColumn::Type | EnvelopeColumn::Id => {
            return if op == Operator::Eq { narrow_to(demand, column, vec![value]) } else { None };
        }
        EnvelopeColumn::OccurredAt
        | EnvelopeColumn::SchemaVersion
        | EnvelopeColumn::Tags
        | EnvelopeColumn::Data
        | EnvelopeColumn::Metadata => return None,
    };
    span.narrow(&within(op, (number(value)?, true))?);
    Some(())
}

/// The numbers for which `number op value` holds; the value is a whole number, or lies between it and the next.
fn within(op: Operator, (value, is_whole): (i64, bool)) -> Option<RangeInclusive<i64>> {
    const NOTHING: RangeInclusive<i64> = RangeInclusive::new(1, 0);
    Some(match op {
        Operator::Eq if is_whole => value..=value,
        Operator::Eq => NOTHING,
        Operator::Lt if is_whole => value.checked_sub(1).map_or(NOTHING, |last| i64::MIN..=last),
        Operator::Lt | Operator::LtEq => i64::MIN..=value,
        Operator::GtEq if is_whole => value..=i64::MAX,
        Operator::Gt | Operator::GtEq => value.checked_add(1).map_or(NOTHING, |first| first..=i64::MAX),
        _ => return None,
    })
}

/// The column, also where it was converted into a finer time for the sake of a comparison.
fn column(expr: &Expr) -> Option<EnvelopeColumn> {
    match expr {
        Expr::Column(column) => EnvelopeColumn::named(&column.name),
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Timestamp(_, _)) => {
            column(&cast.expr).filter(|column| *column == EnvelopeColumn::RecordedAt && is_fine(cast.field.data_type()))
        }
        _ => None,
    }
}

fn is_fine(data_type: &DataType) -> bool {
    use datafusion::arrow::datatypes::TimeUnit;
    matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _))
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) if !value.is_null() => Some(value),
        _ => None,
    }
}

fn text(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text) => text.as_deref(),
        _ => None,
    }
}

fn texts(value: &ScalarValue) -> Option<Vec<String>> {
    let ScalarValue::List(list) = value else { return None };
    let values = (list.len() == 1 && list.is_valid(0)).then(|| list.value(0))?;
    if values.len() > NAMES_MAX || values.null_count() > 0 {
        return None;
    }
    let texts = values.as_string_opt::<i32>()?;
    Some(texts.iter().flatten().map(str::to_owned).collect())
}

fn number(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int64(number) => *number,
        ScalarValue::Int32(number) => number.map(i64::from),
        _ => None,
    }
}

/// The microsecond in which a time lies, and whether it is the beginning of it. Times without a zone are of UTC.
fn floor_micros(value: &ScalarValue) -> Option<(i64, bool)> {
    match value {
        ScalarValue::TimestampMicrosecond(micros, _) => micros.map(|micros| (micros, true)),
        ScalarValue::TimestampNanosecond(nanos, _) => nanos.map(|nanos| (nanos.div_euclid(1_000), nanos.rem_euclid(1_000) == 0)),
        _ => None,
    }
}

/// Ids are told as lower case with hyphens.
fn event_id(text: &str) -> Option<EventId> {
    let id = uuid::Uuid::try_parse(text).ok()?;
    (id.hyphenated().encode_lower(&mut [0; 36]) == text).then(|| EventId::from_bytes(id.into_bytes()))
}

/// So many streams or ids are asked for one by one; more of them are looked for while reading.
const TERMS_MAX: usize = 1_000;
/// So many categories, types or tags are asked of the index.
const NAMES_MAX: usize = 64;
