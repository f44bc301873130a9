//! What becomes of files that are damaged, full, taken over or of no use any more?

use factum_storage::Timestamp;
use factum_storage::disk::sim::Call;
use factum_storage::disk::sim::Fault as DiskFault;
use factum_storage::disk::sim::Rule;
use factum_storage::disk::sim::SimDisk;

use super::super::super::Fault;
use super::super::super::Parked;
use super::super::file::folder_name;
use super::model::Model;
use super::model::check;
use super::model::step;
use super::*;

async fn filled(disk: &Arc<dyn Disk>) -> Model {
    let target = target(disk);
    let mut writer = writer(&target, 1, true).await;
    let mut model = Model::new();
    for through in 1..5 {
        step(&mut Rng::new(through), &mut writer, &mut model, through).await.unwrap();
    }
    writer.flush().await.unwrap();
    model
}

#[tokio::test]
async fn a_damaged_file_is_made_anew() {
    let path = format!("declarations/{}.redb", "01".repeat(16));
    for damage in [|_: &[u8]| Vec::new(), |_: &[u8]| b"nonsense".repeat(9_000), |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec()] {
        let sim = SimDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        filled(&disk).await;
        sim.put(&path, &damage(&sim.contents(&path).unwrap()));
        let target = target(&disk);
        assert_eq!(target.generations().await.unwrap(), []);
        let mut writer = writer(&target, 1, true).await;
        assert_eq!(writer.checkpoint(), None);
        let mut model = Model::new();
        step(&mut Rng::new(1), &mut writer, &mut model, 1).await.unwrap();
        check(&target, &model, 1, "made anew");
    }
}

#[tokio::test]
async fn a_second_writer_fences_the_first() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let mut model = filled(&disk).await;
    let target = target(&disk);
    let mut first = writer(&target, 1, true).await;
    let mut second = writer(&target, 1, true).await;
    let refused = first.commit(batch([], 9)).await;
    assert!(matches!(refused, Err(Fault::Fenced(_))), "{refused:?}");
    assert!(matches!(first.commit(batch([], 9)).await, Err(Fault::Passing(_))));
    step(&mut Rng::new(5), &mut second, &mut model, 5).await.unwrap();
    check(&target, &model, 5, "the second writer");
}

#[tokio::test]
async fn a_full_disk_passes() {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let mut model = filled(&disk).await;
    let target = target(&disk);
    let mut writer = writer(&target, 1, true).await;
    sim.add_rule(Rule::next(Call::Write, DiskFault::StorageFull).for_ever());
    writer.commit(batch([], 5)).await.ok();
    let refused = writer.flush().await;
    assert!(matches!(&refused, Err(Fault::Passing(text)) if text.contains("full")), "{refused:?}");
    sim.clear_rules();
    let mut writer = super::writer(&target, 1, true).await;
    assert_eq!(writer.checkpoint(), Some(&cursor(4)));
    step(&mut Rng::new(5), &mut writer, &mut model, 5).await.unwrap();
    check(&target, &model, 5, "after the disk was full");
}

#[tokio::test]
async fn other_columns_shards_or_events_are_made_anew() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    filled(&disk).await;
    let target = target(&disk);
    let writer = target.open(Opening { shards: 2, ..opening(1, true) }).await.unwrap();
    assert_eq!(writer.checkpoint(), Some(&cursor(4)), "a shard that has joined is read from its start");
    drop(writer);
    let more: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let writer = self::target(&more).open(Opening { shards: 2, ..opening(1, true) }).await.unwrap();
    drop(writer);
    let of_two = self::target(&more);
    let mut writer = of_two.open(Opening { shards: 2, ..opening(1, true) }).await.unwrap();
    step(&mut Rng::new(1), &mut writer, &mut Model::new(), 1).await.unwrap();
    writer.flush().await.unwrap();
    drop(writer);
    drop(of_two);
    let writer = self::target(&more).open(opening(1, true)).await.unwrap();
    assert_eq!(writer.checkpoint(), None, "it knew of more shards than there are");
    drop(writer);
    let writer = self::target(&disk).open(Opening { database: [2; 16], ..opening(1, true) }).await.unwrap();
    assert_eq!(writer.checkpoint(), None);
    drop(writer);
    let target = self::target(&disk);
    let mut other = (*columns()).clone();
    other.list[3].is_indexed = true;
    let other = Arc::new(other);
    let writer = target.open(Opening { columns: Arc::clone(&other), ..opening(1, true) }).await.unwrap();
    assert_eq!(writer.checkpoint(), None);
    assert!(target.reader(&other).is_ok());
    assert!(matches!(target.reader(&columns()).map(|_| ()), Err(Fault::Passing(_))));
}

