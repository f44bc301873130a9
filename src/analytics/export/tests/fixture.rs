//! A log, lakes that follow it, and what readers find in them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use factum_storage::Clock;
use factum_storage::EventId;
use factum_storage::ExpectedVersion;
use factum_storage::MemDisk;
use factum_storage::NewEvent;
use factum_storage::StreamAppend;
use factum_storage::StreamName;
use factum_storage::Timestamp;
use factum_storage::Transaction;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::sync::watch;
use uuid::Uuid;

use super::super::control::Orders;
use super::super::control::Told;
use super::super::gather::Gathered;
use super::super::log::Log;
use super::super::manifest::Manifest;
use super::super::partition::sequence_of;
use super::super::place::Place;
use super::super::runner;
use super::super::runner::open;
use super::super::session::Session;
use super::super::session::manifest_sequence;
use super::super::session::retired_path;
use super::super::spec::Spec;
use super::super::status::Status;
use super::super::threads::Threads;
use super::stores::objects;
use crate::definition::Format;
use crate::schema::Registry;
use crate::script;
use crate::script::Sandbox;
use crate::shard;
use crate::shard::Router;
use crate::shard::Strategy;
use crate::shard::Topology;
use crate::shard::Write;
use crate::subscription::Cursor;

/// A row by what no other has: stream and version.
pub(super) type Row = (String, i64);

/// A clock that a test sets.
#[derive(Default)]
pub(super) struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

impl SetClock {
    pub(super) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

/// A log, and what has been appended to it.
pub(super) struct World {
    pub(super) router: Arc<Router>,
    pub(super) clock: Arc<SetClock>,
    threads: Arc<Threads>,
    pub(super) schemas: Arc<Registry>,
    pub(super) rows: Vec<Row>,
    versions: BTreeMap<String, i64>,
}

impl World {
    pub(super) async fn new(shards: u16) -> Self {
        let clock = Arc::new(SetClock::default());
        clock.advance(1_767_225_600);
        let open = |number: u16| {
            let storage = factum_storage::Options { new_log_id: [7; 16], ..factum_storage::Options::small() };
            let (disk, clock) = (Arc::new(MemDisk::new()), Arc::clone(&clock) as Arc<dyn Clock>);
            let options = shard::Options { shard: number, disk, clock, queue_appends: 100, storage, lock: None };
            tokio::task::spawn_blocking(move || shard::open(options))
        };
        let mut handles = Vec::new();
        for number in 0..shards {
            handles.push(open(number).await.unwrap().unwrap());
        }
        let router = Arc::new(Router::new(handles, Topology::new(shards, Strategy::Hash)));
        let schemas = Arc::new(Registry::new(Sandbox::new(script::Options::default())));
        Self { router, clock, threads: Arc::default(), schemas, rows: Vec::new(), versions: BTreeMap::new() }
    }

    /// Appends an event with this data.
    pub(super) async fn append(&mut self, stream: &str, data: &str) {
        let event = NewEvent {
            id: EventId::from_bytes(*Uuid::now_v7().as_bytes()),
            id_is_fresh: true,
            event_type: "Changed".into(),
            schema_version: 1,
            occurred_at: None,
            tags: vec!["kind:test".into()],
            metadata: Bytes::from_static(b"{\"source\":\"test\"}"),
            data: Bytes::copy_from_slice(data.as_bytes()),
        };
        let name = StreamName::new(stream).unwrap();
        let append = StreamAppend { stream: name, expected: ExpectedVersion::Any, events: vec![event] };
        let write = Write::Transaction(Transaction { appends: vec![append], conditions: Vec::new() });
        self.router.shard(self.router.shard_of(stream)).write(write).await.unwrap();
        let version = self.versions.entry(stream.to_owned()).or_default();
        *version += 1;
        self.rows.push((stream.to_owned(), *version));
    }

    /// Appends some events over a few streams of two categories.
    pub(super) async fn append_some(&mut self, count: usize) {
        for number in 0..count {
            let stream = format!("{}-{}", if number % 3 == 0 { "order" } else { "cart" }, number % 5);
            let amount = if self.rows.len() < 20 { number.to_string() } else { format!("{number}.5") };
            self.append(&stream, &format!("{{\"amount\":{amount},\"by\":\"somebody {}\"}}", number % 7)).await;
        }
    }

    pub(super) fn end(&self) -> Cursor {
        Cursor::end(&self.router)
    }

    /// What an export into this store is given; dropping the sender stops it.
    pub(super) fn options(&self, store: Arc<dyn ObjectStore>, text: &str) -> (runner::Options, watch::Sender<Orders>) {
        let (orders, told) = watch::channel(Orders::default());
        let spec = Spec::parse("lake", Format::Json, text).unwrap();
        let filter = Arc::new(spec.filter.clone());
        let options = runner::Options {
            spec: Arc::new(spec),
            place: Place::given(store),
            log: Log { router: Arc::clone(&self.router), reshape: None, filter },
            status: Arc::new(Status::new(Cursor::start(&self.router))),
            threads: Arc::clone(&self.threads),
            schemas: Arc::clone(&self.schemas),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            told: Told::new(told),
        };
        (options, orders)
    }

