//! Signals at the worst moment: what was acknowledged is there, once, in order.

use std::hash::BuildHasher;
use std::time::Duration;

use tokio::sync::mpsc;
use uuid::Uuid;

use crate::http::Answer;
use crate::http::Api;
use crate::oracle::Attempt;
use crate::oracle::Oracle;
use crate::oracle::write_until_refused;
use crate::process::Place;
use crate::process::Server;
use crate::process::note;

const WRITERS: u64 = 6;
/// So many that some of their streams change hands at any time.
const WRITERS_OF_MANY: u64 = 30;
/// Small, so that segments are begun, filled and sealed all the time.
const SEGMENT: (&str, &str) = ("FACTUM_STORAGE__SEGMENT", "1MiB");
const READY_MAX: Duration = Duration::from_secs(5);

/// A small generator, so that a seed gives the same delays again.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn of_environment() -> (Self, u64) {
        let seed = std::env::var("SEED").ok().map(|text| text.parse().expect("SEED is a number"));
        let seed = seed.unwrap_or_else(|| std::hash::RandomState::new().hash_one(0_u8)).max(1);
        (Self(seed), seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Puts load on a server, ends it with `end` after so many acknowledgements, and says what the writers know.
async fn load<T>(
    server: Server,
    oracle: &Oracle,
    (writers, acknowledgements): (u64, u64),
    delay: Duration,
    end: impl FnOnce(Server) -> T,
) -> (Vec<Attempt>, T) {
    let api = Api::new(&server.url);
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let writers: Vec<_> = (0..writers)
        .map(|writer| {
            let stream = format!("load-{writer}");
            let version = oracle.version(&stream);
            tokio::spawn(write_until_refused(api.clone(), stream, version, sender.clone()))
        })
        .collect();
    drop(sender);
    for _ in 0..acknowledgements {
        receiver.recv().await.expect("writers go on until the server ends");
    }
    // Not a wait for something: the fault's own random time.
    tokio::time::sleep(delay).await;
    // This blocks the test's own thread; the writers have others and go on meanwhile.
    let ended = end(server);
    let mut attempts = Vec::new();
    for writer in writers {
        attempts.extend(writer.await.expect("a writer does not panic"));
    }
    (attempts, ended)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_kill_nine_under_load_loses_nothing() {
    kill_nine(&[], 100, false).await;
}

/// The same over four logs: what one of them has lost, no other could make up for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_kill_nine_under_load_loses_nothing_of_four_shards() {
    kill_nine(&["--shards", "4", "--strategy", "ring"], 25, false).await;
}

/// The same while shards come and go: a hand-over is cut short anywhere, and goes on after the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_kill_nine_while_shards_come_and_go_loses_nothing() {
    kill_nine(&["--shards", "2", "--strategy", "ring"], 40, true).await;
}

/// Asks for a change of the shards, if none is under way.
async fn change_shards(api: &Api, random: &mut Random) {
    let list = api.get("/v1/shards").await.expect("shards");
    let active: Vec<u64> = list["shards"]
        .as_array()
        .expect("shards")
        .iter()
        .filter(|shard| shard["drained"] == false)
        .filter_map(|shard| shard["id"].as_u64())
        .collect();
    if !list["job"].is_null() {
        return;
    }
    let done = if active.len() > 3 {
        let one = active[usize::try_from(random.below(active.len() as u64)).expect("a small number")];
        api.delete(&format!("/v1/shards/{one}")).await
    } else {
        api.post("/v1/shards", "application/json", String::new()).await.map(|answer| answer.0)
    };
    assert!(matches!(done, Some(202) | None), "{done:?}");
}

async fn kill_nine(flags: &[&str], kills: u64, moves: bool) {
    let kills: u64 = std::env::var("KILLS").ok().map_or(kills, |text| text.parse().expect("KILLS is a number"));
    let (mut random, seed) = Random::of_environment();
    note(&format!("SEED={seed} KILLS={kills}"));
    let place = Place::new();
    let mut oracle = Oracle::default();
    oracle.has_gaps = moves;
    let mut attempts = Vec::new();
    let writers = if moves { WRITERS_OF_MANY } else { WRITERS };
    let mut slowest = Duration::ZERO;
    for kill in 0..=kills {
        let context = format!("SEED={seed} after kill {kill}");
        let server = place.start().flag(flags).env(SEGMENT.0, SEGMENT.1).ready();
        slowest = slowest.max(server.ready_after);
        assert!(server.ready_after < READY_MAX, "{context}: ready after {:?}", server.ready_after);
        let api = Api::new(&server.url);
        oracle.check(&api, &attempts, &context).await;
        if kill == kills {
            oracle.check_all_again(&api, &context).await;
            assert_eq!(server.terminate(), Some(0));
            break;
        }
        if moves {
            change_shards(&api, &mut random).await;
        }
        let (acknowledgements, delay) = (random.below(120), Duration::from_micros(random.below(8_000)));
        (attempts, ()) = load(server, &oracle, (writers, acknowledgements), delay, Server::kill).await;
        // Now and then the next crash comes while this one is recovered from (L4).
        if random.below(5) == 0 {
            place.start().flag(flags).env(SEGMENT.0, SEGMENT.1).killed_after(Duration::from_micros(random.below(40_000)));
        }
    }
    assert!(oracle.events() > 0, "the load has appended something");
    note(&format!("{} events after {kills} kills, slowest start {slowest:?}", oracle.events()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r4_sigterm_under_load_loses_nothing_and_exits_0() {
    let place = Place::new();
    let mut oracle = Oracle::default();
    for round in 1..=3 {
        let server = place.start().env(SEGMENT.0, SEGMENT.1).ready();
        let (attempts, code) = load(server, &oracle, (WRITERS, 100), Duration::ZERO, Server::terminate).await;
        assert_eq!(code, Some(0), "round {round}");
        let server = place.start().env(SEGMENT.0, SEGMENT.1).ready();
        oracle.check(&Api::new(&server.url), &attempts, &format!("round {round}")).await;
        assert_eq!(server.terminate(), Some(0), "round {round}, idle");
    }
    let server = place.start().env(SEGMENT.0, SEGMENT.1).ready();
    oracle.check_all_again(&Api::new(&server.url), "at the end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r3_a_stopped_process_keeps_its_directory_and_goes_on() {
    let place = Place::new();
    let server = place.start().env(SEGMENT.0, SEGMENT.1).ready();
    let api = Api::new(&server.url);
    let id = Uuid::now_v7();
    assert!(matches!(api.append("a", 0, &[id], "before").await, Answer::Acknowledged(_)));
    server.signal("STOP");
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.append("a", 1, &[Uuid::now_v7()], "while it is stopped").await }
    });
    let (status, said) = place.start().fails();
    assert!(!status.success() && said.contains("locked"), "a stopped owner is an owner: {said}");
    server.signal("CONT");
    assert!(matches!(waiting.await.expect("does not panic"), Answer::Acknowledged(_)));
    assert_eq!(server.terminate(), Some(0));
}
