//! Are the tables exact, whoever is killed when? The real data is imported while server and Postgres die again and again.

use std::sync::Arc;
use std::time::Duration;

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
use crate::projection_server::settled;
use crate::projection_server::started;
use crate::projection_server::until;

const CHUNK_LINES: usize = 400;
/// What is imported while there are faults; the rest comes while everything is built anew.
const UNDER_FAULTS: usize = 45_000;
const VIEWS: [&str; 2] = ["here", "there"];

/// Imports lines in chunks, each again and again until the server says that it has all of it. Ids make that harmless.
fn import(api: Api, lines: Arc<Vec<String>>, range: std::ops::Range<usize>) -> (JoinHandle<()>, watch::Receiver<usize>) {
    let (tell, told) = watch::channel(0);
    let importing = tokio::spawn(async move {
        for chunk in lines[range].chunks(CHUNK_LINES) {
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
    (importing, told)
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
    let kills: u64 = std::env::var("KILLS").ok().map_or(10, |text| text.parse().expect("KILLS is a number"));
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

    let lines = Arc::new(lines());
    let (importing, mut chunks) = import(api.clone(), Arc::clone(&lines), 0..UNDER_FAULTS);
    for kill in 0..kills {
        if importing.is_finished() {
            // So that there is something to be killed at.
            rebuild(&api).await;
        } else {
            let until = *chunks.borrow() + usize::try_from(pair.random.below(15)).expect("a few");
            // It may come to its end before.
            drop(chunks.wait_for(|chunks| *chunks >= until).await);
        }
        pair.pause(60).await;
        let fault = pair.fault().await;
        note(&format!("{kill}: after {} chunks {fault}", *chunks.borrow()));
    }
    importing.await.expect("everything is imported");
    check(&pair, &api, &lines[..UNDER_FAULTS], &format!("SEED={seed} after {kills} faults")).await;

    // The same rows from zero, while more comes in.
    let (importing, mut chunks) = import(api.clone(), Arc::clone(&lines), UNDER_FAULTS..lines.len());
    chunks.wait_for(|chunks| *chunks >= 2).await.expect("it is imported");
    rebuild(&api).await;
    for view in VIEWS {
        until(&api, view, "being rebuilt", |status| status["rebuild"].is_object() || status["state"] == "rebuilding").await;
    }
    importing.await.expect("everything is imported");
    check(&pair, &api, &lines, &format!("SEED={seed} rebuilt")).await;
    assert_eq!(pair.server.take().expect("it runs").terminate(), Some(0));
}
