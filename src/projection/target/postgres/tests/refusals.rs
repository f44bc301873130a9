//! What is refused, in which words, and is nothing touched that is not Factum's?

use std::sync::Arc;

use rust_decimal::Decimal;

use super::super::super::Fault;
use super::super::super::Opening;
use super::super::super::Target;
use super::super::Options;
use super::super::PostgresTarget;
use super::fixture::*;
use crate::projection::row::Row;
use crate::projection::spec::ColumnType;
use crate::projection::spec::Columns;
use crate::projection::value::Value;

async fn open_fails(target: &PostgresTarget) -> String {
    lasting(target.open(opening(HASH, true)).await)
}

#[tokio::test]
async fn an_altered_table_is_named_with_what_to_do() {
    let Some(cluster) = started(&[]) else { return };
    let (target, url) = (target(&cluster), cluster.url());
    drop(open(&target).await);
    sql(&url, "ALTER TABLE declarations ADD COLUMN remark text, ADD COLUMN seen timestamptz NOT NULL DEFAULT now()").await;
    let mut writer = open(&target).await;
    writer.commit(batch(vec![put(row("a", 1, Value::Null))], [1, 0])).await.unwrap();
    for (alter, expected, back) in [
        (
            "ALTER COLUMN amount TYPE numeric(20,0)",
            "amount is numeric(20,0) where the definition says bigint",
            "ALTER COLUMN amount TYPE bigint",
        ),
        ("RENAME COLUMN note TO remarks", "note (text) is not there", "RENAME COLUMN remarks TO note"),
        ("ALTER COLUMN _position TYPE integer", "_position is integer where", "ALTER COLUMN _position TYPE bigint"),
        ("ALTER COLUMN seen DROP DEFAULT", "seen is not in the definition and must not be null", "DROP COLUMN seen"),
        ("DROP CONSTRAINT declarations_pkey", "primary key (id)", "ADD CONSTRAINT declarations_pkey PRIMARY KEY (id)"),
        ("RENAME TO elsewhere", "it is not there any more", ""),
    ] {
        sql(&url, &format!("ALTER TABLE declarations {alter}")).await;
        let fault = open_fails(&target).await;
        assert!(fault.contains(expected) && fault.contains("public.declarations was altered"), "{fault}");
        if !back.is_empty() {
            sql(&url, &format!("ALTER TABLE declarations {back}")).await;
            drop(open(&target).await);
        }
    }
    sql(&url, "ALTER TABLE elsewhere RENAME TO declarations").await;
    // While it is open.
    let mut writer = open(&target).await;
    sql(&url, "ALTER TABLE declarations DROP COLUMN note").await;
    let fault = lasting(writer.commit(batch(vec![put(row("b", 1, Value::Null))], [2, 0])).await);
    assert!(fault.contains("42703") && fault.contains("rebuild"), "{fault}");
}

/// A data directory that was made anew has other events at the same positions.
#[tokio::test]
async fn p4_rows_of_another_database_are_left_alone_until_they_are_made_anew() {
    let Some(cluster) = started(&[]) else { return };
    let target = target(&cluster);
    let mut first = open(&target).await;
    first.commit(batch(vec![put(row("a", 1, Value::Null))], [1, 0])).await.unwrap();
    let of_another = |hash, is_live| Opening { database: [2; 16], ..opening(hash, is_live) };
    let fault = lasting(target.open(of_another(HASH, true)).await);
    assert!(fault.contains("public.declarations are of the events of another database") && fault.contains("rebuild"), "{fault}");
    first.commit(batch(vec![put(row("b", 1, Value::Null))], [2, 0])).await.expect("whose rows they are has not changed");
    drop(target.open(of_another(NEXT, false)).await.unwrap());
    target.promote(NEXT).await.unwrap();
    assert_eq!(target.open(of_another(NEXT, true)).await.unwrap().checkpoint(), None);
    assert!(lasting(target.open(opening(NEXT, true)).await).contains("another database"));
    // Tables of before that was noted are taken over.
    sql(&cluster.url(), "ALTER TABLE factum.projections DROP COLUMN database_id").await;
    drop(target.open(opening(NEXT, true)).await.unwrap());
    assert!(lasting(target.open(of_another(NEXT, true)).await).contains("another database"));
}

