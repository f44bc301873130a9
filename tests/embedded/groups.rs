//! Does a consumer group keep what it promises among consumers that come, go, fail and are slow? Random steps against a plain account.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use factum::Database;
use factum::database::Change;
use factum::database::Consumer;
use factum::database::Delivery;
use factum::database::DeliveryId;
use factum::database::ExpectedVersion;
use factum::database::Nack;
use factum::database::Options;
use tempfile::TempDir;

use crate::fixture::Random;
use crate::fixture::append;
use crate::fixture::event;
use crate::subscriptions::define;
use crate::subscriptions::join;
use crate::subscriptions::nack;
use crate::subscriptions::nothing;
use crate::subscriptions::status;
use crate::subscriptions::within;

/// What is out, and what is done.
struct Model {
    is_ordered: bool,
    /// By stream: versions that are done.
    done: BTreeMap<String, BTreeSet<u64>>,
    /// Deliveries that can be acknowledged, with the number of who has them, in the order in which they came.
    out: Vec<(u64, Delivery)>,
    /// Deliveries that were taken back. Whoever has them does not know.
    taken_back: Vec<Delivery>,
}

impl Model {
    fn new(is_ordered: bool) -> Self {
        Self { is_ordered, done: BTreeMap::new(), out: Vec::new(), taken_back: Vec::new() }
    }

    /// A delivery came: of an event that is neither done nor out; and with an order, what comes before it is done, or was given to the
    /// same consumer before and is still with it.
    fn see(&mut self, by: u64, delivery: Delivery) {
        let (stream, version) = place(&delivery);
        let done = self.done.entry(stream.clone()).or_default();
        assert!(!done.contains(&version), "{version} of {stream} came again after it was done");
        let holder = |version: u64| {
            let found = self.out.iter().find(|(_, held)| place(held) == (stream.clone(), version));
            found.map(|(by, _)| *by)
        };
        assert_eq!(holder(version), None, "{version} of {stream} is with two");
        if self.is_ordered {
            for before in (1..version).filter(|before| !done.contains(before)) {
                assert_eq!(holder(before), Some(by), "{version} of {stream} came before {before}");
            }
        }
        self.out.push((by, delivery));
    }

    fn take_back(&mut self, is_meant: impl Fn(u64, &Delivery) -> bool) {
        let (taken, out) = std::mem::take(&mut self.out).into_iter().partition(|(by, delivery)| is_meant(*by, delivery));
        self.out = out;
        self.taken_back.extend(taken.into_iter().map(|(_, delivery): (u64, Delivery)| delivery));
    }

    fn settle(&mut self, delivery: &Delivery) {
        let (stream, version) = place(delivery);
        assert!(self.done.entry(stream).or_default().insert(version));
    }
}

fn place(delivery: &Delivery) -> (String, u64) {
    (delivery.event.record.stream().to_owned(), delivery.event.record.version().get())
}

/// A group, those who take part, and what they should see.
struct World {
    random: Random,
    folder: TempDir,
    shards: u16,
    ordering: &'static str,
    database: Database,
    consumers: Vec<(u64, Consumer)>,
    /// Who came last.
    by: u64,
    model: Model,
    appended: BTreeMap<String, u64>,
    events: u64,
}

impl World {
    async fn new(seed: &str, ordering: &'static str, shards: u16) -> Self {
        let random = Random::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(Options { shards: Some(shards), ..Options::new(folder.path()) }).await.unwrap();
        let model = Model::new(ordering == "stream");
        let (consumers, appended) = (Vec::new(), BTreeMap::new());
        let world = Self { random, folder, shards, ordering, database, consumers, by: 0, model, appended, events: 0 };
        world.define(40).await;
        world
    }

