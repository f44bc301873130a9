//! What is found after the power was cut at any moment?

use factum_storage::disk::sim::Cut;
use factum_storage::disk::sim::SimDisk;

use super::model::Model;
use super::model::check;
use super::model::step;
use super::*;

/// Rows, indexes and checkpoint are those of one commit, and of none before the last that was flushed.
#[tokio::test]
async fn a_crash_goes_back_to_one_commit() {
    for seed in seeds(60) {
        println!("SEED={seed}");
        let mut rng = Rng::new(seed);
        let sim = SimDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let target = target(&disk);
        let mut models = vec![Model::new()];
        let mut flushed = 0;
        {
            let mut writer = writer(&target, 1, true).await;
            sim.power_off_at(rng.below(400) + 1);
            for through in 1..30 {
                let mut model = models.last().unwrap().clone();
                if step(&mut rng, &mut writer, &mut model, through).await.is_err() {
                    break;
                }
                models.push(model);
                if rng.chance(20) {
                    if writer.flush().await.is_err() {
                        break;
                    }
                    flushed = usize::try_from(through).unwrap();
                }
            }
        }
        let disk: Arc<dyn Disk> = Arc::new(sim.crash(if rng.chance(50) { Cut::KeepAll } else { Cut::Random }, seed));
        drop(target);
        let target = super::target(&disk);
        let generations = target.generations().await.unwrap();
        assert_eq!(generations.len(), 1, "SEED={seed}");
        assert!(generations[0].is_live, "SEED={seed}");
        let mut writer = writer(&target, 1, true).await;
        let through = writer.checkpoint().map_or(0, |cursor| cursor.positions()[0].get());
        let found = usize::try_from(through).unwrap();
        assert!(found >= flushed && found < models.len(), "SEED={seed}: {flushed} was flushed, {found} was found of {}", models.len());
        let mut model = models[found].clone();
        check(&target, &model, through, &format!("SEED={seed}"));
        step(&mut rng, &mut writer, &mut model, through + 1).await.unwrap();
        check(&target, &model, through + 1, &format!("SEED={seed}, on"));
    }
}

/// At every call of the disk: there is a live generation, and it is whole.
#[tokio::test]
async fn a_crash_during_a_promotion_leaves_one_live_generation() {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let target = target(&disk);
    for (hash, is_live) in [(1, true), (2, false)] {
        let mut writer = writer(&target, hash, is_live).await;
        let row = Row::blank(&columns(), key(u64::from(hash)));
        writer.commit(batch([(key(u64::from(hash)), Some(row))], 1)).await.unwrap();
        writer.flush().await.unwrap();
    }
    sim.record_snapshots();
    target.promote([2; 16]).await.unwrap();
    let snapshots = sim.take_snapshots();
    assert!(snapshots.len() > 3);
    let mut seen = Vec::new();
    for (number, snapshot) in snapshots.iter().enumerate() {
        for (cut, seed) in [(Cut::KeepAll, 0), (Cut::Random, 1), (Cut::Random, 2)] {
            let disk: Arc<dyn Disk> = Arc::new(snapshot.crash(cut, seed));
            let target = super::target(&disk);
            let live: Vec<_> = target.generations().await.unwrap().into_iter().filter(|generation| generation.is_live).collect();
            assert_eq!(live.len(), 1, "call {number}");
            let hash = u64::from(live[0].hash[0]);
            assert!(target.row(&columns(), &key(hash)).await.unwrap().is_some(), "call {number}");
            seen.push(hash);
        }
    }
    assert!(seen.contains(&1) && seen.last() == Some(&2), "{seen:?}");
}

/// A power cut while a file is made leaves none, and never one that stands in the way.
#[tokio::test]
async fn a_crash_while_a_file_is_made_stops_nobody() {
    let sim = SimDisk::new();
    sim.record_snapshots();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    drop(writer(&target(&disk), 1, true).await);
    for (number, snapshot) in sim.take_snapshots().iter().enumerate() {
        for (cut, seed) in [(Cut::KeepAll, 0), (Cut::Random, 1)] {
            let disk: Arc<dyn Disk> = Arc::new(snapshot.crash(cut, seed));
            let target = super::target(&disk);
            target.generations().await.unwrap();
            assert!(disk.list("declarations").unwrap_or_default().iter().all(|name| !name.ends_with(".tmp")), "call {number}");
            let mut writer = writer(&target, 1, true).await;
            step(&mut Rng::new(seed), &mut writer, &mut Model::new(), 1).await.unwrap();
        }
    }
}
