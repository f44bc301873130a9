//! Files are whole whatever happens, and stay within their bounds.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::array::RecordBatch;
use factum_storage::disk::sim::Call;
use factum_storage::disk::sim::Cut;
use factum_storage::disk::sim::Fault;
use factum_storage::disk::sim::Rule;
use factum_storage::disk::sim::SimDisk;
use jiff::Timestamp;
use tracing::Level;

use super::*;
use crate::telemetry::queue;
use crate::telemetry::records::Record;
use crate::telemetry::request::TraceId;

const LIMITS: TelemetryLimits = TelemetryLimits { interval: Duration::ZERO, keep: Duration::from_hours(24), bytes: 64 << 20 };

fn record(number: usize) -> Record {
    Record {
        at: 1_700_000_000_000_001_000,
        level: Level::INFO,
        target: "factum::tests",
        message: format!("line {number}"),
        fields: vec![("status", "201".to_owned())],
        request: None,
        trace: Some(TraceId(7)),
        span: None,
    }
}

fn records(numbers: Range<usize>) -> Vec<Record> {
    numbers.map(record).collect()
}

fn writer(disk: &SimDisk) -> Writer<Record> {
    Writer::new(Table::Logs, Arc::new(disk.clone()), LIMITS, rows::logs)
}

/// The messages of all files, in their order.
fn messages(disk: &SimDisk) -> Vec<String> {
    let mut found = Vec::new();
    let mut give = |batch: RecordBatch| {
        let column = batch.column_by_name("message").expect("it was asked for").as_string::<i32>().clone();
        found.extend(column.iter().flatten().map(str::to_owned));
        true
    };
    for name in names(disk, Table::Logs).expect("listed") {
        assert!(read((disk, Table::Logs), &name, &Table::Logs.schema(), 100, &mut give).expect("a whole file"));
    }
    found
}

fn expected(numbers: Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("line {number}")).collect()
}

#[test]
fn what_was_written_is_read_back_and_a_file_grows() {
    let disk = SimDisk::new();
    let mut writer = writer(&disk);
    writer.take(&records(0..3), Timestamp::now());
    writer.take(&records(3..5), Timestamp::now());
    assert_eq!(messages(&disk), expected(0..5));
    assert_eq!(names(&disk, Table::Logs).unwrap().len(), 1);
    // Another process goes on in a file of its own.
    let mut next = self::writer(&disk);
    next.take(&records(5..6), Timestamp::now());
    assert_eq!((messages(&disk), names(&disk, Table::Logs).unwrap().len()), (expected(0..6), 2));
}

#[test]
fn a_file_that_is_large_grows_no_more() {
    let disk = SimDisk::new();
    let mut writer = writer(&disk);
    for at in 0..17 {
        writer.take(&records(at * 4_096..(at + 1) * 4_096), Timestamp::now());
    }
    assert_eq!(names(&disk, Table::Logs).unwrap().len(), 2);
    assert_eq!(messages(&disk).len(), 17 * 4_096);
}

/// Whatever moment the power is cut in: what was written before is there, whole and once.
#[test]
fn a_power_cut_at_any_call_leaves_whole_files_and_loses_nothing_that_was_written() {
    let disk = SimDisk::new();
    disk.record_snapshots();
    let mut writer = writer(&disk);
    let mut done = Vec::new();
    for at in 0..4 {
        writer.take(&records(at * 2..(at + 1) * 2), Timestamp::now());
        done.push((disk.effects(), (at + 1) * 2));
    }
    let snapshots = disk.take_snapshots();
    assert!(snapshots.len() > 20, "{}", snapshots.len());
    for (step, snapshot) in snapshots.iter().enumerate() {
        let least = done.iter().filter(|(effects, _)| *effects <= step as u64).map(|(_, rows)| *rows).max().unwrap_or(0);
        for (cut, seed) in [(Cut::LoseAll, 0), (Cut::KeepAll, 0)].into_iter().chain((0..20).map(|seed| (Cut::Random, seed))) {
            let left = snapshot.crash(cut, seed);
            let found = messages(&left);
            assert!(found.len() >= least && found == expected(0..found.len()), "step {step}, {cut:?}, SEED={seed}: {found:?}");
            // The next process cleans up, and goes on.
            self::writer(&left).take(&records(9..10), Timestamp::now());
            assert_eq!(messages(&left).len(), found.len() + 1, "step {step}, {cut:?}, SEED={seed}");
            assert!(left.files().iter().all(|file| file.ends_with(".parquet")), "{:?}", left.files());
        }
    }
}

