//! Does a text end in time, whatever its shape? Nothing stops the engine while it makes a plan, so it must be told beforehand.

use std::time::Duration;
use std::time::Instant;

use factum::Error;

use crate::attacks::LONG;
use crate::attacks::narrow;
use crate::fixture::*;

/// A plan takes a tenth of it in a build that is optimised, on a machine that does nothing else.
const MUCH: Duration = Duration::from_secs(30);

#[tokio::test]
async fn q4_texts_of_any_shape_are_answered_or_refused() {
    let database = narrow(LONG).await;
    let nested = |open: &str, close: &str, count: usize| format!("select {}1{}", open.repeat(count), close.repeat(count));
    let chain = |operator: &str, count: usize| format!("select 1{}", format!(" {operator} 1").repeat(count));
    let texts = [
        nested("(", ")", 10_000),
        nested("abs(", ")", 10_000),
        nested("(select ", ")", 10_000),
        nested("[", "]", 10_000),
        nested("case when true then ", " end", 5_000),
        nested("not ", "", 9_000),
        nested("- ", "", 9_000),
        nested("", "::bigint", 9_000),
        nested("cast(", " as bigint)", 3_000),
        chain("+", 9_000),
        chain("=", 9_000),
        chain("and 1 =", 4_000),
        chain("or 1 =", 4_000),
        chain("||", 9_000),
        chain("union all select", 4_500),
        chain("is null and 1", 3_000),
        format!("select 1 from events {}", "join events on true ".repeat(2_000)),
        format!("select 1 from events {}", ", events".repeat(9_000)),
        format!("select {} from events", "data->".repeat(9_000) + "'a'"),
        "(".repeat(1_000_000),
        "select ".repeat(100_000),
        "'".repeat(1_000_001),
        "/*".repeat(100_000),
        "x".repeat(5_000_000),
    ];
    for text in texts {
        let shown: String = text.chars().take(40).collect();
        let began = Instant::now();
        match query(&database, &text).await {
            Ok(_) | Err(Error::InvalidQuery { .. } | Error::QueryLimit { .. }) => {}
            Err(other) => panic!("{shown}: {other:?}"),
        }
        println!("{shown:?}: {:?}", began.elapsed());
        assert!(began.elapsed() < MUCH, "{shown}: {:?}", began.elapsed());
    }
    assert_eq!(value_of(&database, "select count(*) from events").await, "2000");
}

#[tokio::test]
async fn q4_long_lists_and_large_params_are_answered() {
    let database = narrow(LONG).await;
    let numbers: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
    assert_eq!(value_of(&database, &format!("select count(*) from events where position in ({})", numbers.join(","))).await, "2000");
    let names: Vec<String> = (0..100_000).map(|n| format!("'order-{n}'")).collect();
    assert_eq!(value_of(&database, &format!("select count(*) from events where stream in ({})", names.join(","))).await, "2000");
    let large = serde_json::Value::from("x".repeat(4 << 20));
    let rows = query_with(&database, "select count(*) from events where data = $1 or type = $1", vec![large.clone()]).await.unwrap();
    assert_eq!(rows, [["0"]]);
    let rows = query_with(&database, "select length($1 || type) as n from events group by n", vec![large.clone()]).await;
    assert!(
        matches!(&rows, Ok(rows) if *rows == [["4194310"]]) || matches!(rows, Err(Error::QueryLimit { limit: "memory", .. })),
        "{rows:?}"
    );
    // A parameter for every row, many times.
    let columns = (0..200).map(|n| format!("$1 as c{n}")).collect::<Vec<_>>().join(", ");
    let rows = query_with(&database, &format!("select {columns} from events"), vec![large]).await;
    assert!(matches!(rows, Err(Error::QueryLimit { .. }) | Ok(_)), "{:?}", rows.err());
}

