//! Does Postgres find rows by their keys, whatever it believed of the table when it made its plan?

use super::super::cell::Cell;
use super::super::name::Table;
use super::super::statements::Statements;
use super::fixture::*;

/// The plan for a table that is as good as empty reads all of it. Kept while the table grew, it made a catch-up twenty times slower, until
/// the server happened to analyse the table.
#[tokio::test]
async fn rows_are_found_by_their_keys_however_the_table_has_grown() {
    let Some(cluster) = started(&["autovacuum=off"]) else { return };
    let target = target(&cluster);
    let mut writer = open(&target).await;
    let session = target.connect().await.unwrap();
    let table = Table { schema: "public".to_owned(), name: "declarations".to_owned() };
    let statements = Statements::prepare(&session, &table, &columns()).await.unwrap();
    let keys: Vec<_> = (0..100).map(|number| text(&format!("key {number}"))).collect();
    let cells: Vec<Cell<'_>> = keys.iter().map(Cell).collect();
    // Postgres settles for one plan after some executions.
    for number in 0..12_u8 {
        session.client().query(&statements.load, &[&cells]).await.unwrap();
        let write = put(row(&format!("key {number}"), 1, text("x")));
        writer.commit(batch(vec![write], [u64::from(number) + 1, 0])).await.unwrap();
    }
    sql(&cluster.url(), "INSERT INTO declarations SELECT 'other ' || n, n, 'x', 1, n FROM generate_series(1, 20000) AS n").await;
    session.run("beginning", "BEGIN").await.unwrap();
    assert_eq!(session.client().query(&statements.load, &[&cells]).await.unwrap().len(), 12);
    session.client().execute(&statements.delete, &[&cells]).await.unwrap();
    let counts = session.client().query_one("SELECT seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'declarations'", &[]);
    let counts = counts.await.unwrap();
    assert_eq!(counts.get::<_, i64>(0), 0, "all rows were read");
    assert!(counts.get::<_, i64>(1) > 0);
}
