//! Does a query answer as a plain filter and sort would?

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use factum_storage::disk::sim::Rng;

use super::super::row::Row;
use super::super::spec::ColumnType;
use super::super::spec::Columns;
use super::super::target::embedded::EmbeddedTarget;
use super::super::target::embedded::Reader;
use super::super::target::embedded::tests::any_row;
use super::super::target::embedded::tests::any_value;
use super::super::target::embedded::tests::batch;
use super::super::target::embedded::tests::columns;
use super::super::target::embedded::tests::cursor;
use super::super::target::embedded::tests::encodings::order;
use super::super::target::embedded::tests::key;
use super::super::target::embedded::tests::seeds;
use super::super::target::embedded::tests::writer;
use super::super::value::Value;
use super::Comparison;
use super::Order;
use super::QueryFault;
use super::Test;
use super::ViewPage;
use super::ViewQuery;

const TIME: Duration = Duration::from_secs(60);
const JSON: usize = 10;

async fn filled(rng: &mut Rng, count: u64) -> (Reader, Vec<Row>) {
    let columns = columns();
    let target = EmbeddedTarget::new("v", None, 1 << 20);
    let mut writer = writer(&target, 1, true).await;
    let rows: Vec<Row> = (0..count).map(|number| any_row(rng, &columns, key(number), number)).collect();
    writer.commit(batch(rows.iter().map(|row| (row.values[0].clone(), Some(row.clone()))), 7)).await.unwrap();
    (target.reader(&columns).unwrap(), rows)
}

fn any_comparison(rng: &mut Rng, columns: &Columns) -> Comparison {
    let place = rng.index(columns.list().len());
    let column_type = columns.list()[place].column_type;
    if column_type == ColumnType::Json {
        return Comparison { place, test: Test::IsNull(rng.chance(50)) };
    }
    let count = rng.index(3) + 1;
    let mut value = || loop {
        let value = if place == 0 { key(rng.below(80)) } else { any_value(rng, column_type) };
        if !value.is_null() {
            break value;
        }
    };
    let values = (0..count).map(|_| value()).collect();
    let value = value();
    let test = match rng.below(11) {
        0..3 => Test::Equal(value),
        3 => Test::NotEqual(value),
        4 => Test::Greater(value),
        5 => Test::GreaterOrEqual(value),
        6 => Test::Less(value),
        7 => Test::LessOrEqual(value),
        8 => Test::In(values),
        9 if column_type == ColumnType::Text => Test::Prefix(["", "a", "row-1", "a\0"][rng.index(4)].to_owned()),
        _ => Test::IsNull(rng.chance(20)),
    };
    Comparison { place, test }
}

fn any_query(rng: &mut Rng, columns: &Columns) -> ViewQuery {
    let filters = (0..rng.below(3)).map(|_| any_comparison(rng, columns)).collect();
    let order_by = (0..rng.below(3)).map(|_| Order { place: rng.index(JSON), is_descending: rng.chance(50) }).collect();
    ViewQuery { filters, order_by, limit: rng.index(30) + 1, after: None, count: rng.chance(50) }
}

fn passes(row: &Row, comparison: &Comparison) -> bool {
    let value = &row.values[comparison.place];
    let compared = |other: &Value| if value.is_null() { None } else { Some(order(value, other)) };
    match &comparison.test {
        Test::Equal(other) => compared(other) == Some(Ordering::Equal),
        Test::NotEqual(other) => compared(other).is_some_and(Ordering::is_ne),
        Test::Greater(other) => compared(other).is_some_and(Ordering::is_gt),
        Test::GreaterOrEqual(other) => compared(other).is_some_and(Ordering::is_ge),
        Test::Less(other) => compared(other).is_some_and(Ordering::is_lt),
        Test::LessOrEqual(other) => compared(other).is_some_and(Ordering::is_le),
        Test::In(others) => others.iter().any(|other| compared(other) == Some(Ordering::Equal)),
        Test::Prefix(prefix) => matches!(value, Value::Text(text) if text.starts_with(prefix)),
        Test::IsNull(wanted) => value.is_null() == *wanted,
    }
}

fn sorted(rows: &[Row], query: &ViewQuery) -> Vec<Row> {
    let mut found: Vec<Row> = rows.iter().filter(|row| query.filters.iter().all(|comparison| passes(row, comparison))).cloned().collect();
    found.sort_by(|one, other| {
        let directed = |place: usize, is_descending: bool| {
            let order = order(&one.values[place], &other.values[place]);
            if is_descending { order.reverse() } else { order }
        };
        let by_columns = query.order_by.iter().map(|order| directed(order.place, order.is_descending)).find(|order| order.is_ne());
        by_columns.unwrap_or_else(|| directed(0, query.order_by.last().is_some_and(|order| order.is_descending)))
    });
    found
}