/// Steps of a WITH, each made of the one before.
fn steps(first: &str, step: &str, count: usize) -> String {
    let next = |number: usize| format!("t{number} as ({})", step.replace("$before", &format!("t{}", number - 1)));
    let steps: Vec<String> = (1..=count).map(next).collect();
    format!("with t0 as ({first}), {}", steps.join(", "))
}

#[tokio::test]
async fn q4_what_doubles_with_every_step_is_refused() {
    let database = narrow(LONG).await;
    let doubled = "select n + n as n from $before";
    let first = "select position as n from events";
    let nested = |open: &str, close: &str, count: usize| format!("select {}1{}", open.repeat(count), close.repeat(count));
    let texts = [
        steps("select * from events", "select * from $before union all select * from $before", 40) + " select count(*) from t40",
        steps("select 1", "select * from $before union all select * from $before", 40) + " select count(*) from t40",
        steps("values (1)", "table $before union all table $before", 40) + " select count(*) from t40",
        steps("select * from events", "select a.* from $before a join $before b on a.id = b.id", 40) + " select count(*) from t40",
        // An inner name hides an outer one only where it stands.
        steps("select * from events", "with x as (select 1) select * from $before union all select * from $before", 40)
            + " select 1 from t40",
        steps(first, doubled, 30) + " select n from t30 where n > 1",
        steps(first, doubled, 30) + " select n from t30 order by n limit 3",
        steps(first, "select case when n > 1 then n else n + n end as n from $before where n > 1", 30) + " select count(*) from t30",
        steps(first, "select (select max(n) from $before) + (select max(n) from $before) as n", 30) + " select n from t30",
        nested("(select ", ")", 20),
        format!("select count(*) from events where {} true", "exists (select 1 from events where ".repeat(20)) + &")".repeat(20),
        format!("select data{} from events", "->data".repeat(100)),
        format!("select data{} from events", "->'a'".repeat(100)),
        format!("select 1 from events a0 {}", (1..90).map(|n| format!("join events a{n} on a{n}.id = a0.id ")).collect::<String>()),
        "select 1 from events group by cube(position, shard, stream, version, type, id, data, metadata, category)".to_owned(),
        "select 1 from events group by cube(position, shard, stream, version), cube(type, id, data, metadata, category)".to_owned(),
        format!("select 1 from events where {} true", "position > 5 and ".repeat(600)),
    ];
    for text in texts {
        let began = Instant::now();
        refusal(&database, &text).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{text}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn q4_what_people_write_is_far_from_these_limits() {
    let database = narrow(LONG).await;
    let sums = (0..200).map(|n| format!("sum(case when position > {n} then 1 else 0 end) as c{n}")).collect::<Vec<_>>().join(", ");
    for (text, expected) in [
        (format!("select count(*) from (select {sums} from events)"), "1"),
        (format!("select count(*) from events where {} false", "position = 5 or type = 'x' or ".repeat(200)), "1"),
        (format!("select count(*) from ({} select 1)", "select 1 union all ".repeat(150)), "151"),
        (steps("select * from events", "select * from $before where position > 1", 40) + " select count(*) from t40", "1999"),
        (steps("select position as n from events", "select n + n as n from $before", 8) + " select max(n) from t8", "512000"),
        (steps("select * from events", "select a.* from $before a join $before b on a.id = b.id", 4) + " select count(*) from t4", "2000"),
        ("select data->'a'->'b'->0->'c'->>'d' is null from events limit 1".to_owned(), "true"),
        ("select count(*) from (select type, version from events group by cube(type, version))".to_owned(), "202"),
        ("select sum(value) from generate_series(1, 10)".to_owned(), "55"),
        ("select count(*) from range(0, 3) r left join events e on e.version = r.value".to_owned(), "41"),
    ] {
        let began = Instant::now();
        assert_eq!(value_of(&database, &text).await, expected, "{text}");
        assert!(began.elapsed() < MUCH, "{text}: {:?}", began.elapsed());
    }
}
