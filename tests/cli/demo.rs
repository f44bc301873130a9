//! The demo does its main job twice on one directory, and nothing is there twice; what it says to try can be tried.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use crate::cluster::Cluster;
use crate::process::FACTUM;
use crate::process::Place;
use crate::process::run;
use crate::process::send_signal;
use crate::process::skipped;
use crate::process::wait;

/// Runs it to its end.
fn demo(data: &Path, environment: &[(&str, &str)]) -> String {
    run(&["demo", "--once", "--data", data.to_str().expect("text")], "", environment).exits(0).stdout
}

#[track_caller]
fn shows(output: &str, parts: &[&str]) {
    for part in parts {
        assert!(output.contains(part), "the demo does not show {part:?}:\n{output}");
    }
}

#[test]
fn the_demo_runs_twice_and_imports_once() {
    let place = Place::new();
    let first = demo(&place.data(), &[]);
    shows(&first, &["55,628 events imported, 0 there already", "DeclarationSubmitted", "201", "409", "422, already-paid"]);
    shows(&first, &["DeclarationRejected is on disk", "kill -9", "factum tail", "CC BY 4.0"]);
    shows(&first, &["events became 10,357 rows in", "events/s, lag 0 events", "3292.54  declaration-98073"]);
    shows(&first, &["reviews 1, now 2; it waited", "FACTUM_POSTGRES_URL=postgres://", "factum projections declarations rebuild --wait"]);
    // The folder of the program may be called anything.
    let longest = first.lines().filter(|line| !line.contains("export PATH=")).map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{longest:?} columns:\n{first}");
    assert!(!first.contains('\u{1b}'), "no colours in a pipe");
    let second = demo(&place.data(), &[]);
    shows(&second, &["0 events imported, 55,628 there already", "is defined already", "done by an earlier demo", "422, already-paid"]);
    shows(&second, &["declarations is defined already: 10,357 rows, lag 0 events", "reviews 3, now 4; it waited"]);
}

#[test]
fn the_demo_of_shards_adds_one_while_it_imports() {
    let place = Place::new();
    let data = place.data();
    let demo = || run(&["demo", "--once", "--shards", "4", "--data", data.to_str().expect("text")], "", &[]).exits(0).stdout;
    let first = demo();
    shows(&first, &["55,628 events imported", "meanwhile shard 4 joined: 819 of 4,096 slots (20.0 %)", "10,357 streams, 55,628 events"]);
    shows(&first, &["events became 10,357 rows in", "3292.54  declaration-98073"]);
    shows(&demo(), &["0 events imported, 55,628 there already", "5 shards, one of which has joined in an earlier demo"]);
}

#[test]
fn the_demo_leaves_foreign_data_alone() {
    let place = Place::new();
    let server = place.start().ready();
    server.run(&["append", "order-1", "T", "{}"]).exits(0);
    assert_eq!(server.terminate(), Some(0));
    let data = place.data();
    run(&["demo", "--once", "--data", data.to_str().expect("text")], "", &[]).exits(2).says("not the demo's");
    let server = place.start().ready();
    assert_eq!(server.run(&["streams"]).exits(0).json_lines().len(), 1);
}

#[test]
fn the_demo_fills_a_table_in_postgres() {
    let mut cluster = match Cluster::start(&[]) {
        Ok(cluster) => cluster,
        Err(reason) => return skipped("the_demo_fills_a_table_in_postgres", &reason),
    };
    let (place, url) = (Place::new(), cluster.url());
    let set = [("FACTUM_POSTGRES_URL", url.as_str())];
    let first = demo(&place.data(), &set);
    shows(
        &first,
        &["kind = \"postgres\"", "events became 10,357 rows in", "2019-01           166  14174.91", "psql \"$FACTUM_POSTGRES_URL\" -c"],
    );
    shows(
        &demo(&place.data(), &set),
        &["declarations_in_postgres is defined already: 10,357 rows, lag 0 events", "2019-01           166  14174.91"],
    );
    // The table is of another log then, which has gone further.
    let other = Place::new();
    shows(&demo(&other.data(), &set), &["built anew", "events became 10,357 rows in", "2019-01           166  14174.91"]);
    // Without Postgres there is all the rest.
    cluster.stop_immediately();
    shows(&demo(&other.data(), &set), &["Connection refused", ". What is acknowledged is on disk", "Try next"]);
    shows(&demo(&other.data(), &[]), &["11. The same rows in Postgres: not shown", "Try next"]);
}

/// Each command that the demo ends with, copied into a shell that knows nothing of where the program lies.
#[test]
fn what_the_demo_says_to_try_works() {
    let place = Place::new();
    let mut command = Command::new(FACTUM);
    command.args(["demo", "--data"]).arg(place.data()).env_remove("FACTUM_POSTGRES_URL");
    let mut server = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    let mut lines = BufReader::new(server.stdout.take().expect("stdout is piped")).lines().map(|line| line.expect("text"));
    let said: Vec<String> = lines.by_ref().take_while(|line| !line.starts_with("The server stays up")).collect();
    let commands: Vec<&str> = said.iter().skip_while(|line| !line.starts_with("Try next")).skip(1).map(|line| line.trim()).collect();
    let (exports, commands): (Vec<&str>, Vec<&str>) =
        commands.into_iter().filter(|line| !line.is_empty()).partition(|line| line.starts_with("export "));
    assert!(commands.len() >= 12, "{said:?}");
    let mut wrong = Vec::new();
    for line in commands {
        // One follows until it is told to stop, another measures for a while.
        let line = line.replace("--seconds 5", "--seconds 1");
        // Alone it is a prompt, which reads what it is asked.
        let line = if line == "factum sql" { "factum sql <<< 'select 1 as one'".to_owned() } else { line };
        let shell = format!("set -e; {}; timeout 20 {}", if exports.is_empty() { ":".to_owned() } else { exports.join("; ") }, line);
        let shell = if line.contains("factum tail") { shell.replace("timeout 20", "timeout 1") } else { shell };
        let shell = shell.replace("timeout 20 curl", "timeout 20 curl --fail");
        let output = Command::new("bash").args(["-c", &shell]).env_remove("FACTUM_URL").output().expect("bash is there");
        let is_fine = output.status.success() || (line.contains("factum tail") && output.status.code() == Some(124));
        if !is_fine || output.stdout.is_empty() && !line.contains("factum tail") {
            wrong.push(format!("{shell}\n{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
    }
    send_signal("INT", server.id());
    lines.for_each(drop);
    assert_eq!(wait(&mut server).code(), Some(0));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
