//! Settings: layers, unknown names, and what `factum config` says of them.

use std::fs;

use serde_json::Value;

use crate::process::Place;
use crate::process::run;

fn value(lines: &[Value], name: &str) -> (String, String) {
    let line = lines.iter().find(|line| line["setting"] == name).unwrap_or_else(|| panic!("{name} is listed"));
    (line["value"].as_str().expect("text").to_owned(), line["source"].as_str().expect("text").to_owned())
}

#[test]
fn config_prints_each_value_with_its_layer() {
    let place = Place::new();
    let file = place.path("factum.toml");
    fs::write(&file, "[server]\nlisten = \"127.0.0.1:1\"\n[limits]\nbody = \"1MiB\"\n").unwrap();
    let file = file.to_str().expect("text");
    let ran = run(&["config", "--config", file], "", &[("FACTUM_LIMITS__BODY", "2MiB"), ("FACTUM_LOG", "debug")]).exits(0);
    let lines = ran.json_lines();
    assert_eq!(value(&lines, "server.listen"), ("127.0.0.1:1".to_owned(), format!("file {file}")));
    assert_eq!(value(&lines, "limits.body"), ("2MiB".to_owned(), "environment FACTUM_LIMITS__BODY".to_owned()));
    assert_eq!(value(&lines, "log.level"), ("debug".to_owned(), "environment FACTUM_LOG".to_owned()));
    assert_eq!(value(&lines, "storage.durability"), ("strict".to_owned(), "default".to_owned()));
}

#[test]
fn a_flag_wins_over_environment_and_file() {
    let place = Place::new();
    let file = place.path("factum.toml");
    fs::write(&file, "[server]\nlisten = \"127.0.0.1:1\"\n").unwrap();
    // The environment's address would be refused and the file's port needs rights: that it is ready proves the flag.
    let server = place.start().env("FACTUM_SERVER__LISTEN", "192.0.2.1:1").flag(&["--config", file.to_str().expect("text")]).ready();
    assert!(server.url.starts_with("http://127.0.0.1:"), "{}", server.url);
}

#[test]
fn unknown_names_are_refused_with_the_nearest_one() {
    let place = Place::new();
    let file = place.path("factum.toml");
    fs::write(&file, "[limits]\nboddy = \"1MiB\"\n").unwrap();
    let file = file.to_str().expect("text");
    run(&["config", "--config", file], "", &[]).exits(2).says("did you mean limits.body?");
    run(&["serve", "--config", file], "", &[]).exits(2).says("did you mean limits.body?");
    run(&["config"], "", &[("FACTUM_SERVER__LISTN", "x")]).exits(2).says("did you mean FACTUM_SERVER__LISTEN?");
    run(&["config", "--config", "/nonexistent/factum.toml"], "", &[]).exits(2).says("/nonexistent/factum.toml");
    run(&["config"], "", &[("FACTUM_STORAGE__DURABILITY", "maybe")]).exits(2).says("must be strict or relaxed");
}

#[test]
fn an_open_address_is_refused_unless_told() {
    let place = Place::new();
    let (status, said) = place.start().flag(&["--listen", "0.0.0.0:0"]).fails();
    assert_eq!(status.code(), Some(2), "two addresses are wrong usage: {said}");
    let data = place.data();
    let data = data.to_str().expect("text");
    run(&["serve", "--data", data, "--listen", "0.0.0.0:0"], "", &[]).exits(1).says("--insecure");
    assert!(!place.data().exists(), "nothing was made");
    let server = place.start().env("FACTUM_SERVER__INSECURE", "true").ready();
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn the_log_is_json_when_asked_for_and_relaxed_durability_is_a_warning() {
    let place = Place::new();
    let server = place.start().flag(&["--log-format", "json", "--durability", "relaxed"]).ready();
    let log = server.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert!(
        lines.iter().any(|line| line["level"] == "WARN" && line["message"].as_str().is_some_and(|text| text.contains("relaxed"))),
        "{log}"
    );
    assert_eq!(server.terminate(), Some(0));
}
