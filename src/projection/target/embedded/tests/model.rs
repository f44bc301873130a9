//! Do rows, indexes and checkpoint equal a plain map, whatever batches come?

use std::collections::BTreeMap;

use redb::ReadableDatabase;
use redb::ReadableTable;

use super::super::encoding;
use super::super::sortable::push_sortable;
use super::super::tables;
use super::*;

/// What the rows must be at one checkpoint, by key as text.
pub(crate) type Model = BTreeMap<String, Row>;

/// Writes a random batch through `writer` and into the model.
pub(crate) async fn step(rng: &mut Rng, writer: &mut Box<dyn Writer>, model: &mut Model, through: u64) -> Result<(), super::super::Fault> {
    let columns = columns();
    let keys: Vec<Value> = {
        let mut numbers: Vec<u64> = (0..rng.below(30)).map(|_| rng.below(60)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().map(key).collect()
    };
    let loaded = writer.load(&keys).await?;
    let mut next = model.clone();
    let mut rows = Vec::new();
    for (key, before) in keys.iter().zip(loaded) {
        assert_eq!(before.as_ref(), model.get(text(key)), "{key:?}");
        let row = if rng.chance(25) { None } else { Some(any_row(rng, &columns, key.clone(), through)) };
        match &row {
            Some(row) => next.insert(text(key).to_owned(), row.clone()),
            None => next.remove(text(key)),
        };
        rows.push((key.clone(), row));
    }
    let place = [0, 1, 2, 3, 6][rng.index(5)];
    let value = if place == 0 { key(rng.below(60)) } else { any_value(rng, columns.list()[place].column_type) };
    let mut found = writer.find(&[(place, value.clone())]).await?;
    found.sort_by(|one, other| text(&one.values[0]).cmp(text(&other.values[0])));
    let expected: Vec<Row> = model.values().filter(|row| row.values[place] == value).cloned().collect();
    assert_eq!(found, expected);
    writer.commit(batch(rows, through)).await?;
    *model = next;
    Ok(())
}

pub(crate) fn text(key: &Value) -> &str {
    let Value::Text(text) = key else { panic!("{key:?} is no key") };
    text
}

/// The whole file against a model: rows, indexes, count.
pub(crate) fn check(target: &EmbeddedTarget, model: &Model, through: u64, context: &str) {
    let columns = columns();
    let reader = target.reader(&columns).unwrap();
    let (count, checkpoint) = reader.count().unwrap();
    assert_eq!((count, checkpoint), (model.len() as u64, cursor(through)), "{context}");
    let live = target.inner.live().unwrap().unwrap();
    let snapshot = live.database().unwrap().begin_read().unwrap();
    let stored = snapshot.open_table(tables::ROWS).unwrap();
    let rows: Vec<Row> = stored.iter().unwrap().map(|entry| encoding::row(entry.unwrap().1.value(), &columns).unwrap()).collect();
    assert_eq!(rows, model.values().cloned().collect::<Vec<_>>(), "{context}");
    let mut expected = Vec::new();
    for row in model.values() {
        for (place, column) in columns.list().iter().enumerate().filter(|(_, column)| column.is_indexed) {
            let mut entry = tables::index_prefix(place).to_vec();
            push_sortable(&mut entry, &row.values[place], column.column_type);
            push_sortable(&mut entry, &row.values[0], ColumnType::Text);
            expected.push(entry);
        }
    }
    expected.sort();
    let indexes = snapshot.open_table(tables::INDEXES).unwrap();
    let entries: Vec<Vec<u8>> = indexes.iter().unwrap().map(|entry| entry.unwrap().0.value().to_vec()).collect();
    assert_eq!(entries, expected, "{context}");
}

#[tokio::test]
async fn random_batches_equal_a_map() {
    for seed in seeds(20) {
        println!("SEED={seed}");
        let mut rng = Rng::new(seed);
        let target = EmbeddedTarget::new("any name: ../ü", None, 1 << 20);
        let mut writer = writer(&target, 1, true).await;
        assert_eq!(writer.checkpoint(), None);
        let mut model = Model::new();
        for through in 1..40 {
            step(&mut rng, &mut writer, &mut model, through).await.unwrap();
            assert_eq!(writer.checkpoint(), Some(&cursor(through)));
            if rng.chance(10) {
                writer.flush().await.unwrap();
            }
            if rng.chance(10) {
                writer = target.open(opening(1, true)).await.unwrap();
                assert_eq!(writer.checkpoint(), Some(&cursor(through)));
            }
        }
        check(&target, &model, 39, &format!("SEED={seed}"));
        let wanted = key(rng.below(60));
        assert_eq!(target.row(&columns(), &wanted).await.unwrap().as_ref(), model.get(text(&wanted)));
    }
}
