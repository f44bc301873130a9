//! Projections and views as a user of the command line meets them: waiting, bad input, and what is there after a kill.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use serde_json::json;

use crate::process::FACTUM;
use crate::process::Place;
use crate::process::Server;

const RENTALS: &str = r#"
[source]
categories = ["bike"]

[columns]
bike = "text primary key"
status = "text index"
earned = "decimal(12,2) default 0"
rentals = "bigint default 0"

[on.BikeRented]
key = "$.stream"
set = { status = "'out'" }
add = { rentals = 1 }

[on.BikeReturned]
key = "$.stream"
set = { status = "'in'" }
add = { earned = "$.data.paid" }
"#;

/// A folder that holds one projection.
fn folder(place: &Place, name: &str, text: &str) -> PathBuf {
    let folder = place.path("definitions");
    fs::create_dir_all(folder.join("projections")).expect("a folder");
    fs::write(folder.join("projections").join(format!("{name}.toml")), text).expect("writes");
    folder
}

/// Puts `rentals` in force with this text.
fn apply(place: &Place, server: &Server, text: &str) {
    server.run(&["apply", folder(place, "rentals", text).to_str().expect("text")]).exits(0);
}

/// Rents and returns bikes, `count` times; the cursor behind the last event.
fn traffic(server: &Server, count: u32) -> String {
    let event = |number: u32| {
        let (event_type, data) = if number.is_multiple_of(2) { ("BikeRented", json!({})) } else { ("BikeReturned", json!({"paid": 1.5})) };
        json!({"stream": format!("bike-{:03}", number / 2 % 100), "type": event_type, "data": data}).to_string()
    };
    let lines: Vec<String> = (0..count).map(event).collect();
    let done = server.run_with_input(&["import", "-"], &lines.join("\n")).exits(0).json_lines();
    done[0]["cursor"].as_str().expect("a cursor").to_owned()
}

fn first(lines: &[Value]) -> &Value {
    lines.first().expect("a line")
}

