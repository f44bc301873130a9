//! Rows go out as they come, in pieces, and an error is never mistaken for an end.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use arrow::array::ArrayRef;
use arrow::array::Int64Array;
use arrow::array::RecordBatch;
use arrow::array::StringArray;
use bytes::Bytes;
use factum_storage::Position;
use futures::FutureExt;
use futures::StreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::sync::mpsc;

use super::OutputFormat;
use super::answer;
use super::batch;
use super::chunks;
use super::of_batches;
use crate::Error;
use crate::analytics::SqlAnswer;
use crate::subscription::Cursor;

const ALL: [OutputFormat; 5] = [OutputFormat::Json, OutputFormat::Ndjson, OutputFormat::Csv, OutputFormat::Arrow, OutputFormat::Parquet];

fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    batch(vec![("n", Arc::new(Int64Array::from_iter_values(range)) as ArrayRef)])
}

fn broken() -> Error {
    Error::QueryLimit { limit: "memory", detail: "at most 1 byte".into() }
}

/// What has come before an error, and the error.
async fn until_error(answer: SqlAnswer, format: OutputFormat) -> (Vec<u8>, Error) {
    let parts: Vec<Result<Bytes, Error>> = chunks(answer, format).collect().await;
    let error = parts.last().expect("something").clone().expect_err("the error comes last");
    let before = parts[..parts.len() - 1].iter().map(|part| part.clone().expect("one error")).collect::<Vec<Bytes>>().concat();
    (before, error)
}

#[tokio::test]
async fn an_error_before_the_first_row_comes_before_the_first_byte() {
    for format in ALL {
        let (before, error) = until_error(answer(numbers(0..1).schema(), vec![Ok(numbers(0..0)), Err(broken())]), format).await;
        assert!(before.is_empty() && matches!(error, Error::QueryLimit { .. }), "{format:?}: {error}");
    }
}

#[tokio::test]
async fn an_error_behind_rows_leaves_no_whole_document() {
    for format in ALL {
        let (before, error) = until_error(answer(numbers(0..1).schema(), vec![Ok(numbers(0..3)), Err(broken())]), format).await;
        assert!(matches!(error, Error::QueryLimit { .. }), "{error}");
        let text = String::from_utf8_lossy(&before);
        match format {
            // Rows that are out are whole, but nothing says that they are all.
            OutputFormat::Json => assert!(text.ends_with("\n[2]") && serde_json::from_str::<serde_json::Value>(&text).is_err(), "{text}"),
            OutputFormat::Ndjson => assert_eq!(text, "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n"),
            OutputFormat::Csv => assert_eq!(text, "n\n0\n1\n2\n"),
            OutputFormat::Arrow => assert!(!before.ends_with(&[0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]), "the mark of the end is not there"),
            // Nothing is out before a row group is.
            OutputFormat::Parquet => assert!(before.is_empty()),
        }
    }
}

/// A batch that is large goes out in many chunks; all its rows are there once, in order.
#[tokio::test]
async fn large_batches_go_out_in_pieces() {
    let count = 20_000;
    let texts = StringArray::from_iter_values((0..count).map(|n| format!("{n}-{}", "x".repeat(90))));
    let batch = batch(vec![("text", Arc::new(texts) as ArrayRef)]);
    let parts: Vec<Bytes> =
        chunks(of_batches(vec![batch.clone(), batch.clone()]), OutputFormat::Ndjson).map(Result::unwrap).collect().await;
    assert!(parts.len() > 10 && parts.iter().all(|part| part.len() < (256 << 10) + 200), "{} parts", parts.len());
    let text = String::from_utf8(parts.concat()).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let numbers = rows.map(|row| row["text"].as_str().unwrap().split('-').next().unwrap().parse::<i64>().unwrap());
    assert!(numbers.eq((0..count).chain(0..count)));
    let parts: Vec<Bytes> = chunks(of_batches(vec![batch]), OutputFormat::Arrow).map(Result::unwrap).collect().await;
    assert!(parts.len() > 5 && parts.iter().all(|part| part.len() < 600 << 10), "{} parts", parts.len());
}

/// Nothing is asked for before the reader has taken what there is.
#[tokio::test]
async fn batches_are_worked_out_only_as_fast_as_they_are_read() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let batches = futures::stream::iter(0..1_000).map(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(numbers(0..100_000))
    });
    let answer = SqlAnswer::new(numbers(0..1).schema(), Cursor::new([Position::new(1)].into()), batches.boxed());
    let mut parts = Box::pin(chunks(answer, OutputFormat::Json));
    for _ in 0..3 {
        assert!(parts.next().await.unwrap().unwrap().len() >= 256 << 10);
    }
    assert!(asked.load(Ordering::Relaxed) <= 3, "{} batches were worked out", asked.load(Ordering::Relaxed));
}

/// Rows that are there are not held back for those that are not yet.
#[tokio::test]
async fn what_there_is_goes_out() {
    let (sender, receiver) = mpsc::channel(1);
    let batches = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let answer = SqlAnswer::new(numbers(0..1).schema(), Cursor::new([Position::new(1)].into()), batches.boxed());
    let mut parts = Box::pin(chunks(answer, OutputFormat::Csv));
    // The head alone does not go out: an error may still come in its place.
    assert!(parts.next().now_or_never().is_none());
    sender.send(Ok(numbers(0..1))).await.unwrap();
    assert_eq!(parts.next().await.unwrap().unwrap(), "n\n0\n");
    sender.send(Ok(numbers(1..2))).await.unwrap();
    assert_eq!(parts.next().await.unwrap().unwrap(), "1\n");
    drop(sender);
    assert!(parts.next().await.is_none());
}

/// Row groups are written out as they are full, so the file does not grow in memory.
#[tokio::test]
async fn parquet_comes_row_group_by_row_group() {
    // What does not compress: a group is full by its bytes.
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::from_ne_bytes(state.to_ne_bytes())
    };
    let batches: Vec<RecordBatch> =
        (0..50).map(|_| batch(vec![("n", Arc::new(Int64Array::from_iter_values((0..100_000).map(|_| noise()))) as ArrayRef)])).collect();
    let parts: Vec<Bytes> = chunks(of_batches(batches), OutputFormat::Parquet).map(Result::unwrap).collect().await;
    let large = parts.iter().filter(|part| part.len() > 1 << 20).count();
    assert!(large >= 2, "{:?}", parts.iter().map(Bytes::len).collect::<Vec<_>>());
    let cut_short = parts[..parts.len() - 1].concat();
    assert!(ParquetRecordBatchReaderBuilder::try_new(Bytes::from(cut_short)).is_err());
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(parts.concat())).unwrap();
    assert!(reader.metadata().num_row_groups() >= 2);
    assert_eq!(reader.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 5_000_000);
}
