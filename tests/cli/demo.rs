//! The demo does its main job twice on one directory, and nothing is there twice.

use crate::process::Place;
use crate::process::run;

#[test]
fn the_demo_runs_twice_and_imports_once() {
    let place = Place::new();
    let data = place.data();
    let data = data.to_str().expect("text");
    let first = run(&["demo", "--once", "--data", data], "", &[]).exits(0).stdout;
    for part in [
        "55,628 events imported, 0 there already",
        "DeclarationSubmitted",
        "201",
        "409",
        "422, already-paid",
        "DeclarationRejected is on disk",
        "kill -9",
        "factum tail",
        "CC BY 4.0",
    ] {
        assert!(first.contains(part), "the demo does not show {part:?}:\n{first}");
    }
    let longest = first.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{longest:?} columns:\n{first}");
    assert!(!first.contains('\u{1b}'), "no colours in a pipe");
    let second = run(&["demo", "--once", "--data", data], "", &[]).exits(0).stdout;
    for part in ["0 events imported, 55,628 there already", "is defined already", "done by an earlier demo", "422, already-paid"] {
        assert!(second.contains(part), "the second demo does not show {part:?}:\n{second}");
    }
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