    /// Takes a lake over, as an export does when it begins.
    pub(super) async fn session(&self, store: Arc<dyn ObjectStore>) -> Session {
        let (options, orders) = self.options(store, "{}");
        let session = open(&options).await.unwrap();
        // The session is used beyond this call, and must not be told to stop.
        std::mem::forget(orders);
        session
    }

    /// Puts everything into the lake that is not there yet.
    pub(super) async fn flush(&self, session: &mut Session) {
        let (options, _orders) = self.options(Arc::new(InMemory::new()), "{}");
        let mut gathered = Gathered::behind(&session.manifest, options.spec.layout);
        options.log.replay(&mut gathered, &self.end()).await.unwrap();
        session.flush(gathered).await.unwrap();
    }

    /// Every row once, in order.
    pub(super) fn expected(&self) -> Vec<Row> {
        let mut rows = self.rows.clone();
        rows.sort();
        rows
    }

    /// Checks that the lake holds everything once, for whoever reads it by names as for whoever goes by the manifest.
    pub(super) async fn assert_complete(&self, store: &InMemory, context: &str) {
        let lake = Found::read(store).await;
        assert_eq!(lake.by_name(), self.expected(), "{context}: by name");
        assert_eq!(lake.by_manifest(), self.expected(), "{context}: by the manifest");
    }
}

/// What lies in a lake.
pub(super) struct Found {
    objects: BTreeMap<String, Bytes>,
    pub(super) manifest: Option<Manifest>,
}

impl Found {
    pub(super) async fn read(store: &InMemory) -> Self {
        let objects: BTreeMap<String, Bytes> = objects(store).await.into_iter().collect();
        let manifests = objects.iter().filter(|(path, _)| manifest_sequence(&object_store::path::Path::from(path.as_str())).is_some());
        // Sequences are written with leading zeros.
        let manifest = manifests.last().map(|(path, bytes)| Manifest::decode(bytes).unwrap_or_else(|error| panic!("{path}: {error}")));
        Self { objects, manifest }
    }

    /// The rows of all Parquet files, as somebody finds them who reads the folder.
    pub(super) fn by_name(&self) -> Vec<Row> {
        let files = self.objects.iter().filter(|(path, _)| path.ends_with(".parquet"));
        sorted(files.flat_map(|(path, bytes)| {
            assert!(sequence_of(path).is_some(), "{path}");
            rows(bytes)
        }))
    }

    /// The rows of the files that the manifest names. Files that are being moved away are found where they are kept.
    pub(super) fn by_manifest(&self) -> Vec<Row> {
        let files = self.manifest.iter().flat_map(|manifest| &manifest.files);
        sorted(files.flat_map(|file| {
            let path = &file.planned.path;
            let kept = retired_path(path).unwrap().to_string();
            let bytes = self.objects.get(path).or_else(|| self.objects.get(&kept)).unwrap_or_else(|| panic!("{path} is not there"));
            assert_eq!(file.bytes, u64::try_from(bytes.len()).unwrap(), "{path}");
            let rows = rows(bytes);
            assert_eq!(file.rows, u64::try_from(rows.len()).unwrap(), "{path}");
            rows
        }))
    }

    /// How many files readers find.
    pub(super) fn files(&self) -> usize {
        self.objects.keys().filter(|path| path.ends_with(".parquet")).count()
    }

    pub(super) fn paths(&self) -> Vec<&str> {
        self.objects.keys().map(String::as_str).collect()
    }
}

/// The rows of a file; they are sorted by stream and version.
pub(super) fn rows(file: &Bytes) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in batches(file) {
        let streams = arrow::compute::cast(batch.column_by_name("stream").unwrap(), &arrow::datatypes::DataType::Utf8).unwrap();
        let versions = batch.column_by_name("version").unwrap().as_primitive::<Int64Type>();
        let streams = streams.as_string::<i32>();
        rows.extend((0..batch.num_rows()).map(|row| (streams.value(row).to_owned(), versions.value(row))));
    }
    assert!(rows.is_sorted(), "a file is sorted by stream and version");
    rows
}

pub(super) fn batches(file: &Bytes) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap().build().unwrap();
    reader.collect::<Result<_, _>>().unwrap()
}

fn sorted(rows: impl IntoIterator<Item = Row>) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.into_iter().collect();
    rows.sort();
    rows
}

/// An object's content.
pub(super) async fn content(store: &InMemory, path: &str) -> Bytes {
    store.get(&object_store::path::Path::parse(path).unwrap()).await.unwrap().bytes().await.unwrap()
}
