//! Is a bulk load complete, in order and repeatable?

use bytes::Bytes;
use factum::Error;
use factum::database::ImportResult;
use factum::database::NewEvent;
use factum_storage as storage;

use crate::fixture::Random;
use crate::fixture::event;
use crate::fixture::id;
use crate::fixture::memory;
use crate::fixture::name;
use crate::fixture::stream_events;

fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<NewEvent> {
    numbers.into_iter().map(|number| event(number, "Imported")).collect()
}

fn counts(result: ImportResult) -> (u64, u64, u64) {
    (result.imported, result.duplicates, result.position.get())
}

#[tokio::test]
async fn what_is_there_already_is_skipped() {
    let database = memory().await;
    let import = async |numbers: Vec<u64>| counts(database.import(name("s"), events(numbers)).await.unwrap());
    assert_eq!(import(vec![]).await, (0, 0, 0));
    assert_eq!(import(vec![1, 2, 3]).await, (3, 0, 3));
    assert_eq!(import(vec![1, 2, 3]).await, (0, 3, 3));
    assert_eq!(import(vec![2, 3, 4, 5]).await, (2, 2, 5));
    assert_eq!(import(vec![3, 1]).await, (0, 2, 3));
    assert_eq!(import(vec![6, 6, 7, 6]).await, (2, 2, 7));
    let expected: Vec<_> = (1..=7).map(|n| (n, id(n))).collect();
    assert_eq!(stream_events(&database, "s").await.unwrap(), expected);
}

#[tokio::test]
async fn an_id_with_other_content_ends_an_import_and_what_came_before_stays() {
    let database = memory().await;
    database.import(name("s"), events(1..=3)).await.unwrap();
    let other = NewEvent { data: Bytes::from_static(b"{}"), ..event(2, "Imported") };
    let refused = database.import(name("s"), vec![event(4, "Imported"), other, event(5, "Imported")]).await.unwrap_err();
    assert!(matches!(&refused, Error::Storage(storage::Error::EventIdReused { id: reused, .. }) if *reused == id(2)), "{refused:?}");
    assert_eq!(stream_events(&database, "s").await.unwrap().len(), 4);
    let elsewhere = database.import(name("t"), events([1])).await.unwrap_err();
    assert!(matches!(elsewhere, Error::Storage(storage::Error::EventIdReused { .. })));
    let system = database.import(name("$s"), events([9])).await.unwrap_err();
    assert!(matches!(system, Error::SystemStream { .. }));
}

#[tokio::test]
async fn many_imports_at_once_keep_each_streams_order() {
    let database = memory().await;
    let mut random = Random::new("imports");
    let mut next = 0;
    let mut sent = vec![Vec::new(); 10];
    let mut imports = Vec::new();
    for _ in 0..300 {
        let stream = random.below(10) as usize;
        let numbers: Vec<u64> = (next..=next + random.below(20)).collect();
        next += numbers.len() as u64;
        sent[stream].extend(numbers.iter().copied());
        imports.push((stream, numbers));
    }
    let imports = imports.into_iter().map(|(stream, numbers)| database.import(name(&format!("s-{stream}")), events(numbers)));
    for imported in futures::future::join_all(imports).await {
        assert_eq!(imported.unwrap().duplicates, 0);
    }
    for (stream, numbers) in sent.into_iter().enumerate() {
        let found: Vec<_> = stream_events(&database, &format!("s-{stream}")).await.unwrap().into_iter().map(|(_, id)| id).collect();
        assert_eq!(found, numbers.into_iter().map(id).collect::<Vec<_>>());
    }
}
