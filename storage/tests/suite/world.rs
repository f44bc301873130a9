//! How do a store on a simulated disk and the model walk through one script side by side?

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use factum_storage::Appended;
use factum_storage::Clock;
use factum_storage::Condition;
use factum_storage::Disk;
use factum_storage::Error;
use factum_storage::EventId;
use factum_storage::ExpectedVersion;
use factum_storage::NewEvent;
use factum_storage::OpenReport;
use factum_storage::Options;
use factum_storage::Position;
use factum_storage::QueryItem;
use factum_storage::Reader;
use factum_storage::Store;
use factum_storage::StreamAppend;
use factum_storage::StreamName;
use factum_storage::Timestamp;
use factum_storage::Transaction;
use factum_storage::Version;
use factum_storage::disk::sim::Rng;
use factum_storage::disk::sim::SimDisk;
use parking_lot::Mutex;

use crate::model::Control;
use crate::model::Granted;
use crate::model::Model;
use crate::model::Refused;
use crate::oracle;
use crate::script::Append;
use crate::script::Belief;
use crate::script::Change;
use crate::script::EventOf;
use crate::script::Request;
use crate::script::Step;

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_700_000_000_000_000)))
    }

    pub(crate) fn shift(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// A commit that was tried.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// How many effects the disk had seen before and after.
    pub(crate) effects: (u64, u64),
    /// How long the log was before it, and after each of its frames.
    pub(crate) lengths: Vec<usize>,
    /// The chain value after it.
    pub(crate) receipt: [u8; 32],
}

/// A store, its disk and what it should hold.
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) options: Options,
    pub(crate) store: Option<Store>,
    pub(crate) model: Model,
    pub(crate) attempts: Vec<Attempt>,
    /// A reader of the open store, for whoever watches the disk.
    pub(crate) watched: Arc<Mutex<Option<Reader>>>,
    sent: Vec<Transaction>,
    ids: u64,
}

/// Segments of a few frames, so that a short script sees many of them.
pub(crate) fn options() -> Options {
    Options {
        segment_bytes: 4096,
        small_segment_bytes: 4096,
        prepare_segments: false,
        index_flush_events: 40,
        index_cache_bytes: 1 << 20,
        new_log_id: [7; 16],
        ..Options::default()
    }
}

pub(crate) fn open(disk: &SimDisk, clock: &Arc<TestClock>, options: &Options) -> Result<(Store, OpenReport), Error> {
    let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(clock);
    Store::open(Arc::new(disk.clone()), clock, options.clone(), &mut |_| {})
}

/// Opens a store that must be whole.
pub(crate) fn open_whole(disk: &SimDisk, clock: &Arc<TestClock>, options: &Options) -> Result<(Store, OpenReport), String> {
    let (store, report) = open(disk, clock, options).map_err(|error| format!("open: {error:?}"))?;
    match &report.damage {
        Some(damage) => Err(format!("opened as damaged: {damage}")),
        None => Ok((store, report)),
    }
}

pub(crate) fn check(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

/// The id number `n` of a test. Ids come in threes that the index's short key can't tell apart.
pub(crate) fn id(n: u64) -> EventId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&Rng::new(n / 3).number().to_le_bytes());
    bytes[8..].copy_from_slice(&Rng::new(n / 3 + (1 << 40)).number().to_le_bytes());
    bytes[8..12].copy_from_slice(&u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes());
    EventId::from_bytes(bytes)
}

pub(crate) fn name(stream: &str) -> StreamName {
    StreamName::new(stream).expect("a test's name keeps the rule")
}

/// An event with nothing special about it.
pub(crate) fn plain(n: u64, data: &[u8]) -> NewEvent {
    NewEvent {
        id: id(n),
        id_is_fresh: false,
        event_type: "Happened".into(),
        schema_version: 1,
        occurred_at: None,
        tags: vec!["tag".into()],
        metadata: Bytes::new(),
        data: Bytes::copy_from_slice(data),
    }
}

pub(crate) fn transaction(stream: &str, expected: ExpectedVersion, events: Vec<NewEvent>) -> Transaction {
    Transaction { appends: vec![StreamAppend { stream: name(stream), expected, events }], conditions: Vec::new() }
}

/// Appends events of `bytes` bytes to one stream, one a commit; the first gets id `first`.
pub(crate) fn fill(store: &mut Store, stream: &str, first: u64, count: u64, bytes: usize) -> Result<(), Error> {
    for n in first..first + count {
        store.stage(&transaction(stream, ExpectedVersion::Any, vec![plain(n, &data(n, bytes))]))?;
        store.commit()?;
    }
    Ok(())
}

