//! Folders of definitions, states and commands: what the commands say, and what becomes of a server's folder.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use serde_json::json;

use crate::process::Place;
use crate::process::run;
use crate::process::skipped;
use crate::projections::on_terminal;

const ACCOUNT: &str = "export const initial = { balance: 0 };
export const evolve = {
  Deposited: (state, event) => ({ balance: state.balance + event.data.amount }),
};
export const decide = {
  deposit: (state, command) => [{ type: 'Deposited', data: { amount: command.amount ?? 1 } }],
  close: (state) => { throw new Rejection('not-empty', `there are still ${state.balance}`); },
};
";

/// A folder of definitions beside a data directory.
fn folder(place: &Place, files: &[(&str, &str)]) -> PathBuf {
    let folder = place.path("definitions");
    for (file, text) in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
        fs::write(path, text).expect("writes");
    }
    folder
}

fn all() -> Vec<(&'static str, &'static str)> {
    vec![
        ("aggregates/account.js", ACCOUNT),
        ("aggregates/user.json", r#"{"evolve": "merge"}"#),
        ("schemas/Deposited/1.json", r#"{"schema": {"type": "object"}}"#),
        ("schemas/Deposited/2.json", "{\"schema\": {\"type\": \"object\", \"required\": [\"amount\"]}}\n"),
        ("schemas/Deposited/2.upcast.js", "(data) => ({ amount: data.amount ?? 0 })\n"),
    ]
}

fn changes(lines: &[Value]) -> Vec<(String, String)> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    lines.iter().map(|line| (text(line, "file"), text(line, "change"))).collect()
}

#[test]
fn a_folder_is_applied_once_and_then_changes_nothing() {
    let place = Place::new();
    let server = place.start().ready();
    let folder = folder(&place, &all());
    let folder = folder.to_str().expect("text");
    let dry = server.run(&["apply", folder, "--dry-run"]).exits(0).json_lines();
    assert!(dry.iter().all(|line| line["change"] == "created" && line["dry_run"] == true), "{dry:?}");
    // The second version of a schema can't be tried before the first is there.
    assert_eq!(dry.iter().map(|line| line["unchecked"] == true).collect::<Vec<_>>(), [false, true, false, false]);
    let first = changes(&server.run(&["apply", folder]).exits(0).json_lines());
    let files = ["schemas/Deposited/1.json", "schemas/Deposited/2.json", "aggregates/account.js", "aggregates/user.json"];
    assert_eq!(first, files.map(|file| (file.to_owned(), "created".to_owned())));
    for flags in [&["apply", folder][..], &["apply", folder, "--dry-run"]] {
        let again = changes(&server.run(flags).exits(0).json_lines());
        assert_eq!(again, files.map(|file| (file.to_owned(), "same".to_owned())));
    }
    fs::write(place.path("definitions/aggregates/account.js"), ACCOUNT.replace("balance: 0", "balance: 5")).unwrap();
    let lines = server.run(&["apply", folder, "--dry-run"]).exits(0).json_lines();
    assert_eq!((&lines[2]["change"], &lines[2]["dry_run"]), (&json!("changed"), &json!(true)));
    server.run(&["command", "account-1", "deposit"]).exits(0);
    assert_eq!(server.run(&["state", "account-1"]).exits(0).json_lines()[0]["state"], json!({"balance": 1}), "the old one is in force");
    server.run(&["apply", folder]).exits(0);
    assert_eq!(server.run(&["state", "account-1"]).exits(0).json_lines()[0]["state"], json!({"balance": 6}));
}

#[test]
fn what_is_refused_is_told_with_its_place_and_the_rest_is_applied() {
    let place = Place::new();
    let server = place.start().ready();
    let mut files = all();
    files[0].1 = "export const initial = 0;\nexport const evolve = {\n  Deposited: (state, event) => state + ,\n};\n";
    files[4].1 = "(data) => {\n  return data..amount;\n}\n";
    let folder = folder(&place, &files);
    let ran = server.run(&["apply", folder.to_str().expect("text")]).exits(1);
    let lines = ran.json_lines();
    assert_eq!(changes(&lines).iter().map(|(_, change)| change.as_str()).collect::<Vec<_>>(), ["created", "", "", "created"]);
    assert_eq!(lines[2]["error"]["line"], 3);
    ran.says("2 of 4 definitions were refused").says("aggregates/account.js:3:").says("schemas/Deposited/2.upcast.js:2:");
}

#[test]
fn a_folder_with_something_else_in_it_is_not_applied_at_all() {
    let place = Place::new();
    let server = place.start().ready();
    let mut files = all();
    files.push(("views/declarations.toml", ""));
    let folder = folder(&place, &files);
    server.run(&["apply", folder.to_str().expect("text")]).exits(1).says("views").says("aggregates/<category>.js");
    server.run(&["command", "account-1", "deposit"]).exits(1).says("factum apply");
    run(&["apply", "/nonexistent"], "", &[]).exits(1).says("/nonexistent");
}

const BALANCES: &str = "[columns]
account = \"text primary key\"
balance = \"bigint default 0\"
note = \"text\"

[on.Deposited]
key = \"$.stream\"
set = { note = \"'in'\" }
add = { balance = \"$.data.amount\" }
";

#[test]
fn a_dry_run_shows_the_rows_that_would_differ() {
    let place = Place::new();
    let server = place.start().ready();
    let file = "projections/balances.toml";
    let all = folder(&place, &[(file, BALANCES)]);
    let words = ["apply", all.to_str().expect("text"), "--dry-run"];
    let new = server.run(&words).exits(0).json_lines();
    assert_eq!((&new[0]["change"], &new[0]["sample"]["rows"]), (&json!("created"), &json!(0)));
    server.run(&words[..2]).exits(0);
    let event =
        |number: u32| json!({"stream": format!("account-{}", number % 20), "type": "Deposited", "data": {"amount": number}}).to_string();
    let events: Vec<String> = (0..60).map(event).collect();
    server.run_with_input(&["import", "-"], &events.join("\n")).exits(0);
    let same = server.run(&words).exits(0).json_lines();
    assert_eq!((&same[0]["change"], same[0].get("sample")), (&json!("same"), None));
    let changed =
        BALANCES.replace("'in'", "'paid in, and a good deal longer than what was there'").replace("$.data.amount\"", "$.data.n\"");
    fs::write(all.join(file), changed.replace("note = \"text\"", "note = \"text\"\nmore = \"boolean default true\"")).expect("writes");
    let lines = server.run(&words).exits(0).json_lines();
    let sample = &lines[0]["sample"];
    assert_eq!((&sample["events"], &sample["rows"], &sample["changed"]), (&json!(60), &json!(20), &json!(20)));
    assert_eq!((&sample["examples"][0]["key"], &sample["examples"][0]["before"]["balance"]), (&json!("account-0"), &json!(60)));
    let state = server.run(&["projections", "balances"]).exits(0).json_lines();
    assert_eq!((&state[0]["state"], state[0].get("rebuild")), (&json!("running"), None), "nothing was put in force");
    let Some(text) = on_terminal(&server, &words.join(" ")) else {
        return skipped("a_dry_run_shows_the_rows_that_would_differ", "there is no `script` here");
    };
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    for wanted in [
        "would change projections/balances.toml",
        "the first 60 events make 20 rows: 20 changed",
        "ROW COLUMN BEFORE AFTER",
        "account-0 balance 60 0",
        "more (no column) true",
        "note in paid in, and a good deal longer…",
        "… and 15 more rows that differ",
    ] {
        assert!(lines.contains(&wanted.split(' ').collect()), "{wanted:?} is missing:\n{text}");
    }
    assert!(lines.len() <= 24 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn states_and_commands_are_told() {
    let place = Place::new();
    let server = place.start().ready();
    let folder = folder(&place, &all());
    server.run(&["apply", folder.to_str().expect("text")]).exits(0);
    let done = server.run(&["command", "account-1", "deposit", r#"{"amount": 7}"#, "--key", "k"]).exits(0).json_lines();
    assert_eq!((&done[0]["version"], &done[0]["state"]), (&json!(1), &json!({"balance": 7})));
    let again = server.run(&["command", "account-1", "deposit", r#"{"amount": 7}"#, "--key", "k"]).exits(0).json_lines();
    assert_eq!(again[0]["duplicate"], true);
    server.run(&["command", "account-1", "deposit", r#"{"amount": 8}"#, "--key", "k"]).exits(3);
    server.run_with_input(&["command", "account-1", "deposit", "-"], r#"{"amount": 1}"#).exits(0);
    server.run(&["command", "account-1", "close"]).exits(1).says("there are still 8").says("not-empty");
    server.run(&["command", "account-1", "steal"]).exits(1).says("deposit");
    let state = |at: &[&str]| {
        let mut words = vec!["state", "account-1"];
        words.extend(at);
        server.run(&words).exits(0).json_lines()[0].clone()
    };
    assert_eq!((state(&[])["state"].clone(), state(&["--at", "1"])["state"].clone()), (json!({"balance": 8}), json!({"balance": 7})));
    assert_eq!(state(&["--at", "9999-01-01T00:00:00Z"])["version"], 2);
    server.run(&["state", "account-1", "--at", "9"]).exits(1);
    server.run(&["state", "account-1", "--at", "soon"]).exits(2).says("RFC 3339");
    server.run(&["state", "account-2"]).exits(1).says("factum streams");
    for words in [&["state", "account"][..], &["command", "account", "x"], &["command", "account-1", "x", "{"], &["state", "-1"]] {
        server.run(words).exits(2);
    }
}

#[test]
fn a_server_puts_its_folder_in_force_before_it_is_ready() {
    let place = Place::new();
    let folder = folder(&place, &all());
    let words = ["--definitions", folder.to_str().expect("text")];
    let server = place.start().flag(&words).ready();
    server.run(&["command", "account-1", "deposit"]).exits(0);
    assert_eq!(server.terminate(), Some(0));
    fs::write(place.path("definitions/aggregates/account.js"), "export const evolve = {\n  Deposited: (state) => state..x,\n};\n").unwrap();
    let (status, said) = place.start().flag(&words).fails();
    assert!(status.code() == Some(1) && said.contains("aggregates/account.js:2:"), "{said}");
    let server = place.start().ready();
    assert_eq!(server.run(&["state", "account-1"]).exits(0).json_lines()[0]["state"], json!({"balance": 1}), "the old one is in force");
    assert_eq!(server.terminate(), Some(0));
    fs::write(place.path("definitions/aggregates/account.js"), "export const evolve = {};\n").unwrap();
    fs::create_dir_all(place.path("definitions/views")).unwrap();
    let server = place.start().env("FACTUM_SERVER__DEFINITIONS", folder.to_str().expect("text"));
    let (status, said) = server.fails();
    assert!(status.code() == Some(1) && said.contains("views"), "{said}");
}

#[test]
fn limits_of_scripts_are_settings() {
    let place = Place::new();
    let slow = "export const decide = { wait: () => { for (let n = 0; n < 3e9; n++) {} return []; } };";
    let folder = folder(&place, &[("aggregates/a.js", slow)]);
    let start = place.start().env("FACTUM_SCRIPTS__TIME", "20ms").env("FACTUM_SCRIPTS__MEMORY", "8MiB").env("FACTUM_SCRIPTS__THREADS", "1");
    let server = start.flag(&["--definitions", folder.to_str().expect("text")]).ready();
    let ran = server.run(&["--json", "command", "a-1", "wait"]).exits(1);
    let error: Value = serde_json::from_str(&ran.stderr).expect("JSON on stderr");
    assert_eq!(error.pointer("/error/problem/kind"), Some(&json!("time")), "{error}");
    run(&["config"], "", &[("FACTUM_SCRIPTS__TIME", "2h")]).exits(2).says("scripts.time");
}
