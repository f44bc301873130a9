//! What does the query of a view ask for? `status=paid&amount__gte=100&order_by=-amount`.

use crate::http::problem::Problem;
use crate::http::query::LIMIT_DEFAULT;
use crate::http::query::Query;
use crate::projection::Column;
use crate::projection::ColumnType;
use crate::projection::Columns;
use crate::projection::Comparison;
use crate::projection::Order;
use crate::projection::Test;
use crate::projection::Value;
use crate::projection::ViewQuery;
use crate::projection::query::text;

/// Reads the query of a view with these columns.
///
/// # Errors
///
/// 400 that names the parameter: no such column or operator, a value that is not of the column's type.
pub(crate) fn read(mut query: Query, view: &str, columns: &Columns) -> Result<ViewQuery, Problem> {
    let limit = query.limit()?.unwrap_or(LIMIT_DEFAULT);
    let after = query.text("after")?;
    let count = query.switch("count")?;
    let order_by = query.text("order_by")?.map(|text| order(&text, view, columns)).transpose()?.unwrap_or_default();
    let mut found: Vec<(Operator, Comparison)> = Vec::new();
    for (name, value) in query.rest() {
        let (place, column, operator) = named(&name, view, columns)?;
        let test = test(column, operator, &value).map_err(|detail| Problem::malformed(&name, detail))?;
        let before = found.iter_mut().find(|(own, before)| *own == Operator::Eq && before.place == place);
        match (before, test) {
            // The same column again is one more value that will do, as everywhere.
            (Some((_, Comparison { test: Test::In(values), .. })), Test::In(more)) if operator == Operator::Eq => values.extend(more),
            (_, test) => found.push((operator, Comparison { place, test })),
        }
    }
    let filters = found.into_iter().map(|(_, comparison)| comparison).collect();
    Ok(ViewQuery { filters, order_by, limit, after, count })
}

/// The value that a text means in a column.
///
/// # Errors
///
/// What would be right.
pub(crate) fn value(column: &Column, value: &str) -> Result<Value, String> {
    // `2026-11-22T18:00:00+01:00` arrives with a space in it.
    let has_lost_a_plus = column.column_type == ColumnType::Timestamp && value.contains(' ');
    let hint = if has_lost_a_plus { "; a + is written %2B in a URL" } else { "" };
    text::parse(value, column.column_type).map_err(|detail| format!("{detail}{hint}"))
}

/// The column and the operator that a parameter names. A column's own name is the question whether it is equal.
fn named<'a>(name: &str, view: &str, columns: &'a Columns) -> Result<(usize, &'a Column, Operator), Problem> {
    let found = |column: &str| columns.place(column).and_then(|place| Some((place, columns.list().get(place)?)));
    if let Some((place, column)) = found(name) {
        return Ok((place, column, Operator::Eq));
    }
    let Some((column_name, suffix)) = name.rsplit_once("__") else { return Err(unknown(name, name, view, columns)) };
    let (place, column) = found(column_name).ok_or_else(|| unknown(name, column_name, view, columns))?;
    let operator = OPERATORS.iter().find(|(own, _)| *own == suffix).map(|(_, operator)| *operator);
    let operator = operator.ok_or_else(|| {
        let known: Vec<&str> = OPERATORS.iter().map(|(own, _)| *own).collect();
        Problem::malformed(name, format!("has no operator {suffix:?}; there are {}", known.join(", ")))
    })?;
    Ok((place, column, operator))
}

/// The 400 for a column that the view does not have.
fn unknown(field: &str, name: &str, view: &str, columns: &Columns) -> Problem {
    let field: String = field.chars().take(NAME_TOLD_MAX).collect();
    let name: String = name.chars().take(NAME_TOLD_MAX).collect();
    let names = || columns.list().iter().map(|column| column.name.as_str());
    let near = names().map(|known| (strsim::damerau_levenshtein(&name, known), known)).min();
    let hint = near.filter(|(distance, _)| *distance <= 2).map_or_else(|| ".".to_owned(), |(_, near)| format!("; is {near} meant?"));
    let known: Vec<&str> = names().collect();
    Problem::malformed(&field, format!("{name:?} is no column of view {view}{hint} It has {}", known.join(", ")))
}

fn test(column: &Column, operator: Operator, text: &str) -> Result<Test, String> {
    let value = || value(column, text);
    Ok(match operator {
        Operator::Eq => Test::In(vec![value()?]),
        Operator::Ne => Test::NotEqual(value()?),
        Operator::Gt => Test::Greater(value()?),
        Operator::Gte => Test::GreaterOrEqual(value()?),
        Operator::Lt => Test::Less(value()?),
        Operator::Lte => Test::LessOrEqual(value()?),
        Operator::In => Test::In(text.split(',').map(|part| self::value(column, part)).collect::<Result<_, _>>()?),
        Operator::Prefix if column.column_type == ColumnType::Text => Test::Prefix(text.to_owned()),
        Operator::Prefix => return Err("asks for the beginning of a text, and the column is no text".to_owned()),
        Operator::Null => match text {
            "true" => Test::IsNull(true),
            "false" => Test::IsNull(false),
            _ => return Err("must be true or false".to_owned()),
        },
    })
}

