//! P1 to P4 of the list of faults: whatever happens in between, the table is what the events come to.

use std::time::Duration;

use factum_storage::disk::sim::Rng;

use super::super::super::Fault;
use super::super::super::Target;
use super::super::PostgresTarget;
use super::super::Timeouts;
use super::driver;
use super::driver::Steps;
use super::driver::run_to_the_end;
use super::fixture::*;
use super::proxy::Cut;
use super::proxy::Proxy;
use crate::projection::value::Value;

fn rng(test: &str) -> Rng {
    let seed = std::env::var("SEED").map_or(0x00FA_C704, |seed| seed.parse().expect("SEED is a number"));
    println!("{test}: replay with SEED={seed}");
    Rng::new(seed)
}

fn target_with(url: &str, timeouts: Timeouts) -> PostgresTarget {
    PostgresTarget::new(super::super::Options { timeouts, ..options(url) }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_stopped_at_any_moment_the_table_is_exact() {
    let Some(mut cluster) = started(&[]) else { return };
    let mut rng = rng("p1");
    let (target, url) = (target(&cluster), cluster.url());
    let (steps, mut progress) = Steps::new();
    let events = driver::events(&mut rng, 6_000, 300);
    let given = events.clone();
    let running = tokio::spawn(async move { run_to_the_end(&target, &given, 10, &steps).await });
    let mut stops = 0;
    while stops < 12 && !running.is_finished() {
        let until = *progress.borrow() + 20 + rng.index(60);
        if progress.wait_for(|steps| *steps >= until).await.is_err() {
            break;
        }
        cluster.stop_immediately();
        cluster.start_again();
        stops += 1;
    }
    let faults = running.await.unwrap().unwrap();
    println!("p1: {stops} stops, {faults} faults");
    assert!(stops >= 8 && faults >= stops, "{stops} stops, {faults} faults: they did not hit the writer");
    driver::check(&url, &events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_rolled_back_for_others_the_whole_batch_is_done_again() {
    let Some(cluster) = started(&["deadlock_timeout=2s"]) else { return };
    let (url, mut rng) = (cluster.url(), rng("p2"));
    let target = target(&cluster);
    let mut writer = open(&target).await;
    writer.commit(batch(vec![put(row("a", 1, Value::Null))], [1, 0])).await.unwrap();

    // Somebody holds the row.
    let other = client(&url).await;
    let hasty = target_with(&url, Timeouts { lock: Duration::from_millis(100), ..Timeouts::default() });
    let mut waiting = open(&hasty).await;
    other.batch_execute("BEGIN; SELECT * FROM declarations FOR UPDATE").await.unwrap();
    let fault = passing(waiting.commit(batch(vec![put(row("a", 2, Value::Null))], [2, 0])).await);
    assert!(fault.contains("55P03"), "{fault}");
    other.batch_execute("ROLLBACK").await.unwrap();

    // Somebody holds the row and waits for what the writer holds. Who looks for deadlocks first is the one who is rolled back.
    let mut writer = open(&target).await;
    other.batch_execute("SET deadlock_timeout = '1min'; BEGIN; SELECT * FROM declarations FOR UPDATE").await.unwrap();
    let committing = tokio::spawn(async move { writer.commit(batch(vec![put(row("a", 2, Value::Null))], [2, 0])).await });
    while sql(&url, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").await != [["1"]] {
        tokio::task::yield_now().await;
    }
    other.batch_execute("UPDATE factum.projections SET opened_at = now(); ROLLBACK").await.unwrap();
    let fault = passing(committing.await.unwrap());
    assert!(fault.contains("40P01"), "{fault}");
    assert_eq!(sql(&url, "SELECT amount FROM declarations").await, [["1"]]);

    // Every third statement fails as one that can't be serialised; the sequence is not rolled back.
    sql(
        &url,
        "DELETE FROM declarations; DELETE FROM factum.checkpoints; CREATE SEQUENCE tries; CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF nextval('tries') % 3 = 2 THEN RAISE EXCEPTION 'could not serialize' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$; \
         CREATE TRIGGER fail AFTER INSERT OR DELETE ON declarations FOR EACH STATEMENT EXECUTE FUNCTION fail()",
    )
    .await;
    let events = driver::events(&mut rng, 1_000, 50);
    let faults = run_to_the_end(&target, &events, 25, &Steps::new().0).await.unwrap();
    assert!(faults >= 20, "{faults}");
    driver::check(&url, &events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_commit_whose_answer_is_lost_is_neither_repeated_nor_missed() {
    let Some(cluster) = started(&[]) else { return };
    let mut rng = rng("p3");
    let proxy = Proxy::start(cluster.port).await;
    let target = PostgresTarget::new(options(&proxy.url())).unwrap();
    for (cut, through, expected) in [(Cut::Question, [1, 0], None), (Cut::Answer, [2, 0], Some(cursor([2, 0])))] {
        let mut writer = open(&target).await;
        proxy.cut_next(cut);
        let fault = passing(writer.commit(batch(vec![put(row("a", 1, Value::Null))], through)).await);
        assert!(fault.contains("connection"), "{fault}");
        assert!(!proxy.is_armed());
        assert_eq!(open(&target).await.checkpoint(), expected.as_ref(), "{cut:?}");
    }
    sql(&cluster.url(), "DELETE FROM declarations; DELETE FROM factum.checkpoints").await;
    // Hundreds of batches, many of which meet either.
    let events = driver::events(&mut rng, 1_600, 100);
    let (steps, mut progress) = Steps::new();
    let given = events.clone();
    let running = tokio::spawn(async move { run_to_the_end(&target, &given, 8, &steps).await });
    while progress.changed().await.is_ok() {
        if rng.chance(10) {
            proxy.cut_next(if rng.chance(50) { Cut::Question } else { Cut::Answer });
        }
    }
    let faults = running.await.unwrap().unwrap();
    println!("p3: {faults} faults");
    assert!(faults >= 20, "{faults}");
    driver::check(&cluster.url(), &events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_commit_that_hangs_is_neither_repeated_nor_missed() {
    let Some(cluster) = started(&[]) else { return };
    let (url, mut rng) = (cluster.url(), rng("p3 hanging"));
    let short = Duration::from_millis(300);
    let target = target_with(&url, Timeouts { connect: short, statement: short, lock: short, ..Timeouts::default() });
    let (steps, mut progress) = Steps::new();
    let events = driver::events(&mut rng, 6_000, 300);
    let given = events.clone();
    let running = tokio::spawn(async move { run_to_the_end(&target, &given, 10, &steps).await });
    let mut hung = 0;
    while hung < 8 && !running.is_finished() {
        let until = *progress.borrow() + 5 + rng.index(60);
        if progress.wait_for(|steps| *steps >= until).await.is_err() {
            break;
        }
        cluster.hang();
        // Not a wait for something: from shorter than any timeout to longer than all of them.
        tokio::time::sleep(Duration::from_millis(rng.below(1_500))).await;
        cluster.go_on();
        hung += 1;
    }
    let faults = running.await.unwrap().unwrap();
    println!("p3: {hung} times hung, {faults} faults");
    assert!(hung >= 5 && faults >= 3, "{hung} times hung, {faults} faults: they did not hit the writer");
    driver::check(&url, &events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_of_two_writers_the_older_is_fenced() {
    let Some(cluster) = started(&[]) else { return };
    let (url, mut rng) = (cluster.url(), rng("p4"));
    let target = target(&cluster);
    let mut older = open(&target).await;
    older.load(&[text("a")]).await.unwrap();
    older.commit(batch(vec![put(row("a", 1, Value::Null))], [1, 0])).await.unwrap();
    assert_eq!(older.load(&[text("a")]).await.unwrap().iter().flatten().count(), 1);
    let mut newer = open(&target).await;
    assert_eq!(newer.checkpoint(), Some(&cursor([1, 0])));
    let fenced = older.commit(batch(vec![put(row("a", 9, Value::Null))], [9, 9])).await;
    assert!(matches!(fenced, Err(Fault::Fenced(_))), "{fenced:?}");
    drop(older);
    newer.commit(batch(vec![put(row("a", 2, Value::Null))], [2, 0])).await.unwrap();
    let mut dropped = newer;
    target.drop_generation(HASH, false).await.unwrap();
    let fenced = dropped.commit(batch(vec![], [3, 0])).await;
    assert!(matches!(fenced, Err(Fault::Fenced(_))), "{fenced:?}");
    drop(dropped);

    // Two that take it from each other again and again.
    let events = driver::events(&mut rng, 2_000, 100);
    let mut running = Vec::new();
    for _ in 0..2 {
        let (target, events) = (PostgresTarget::new(options(&url)).unwrap(), events.clone());
        running.push(tokio::spawn(async move {
            let mut fenced = 0;
            loop {
                match run_to_the_end(&target, &events, 5, &Steps::new().0).await {
                    Ok(_) => return fenced,
                    Err(Fault::Fenced(_)) => fenced += 1,
                    Err(other) => panic!("{other:?}"),
                }
                // Else neither would get anything done.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
    }
    let mut fenced = 0;
    for worker in running {
        fenced += worker.await.unwrap();
    }
    println!("p4: {fenced} times fenced");
    assert!(fenced >= 2, "{fenced}");
    driver::check(&url, &events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_by_an_operator_it_says_so_and_goes_on() {
    let Some(cluster) = started(&[]) else { return };
    let (target, url) = (target(&cluster), cluster.url());
    let mut writer = open(&target).await;
    sql(&url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'factum:declarations'").await;
    let fault = passing(writer.commit(batch(vec![], [1, 0])).await);
    assert!(fault.contains("57P01"), "{fault}");
    let slow = target_with(&url, Timeouts { statement: Duration::from_millis(100), ..Timeouts::default() });
    let mut writer = open(&slow).await;
    sql(
        &url,
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$; \
         CREATE TRIGGER wait AFTER INSERT ON declarations FOR EACH STATEMENT EXECUTE FUNCTION wait()",
    )
    .await;
    let fault = passing(writer.commit(batch(vec![put(row("a", 1, Value::Null))], [1, 0])).await);
    assert!(fault.contains("57014"), "{fault}");
}