#[tokio::test]
async fn a_table_of_somebody_else_is_left_alone() {
    let Some(cluster) = started(&[]) else { return };
    let (target, url) = (target(&cluster), cluster.url());
    sql(&url, "CREATE TABLE declarations AS SELECT 1 AS mine").await;
    assert!(open_fails(&target).await.contains("a public.declarations already that Factum did not make"));
    assert!(lasting(target.open(opening(NEXT, false)).await).contains("did not make"));
    sql(&url, "ALTER TABLE declarations RENAME TO mine; CREATE TABLE declarations__cdcdcdcd (mine text)").await;
    drop(open(&target).await);
    assert!(lasting(target.open(opening(NEXT, false)).await).contains("declarations__cdcdcdcd already that Factum did not make"));
    let other = PostgresTarget::new(Options { name: "payments".to_owned(), ..options(&url) }).unwrap();
    assert!(open_fails(&other).await.contains("is the table of the projection \"declarations\""));
    assert!(lasting(target.promote(NEXT).await).contains("no generation"));
    assert_eq!(sql(&url, "SELECT mine FROM mine").await, [["1"]]);
    assert_eq!(sql(&url, "SELECT mine FROM declarations__cdcdcdcd").await, Vec::<Vec<String>>::new());
}

#[tokio::test]
async fn names_mean_themselves() {
    let Some(cluster) = started(&[]) else { return };
    let (schema, table) = ("My \"Views\"; DROP SCHEMA public", "Décl\"arations' ".to_owned() + &"x".repeat(30));
    let named = || Options { schema: schema.to_owned(), table: table.clone(), ..options(&cluster.url()) };
    let target = PostgresTarget::new(named()).unwrap();
    open(&target).await.commit(batch(vec![put(row("a", 1, Value::Null))], [1, 0])).await.unwrap();
    drop(target.open(opening(NEXT, false)).await.unwrap());
    target.promote(NEXT).await.unwrap();
    let found = sql(&cluster.url(), "SELECT schemaname, tablename FROM pg_tables WHERE tablename LIKE '%arations%'").await;
    assert_eq!(found, [[schema.to_owned(), table.clone()]]);
    for (schema, table) in [("", "t".to_owned()), ("s", "x".repeat(54)), ("s", "nul\0".to_owned())] {
        assert!(PostgresTarget::new(Options { schema: schema.to_owned(), table, ..named() }).is_err());
    }
}

#[tokio::test]
async fn who_may_not_is_told_without_the_password() {
    let Some(cluster) = started(&[]) else { return };
    let url = cluster.url();
    sql(&url, "CREATE ROLE app LOGIN PASSWORD 'right'").await;
    sql(&url, "CREATE DATABASE empty").await;
    let rules = cluster.data().join("pg_hba.conf");
    let before = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("host all app 127.0.0.1/32 scram-sha-256\n{before}")).unwrap();
    sql(&url, "SELECT pg_reload_conf()").await;
    let target = |user: &str, database: &str| PostgresTarget::new(options(&cluster.url_as(user, database))).unwrap();
    let fault = passing(target("app:wrong-secret", "empty").generations().await);
    assert!(fault.contains("28P01") && !fault.contains("secret"), "{fault}");
    let fault = passing(target("postgres:a-secret", "nowhere").generations().await);
    assert!(fault.contains("3D000") && !fault.contains("secret"), "{fault}");
    let fault = open_fails(&target("app:right", "empty")).await;
    assert!(fault.contains("42501") && fault.contains("grant it"), "{fault}");
    let elsewhere = PostgresTarget::new(options("postgres://app:a-secret@127.0.0.1:1/empty")).unwrap();
    let fault = passing(elsewhere.generations().await);
    assert!(fault.contains("refused") && !fault.contains("secret"), "{fault}");
    // All that it needs is to make its schema.
    sql(&url, "GRANT CREATE ON DATABASE empty TO app").await;
    let granted = PostgresTarget::new(Options { schema: "views".to_owned(), ..options(&cluster.url_as("app:right", "empty")) }).unwrap();
    open(&granted).await.commit(batch(vec![put(row("a", 1, Value::Null))], [1, 0])).await.unwrap();
}