fn order(text: &str, view: &str, columns: &Columns) -> Result<Vec<Order>, Problem> {
    let one = |part: &str| {
        let (is_descending, name) = match part.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, part),
        };
        let place = columns.place(name).ok_or_else(|| unknown("order_by", name, view, columns))?;
        Ok(Order { place, is_descending })
    };
    text.split(',').map(str::trim).map(one).collect()
}

/// What stands behind `__`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
    In,
    Prefix,
    Null,
}

const OPERATORS: [(&str, Operator); 9] = [
    ("eq", Operator::Eq),
    ("ne", Operator::Ne),
    ("gt", Operator::Gt),
    ("gte", Operator::Gte),
    ("lt", Operator::Lt),
    ("lte", Operator::Lte),
    ("in", Operator::In),
    ("prefix", Operator::Prefix),
    ("null", Operator::Null),
];
const NAME_TOLD_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn columns() -> Columns {
        let list = [
            ("id", ColumnType::Text),
            ("status", ColumnType::Text),
            ("amount", ColumnType::Bigint),
            ("limit", ColumnType::Integer),
            ("at", ColumnType::Timestamp),
        ];
        let column = |(name, column_type): (&str, ColumnType)| Column {
            name: name.to_owned(),
            column_type,
            is_primary_key: name == "id",
            is_indexed: false,
            default: Value::Null,
        };
        Columns { list: list.into_iter().map(column).collect(), primary_key: 0 }
    }

    fn read_text(text: &str) -> Result<ViewQuery, String> {
        let told = |problem: Problem| String::from_utf8_lossy(&problem.to_json()).into_owned();
        read(Query::parse(Some(text)).map_err(told)?, "orders", &columns()).map_err(told)
    }

    #[test]
    fn parameters_become_a_query() {
        let text = |text: &str| Value::Text(Arc::from(text));
        let query = read_text("status=paid&status=new&amount__gte=100&limit=5&limit__eq=7&order_by=-amount,id&count=true&after=x").unwrap();
        let filters = vec![
            Comparison { place: 1, test: Test::In(vec![text("paid"), text("new")]) },
            Comparison { place: 2, test: Test::GreaterOrEqual(Value::Integer(100)) },
            Comparison { place: 3, test: Test::In(vec![Value::Integer(7)]) },
        ];
        let order_by = vec![Order { place: 2, is_descending: true }, Order { place: 0, is_descending: false }];
        assert_eq!(query, ViewQuery { filters, order_by, limit: 5, after: Some("x".to_owned()), count: true });
        let query = read_text("amount__in=1,2&amount__null=false&id__prefix=a%2Cb").unwrap();
        let filters = vec![
            Comparison { place: 2, test: Test::In(vec![Value::Integer(1), Value::Integer(2)]) },
            Comparison { place: 2, test: Test::IsNull(false) },
            Comparison { place: 0, test: Test::Prefix("a,b".to_owned()) },
        ];
        assert_eq!(query, ViewQuery { filters, ..ViewQuery::default() });
        // Only `=` is one more choice; everything else narrows.
        let query = read_text("amount__in=1,2&amount__in=2,3&amount=2").unwrap();
        assert_eq!(query.filters.len(), 3, "{query:?}");
    }

    #[test]
    fn what_cannot_be_asked_is_named() {
        let check = |text: &str, field: &str, wanted: &str| {
            let refused = read_text(text).expect_err(text);
            assert!(refused.contains(&format!("\"field\":\"{field}\"")) && refused.contains(wanted), "{text}: {refused}");
        };
        check("stauts=paid", "stauts", "is status meant? It has id, status, amount, limit, at");
        check("at__gt=2026-11-22T18:00:00+01:00", "at__gt", "a + is written %2B in a URL");
        check("zzzzzz__gt=1", "zzzzzz__gt", "is no column of view orders. It has id, ");
        check("amount__like=1", "amount__like", "there are eq, ne, gt, gte, lt, lte, in, prefix, null");
        check("amount=many", "amount", "must be a whole number");
        check("amount__in=1,", "amount__in", "must be a whole number");
        check("amount__prefix=1", "amount__prefix", "no text");
        check("amount__null=maybe", "amount__null", "must be true or false");
        check("order_by=-amuont", "order_by", "is amount meant?");
        check("order_by=", "order_by", "is no column");
        check("limit=0", "limit", "from 1 to 10000");
        check("limit=10001", "limit", "from 1 to 10000");
    }
}