#[test]
fn a_disk_that_fails_costs_nothing_that_fits_into_memory() {
    for (call, fault) in
        [(Call::Write, Fault::StorageFull), (Call::Sync, Fault::Eio), (Call::Rename, Fault::Eio), (Call::CreateDir, Fault::Eio)]
    {
        let disk = SimDisk::new();
        let mut writer = writer(&disk);
        disk.add_rule(Rule::next(call, fault));
        writer.take(&records(0..2), Timestamp::now());
        assert_eq!(messages(&disk), expected(0..0), "{call:?}");
        writer.take(&records(2..4), Timestamp::now());
        assert_eq!(messages(&disk), expected(0..4), "{call:?}");
    }
}

#[test]
fn memory_is_bounded_while_the_disk_fails() {
    let disk = SimDisk::new();
    let mut writer = writer(&disk);
    disk.limit_free(Some(0));
    for at in 0..40 {
        writer.take(&records(at * 4_096..(at + 1) * 4_096), Timestamp::now());
        assert!(writer.rows_in_memory() <= 65_536, "{}", writer.rows_in_memory());
    }
    disk.limit_free(None);
    writer.take(&records(0..1), Timestamp::now());
    assert_eq!(messages(&disk).last().map(String::as_str), Some("line 0"));
}

#[test]
fn the_oldest_files_go_by_age_and_by_bytes() {
    let disk = SimDisk::new();
    let now = Timestamp::now();
    let later = |hours: i64| now.checked_add(jiff::Span::new().hours(hours)).unwrap();
    for number in 0..3 {
        writer(&disk).take(&records(number..number + 1), now);
    }
    // Nothing is older than a day, of which a file may be an hour younger than its name.
    writer(&disk).take(&records(3..4), later(24));
    assert_eq!(messages(&disk), expected(0..4));
    writer(&disk).take(&records(4..5), later(26));
    assert_eq!(messages(&disk), expected(3..5), "the newest one before stays");
    let tight = TelemetryLimits { bytes: 2, ..LIMITS };
    Writer::new(Table::Logs, Arc::new(disk.clone()) as Arc<dyn Disk>, tight, rows::logs).take(&records(5..6), now);
    assert_eq!(messages(&disk), expected(4..6));
}

#[tokio::test]
async fn what_is_put_is_written_when_somebody_waits_for_it() {
    let disk = SimDisk::new();
    let (queue, outlet) = queue::new(100, metrics::Counter::noop());
    let writing = tokio::spawn(writer(&disk).run(outlet, Duration::from_hours(1)));
    records(0..3).into_iter().for_each(|record| queue.put(record));
    queue.flush().await;
    assert_eq!(messages(&disk), expected(0..3));
    drop(queue);
    writing.await.unwrap();
}

#[test]
fn rows_say_what_there_is_to_say() {
    let batch = rows::logs(&records(0..1)).unwrap();
    let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().value(0).to_owned();
    assert_eq!((text("level"), text("fields")), ("INFO".to_owned(), r#"{"status":"201"}"#.to_owned()));
    assert_eq!(text("trace_id"), format!("{:032x}", 7));
    let time = batch.column_by_name("time").unwrap().as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(time.value(0), 1_700_000_000_000_001);
}