#[tokio::test]
async fn generations_come_and_go() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let model = filled(&disk).await;
    let target = target(&disk);
    drop(writer(&target, 2, false).await);
    let mut generations = target.generations().await.unwrap();
    generations.sort_by_key(|generation| generation.hash);
    assert_eq!(generations.iter().map(|generation| generation.is_live).collect::<Vec<_>>(), [true, false]);
    assert_eq!(generations[1].definition, "{\"n\":2}");
    let old = target.reader(&columns()).unwrap();
    target.promote([2; 16]).await.unwrap();
    assert_eq!(target.generations().await.unwrap().len(), 1);
    assert_eq!(target.reader(&columns()).unwrap().count().unwrap(), (0, cursor(0)));
    // Who reads on is not disturbed.
    assert_eq!(old.count().unwrap(), (model.len() as u64, cursor(4)));
    assert!(matches!(target.promote([9; 16]).await, Err(Fault::Lasting(_))));
    target.drop_generation([2; 16], true).await.unwrap();
    target.drop_generation([2; 16], false).await.unwrap();
    assert_eq!(target.generations().await.unwrap(), []);
    assert_eq!(target.row(&columns(), &key(1)).await.unwrap(), None);
    assert_eq!(disk.list("declarations").unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn parked_events_are_told_in_order() {
    let target = EmbeddedTarget::new("v", None, 1 << 20);
    let mut writer = writer(&target, 1, true).await;
    let event = |shard: u16, position: u64| Parked {
        shard,
        position,
        stream: "order-ü".to_owned(),
        version: 7,
        event_type: "Paid".to_owned(),
        reason: "amount: is no number".to_owned(),
        parked_at: Timestamp::from_micros(-5),
    };
    let parked = vec![event(1, 5), event(0, 300), event(0, 2)];
    writer.commit(Batch { parked, ..batch([], 301) }).await.unwrap();
    let all = target.parked([1; 16], None, 10).await.unwrap();
    assert_eq!(all, [event(0, 2), event(0, 300), event(1, 5)]);
    assert_eq!(target.parked([1; 16], Some((0, 2)), 1).await.unwrap(), [event(0, 300)]);
    assert_eq!(target.parked([9; 16], None, 1).await.unwrap(), []);
}

#[tokio::test]
async fn a_row_that_does_not_fit_its_columns_is_named() {
    let target = EmbeddedTarget::new("v", None, 1 << 20);
    let mut writer = writer(&target, 1, true).await;
    let mut row = Row::blank(&columns(), key(1));
    row.values[3] = Value::Boolean(true);
    let refused = writer.commit(batch([(key(1), Some(row))], 1)).await;
    assert!(matches!(&refused, Err(Fault::Row { key: named, .. }) if *named == key(1)), "{refused:?}");
}

#[tokio::test]
async fn of_large_rows_the_first_are_loaded() {
    let target = EmbeddedTarget::new("v", None, 1 << 20);
    let mut writer = writer(&target, 1, true).await;
    let large = |number: u64| {
        let mut row = Row::blank(&columns(), key(number));
        row.values[10] = Value::Json(Arc::from(format!("\"{}\"", "x".repeat(3 << 20))));
        row
    };
    for number in 0..20 {
        writer.commit(batch([(key(number), Some(large(number)))], number + 1)).await.unwrap();
    }
    // In the order of the keys asked for, with one in between that has no row.
    let keys: Vec<Value> = [7, 99].into_iter().chain((0..20).rev().filter(|number| *number != 7)).map(key).collect();
    let (mut rest, mut loads) = (keys.as_slice(), 0);
    while !rest.is_empty() {
        let told = writer.load(rest).await.unwrap();
        for (key, row) in rest.iter().zip(&told) {
            assert_eq!(row.as_ref().map(|row| &row.values[0]), Some(key).filter(|key| **key != super::key(99)));
        }
        rest = &rest[told.len()..];
        loads += 1;
    }
    assert!((2..=4).contains(&loads), "{loads} loads of 60 MiB");
}

#[test]
fn folders_are_safe_for_every_name() {
    assert_eq!(folder_name("declarations_2"), "declarations_2");
    assert_eq!(folder_name("../ü"), "%2E%2E%2F%C3%BC");
    let long = folder_name(&"ü".repeat(200));
    assert!(long.len() < 200 && long != folder_name(&"ü".repeat(201)));
}
