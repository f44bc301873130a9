//! How fast are rows written and found? Run by hand: `cargo nextest run -p factum --lib embedded::tests::speed --run-ignored only
//! --no-capture`, best with an optimised build.

use std::time::Duration;
use std::time::Instant;

use super::*;

const ROWS: u64 = 10_500;

/// The batches of a catch-up over declarations: 10,000 events touch some 3,000 rows each.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; run by hand"]
async fn batches_are_fast() {
    let folder = tempfile::tempdir().unwrap();
    let target = EmbeddedTarget::new("declarations", Some(folder.path().to_owned()), 32 << 20);
    let columns = columns();
    let mut writer = writer(&target, 1, true).await;
    let mut rng = Rng::new(1);
    let (mut rows, mut spent, mut loading) = (0, Duration::ZERO, Duration::ZERO);
    for through in 1..=100 {
        let mut numbers: Vec<u64> = (0..3_500).map(|_| rng.below(ROWS)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let keys: Vec<Value> = numbers.into_iter().map(key).collect();
        let writes: Vec<_> = keys.iter().map(|key| (key.clone(), Some(any_row(&mut rng, &columns, key.clone(), through)))).collect();
        let began = Instant::now();
        writer.load(&keys).await.unwrap();
        loading += began.elapsed();
        writer.commit(batch(writes, through)).await.unwrap();
        spent += began.elapsed();
        rows += keys.len();
    }
    println!("catch-up: {:.0} rows/s in {spent:?}, of which loading {loading:?}", rows as f64 / spent.as_secs_f64());
    let mut live = Vec::new();
    for through in 101..=1_100 {
        let keys: Vec<Value> = (0..5).map(|_| key(rng.below(ROWS))).collect();
        let writes: Vec<_> = keys.iter().map(|key| (key.clone(), Some(any_row(&mut rng, &columns, key.clone(), through)))).collect();
        let began = Instant::now();
        writer.load(&keys).await.unwrap();
        writer.commit(batch(writes, through)).await.unwrap();
        live.push(began.elapsed());
    }
    live.sort_unstable();
    println!("live batch of 5 rows: median {:?}, p99 {:?}, longest {:?}", live[500], live[990], live[999]);
    let reader = target.reader(&columns).unwrap();
    let began = Instant::now();
    for _ in 0..20_000 {
        assert!(reader.row(&key(rng.below(ROWS))).unwrap().1 == cursor(1_100));
    }
    println!("by key: {:.0} rows/s", 20_000.0 / began.elapsed().as_secs_f64());
}
