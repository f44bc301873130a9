//! What do projections cost, and how far are they behind?
//!
//! `cargo bench --bench projections -- catch_up` picks a group (catch_up, live, own, idle), and
//! `catch_up/postgres` or `catch_up/embedded/module` a part of one.
//!
//! Each line is a figure with its target, which is for the 2-core machine of `docs/performance.md`. Figures compare only within one run.
//! Postgres is one of the run's own, made and thrown away.

#[path = "projections/catch_up.rs"]
mod catch_up;
#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../tests/postgres/cluster.rs"]
mod cluster;
#[path = "projections/data.rs"]
mod data;
#[path = "projections/figures.rs"]
mod figures;
#[path = "projections/idle.rs"]
mod idle;
#[path = "projections/live.rs"]
mod live;
#[path = "projections/own.rs"]
mod own;

use std::future::Future;
use std::pin::Pin;
use std::process::Command;

use cluster::Cluster;
use mimalloc::MiMalloc;

/// As the server has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Group = fn() -> Pin<Box<dyn Future<Output = ()>>>;

fn main() {
    if std::env::var_os(STARTED).is_none() {
        return with_postgres();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let groups: [(&str, Group); 4] = [
        ("catch_up", || Box::pin(catch_up::run())),
        ("live", || Box::pin(live::run())),
        ("own", || Box::pin(own::run())),
        ("idle", || Box::pin(idle::run())),
    ];
    for (name, run) in groups {
        if is_wanted(name) {
            runtime.block_on(run());
        }
    }
}

/// Whether somebody has asked for it or for a part of it, or for nothing and so for everything. Cargo adds flags of its own.
fn is_wanted(name: &str) -> bool {
    let mut wanted = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    wanted.peek().is_none() || wanted.any(|wanted| name.starts_with(&wanted) || wanted.starts_with(name))
}

/// A definition names the variable that holds the URL, so the run is a process of its own that has it.
#[expect(clippy::print_stdout, reason = "why figures are missing")]
fn with_postgres() {
    let mut run = Command::new(std::env::current_exe().expect("this program has a path"));
    run.args(std::env::args().skip(1)).env(STARTED, "1");
    // What a server of Debian's has, where the tests' one is smaller.
    let cluster = Cluster::start(&["shared_buffers=128MB"]);
    match &cluster {
        Ok(cluster) => drop(run.env(data::URL_ENV, cluster.url())),
        Err(missing) => println!("nothing is measured with Postgres: {missing}"),
    }
    assert!(run.status().expect("it runs").success(), "the run has failed");
}

const STARTED: &str = "FACTUM_BENCH_STARTED";
