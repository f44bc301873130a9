//! What is told of a projection while its rows are built anew: never that all is well before it is.

use std::time::Duration;

use bytes::Bytes;
use factum::Database;
use factum::database::ExpectedVersion;
use factum::database::Format;
use factum::database::Kind;
use factum::database::State;
use factum::database::Trial;
use factum::database::Value;
use factum::database::ViewQuery;
use serde_json::json;

use crate::fixture::append;
use crate::fixture::event;
use crate::fixture::memory;

const TOTALS: &str = r#"
[columns]
name = "text primary key"
total = "bigint default 0"

[on.Counted]
key = "$.stream"
add = { total = "$.data.by" }
"#;

async fn define(database: &Database, text: &str) {
    database.define(Kind::Projection, "totals", Format::Toml, text, false).await.expect("a definition");
}

async fn count(database: &Database, number: u64, data: &str) {
    let event = factum::database::NewEvent { data: Bytes::from(data.to_owned()), ..event(number, "Counted") };
    append(database, &format!("counter-{}", number % 3), ExpectedVersion::Any, vec![event]).await.expect("appends");
}

/// With this factor in place of 1 the rows say so.
fn times(factor: u32) -> String {
    let line = r#"add = { total = "$.data.by" }"#;
    TOTALS.replace(line, &format!("add = {{ total = {factor} }}"))
}

/// The states from now on, until it runs; and the total of the first row then.
async fn until_it_runs(database: &Database) -> (Vec<State>, Value) {
    let states = async {
        let mut states = Vec::new();
        loop {
            let state = database.projection("totals").expect("it is defined").state;
            if states.last() != Some(&state) {
                states.push(state);
            }
            if state == State::Running {
                return states;
            }
            tokio::task::yield_now().await;
        }
    };
    let states = tokio::time::timeout(Duration::from_secs(60), states).await.expect("it runs in the end");
    let end = database.end();
    let page = database.query_view("totals", ViewQuery::default(), Some(&end), Duration::from_secs(60)).await.expect("a page");
    (states, page.rows.first().expect("a row").values[1].clone())
}

/// A script that waits for a projection to run again must not find the rows of the definition before.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_ordered_other_rows_is_told_so_until_they_are_in_use() {
    let database = memory().await;
    define(&database, &times(1)).await;
    for number in 0..30 {
        count(&database, number, "{}").await;
    }
    assert_eq!(until_it_runs(&database).await.1, Value::Integer(10));
    for factor in 2..22 {
        define(&database, &times(factor)).await;
        let (states, total) = until_it_runs(&database).await;
        assert_eq!(total, Value::Integer(10 * i64::from(factor)), "{states:?}");
    }
    database.close().await.expect("it closes");
}

/// The rows before had failed; the new ones never have, and nobody who waits for them may be told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_over_with_the_rows_that_had_it() {
    for attempt in 0..40 {
        let database = memory().await;
        count(&database, 0, r#"{"by": "many"}"#).await;
        // First it is the rows in use that fail, then those that are built beside the ones of the round before.
        for round in 1..=2 {
            define(&database, TOTALS).await;
            let failed = async {
                while database.projection("totals").expect("it is defined").state != State::Failed {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), failed).await.expect("an event that can't be digested");
            define(&database, &times(round)).await;
            let (states, total) = until_it_runs(&database).await;
            assert!(!states.contains(&State::Failed), "attempt {attempt}, round {round}: {states:?}");
            assert_eq!(total, Value::Integer(i64::from(round)), "attempt {attempt}, round {round}: {states:?}");
        }
        database.close().await.expect("it closes");
    }
}

#[tokio::test]
async fn a_trial_parks_as_the_definition_says() {
    let database = memory().await;
    define(&database, &times(1)).await;
    for number in 0..9 {
        count(&database, number, if number % 3 == 1 { r#"{"by": "many"}"# } else { r#"{"by": 1}"# }).await;
    }
    let tried = async |text: &str| database.try_projection("totals", Format::Toml, text).await.expect("a trial");
    let Trial { events, rows, parked, poison, .. } = tried(TOTALS).await;
    assert_eq!((events, rows, parked), (1, 1, 0));
    assert!(poison.expect("an event that can't be digested").contains("many"));
    let Trial { events, rows, same, only_before, parked, poison, examples, .. } = tried(&format!("on_error = \"park\"\n{TOTALS}")).await;
    assert_eq!((events, rows, same, only_before, parked, poison), (9, 2, 2, 1, 3, None));
    assert_eq!(examples.first().map(|example| (&example.key, &example.after)), Some((&json!("counter-1"), &json!(null))));
    database.close().await.expect("it closes");
}