#[test]
fn a_script_waits_for_rows_and_for_rebuilds() {
    let place = Place::new();
    let server = place.start().ready();
    apply(&place, &server, RENTALS);
    let cursor = traffic(&server, 2_000);
    let state = server.run(&["projections", "--wait", "--timeout", "60s"]).exits(0).json_lines();
    assert_eq!((&first(&state)["state"], &first(&state)["checkpoint"]), (&json!("running"), &json!(cursor)));
    for factor in 2..6 {
        apply(&place, &server, &RENTALS.replace("rentals = 1", &format!("rentals = {factor}")));
        server.run(&["projections", "rentals", "--wait"]).exits(0);
        let row = server.run(&["views", "rentals", "bike-007"]).exits(0).json_lines();
        assert_eq!(first(&row)["rentals"], 10 * factor, "the rows in use are those of the definition");
    }
    let rebuilt = server.run(&["projections", "rentals", "rebuild", "--wait"]).exits(0).json_lines();
    assert_eq!((&first(&rebuilt)["state"], first(&rebuilt).get("rebuild")), (&json!("running"), None));
    // What rests is not waited for in vain, and neither is what has failed.
    server.run(&["projections", "rentals", "pause"]).exits(0);
    traffic(&server, 2);
    server.run(&["projections", "--wait"]).exits(1).says("rentals is paused").says("factum projections rentals resume");
    server.run(&["projections", "rentals", "resume", "--wait"]).exits(0);
    server.run(&["append", "bike-001", "BikeReturned", r#"{"paid": "twelve"}"#]).exits(0);
    let failed = server.run(&["projections", "rentals", "--wait"]).exits(1);
    failed.says("has failed").says("of bike-001 (BikeReturned): column earned").says("factum projections rentals skip");
    server.run(&["projections", "rentals", "skip", "--wait"]).exits(0);
    let parked = server.run(&["projections", "rentals", "parked"]).exits(0).json_lines();
    assert_eq!((parked.len(), &first(&parked)["type"]), (1, &json!("BikeReturned")));
    server.run(&["projections", "rentals", "skip"]).exits(3).says("factum projections");
}

#[test]
fn a_wait_has_an_end() {
    let place = Place::new();
    let server = place.start().env("FACTUM_POSTGRES_URL", "postgres://nobody@127.0.0.1:1/nothing").ready();
    let text = RENTALS.replace("[columns]", "[target]\nkind = \"postgres\"\n\n[columns]");
    apply(&place, &server, &text);
    traffic(&server, 2);
    let ran = server.run(&["projections", "rentals", "--wait", "--timeout", "300ms"]).exits(1);
    ran.says("waiting: projection rentals is retrying: postgres, connecting")
        .says("has not caught up in")
        .says("retrying")
        .says("Connection refused")
        .says("--timeout");
    // Its rows are not to be had here, and that is what is said.
    server.run(&["views", "rentals"]).exits(1).says("postgres:public.rentals");
    assert_eq!(server.terminate(), Some(0));
    // A server that lacks what the definition needs shows it, standing still, and can be told to forget it.
    let server = place.start().ready();
    let state = server.run(&["projections", "rentals"]).exits(0).json_lines();
    assert_eq!((&first(&state)["state"], &first(&state)["target"]), (&json!("failed"), &json!("postgres:public.rentals")));
    assert!(first(&state)["error"]["reason"].as_str().is_some_and(|reason| reason.contains("FACTUM_POSTGRES_URL")), "{state:?}");
    server.run(&["projections", "--wait"]).exits(1).says("FACTUM_POSTGRES_URL");
    server.run(&["projections", "rentals", "delete", "--keep-rows"]).exits(1).says("FACTUM_POSTGRES_URL");
    assert_eq!(server.run(&["projections"]).exits(0).json_lines().len(), 0);
}

#[test]
fn what_cannot_be_asked_is_told_with_what_can() {
    let place = Place::new();
    let server = place.start().ready();
    server.run(&["views", "rentals"]).exits(1).says("there is no view rentals").says("factum apply DIR");
    apply(&place, &server, RENTALS);
    let cursor = traffic(&server, 200);
    let seen = ["--min-position", &cursor];
    let rows = server.run(&["views", "rentals", "--where", "status=in", "--order-by", "-bike", "--limit", "2", seen[0], seen[1]]);
    let rows = rows.exits(0).json_lines();
    assert_eq!((rows.len(), &rows[0]["bike"], &rows[0]["earned"]), (2, &json!("bike-099"), &json!(1.5)));
    let count = server.run(&["views", "rentals", "--count", "--where", "bike__prefix=bike-01"]).exits(0).json_lines();
    assert_eq!(count, [json!({"count": 10})]);
    for (words, code, told) in [
        (&["views", "rental"][..], 1, "factum views"),
        (&["views", "rentals", "bike-1"], 1, "--min-position"),
        (&["views", "rentals", "a/b ?#%"], 1, "has no row with this key"),
        (&["views", "rentals", "--where", "status"], 2, "status=paid"),
        (&["views", "rentals", "--where", "stauts=in"], 1, "is status meant?"),
        (&["views", "rentals", "--where", "earned=much"], 1, "earned: must be a number"),
        (&["views", "rentals", "--where", "earned__about=1"], 1, "there are eq, ne, gt"),
        (&["views", "rentals", "--order-by", "-erned"], 1, "is earned meant?"),
        (&["views", "rentals", "--min-position", "99999999"], 1, "Factum-Min-Position: not a cursor"),
        (&["views", "rentals", "--min-position", "x"], 1, "take it from an answer"),
        (&["views", "rentals", "--limit", "0"], 2, "1.."),
        (&["views", "rentals", "--limit", "many"], 2, "invalid digit"),
        (&["views", "rentals", "bike-001", "--count"], 2, "cannot be used with"),
        (&["views", "rentals", "--wait", "3"], 2, "--min-position"),
        (&["views", ""], 2, "cannot stand in a URL"),
        (&["projections", "rental"], 1, "`factum projections` lists"),
        (&["projections", "rental", "rebuild"], 1, "`factum projections` lists"),
        (&["projections", "rentals", "explode"], 2, "possible values: pause"),
        (&["projections", "rentals", "parked", "--wait"], 2, "nothing to --wait for"),
        (&["projections", "rentals", "rebuild", "--keep-rows"], 2, "`delete`"),
        (&["projections", "--timeout", "3s"], 2, "--wait"),
        (&["projections", "--wait", "--timeout", "soon"], 2, "not a time"),
    ] {
        server.run(words).exits(code).says(told);
    }
    // All rows in one run, whatever a page may hold.
    assert_eq!(server.run(&["views", "rentals", "--limit", "18446744073709551615"]).exits(0).json_lines().len(), 100);
    let definition = server.run(&["projections", "rentals", "definition"]).exits(0).json_lines();
    assert_eq!(first(&definition)["definition"], RENTALS);
}

/// Rows and checkpoint go back together: a server that was killed answers from them as soon as it is ready.
#[test]
fn views_answer_right_after_a_kill() {
    let place = Place::new();
    let mut server = place.start().ready();
    apply(&place, &server, RENTALS);
    for round in 1..=3 {
        let cursor = traffic(&server, 2_000);
        let seen = ["views", "rentals", "--count", "--min-position", &cursor, "--wait", "60"];
        assert_eq!(server.run(&seen).exits(0).json_lines(), [json!({"count": 100})]);
        server.kill();
        server = place.start().ready();
        // What was not durable yet has gone with its checkpoint, and comes again.
        let count = server.run(&["views", "rentals", "--count"]).exits(0).json_lines();
        assert!(first(&count)["count"].as_u64().is_some_and(|count| count <= 100), "round {round}: {count:?}");
        let row = server.run(&["views", "rentals", "bike-042", "--min-position", &cursor, "--wait", "60"]).exits(0).json_lines();
        assert_eq!(
            (&first(&row)["rentals"], &first(&row)["earned"]),
            (&json!(10 * round), &json!(15.0 * f64::from(u32::try_from(round).expect("few rounds"))))
        );
    }
}

/// What a command prints on a terminal of 80 columns, or nothing where there is no `script` that makes one.
pub(crate) fn on_terminal(server: &Server, words: &str) -> Option<String> {
    let command = format!("stty cols 80 rows 24; exec {FACTUM} {words}");
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).env("FACTUM_URL", &server.url).env("TERM", "xterm").env("NO_COLOR", "1");
    let output = script.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).expect("text").replace('\r', ""))
}

