//! Are the tables exact, whoever is killed when? The real data is imported while server and Postgres die again and again.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::crash::Random;
use crate::http::Api;
use crate::process::Place;
use crate::process::Server;
use crate::process::note;
use crate::projection_rows::DECLARATIONS;
use crate::projection_rows::assert_same;
use crate::projection_rows::embedded;
use crate::projection_rows::fold;
use crate::projection_rows::lines;
use crate::projection_rows::logged;
use crate::projection_rows::postgres;
use crate::projection_server::URL;
use crate::projection_server::define;
use crate::projection_server::hasty;
use crate::projection_server::into_postgres;
use crate::projection_server::measured;
use crate::projection_server::settled;
use crate::projection_server::sql;
use crate::projection_server::started;
use crate::projection_server::until;

/// What is imported while there are faults; what comes then while there are faults and everything is built anew; and the rest while
/// everything is built anew in peace.
const UNDER_FAULTS: usize = 40_000;
const REBUILT_UNDER_FAULTS: usize = 50_000;
/// How many chunks are imported for each fault, about.
const CHUNKS_A_FAULT: usize = 12;
const POLLS_MAX: usize = 500;
const VIEWS: [&str; 2] = ["here", "there"];

/// Lines on their way into the log.
struct Import {
    chunks: usize,
    task: JoinHandle<()>,
    /// How many chunks may be sent: else everything would be there before the second fault.
    allowed: Arc<Semaphore>,
    done: watch::Receiver<usize>,
}