/// All pages of a query.
fn pages(reader: &Reader, query: &ViewQuery, context: &str) -> Vec<ViewPage> {
    let mut pages: Vec<ViewPage> = Vec::new();
    loop {
        let after = pages.last().and_then(|page| page.next.clone());
        let page = super::run(reader, &ViewQuery { after, ..query.clone() }, TIME);
        let page = page.unwrap_or_else(|fault| panic!("{context}: {fault:?}"));
        let is_last = page.next.is_none();
        pages.push(page);
        if is_last {
            return pages;
        }
    }
}

#[tokio::test]
async fn random_queries_equal_a_plain_filter_and_sort() {
    let columns = columns();
    for seed in seeds(12) {
        let mut rng = Rng::new(seed);
        let count = rng.below(120);
        let (reader, rows) = filled(&mut rng, count).await;
        for number in 0..150 {
            let query = any_query(&mut rng, &columns);
            let context = format!("SEED={seed} query {number}: {query:?}");
            let pages = pages(&reader, &query, &context);
            let expected = sorted(&rows, &query);
            let found: Vec<Row> = pages.iter().flat_map(|page| page.rows.clone()).collect();
            assert_eq!(found.len(), expected.len(), "{context}");
            assert!(found == expected, "{context}");
            for page in &pages {
                assert_eq!(page.count, query.count.then_some(expected.len() as u64), "{context}");
                assert_eq!(page.cursor, cursor(7), "{context}");
                assert!(page.rows.len() <= query.limit && (page.next.is_none() || page.rows.len() == query.limit), "{context}");
            }
        }
    }
}

/// Rows that change in between neither come twice nor keep others from coming.
#[tokio::test]
async fn pages_go_on_behind_the_last_row() {
    let columns = columns();
    let target = EmbeddedTarget::new("v", None, 1 << 20);
    let mut writer = writer(&target, 1, true).await;
    let row = |number: u64| (key(number), Some(Row::blank(&columns, key(number))));
    writer.commit(batch((10..20).map(row), 1)).await.unwrap();
    let reader = target.reader(&columns).unwrap();
    let query = ViewQuery { limit: 5, ..ViewQuery::default() };
    let first = super::run(&reader, &query, TIME).unwrap();
    // The row that the page ended with goes, and one comes in front of it.
    writer.commit(batch([(key(14), None), row(100)], 2)).await.unwrap();
    let second = super::run(&reader, &ViewQuery { after: first.next, ..query }, TIME).unwrap();
    assert_eq!(second.rows.iter().map(|row| row.values[0].clone()).collect::<Vec<_>>(), (15..20).map(key).collect::<Vec<_>>());
    assert_eq!((second.next, second.cursor), (None, cursor(2)));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let (reader, _) = filled(&mut Rng::new(1), 20).await;
    let check = |query: ViewQuery, wanted: &str| match super::run(&reader, &query, TIME) {
        Err(QueryFault::Invalid { field, detail }) => assert!(format!("{field}: {detail}").contains(wanted), "{field}: {detail}"),
        other => panic!("{other:?}"),
    };
    let filter = |place, test| ViewQuery { filters: vec![Comparison { place, test }], ..ViewQuery::default() };
    let by = |place| ViewQuery { order_by: vec![Order { place, is_descending: false }], limit: 5, ..ViewQuery::default() };
    check(filter(99, Test::IsNull(true)), "is not a column");
    check(filter(JSON, Test::Equal(Value::Json(Arc::from("1")))), "notes: is JSON");
    check(filter(3, Test::Prefix("1".to_owned())), "count: is no text");
    check(filter(3, Test::Greater(Value::Null)), "count: cannot be compared with null");
    check(by(JSON), "order_by: notes is JSON");
    let token = super::run(&reader, &by(2), TIME).unwrap().next;
    check(ViewQuery { after: token, ..by(3) }, "after: is of a query with another order");
    for after in ["", "?", "AQ", "AAAAAAAAAAAAAAAAAAAA"] {
        check(ViewQuery { after: Some(after.to_owned()), ..by(2) }, "after: must be the `next`");
    }
}

#[tokio::test]
async fn a_query_that_takes_too_long_says_what_would_help() {
    let (reader, _) = filled(&mut Rng::new(1), 2_000).await;
    let test = Test::Equal(Value::Integer(1 << 60));
    let query = ViewQuery { filters: vec![Comparison { place: 3, test }], ..ViewQuery::default() };
    match super::run(&reader, &query, Duration::ZERO) {
        Err(QueryFault::TooSlow(detail)) => assert!(detail.contains("an index on count would help"), "{detail}"),
        other => panic!("{other:?}"),
    }
}