    /// No time runs out: what the machine is busy with must not decide what a consumer still holds. Timeouts have tests of their own.
    async fn define(&self, max_in_flight: u64) -> Change {
        let ordering = self.ordering;
        let terms =
            format!(r#"{{"ordering": "{ordering}", "ack_timeout_ms": 86400000, "max_attempts": 4, "max_in_flight": {max_in_flight}}}"#);
        define(&self.database, "g", &terms).await
    }

    async fn step(&mut self) {
        match self.random.below(23) {
            0..=4 => self.append().await,
            5 => {
                self.by += 1;
                self.consumers.push((self.by, join(&self.database, "g").await));
            }
            6 if !self.consumers.is_empty() => {
                let at = self.any(self.consumers.len());
                let (gone, consumer) = self.consumers.swap_remove(at);
                drop(consumer);
                self.model.take_back(|by, _| by == gone);
            }
            7..=11 if !self.consumers.is_empty() => self.take().await,
            12..=13 if !self.consumers.is_empty() => self.take_one_by_one().await,
            14 => self.pull().await,
            15..=17 => self.acknowledge().await,
            18 if !self.model.out.is_empty() => self.reject().await,
            19 => self.acknowledge_in_vain().await,
            20 if self.random.below(3) == 0 => {
                self.database.replay_parked("g", None).await.unwrap();
            }
            21 if self.random.below(6) == 0 => {
                let max_in_flight = 30 + self.random.below(20);
                if self.define(max_in_flight).await == Change::Changed {
                    self.model.take_back(|_, _| true);
                }
            }
            22 if self.random.below(6) == 0 => self.restart().await,
            _ => {}
        }
    }

    fn any(&mut self, length: usize) -> usize {
        self.random.below(length as u64) as usize
    }

    async fn append(&mut self) {
        let stream = format!("s-{}", self.random.below(8));
        let count = 1 + self.random.below(6);
        let events = (self.events..self.events + count).map(|number| event(number, "Happened")).collect();
        append(&self.database, &stream, ExpectedVersion::Any, events).await.unwrap();
        self.events += count;
        *self.appended.entry(stream).or_default() += count;
    }

    async fn take(&mut self) {
        let (at, max) = (self.any(self.consumers.len()), 1 + self.any(20));
        let (by, consumer) = &mut self.consumers[at];
        if let Ok(batch) = tokio::time::timeout(WAIT, consumer.next_batch(max)).await {
            batch.unwrap().into_iter().for_each(|delivery| self.model.see(*by, delivery));
        }
    }

    /// The rest of what it has taken stays with the consumer.
    async fn take_one_by_one(&mut self) {
        let (at, max) = (self.any(self.consumers.len()), 1 + self.any(4));
        let (by, consumer) = &mut self.consumers[at];
        for _ in 0..max {
            let Ok(delivery) = tokio::time::timeout(WAIT, consumer.next()).await else { return };
            self.model.see(*by, delivery.unwrap());
        }
    }

    async fn pull(&mut self) {
        self.by += 1;
        let max = 1 + self.any(6);
        for delivery in self.database.pull("g", max, WAIT).await.unwrap() {
            self.model.see(self.by, delivery);
        }
    }

    /// Some, in the order in which they came, as a worker does; or in any.
    async fn acknowledge(&mut self) {
        let mut settled = Vec::new();
        let count = self.any(self.model.out.len() + 1);
        let in_order = self.random.below(2) == 0;
        for _ in 0..count {
            let at = if in_order { 0 } else { self.any(self.model.out.len()) };
            settled.push(self.model.out.remove(at).1);
        }
        let answer = self.database.acknowledge("g", &ids(&settled)).await.unwrap();
        assert_eq!((answer.acknowledged, answer.unknown.as_slice()), (count as u64, [].as_slice()), "they were out");
        settled.iter().for_each(|delivery| self.model.settle(delivery));
    }

    /// What was taken back is unknown, and nothing comes of it.
    async fn acknowledge_in_vain(&mut self) {
        let taken_back = std::mem::take(&mut self.model.taken_back);
        let answer = self.database.acknowledge("g", &ids(&taken_back)).await.unwrap();
        assert_eq!((answer.acknowledged, answer.unknown), (0, ids(&taken_back)), "they were taken back");
    }

    async fn reject(&mut self) {
        let at = self.any(self.model.out.len());
        let (by, delivery) = self.model.out.remove(at);
        let action = [Nack::Retry, Nack::Park, Nack::Skip][self.any(3)].clone();
        assert_eq!(nack(&self.database, "g", &delivery, action.clone()).await, 1);
        let (stream, version) = place(&delivery);
        if action == Nack::Skip {
            self.model.settle(&delivery);
        } else if self.model.is_ordered {
            self.model.take_back(|_, other| place(other).0 == stream && place(other).1 > version);
            assert!(self.model.out.iter().all(|(holder, other)| place(other).0 != stream || *holder == by));
        }
    }

    async fn restart(&mut self) {
        self.consumers.clear();
        self.model.take_back(|_, _| true);
        self.reopen().await;
    }

    async fn reopen(&mut self) {
        self.database.close().await.unwrap();
        self.database = Database::open(Options { shards: Some(self.shards), ..Options::new(self.folder.path()) }).await.unwrap();
    }

    /// One consumer gets everything done that is left.
    async fn finish(mut self) {
        self.restart().await;
        let mut consumer = join(&self.database, "g").await;
        let all: BTreeMap<String, BTreeSet<u64>> =
            self.appended.iter().map(|(stream, count)| (stream.clone(), (1..=*count).collect())).collect();
        self.model.done.retain(|_, done| !done.is_empty());
        within(async {
            while self.model.done != all {
                self.database.replay_parked("g", None).await.unwrap();
                let Ok(batch) = tokio::time::timeout(Duration::from_millis(300), consumer.next_batch(100)).await else { continue };
                batch.unwrap().into_iter().for_each(|delivery| self.model.see(0, delivery));
                let settled: Vec<_> = std::mem::take(&mut self.model.out).into_iter().map(|(_, delivery)| delivery).collect();
                let answer = self.database.acknowledge("g", &ids(&settled)).await.unwrap();
                assert_eq!(answer.acknowledged, settled.len() as u64);
                settled.iter().for_each(|delivery| self.model.settle(delivery));
            }
        })
        .await;
        nothing(&mut consumer).await;
        let found = status(&self.database, "g").await;
        assert_eq!((found.lag, found.parked, found.held_back, found.retrying, found.in_flight), (0, 0, 0, 0, 0));
        drop(consumer);
        self.reopen().await;
        nothing(&mut join(&self.database, "g").await).await;
        self.database.close().await.unwrap();
    }
}

fn ids(deliveries: &[Delivery]) -> Vec<DeliveryId> {
    deliveries.iter().map(|delivery| delivery.id).collect()
}

async fn random_group(seed: &str, ordering: &'static str, shards: u16) {
    let mut world = World::new(seed, ordering, shards).await;
    for _step in 0..400 {
        world.step().await;
    }
    world.finish().await;
}

#[tokio::test]
async fn s4_random_consumers_and_restarts_lose_and_repeat_nothing_that_is_done() {
    random_group("ordered", "stream", 2).await;
}

#[tokio::test]
async fn s4_random_consumers_without_an_order_lose_and_repeat_nothing_that_is_done() {
    random_group("unordered", "none", 1).await;
}

/// Somebody who waits for so long gets nothing; what has come by then is handed out all the same.
const WAIT: Duration = Duration::from_millis(5);