/// Imports lines in chunks, each again and again until the server says that it has all of it. Ids make that harmless.
fn import(api: Api, lines: &Arc<Vec<String>>, range: Range<usize>, faults: usize) -> Import {
    let (tell, done) = watch::channel(0);
    let lines = Arc::clone(lines);
    let chunk_lines = (range.len() / (faults * CHUNKS_A_FAULT).max(1)).clamp(20, 400);
    let chunks = range.len().div_ceil(chunk_lines);
    let allowed = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&allowed);
    let task = tokio::spawn(async move {
        for chunk in lines[range].chunks(chunk_lines) {
            permits.acquire().await.expect("it is never closed").forget();
            let body = chunk.join("\n");
            loop {
                let answer = api.post("/v1/import", "application/x-ndjson", body.clone()).await;
                match answer {
                    Some((200, said)) if said.contains("\"done\":true") => break,
                    // Cut off in the middle, or nobody there.
                    Some((200, said)) => assert!(!said.contains("$error"), "{said}"),
                    Some((status, said)) => assert_eq!(status, 503, "{said}"),
                    None => {}
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tell.send_modify(|chunks| *chunks += 1);
        }
    });
    Import { chunks, task, allowed, done }
}

impl Import {
    async fn all(self) {
        self.allowed.add_permits(Semaphore::MAX_PERMITS / 2);
        self.task.await.expect("everything is imported");
    }
}

/// A server and a Postgres that are killed, and where they come back.
struct Pair {
    place: Place,
    cluster: Cluster,
    address: String,
    server: Option<Server>,
    random: Random,
}

impl Pair {
    fn start(&mut self) {
        self.server = Some(self.place.start_at(&self.address).env(URL, &hasty(&self.cluster.url())).ready());
    }

    fn kill(&mut self) {
        self.server.take().expect("it runs").kill();
    }

    async fn pause(&mut self, millis_max: u64) {
        // Not a wait for something: the fault's own random time.
        tokio::time::sleep(Duration::from_micros(self.random.below(millis_max * 1_000))).await;
    }

    /// Waits until one of the projections has got somewhere, and so is at it, if there is still something coming.
    async fn until_at_work(&mut self, api: &Api) {
        let view = VIEWS[usize::from(self.random.below(3) > 0)];
        let path = format!("/v1/projections/{view}");
        let mut first = None;
        for _ in 0..POLLS_MAX {
            // A rebuild has a place of its own.
            let at = api.get(&path).await.map(|status| (status["checkpoint"].clone(), status["rebuild"]["checkpoint"].clone()));
            if first.is_some() && at.is_some() && at != first {
                return;
            }
            first = first.or(at);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// One fault; everything runs again after it.
    async fn fault(&mut self) -> &'static str {
        match self.random.below(5) {
            0 | 1 => {
                self.kill();
                self.start();
                "the server is killed"
            }
            2 => {
                self.kill();
                let delay = Duration::from_micros(self.random.below(80_000));
                self.place.start_at(&self.address).env(URL, &hasty(&self.cluster.url())).killed_after(delay);
                self.start();
                "the server is killed, and again while it starts"
            }
            3 => {
                self.cluster.stop_immediately();
                self.pause(400).await;
                self.cluster.start_again();
                "Postgres is stopped"
            }
            _ => {
                self.cluster.stop_immediately();
                self.pause(100).await;
                self.kill();
                self.start();
                self.pause(100).await;
                self.cluster.start_again();
                "Postgres is stopped, and the server is killed while it is away"
            }
        }
    }
}

impl Pair {
    /// So many faults, each at another place of an import, which then comes to its end.
    async fn faults(&mut self, mut importing: Import, api: &Api, count: usize, rebuilds: bool) {
        let share = importing.chunks.div_ceil(count);
        // More than is waited for, so that it goes on while the fault comes.
        importing.allowed.add_permits(share);
        for fault in 0..count {
            let before = *importing.done.borrow();
            importing.allowed.add_permits(share);
            if rebuilds {
                rebuild(api).await;
            }
            let part = self.random.below(u64::try_from(share).expect("a few"));
            let until = before + usize::try_from(part).expect("a few");
            if self.random.below(4) == 0 {
                // An embedded view makes what it has durable once a second: now and then it shall get that far.
                self.pause(1_500).await;
            }
            // It may come to its end before.
            drop(importing.done.wait_for(|chunks| *chunks >= until).await);
            self.until_at_work(api).await;
            self.pause(60).await;
            let chunks = *importing.done.borrow();
            let what = self.fault().await;
            note(&format!("{fault}: after {chunks} of {} chunks {what}", importing.chunks));
        }
        importing.all().await;
    }
}

async fn check(pair: &Pair, api: &Api, lines: &[String], context: &str) {
    for view in VIEWS {
        settled(api, view).await;
    }
    let expected = fold(&logged(api, lines, context).await);
    assert!(expected.len() > 5_000, "{context}: {} rows", expected.len());
    assert_same(&embedded(api, "here").await, &expected, &format!("{context}, embedded"));
    assert_same(&postgres(&pair.cluster.url(), "there").await, &expected, &format!("{context}, Postgres"));
}

async fn rebuild(api: &Api) {
    for view in VIEWS {
        // It may not be there to hear it.
        drop(api.post(&format!("/v1/projections/{view}/rebuild"), "application/json", String::new()).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_p3_p9_kill_nine_and_postgres_stopped_at_random_leave_both_tables_exact() {
    let kills: usize = std::env::var("KILLS").ok().map_or(12, |text| text.parse().expect("KILLS is a number"));
    let (random, seed) = Random::of_environment();
    note(&format!("SEED={seed} KILLS={kills}"));
    let Some(cluster) = started("p1_p3_p9") else { return };
    let place = Place::new();
    let server = place.start().env(URL, &hasty(&cluster.url())).ready();
    let address = server.url.strip_prefix("http://").expect("an address").to_owned();
    let api = Api::new(&server.url);
    let mut pair = Pair { place, cluster, address, server: Some(server), random };
    define(&api, "here", DECLARATIONS).await;
    define(&api, "there", &into_postgres(DECLARATIONS)).await;

    // Nothing is built anew yet: that would hide what was doubled or lost before.
    let lines = Arc::new(lines());
    let rebuilt = (kills / 3).max(1);
    let importing = import(api.clone(), &lines, 0..UNDER_FAULTS, kills - rebuilt);
    pair.faults(importing, &api, kills - rebuilt, false).await;
    check(&pair, &api, &lines[..UNDER_FAULTS], &format!("SEED={seed} after {} faults", kills - rebuilt)).await;

    let importing = import(api.clone(), &lines, UNDER_FAULTS..REBUILT_UNDER_FAULTS, rebuilt);
    pair.faults(importing, &api, rebuilt, true).await;
    check(&pair, &api, &lines[..REBUILT_UNDER_FAULTS], &format!("SEED={seed} after {rebuilt} faults while it was rebuilt")).await;

    // The same rows from zero, while more comes in.
    let mut importing = import(api.clone(), &lines, REBUILT_UNDER_FAULTS..lines.len(), 1);
    importing.allowed.add_permits(8);
    importing.done.wait_for(|chunks| *chunks >= 2).await.expect("it is imported");
    rebuild(&api).await;
    for view in VIEWS {
        until(&api, view, "being rebuilt", |status| status["rebuild"].is_object()).await;
    }
    importing.all().await;
    check(&pair, &api, &lines, &format!("SEED={seed} rebuilt")).await;
    assert_eq!(pair.server.take().expect("it runs").terminate(), Some(0));
}

/// Every third statement that writes rows fails in one of the ways in which a database says: not now.
const NOT_NOW: &str = "
CREATE SEQUENCE tries;
CREATE FUNCTION not_now() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE try bigint := nextval('tries');
BEGIN
  IF try % 3 = 1 THEN
    RAISE EXCEPTION 'not now' USING ERRCODE = (ARRAY['40001', '40P01', '55P03', '53100', '53200', '57014', '25P02'])[1 + (try / 3) % 7];
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER not_now AFTER INSERT OR DELETE ON there FOR EACH STATEMENT EXECUTE FUNCTION not_now()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_statements_that_fail_in_passing_leave_the_table_exact() {
    let Some(cluster) = started("p2_not_now") else { return };
    let place = Place::new();
    let server = place.start().env(URL, &hasty(&cluster.url())).ready();
    let api = Api::new(&server.url);
    define(&api, "there", &into_postgres(DECLARATIONS)).await;
    settled(&api, "there").await;
    sql(&cluster, NOT_NOW).await;
    let lines = lines();
    for chunk in lines[..3_000].chunks(100) {
        let answer = api.post("/v1/import", "application/x-ndjson", chunk.join("\n")).await;
        assert!(matches!(&answer, Some((200, said)) if said.contains("\"done\":true")), "{answer:?}");
        settled(&api, "there").await;
    }
    let retries = measured(&api, r#"factum_projection_retries_total{projection="there"}"#).await;
    note(&format!("{retries} retries"));
    assert!(retries >= 10.0, "{retries} retries");
    let expected = fold(&logged(&api, &lines[..3_000], "in passing").await);
    assert_same(&postgres(&cluster.url(), "there").await, &expected, "in passing");
    assert_eq!(server.terminate(), Some(0));
}
