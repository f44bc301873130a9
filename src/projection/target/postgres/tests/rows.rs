//! Are rows, parked events and checkpoint there, as they were given?

use std::sync::Arc;

use rust_decimal::Decimal;

use super::super::super::Batch;
use super::super::super::Opening;
use super::super::super::Target;
use super::fixture::*;
use crate::projection::row::Row;
use crate::projection::spec::ColumnType;
use crate::projection::spec::Columns;
use crate::projection::value::Value;

fn every_type() -> Arc<Columns> {
    let mut list = vec![
        column("id", ColumnType::Uuid),
        column("a_text", ColumnType::Text),
        column("a_bigint", ColumnType::Bigint),
        column("an_integer", ColumnType::Integer),
        column("a_double", ColumnType::Double),
        column("a_decimal", ColumnType::Decimal { precision: 12, scale: 2 }),
        column("a_boolean", ColumnType::Boolean),
        column("a_timestamp", ColumnType::Timestamp),
        column("a_date", ColumnType::Date),
        column("a_uuid", ColumnType::Uuid),
        column("a_json", ColumnType::Json),
    ];
    list[0].is_primary_key = true;
    for (place, value) in every_value(1).values.iter().enumerate().skip(1) {
        list[place].is_indexed = list[place].column_type != ColumnType::Json;
        list[place].default = value.clone();
    }
    Arc::new(Columns { list, primary_key: 0 })
}

