//! Does a reader ever notice that one table takes the place of another?

use super::super::super::Target;
use super::fixture::*;

const ROWS: u64 = 500;

/// Asks in a loop, with one statement anew each time and with one that was prepared before: always all rows of one generation.
async fn read(url: String, mut until: tokio::sync::oneshot::Receiver<()>) -> usize {
    let client = client(&url).await;
    let query = "SELECT count(*), min(note), max(note) FROM public.declarations";
    let prepared = client.prepare(query).await.unwrap();
    let mut reads = 0;
    while until.try_recv().is_err() {
        for row in [client.query_one(query, &[]).await.unwrap(), client.query_one(&prepared, &[]).await.unwrap()] {
            let (count, least, most): (i64, String, String) = (row.get(0), row.get(1), row.get(2));
            assert_eq!((count.unsigned_abs(), &least), (ROWS, &most));
            reads += 1;
        }
    }
    reads
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_all_of_one_generation_while_tables_change_places() {
    let Some(cluster) = started(&[]) else { return };
    let (target, url) = (target(&cluster), cluster.url());
    let rows = |generation: u8| (0..ROWS).map(|id| put(row(&format!("{generation}-{id}"), 1, text(&generation.to_string())))).collect();
    let mut writer = target.open(opening([0; 16], true)).await.unwrap();
    writer.commit(batch(rows(0), [1, 1])).await.unwrap();
    drop(writer);
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let reading = tokio::spawn(read(url.clone(), stopped));
    for generation in 1..=30 {
        let mut writer = target.open(opening([generation; 16], false)).await.unwrap();
        writer.commit(batch(rows(generation), [1, 1])).await.unwrap();
        drop(writer);
        target.promote([generation; 16]).await.unwrap();
    }
    stop.send(()).unwrap();
    let reads = reading.await.unwrap();
    println!("{reads} reads");
    assert!(reads > 60, "{reads}");
    assert_eq!(target.generations().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_depends_on_the_table_is_named_and_stays() {
    let Some(cluster) = started(&[]) else { return };
    let (target, url) = (target(&cluster), cluster.url());
    drop(open(&target).await);
    sql(&url, "CREATE VIEW large AS SELECT * FROM declarations WHERE amount > 1000").await;
    drop(target.open(opening(NEXT, false)).await.unwrap());
    let fault = lasting(target.promote(NEXT).await);
    assert!(fault.contains("view large depends on table declarations"), "{fault}");
    assert_eq!(target.generations().await.unwrap().iter().filter(|generation| generation.is_live && generation.hash == HASH).count(), 1);
    sql(&url, "DROP VIEW large").await;
    target.promote(NEXT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_query_holds_the_change_up_but_not_the_other_readers() {
    let Some(cluster) = started(&[]) else { return };
    let (target, url) = (target(&cluster), cluster.url());
    drop(open(&target).await);
    drop(target.open(opening(NEXT, false)).await.unwrap());
    let long = client(&url).await;
    long.batch_execute("BEGIN; SELECT * FROM declarations").await.unwrap();
    let fault = passing(target.promote(NEXT).await);
    assert!(fault.contains("55P03"), "{fault}");
    sql(&url, "SELECT * FROM declarations").await;
    long.batch_execute("ROLLBACK").await.unwrap();
    target.promote(NEXT).await.unwrap();
}
