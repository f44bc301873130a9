//! The offline commands, on directories that are whole, in use, damaged or none at all.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::process::Place;
use crate::process::run;

const EVENTS: u32 = 300;
const MARK: &str = "the event number 117 of the offline tests";
/// Where [`filled`] puts it.
const MARKED_STREAM: &str = "s-5";

/// A directory that was closed cleanly, with [`EVENTS`] events of which one has [`MARK`] in its data.
fn filled() -> Place {
    let place = Place::new();
    let server = place.start().ready();
    let line = |number: u32| {
        format!("{{\"stream\":\"s-{}\",\"type\":\"T\",\"data\":\"the event number {number} of the offline tests\"}}\n", number % 7)
    };
    let lines: String = (1..=EVENTS).map(line).collect();
    server.run_with_input(&["import", "-"], &lines).exits(0);
    assert_eq!(server.terminate(), Some(0));
    place
}

fn command(place: &Place, arguments: &[&str]) -> crate::process::Ran {
    let data = place.data();
    let (name, flags) = arguments.split_first().expect("a command");
    let mut words = vec![*name, data.to_str().expect("text")];
    words.extend(flags);
    run(&words, "", &[])
}

/// Flips one bit within the event that bears [`MARK`].
fn damage(place: &Place) -> PathBuf {
    let log = place.data().join("shards/0/log");
    for entry in fs::read_dir(log).expect("a log") {
        let path = entry.expect("an entry").path();
        // The segment that is prepared ahead is large, and holds nothing.
        if path.extension().is_none_or(|extension| extension != "seg") {
            continue;
        }
        let mut bytes = fs::read(&path).expect("a segment");
        if let Some(at) = bytes.windows(MARK.len()).position(|window| window == MARK.as_bytes()) {
            bytes[at + 5] ^= 1;
            fs::write(&path, bytes).expect("writes");
            return path;
        }
    }
    panic!("no segment has the event");
}

#[test]
fn a_whole_directory_is_verified_and_reindexed() {
    let place = filled();
    let report = &command(&place, &["verify", "--chain", "--deep"]).exits(0).json_lines()[0];
    assert_eq!((&report["events"], &report["damages"]), (&Value::from(EVENTS), &serde_json::json!([])));
    let receipt = report["receipt"].as_str().expect("a receipt").to_owned();
    assert_eq!(receipt.len(), 64);
    assert_eq!(command(&place, &["reindex"]).exits(0).json_lines()[0]["events"], EVENTS);
    let report = &command(&place, &["verify", "--deep"]).exits(0).json_lines()[0];
    assert_eq!(report["receipt"], receipt.as_str(), "a new index changes no event");
    assert_eq!(command(&place, &["repair", "--accept-loss"]).exits(0).json_lines()[0]["lost"], serde_json::json!([]));
    let server = place.start().ready();
    assert_eq!(server.run(&["read", "s-1"]).exits(0).json_lines().len(), 43);
}

#[test]
fn damage_is_named_served_around_and_repaired_only_when_told() {
    let place = filled();
    let server = place.start().ready();
    let events = server.run(&["read", MARKED_STREAM]).exits(0).json_lines();
    let position = events.iter().find(|event| event["data"] == MARK).expect("it is there")["position"].as_u64();
    assert_eq!(server.terminate(), Some(0));
    let file = damage(&place);
    let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
    let ran = command(&place, &["verify"]).exits(1);
    let report = ran.json_lines();
    let found = &report[0]["damages"][0];
    assert!(found["file"].as_str().expect("a file").ends_with(name), "{found}");
    assert!(found["first_position"].as_u64() <= position && found["last_position"].as_u64() >= position, "{found}");
    ran.says("factum repair");

    command(&place, &["reindex"]).exits(1).says("factum verify");

    // The server serves what it can, and takes nothing.
    let server = place.start().ready();
    server.run(&["append", "new-1", "T", "{}"]).exits(1).says("factum verify");
    assert_eq!(server.terminate(), Some(0));

    command(&place, &["repair"]).exits(2);
    command(&place, &["verify"]).exits(1);
    let lost = &command(&place, &["repair", "--accept-loss"]).exits(0).json_lines()[0]["lost"];
    assert!(lost[0][0].as_u64() <= position && lost[0][1].as_u64() >= position, "{lost}");
    command(&place, &["verify"]).exits(0);
    let server = place.start().ready();
    server.run(&["append", "new-1", "T", "{}"]).exits(0);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_directory_in_use_or_of_something_else_is_refused() {
    let place = filled();
    let server = place.start().ready();
    for arguments in [&["verify"][..], &["reindex"], &["repair", "--accept-loss"]] {
        command(&place, arguments).exits(1).says("stop the server first").says(&server.pid().to_string());
        let mut elsewhere = vec![arguments[0], "/nonexistent"];
        elsewhere.extend(&arguments[1..]);
        run(&elsewhere, "", &[]).exits(2).says("not a data directory");
    }
    server.run(&["append", "still-1", "T", "{}"]).exits(0);
}

#[test]
fn a_shard_that_is_missing_is_told() {
    let place = Place::new();
    assert_eq!(place.start().flag(&["--shards", "2"]).ready().terminate(), Some(0));
    assert_eq!(command(&place, &["verify"]).exits(0).json_lines().len(), 2);
    fs::remove_dir_all(place.data().join("shards/1")).unwrap();
    command(&place, &["verify"]).exits(1).says("missing");
    // The other shard serves on; see `r6_a_shard_that_is_missing_is_told_and_the_others_serve`.
    let server = place.start().ready();
    assert!(server.log().contains("folder is missing"), "{}", server.log());
}