fn every_value(id: u8) -> Row {
    let values = [
        Value::Uuid([id; 16]),
        text("it's a \\ \"text\" – ünï"),
        Value::Integer(i64::MIN),
        Value::Integer(i64::from(i32::MAX)),
        Value::Double(-0.1),
        Value::Decimal(Decimal::new(-123_456_789_012, 2)),
        Value::Boolean(true),
        Value::Timestamp(-1),
        Value::Date(-719_162),
        Value::Uuid([0xff; 16]),
        Value::Json(Arc::from(r#"{"a":[1,2.50," x , y "],"b":null}"#)),
    ];
    Row { values: values.into(), version: 3, position: 9 }
}

#[tokio::test]
async fn rows_of_every_type_come_back_as_they_were() {
    let Some(cluster) = started(&[]) else { return };
    let target = target(&cluster);
    let opening = Opening { columns: every_type(), ..opening(HASH, true) };
    let full = every_value(1);
    let mut empty = every_value(2);
    empty.values.iter_mut().skip(1).for_each(|value| *value = Value::Null);
    let mut writer = target.open(opening.clone()).await.unwrap();
    assert_eq!(writer.checkpoint(), None);
    writer.commit(batch(vec![put(full.clone()), put(empty.clone())], [9, 0])).await.unwrap();
    let keys = [Value::Uuid([3; 16]), full.values[0].clone(), empty.values[0].clone()];
    assert_eq!(writer.load(&keys).await.unwrap(), [None, Some(full.clone()), Some(empty.clone())]);
    for (place, value) in full.values.iter().enumerate() {
        let matching = [(place, value.clone())];
        assert_eq!(writer.find(&matching).await.unwrap(), std::slice::from_ref(&full), "column {place}");
    }
    assert_eq!(writer.find(&[(1, Value::Null), (2, Value::Null)]).await.unwrap(), [empty.clone()]);
    assert_eq!(writer.find(&[(1, Value::Null), (2, Value::Integer(1))]).await.unwrap(), []);
    drop(writer);
    assert_eq!(target.row(&opening.columns, &keys[1]).await.unwrap(), Some(full));
    assert_eq!(target.row(&opening.columns, &keys[0]).await.unwrap(), None);
    // The defaults of the table are those of the definition: a DBA's own INSERT has them too.
    sql(
        &cluster.url(),
        &format!("INSERT INTO declarations (id, _version, _position) VALUES ('{}', 3, 9)", uuid::Uuid::from_bytes([3; 16])),
    )
    .await;
    assert_eq!(target.row(&opening.columns, &keys[0]).await.unwrap(), Some(every_value(3)));
}

#[tokio::test]
async fn a_batch_is_there_whole_with_its_checkpoint() {
    let Some(cluster) = started(&[]) else { return };
    let target = target(&cluster);
    assert_eq!(target.generations().await.unwrap(), []);
    let mut writer = open(&target).await;
    writer.commit(batch(vec![put(row("a", 1, Value::Null)), put(row("b", 2, text("x")))], [2, 0])).await.unwrap();
    assert_eq!(writer.checkpoint(), Some(&cursor([2, 0])));
    assert_eq!(writer.load(&[text("b"), text("a")]).await.unwrap().len(), 2);
    let writes = vec![delete("a"), delete("nobody"), put(row("b", 3, Value::Null)), put(row("c", 4, text("x")))];
    let list = vec![parked(1, 5, "bad \0 thing"), parked(0, 3, "worse")];
    writer.commit(Batch { parked: list.clone(), ..batch(writes, [4, 5]) }).await.unwrap();
    writer.flush().await.unwrap();
    drop(writer);
    let url = cluster.url();
    assert_eq!(
        sql(&url, "SELECT id, amount, note, _version, _position FROM declarations ORDER BY id").await,
        [["b", "3", "(null)", "1", "3"], ["c", "4", "x", "1", "4"]]
    );
    assert_eq!(
        sql(&url, "SELECT projection, shard, position FROM factum.checkpoints ORDER BY shard").await,
        [["declarations", "0", "4"], ["declarations", "1", "5"]]
    );
    assert_eq!(open(&target).await.checkpoint(), Some(&cursor([4, 5])));
    assert_eq!(target.generations().await.unwrap().len(), 1);
    let found = target.parked(HASH, None, 10).await.unwrap();
    assert_eq!(found, [list[1].clone(), parked(1, 5, "bad \u{fffd} thing")]);
    assert_eq!(target.parked(HASH, Some((0, 3)), 10).await.unwrap().len(), 1);
    assert_eq!(target.parked(HASH, Some((1, 5)), 10).await.unwrap(), []);
    assert_eq!(target.parked(HASH, None, 1).await.unwrap().len(), 1);
    assert_eq!(target.parked(NEXT, None, 9).await.unwrap(), []);
}

#[tokio::test]
async fn a_generation_that_is_built_takes_the_place_of_the_live_one() {
    let Some(cluster) = started(&[]) else { return };
    let (target, url) = (target(&cluster), cluster.url());
    sql(&url, "CREATE ROLE reporting").await;
    let mut live = open(&target).await;
    live.commit(batch(vec![put(row("old", 1, Value::Null))], [1, 1])).await.unwrap();
    sql(&url, "GRANT SELECT ON declarations TO reporting").await;
    let mut next = target.open(opening(NEXT, false)).await.unwrap();
    next.commit(batch(vec![put(row("new", 2, Value::Null))], [2, 2])).await.unwrap();
    assert_eq!(sql(&url, "SELECT id FROM declarations").await, [["old"]]);
    assert_eq!(sql(&url, "SELECT id FROM declarations__cdcdcdcd").await, [["new"]]);
    let list = target.generations().await.unwrap();
    assert_eq!(list.iter().map(|generation| (generation.hash, generation.is_live)).collect::<Vec<_>>(), [(HASH, true), (NEXT, false)]);
    target.promote(NEXT).await.unwrap();
    assert_eq!(sql(&url, "SET ROLE reporting; SELECT id FROM declarations").await, [["new"]]);
    let left = "SELECT relname FROM pg_class WHERE relname LIKE 'declarations%' ORDER BY relname";
    assert_eq!(sql(&url, left).await, [["declarations"], ["declarations_note_idx"], ["declarations_pkey"]]);
    assert_eq!(sql(&url, "SELECT conname FROM pg_constraint WHERE conrelid = 'declarations'::regclass").await, [["declarations_pkey"]]);
    assert_eq!(sql(&url, "SELECT DISTINCT generation FROM factum.checkpoints").await, [["cd".repeat(16)]]);
    // Again, as after an answer that was lost.
    target.promote(NEXT).await.unwrap();
    let mut again = target.open(opening(NEXT, true)).await.unwrap();
    assert_eq!(again.checkpoint(), Some(&cursor([2, 2])));
    again.commit(batch(vec![put(row("newer", 3, Value::Null))], [3, 2])).await.unwrap();
    assert_eq!(sql(&url, "SELECT count(*) FROM declarations").await, [["2"]]);
    // Rebuilt once more under the first hash: names that were freed are used again.
    drop(target.open(opening(HASH, false)).await.unwrap());
    target.promote(HASH).await.unwrap();
    assert_eq!(sql(&url, "SELECT count(*) FROM declarations").await, [["0"]]);
    target.drop_generation(HASH, true).await.unwrap();
    assert_eq!(sql(&url, "SELECT count(*) FROM declarations").await, [["0"]]);
    assert_eq!(sql(&url, "SELECT * FROM factum.projections UNION ALL SELECT * FROM factum.projections").await, Vec::<Vec<String>>::new());
    assert!(lasting(target.open(opening(HASH, true)).await).contains("that Factum did not make"));
    sql(&url, "DROP TABLE declarations").await;
    drop(open(&target).await);
    target.drop_generation(HASH, false).await.unwrap();
    target.drop_generation(HASH, false).await.unwrap();
    assert_eq!(sql(&url, left).await, Vec::<Vec<String>>::new());
}
