//! What does a random client do? A script is data, so that a failing one can be made shorter and played again.

use factum_storage::Retention;
use factum_storage::Version;
use factum_storage::disk::sim::Rng;

/// One step of a script.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Stage all of it in this order, then commit.
    Commit(Vec<Request>),
    /// Do the background's work until there is none.
    Maintain,
    FlushIndex,
    /// Close the store and open it again.
    Reopen,
    /// Drop the store without closing it and open it again.
    Kill,
    /// Close the store, delete its index, open it again.
    DeleteIndex,
    /// Move the clock by so many microseconds.
    Clock(i64),
}

/// One request of a client.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Transact {
        appends: Vec<Append>,
        condition: Option<ConditionOf>,
    },
    /// Send the transaction again that was sent so many requests ago.
    Retry {
        back: usize,
        change: Change,
    },
    Delete(String),
    Tombstone(String),
    Retain(String, Retention),
}

#[derive(Clone, Debug)]
pub(crate) struct Append {
    pub(crate) stream: String,
    pub(crate) belief: Belief,
    pub(crate) events: Vec<EventOf>,
}

/// What the client believes of the stream, relative to what is true.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Belief {
    Nothing,
    Exists,
    Right,
    Wrong(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct EventOf {
    pub(crate) event_type: String,
    pub(crate) tags: Vec<String>,
    pub(crate) data_bytes: usize,
    pub(crate) fill: u8,
    pub(crate) has_metadata: bool,
    pub(crate) occurred_at: Option<i64>,
    pub(crate) id_is_fresh: bool,
}

/// A condition `back` positions before the log's end.
#[derive(Clone, Debug)]
pub(crate) struct ConditionOf {
    pub(crate) types: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) back: u64,
    pub(crate) is_everything: bool,
}

/// What is changed when a transaction is sent again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Nothing,
    Data,
    OneMoreEvent,
    Reversed,
}

/// What a script may contain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    /// Steps other than commits, in percent.
    pub(crate) upkeep_percent: u64,
    /// Events that do not fit into a small segment, in percent.
    pub(crate) large_percent: u64,
    /// The store is closed and opened in the script.
    pub(crate) reopens: bool,
}

pub(crate) fn generate(seed: u64, steps: usize, mix: Mix) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    (0..steps).map(|_| step(&mut rng, mix)).collect()
}

fn step(rng: &mut Rng, mix: Mix) -> Step {
    if !rng.chance(mix.upkeep_percent) {
        let count = if rng.chance(60) { 1 } else { 1 + rng.index(4) };
        return Step::Commit((0..count).map(|_| request(rng, mix)).collect());
    }
    match rng.below(12) {
        0..4 => Step::Maintain,
        4..7 => Step::FlushIndex,
        7 => Step::Clock(-3_600_000_000),
        8 => Step::Clock(5_000_000),
        9 if mix.reopens => Step::Reopen,
        10 if mix.reopens => Step::Kill,
        11 if mix.reopens => Step::DeleteIndex,
        _ => Step::Clock(1),
    }
}

fn request(rng: &mut Rng, mix: Mix) -> Request {
    match rng.below(40) {
        0..4 => {
            let change =
                *rng.pick(&[Change::Nothing, Change::Nothing, Change::Data, Change::OneMoreEvent, Change::Reversed]).expect("not empty");
            Request::Retry { back: rng.index(6), change }
        }
        4 | 5 => Request::Delete(stream(rng)),
        6 if rng.chance(30) => Request::Tombstone(stream(rng)),
        7 | 8 => Request::Retain(stream(rng), retention(rng)),
        _ => {
            let count = if rng.chance(75) { 1 } else { 1 + rng.index(3) };
            let condition = rng.chance(20).then(|| condition(rng));
            Request::Transact { appends: (0..count).map(|_| append(rng, mix)).collect(), condition }
        }
    }
}

fn append(rng: &mut Rng, mix: Mix) -> Append {
    let belief = match rng.below(10) {
        0..5 => Belief::Nothing,
        5 => Belief::Exists,
        6..9 => Belief::Right,
        _ => Belief::Wrong(1 + rng.below(3)),
    };
    let count = if rng.chance(5) { 0 } else { 1 + rng.index(3) };
    Append { stream: stream(rng), belief, events: (0..count).map(|_| event(rng, mix)).collect() }
}

fn event(rng: &mut Rng, mix: Mix) -> EventOf {
    let data_bytes = if rng.chance(mix.large_percent) { 3000 + rng.index(6000) } else { rng.index(150) };
    EventOf {
        event_type: (*rng.pick(&TYPES).expect("not empty")).to_owned(),
        tags: (0..rng.index(3)).map(|_| tag(rng)).collect(),
        data_bytes,
        fill: b'a' + u8::try_from(rng.below(26)).unwrap_or(0),
        has_metadata: rng.chance(30),
        occurred_at: rng.chance(30).then(|| i64::try_from(rng.below(1 << 50)).unwrap_or(0)),
        id_is_fresh: rng.chance(20),
    }
}

fn condition(rng: &mut Rng) -> ConditionOf {
    ConditionOf {
        types: if rng.chance(70) { vec![(*rng.pick(&TYPES).expect("not empty")).to_owned()] } else { Vec::new() },
        tags: if rng.chance(50) { vec![tag(rng)] } else { Vec::new() },
        back: rng.below(12),
        is_everything: rng.chance(10),
    }
}

fn retention(rng: &mut Rng) -> Retention {
    Retention {
        max_count: rng.chance(40).then(|| 1 + rng.below(4)),
        max_age_us: rng.chance(30).then(|| rng.below(20_000_000)),
        before_version: rng.chance(30).then(|| Version::new(1 + rng.below(8))),
    }
}

fn stream(rng: &mut Rng) -> String {
    (*rng.pick(&STREAMS).expect("not empty")).to_owned()
}

fn tag(rng: &mut Rng) -> String {
    (*rng.pick(&TAGS).expect("not empty")).to_owned()
}

pub(crate) const STREAMS: [&str; 9] = ["order-1", "order-2", "order-3", "user-1", "user-2", "user-10", "plain", "order", "zählung-1"];
pub(crate) const TYPES: [&str; 5] = ["Placed", "Paid", "Shipped", "Renamed", "Gelöscht"];
pub(crate) const TAGS: [&str; 5] = ["customer:1", "customer:2", "region:eu", "x", "ü"];