#[test]
fn tables_fit_a_terminal() {
    let place = Place::new();
    let server = place.start().ready();
    let wide: String = (0..12).map(|number| format!("a_rather_long_name_{number} = \"text default 'and a long value in it'\"\n")).collect();
    apply(&place, &server, &RENTALS.replace("[on.BikeRented]", &format!("{wide}\n[on.BikeRented]")));
    traffic(&server, 200);
    server.run(&["projections", "--wait"]).exits(0);
    let Some(rows) = on_terminal(&server, "views rentals --limit 5") else {
        crate::process::skipped("tables_fit_a_terminal", "there is no `script` here");
        return;
    };
    let lines: Vec<&str> = rows.lines().filter(|line| !line.trim().is_empty()).collect();
    // A head, five rows, and what was left out.
    assert_eq!(lines.len(), 7, "{rows}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{rows}");
    assert!(rows.contains("bike-004") && rows.contains("there are more (--limit), without") && rows.contains("--json has all"), "{rows}");
    let states = on_terminal(&server, "projections").expect("a terminal");
    assert!(states.contains("rentals") && states.lines().all(|line| line.chars().count() <= 80), "{states}");
    let none = on_terminal(&server, "views rentals --where status=lost").expect("a terminal");
    assert_eq!(none.trim(), "0 rows");
}