/// Bytes that differ from event to event.
pub(crate) fn data(n: u64, bytes: usize) -> Vec<u8> {
    let mut rng = Rng::new(n);
    (0..bytes).map(|_| rng.number().to_le_bytes()[0]).collect()
}

impl World {
    pub(crate) fn new(options: Options) -> Result<Self, String> {
        Self::on(SimDisk::new(), options)
    }

    pub(crate) fn on(disk: SimDisk, options: Options) -> Result<Self, String> {
        let clock = TestClock::new();
        let model = Model::default();
        let mut world =
            Self { disk, clock, options, store: None, model, attempts: Vec::new(), watched: Arc::default(), sent: Vec::new(), ids: 0 };
        world.open()?;
        Ok(world)
    }

    pub(crate) fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("a store is open between steps")
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Makes the step on both sides and compares what they say.
    pub(crate) fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Commit(requests) => self.commit(requests),
            Step::Maintain => self.maintain(),
            Step::FlushIndex => self.store().maintainer().flush_index().map_err(|error| format!("flush: {error:?}")),
            Step::Reopen => {
                self.close()?;
                self.open()
            }
            Step::Kill => {
                // What is dropped with the store writes to the old disk; on the new one nothing is synced that was not.
                let disk = self.disk.fork();
                *self.watched.lock() = None;
                self.store = None;
                self.disk = disk;
                self.open()
            }
            Step::DeleteIndex => {
                self.close()?;
                self.disk.remove("index.redb").map_err(|error| format!("remove the index: {error}"))?;
                self.open()
            }
            Step::Clock(micros) => {
                self.clock.shift(*micros);
                Ok(())
            }
        }
    }

    pub(crate) fn open(&mut self) -> Result<(), String> {
        let (store, report) = open_whole(&self.disk, &self.clock, &self.options)?;
        check(report.committed == self.model.end(), || format!("opened at {}, expected {}", report.committed, self.model.end()))?;
        *self.watched.lock() = Some(store.reader());
        self.store = Some(store);
        Ok(())
    }

    pub(crate) fn close(&mut self) -> Result<(), String> {
        *self.watched.lock() = None;
        self.store.take().map_or(Ok(()), Store::close).map_err(|error| format!("close: {error:?}"))
    }

    /// The cheap comparison.
    pub(crate) fn check_log(&mut self) -> Result<(), String> {
        let (reader, now) = (self.store().reader(), self.now());
        oracle::check_log(&reader, &self.model, now)
    }

    /// The thorough comparison.
    pub(crate) fn check_answers(&mut self, seed: u64) -> Result<(), String> {
        let (reader, now) = (self.store().reader(), self.now());
        oracle::check_log(&reader, &self.model, now)?;
        oracle::check_answers(&reader, &self.model, now, &mut Rng::new(seed))
    }

    pub(crate) fn maintain(&mut self) -> Result<(), String> {
        let maintainer = self.store().maintainer();
        for _ in 0..100 {
            if !maintainer.step().map_err(|error| format!("maintain: {error:?}"))? {
                return Ok(());
            }
        }
        Err("the background's work does not end".to_owned())
    }

    fn commit(&mut self, requests: &[Request]) -> Result<(), String> {
        let mut lengths = vec![self.model.log.len()];
        for request in requests {
            self.request(request).map_err(|why| format!("{why}, after {request:?}"))?;
            lengths.push(self.model.log.len());
        }
        let before = self.disk.effects();
        let position = self.store().commit().map_err(|error| format!("commit: {error:?}"))?;
        let effects = (before, self.disk.effects());
        check(position == self.model.end(), || format!("committed {position}, expected {}", self.model.end()))?;
        lengths.dedup();
        let (receipt_at, receipt) = self.store().reader().receipt();
        check(receipt_at == position, || format!("a receipt for {receipt_at} after a commit of {position}"))?;
        self.attempts.push(Attempt { effects, lengths, receipt });
        Ok(())
    }

    fn request(&mut self, request: &Request) -> Result<(), String> {
        let now = self.now();
        let (there, expected) = match request {
            Request::Transact { appends, condition } => {
                let appends = self.appends(appends);
                let conditions = condition.iter().map(|condition| Condition {
                    query: if condition.is_everything {
                        Vec::new()
                    } else {
                        vec![QueryItem { types: texts(&condition.types), tags: texts(&condition.tags) }]
                    },
                    after: Position::new(self.model.end().get().saturating_sub(condition.back)),
                });
                let transaction = Transaction { appends, conditions: conditions.collect() };
                self.sent.push(transaction.clone());
                (self.store().stage(&transaction), self.model.stage(&transaction, now))
            }
            Request::Retry { back, change } => {
                let Some(sent) = self.sent.len().checked_sub(back + 1).and_then(|index| self.sent.get(index)) else { return Ok(()) };
                let transaction = self.changed(sent.clone(), *change);
                (self.store().stage(&transaction), self.model.stage(&transaction, now))
            }
            Request::Delete(stream) => {
                let (stream, id) = (name(stream), self.next_id());
                (self.store().stage_delete(&stream, id), self.model.control(&stream, Control::Delete, id, now))
            }
            Request::Tombstone(stream) => {
                let (stream, id) = (name(stream), self.next_id());
                (self.store().stage_tombstone(&stream, id), self.model.control(&stream, Control::Tombstone, id, now))
            }
            Request::Retain(stream, retention) => {
                let (stream, id) = (name(stream), self.next_id());
                let there = self.store().stage_retention(&stream, *retention, id);
                (there, self.model.control(&stream, Control::Retain(*retention), id, now))
            }
        };
        compare(there, expected)
    }

    fn appends(&mut self, appends: &[Append]) -> Vec<StreamAppend> {
        let mut written: Vec<(String, u64)> = Vec::new();
        let mut out = Vec::new();
        for append in appends {
            let earlier: u64 = written.iter().filter(|(stream, _)| *stream == append.stream).map(|(_, count)| count).sum();
            let version = self.model.streams.get(&append.stream).map_or(0, crate::model::Stream::version) + earlier;
            let expected = match append.belief {
                Belief::Nothing => ExpectedVersion::Any,
                Belief::Exists => ExpectedVersion::Exists,
                Belief::Right => ExpectedVersion::Exact(Version::new(version)),
                Belief::Wrong(by) => ExpectedVersion::Exact(Version::new(if by > version { version + by } else { version - by })),
            };
            written.push((append.stream.clone(), append.events.len() as u64));
            let events = append.events.iter().map(|event| self.new_event(event)).collect();
            out.push(StreamAppend { stream: name(&append.stream), expected, events });
        }
        out
    }

    fn new_event(&mut self, event: &EventOf) -> NewEvent {
        NewEvent {
            id: self.next_id(),
            id_is_fresh: event.id_is_fresh,
            event_type: event.event_type.as_str().into(),
            schema_version: 1 + u16::from(event.fill % 3),
            occurred_at: event.occurred_at.map(Timestamp::from_micros),
            tags: texts(&event.tags),
            metadata: if event.has_metadata { Bytes::from_static(br#"{"correlation_id":"c"}"#) } else { Bytes::new() },
            data: Bytes::from(vec![event.fill; event.data_bytes]),
        }
    }

    fn changed(&mut self, mut transaction: Transaction, change: Change) -> Transaction {
        let new = self.next_id();
        for append in &mut transaction.appends {
            append.events.iter_mut().for_each(|event| event.id_is_fresh = false);
        }
        match (change, transaction.appends.first_mut()) {
            (Change::Nothing, _) | (_, None) => {}
            (Change::Data, Some(append)) => append.events.iter_mut().take(1).for_each(|event| event.data = Bytes::from_static(b"other")),
            (Change::OneMoreEvent, Some(append)) => append.events.push(NewEvent { id: new, ..plain(0, b"more") }),
            (Change::Reversed, Some(append)) => append.events.reverse(),
        }
        transaction
    }

    fn next_id(&mut self) -> EventId {
        self.ids += 1;
        id(self.ids)
    }
}

fn texts(texts: &[String]) -> Vec<Arc<str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}

fn compare(there: Result<Appended, Error>, expected: Result<Granted, Refused>) -> Result<(), String> {
    let there = match there {
        Ok(Appended { streams, position, duplicate }) => Ok(Granted { streams, position, duplicate }),
        Err(Error::Conflict(failed)) => Err(Refused::Conflict(failed.to_vec())),
        Err(Error::StreamDeleted(stream)) => Err(Refused::StreamDeleted(stream.as_str().to_owned())),
        Err(Error::StreamNotFound(stream)) => Err(Refused::StreamNotFound(stream.as_str().to_owned())),
        Err(Error::EventIdReused { id, .. }) => Err(Refused::EventIdReused(id)),
        Err(other) => return Err(format!("got {other:?}, expected {expected:?}")),
    };
    check(there == expected, || format!("got {there:?}, expected {expected:?}"))
}