fn wide() -> Arc<Columns> {
    let mut list = vec![
        column("id", ColumnType::Text),
        column("price", ColumnType::Decimal { precision: 5, scale: 2 }),
        column("count", ColumnType::Integer),
        column("at", ColumnType::Timestamp),
        column("json", ColumnType::Json),
    ];
    list[0].is_primary_key = true;
    Arc::new(Columns { list, primary_key: 0 })
}

#[tokio::test]
async fn p5_values_that_do_not_fit_are_told_with_their_row() {
    let Some(cluster) = started(&[]) else { return };
    let target = target(&cluster);
    let opening = Opening { columns: wide(), ..opening(HASH, true) };
    let json = |json: &str| Value::Json(Arc::from(json));
    for (place, value, expected) in [
        (0, text("a\0b"), "U+0000"),
        (1, Value::Decimal(Decimal::new(100_000, 2)), "22003"),
        (2, Value::Integer(1 << 40), "32 bits"),
        (3, Value::Timestamp(-300_000_000_000_000_000), "22008"),
        (4, json(r#"{"a":"\u0000"}"#), "U+0000"),
        (4, json(r#"{"a":"\ud800"}"#), "22P02"),
        (4, json(&format!(r#"{{"a":1e{}}}"#, 200_000)), "22003"),
        (1, text("text"), "another type"),
    ] {
        let mut writer = target.open(opening.clone()).await.unwrap();
        let blank = |key: Value| Row::blank(&opening.columns, key);
        let mut bad = blank(text("bad"));
        bad.values[place] = value;
        let key = bad.values[0].clone();
        let mut rows: Vec<Row> = (0..40).map(|id| blank(text(&format!("{id}")))).collect();
        rows.insert(23, bad);
        assert_eq!(writer.load(std::slice::from_ref(&key)).await.unwrap(), [None]);
        match writer.commit(batch(rows.into_iter().map(put).collect(), [1, 0])).await {
            Err(Fault::Row { key: found, detail }) => assert!(found == key && detail.contains(expected), "{found:?} {detail}"),
            other => panic!("{expected}: {other:?}"),
        }
        assert_eq!(target.open(opening.clone()).await.unwrap().checkpoint(), None, "nothing of the batch is there");
    }
    assert_eq!(sql(&cluster.url(), "SELECT count(*) FROM declarations").await, [["0"]]);
}

#[tokio::test]
async fn p5_what_a_constraint_refuses_is_told_with_its_row() {
    let Some(cluster) = started(&[]) else { return };
    let (target, url) = (target(&cluster), cluster.url());
    let mut writer = open(&target).await;
    let stored = vec![put(row("used", 1, text("kept"))), put(row("free", 1, text("x")))];
    writer.commit(batch(stored, [1, 0])).await.unwrap();
    drop(writer);
    // Incompressible, and more than an index takes.
    let long: String = (0..2_000).map(|part: u32| blake3::hash(&part.to_le_bytes()).to_hex().chars().take(8).collect::<String>()).collect();
    let many = |bad: Row| (0..500).map(|id| row(&format!("r{id}"), id, Value::Null)).chain([bad]).map(put).collect::<Vec<_>>();
    for (make, writes, key, expected, end) in [
        (
            "ALTER TABLE declarations ADD CONSTRAINT positive CHECK (amount >= 0)",
            many(row("bad", -1, Value::Null)),
            "bad",
            "\"positive\" (SQLSTATE 23514)",
            "ALTER TABLE declarations DROP CONSTRAINT positive",
        ),
        ("CREATE UNIQUE INDEX one_note ON declarations (note)", many(row("bad", 1, text("x"))), "bad", "23505", "DROP INDEX one_note"),
        (
            "ALTER TABLE declarations ADD CONSTRAINT late UNIQUE (note) DEFERRABLE INITIALLY DEFERRED",
            vec![put(row("one", 1, text("same"))), put(row("two", 1, text("same"))), put(row("three", 1, text("else")))],
            "two",
            "23505",
            "ALTER TABLE declarations DROP CONSTRAINT late",
        ),
        ("SELECT 1", many(row("bad", 1, text(&long))), "bad", "54000", "SELECT 1"),
        (
            "CREATE TABLE uses (id text REFERENCES declarations (id)); INSERT INTO uses VALUES ('used')",
            vec![delete("free"), delete("used"), put(row("r1", 1, Value::Null))],
            "used",
            "23503",
            "DROP TABLE uses",
        ),
    ] {
        sql(&url, make).await;
        let fault = open(&target).await.commit(batch(writes, [2, 0])).await;
        match fault {
            Err(Fault::Row { key: found, detail }) => assert!(found == text(key) && detail.contains(expected), "{found:?} {detail}"),
            other => panic!("{expected}: {other:?}"),
        }
        sql(&url, end).await;
        assert_eq!(sql(&url, "SELECT count(*) FROM declarations").await, [["2"]]);
        assert_eq!(open(&target).await.checkpoint(), Some(&cursor([1, 0])));
    }
}

#[tokio::test]
async fn rows_of_megabytes_are_written_and_read() {
    let Some(cluster) = started(&[]) else { return };
    let target = target(&cluster);
    let columns = Arc::new(Columns {
        list: columns().list().iter().map(|column| crate::projection::spec::Column { is_indexed: false, ..column.clone() }).collect(),
        primary_key: 0,
    });
    let mut writer = target.open(Opening { columns, ..opening(HASH, true) }).await.unwrap();
    let rows: Vec<Row> = (0..8).map(|id| row(&format!("r{id}"), id, text(&format!("{id}").repeat(5 << 20)))).collect();
    let keys: Vec<Value> = rows.iter().map(|row| row.values[0].clone()).collect();
    writer.commit(batch(rows.iter().cloned().map(put).collect(), [8, 0])).await.unwrap();
    assert!(writer.load(&keys).await.unwrap().into_iter().eq(rows.into_iter().map(Some)));
}

#[tokio::test]
async fn rows_that_have_grown_are_read_a_few_at_a_time() {
    let Some(cluster) = started(&[]) else { return };
    let (target, url) = (target(&cluster), cluster.url());
    let columns = Arc::new(Columns {
        list: columns().list().iter().map(|column| crate::projection::spec::Column { is_indexed: false, ..column.clone() }).collect(),
        primary_key: 0,
    });
    let opening = Opening { columns, ..opening(HASH, true) };
    let mut writer = target.open(opening.clone()).await.unwrap();
    let rows: Vec<Row> = (0..60).map(|id| row(&format!("r{id:02}"), id, text("small"))).collect();
    let keys: Vec<Value> = rows.iter().map(|row| row.values[0].clone()).collect();
    writer.commit(batch(rows.into_iter().map(put).collect(), [1, 0])).await.unwrap();
    assert_eq!(writer.load(&keys).await.unwrap().len(), 60);
    sql(&url, "UPDATE declarations SET note = repeat('x', 8 << 20)").await;
    let fault = passing(writer.load(&keys).await);
    assert!(fault.contains("larger"), "{fault}");
    let mut writer = target.open(opening).await.unwrap();
    let (mut rest, mut most) = (keys.as_slice(), 0);
    while !rest.is_empty() {
        let told = writer.load(rest).await.unwrap();
        assert!(told.iter().all(|row| matches!(row, Some(row) if row.bytes() > 8 << 20)));
        most = most.max(told.len());
        rest = &rest[told.len()..];
    }
    assert!((1..=8).contains(&most), "{most} rows at once");
    // Keys without rows are not asked for one by one all the same.
    let new: Vec<Value> = (0..8_000).map(|id| text(&format!("n{id}"))).collect();
    assert_eq!(writer.load(&new).await.unwrap().len(), 8_000);
}
