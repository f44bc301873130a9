//! Each command's happy path and main error, with its exit code.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;

use crate::process::FACTUM;
use crate::process::Place;
use crate::process::run;
use crate::process::wait;

#[test]
fn append_read_and_streams_do_what_they_say() {
    let place = Place::new();
    let server = place.start().ready();
    let ran = server.run(&["append", "order-1", "OrderPlaced", r#"{"amount": 19.90}"#, "--expect", "0", "--tag", "customer:7"]).exits(0);
    let [answer] = <[Value; 1]>::try_from(ran.json_lines()).expect("one line");
    assert_eq!((&answer["last_version"], &answer["duplicate"]), (&Value::from(1), &Value::from(false)));
    server.run_with_input(&["append", "order-1", "OrderPaid", "-", "--metadata", r#"{"by":"me"}"#], r#"{"card":true}"#).exits(0);

    let events = server.run(&["read", "order-1"]).exits(0).json_lines();
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    assert_eq!(types, ["OrderPlaced", "OrderPaid"]);
    assert!(server.run(&["read", "order-1"]).stdout.contains("19.90"), "numbers stay as they were written");
    assert_eq!(server.run(&["read", "order-1", "--backward", "--limit", "1"]).exits(0).json_lines()[0]["version"], 2);
    assert_eq!(server.run(&["read", "order-1", "--from", "2"]).exits(0).json_lines()[0]["metadata"]["by"], "me");

    server.run(&["append", "other-1", "T", "1"]).exits(0);
    assert_eq!(server.run(&["streams"]).exits(0).json_lines().len(), 2);
    assert_eq!(server.run(&["streams", "--category", "other"]).exits(0).json_lines()[0]["stream"], "other-1");
    assert_eq!(server.run(&["streams", "--prefix", "ord", "--limit", "1"]).exits(0).json_lines()[0]["version"], 2);
}

#[test]
fn a_conflict_exits_with_3_and_a_retry_with_the_id_is_harmless() {
    let place = Place::new();
    let server = place.start().ready();
    let id = "0198f9a0-0000-7000-8000-000000000001";
    let append = ["append", "a-1", "T", "{}", "--expect", "0", "--id", id];
    server.run(&append).exits(0);
    assert_eq!(server.run(&append).exits(0).json_lines()[0]["duplicate"], true);
    server.run(&["append", "a-1", "T", "{}", "--expect", "0"]).exits(3).says("--expect 1");
    server.run(&["append", "a-1", "T", r#"{"other": 1}"#, "--id", id]).exits(3).says("leave --id out");
    let ran = server.run(&["--json", "append", "a-1", "T", "{}", "--expect", "7"]).exits(3);
    let error: Value = serde_json::from_str(&ran.stderr).expect("JSON on stderr");
    assert_eq!(error.pointer("/error/problem/actual_version"), Some(&Value::from(1)));
}

#[test]
fn wrong_usage_exits_with_2_before_anything_is_sent() {
    for arguments in [
        &["append", "a", "T", "not json"][..],
        &["append", "a", "T", "{}", "--expect", "soon"],
        &["append", "a", "T", "{}", "--id", "1"],
        &["append", "a"],
        &["bench", "append", "--url", "https://127.0.0.1"],
        &["read", "a", "--url", "nonsense"],
        &["read", "a", "--ca", "/nowhere.pem"],
        &["tail", "--after", "1", "--from-start"],
        &["import"],
        &["serve", "--strategy", "fair"],
        &["shards", "locate"],
        &["nonsense"],
    ] {
        run(arguments, "", &[]).exits(2);
    }
    run(&["bench", "append", "--url", "https://127.0.0.1"], "", &[]).says("plain HTTP only");
}

#[test]
fn a_server_that_is_not_there_is_told_with_what_to_do() {
    // The port was free a moment ago, and nobody else is told of it.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    for arguments in [&["read", "a"][..], &["append", "a", "T", "{}"], &["tail"], &["streams"], &["import", "-"], &["bench"]] {
        run(arguments, "", &[("FACTUM_URL", &url)]).exits(1).says("factum serve");
    }
}

#[test]
fn what_is_not_there_exits_with_1() {
    let place = Place::new();
    let server = place.start().ready();
    server.run(&["read", "nobody-1"]).exits(1).says("factum streams");
    server.run(&["import", "/nonexistent.ndjson"]).exits(1).says("/nonexistent.ndjson");
    server.run(&["append", "$system", "T", "{}"]).exits(1).says("system");
}

#[test]
fn import_takes_plain_gzip_zstd_and_stdin_and_repeats_harmlessly() {
    let place = Place::new();
    let server = place.start().ready();
    let line = |number: u32| {
        format!("{{\"stream\":\"s-{number}\",\"type\":\"T\",\"id\":\"0198f9a0-0000-7000-8000-{number:012}\",\"data\":{number}}}\n")
    };
    let text: String = (0..3_000).map(line).collect();
    let plain = place.path("events.ndjson");
    fs::write(&plain, &text).unwrap();
    let zstd = place.path("events.zst");
    fs::write(&zstd, zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
    let gzip = place.path("without-an-ending");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    fs::write(&gzip, encoder.finish().unwrap()).unwrap();
    let path = |path: &std::path::Path| path.to_str().expect("text").to_owned();

    let first = server.run(&["import", &path(&plain)]).exits(0).json_lines();
    assert_eq!((&first[0]["imported"], &first[0]["duplicates"]), (&Value::from(3_000), &Value::from(0)));
    for line in server.run(&["import", &path(&zstd), &path(&gzip)]).exits(0).json_lines() {
        assert_eq!((&line["imported"], &line["duplicates"]), (&Value::from(0), &Value::from(3_000)));
    }
    let more = server.run_with_input(&["import", "-"], &line(4_000)).exits(0).json_lines();
    assert_eq!(more[0]["imported"], 1);
    assert_eq!(server.run(&["streams", "--limit", "9999"]).exits(0).json_lines().len(), 3_001);
}

#[test]
fn a_bad_line_is_named_and_what_came_before_stays() {
    let place = Place::new();
    let server = place.start().ready();
    let lines = "{\"stream\":\"s\",\"type\":\"T\",\"data\":1}\n{\"stream\":\"s\",\"type\":\"T\",\"data\":2}\n{\"stream\":\"s\"}\n";
    server.run_with_input(&["import", "-"], lines).exits(1).says("line 3");
    assert_eq!(server.run(&["read", "s"]).exits(0).json_lines().len(), 2);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let place = Place::new();
    let server = place.start().ready();
    let lines: String = (0..20_000).map(|number| format!("{{\"stream\":\"long\",\"type\":\"T\",\"data\":{number}}}\n")).collect();
    server.run_with_input(&["import", "-"], &lines).exits(0);
    let mut child = Command::new(FACTUM)
        .args(["read", "long"])
        .env("FACTUM_URL", &server.url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    stdout.read_line(&mut line).unwrap();
    drop(stdout);
    let status = wait(&mut child);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("it is piped"), &mut said).unwrap();
    assert!(line.contains("\"version\":1,"), "{line}");
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

#[test]
fn tail_goes_on_across_a_restart_without_a_gap_or_a_repeat() {
    let place = Place::new();
    let mut server = place.start().ready();
    server.run(&["append", "old-1", "T", "0"]).exits(0);
    let address = server.url.strip_prefix("http://").expect("an address").to_owned();
    let mut tail = Command::new(FACTUM)
        .args(["tail", "--category", "live", "--from-start"])
        .env("FACTUM_URL", &server.url)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().expect("it is piped")).lines();
    for number in 1..=9_u32 {
        server.run(&["append", "live-1", "T", &number.to_string()]).exits(0);
        server.run(&["append", "other-1", "T", "0"]).exits(0);
        let event: Value = serde_json::from_str(&lines.next().expect("a line").unwrap()).unwrap();
        assert_eq!((&event["version"], &event["data"]), (&Value::from(number), &Value::from(number)));
        if number % 3 == 0 {
            if number == 3 {
                server.kill()
            } else {
                assert_eq!(server.terminate(), Some(0))
            }
            server = place.start_at(&address).ready();
        }
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn bench_measures_each_workload() {
    let place = Place::new();
    let server = place.start().flag(&["--durability", "relaxed"]).ready();
    for (workload, events) in [("append", 200), ("subscribe", 50)] {
        let count = events.to_string();
        let ran = server.run(&["bench", workload, "--clients", "3", "--events", &count, "--batch", "10", "--seconds", "30"]).exits(0);
        let line = &ran.json_lines()[0];
        assert!(line["name"].as_str().expect("a name").contains("durability=relaxed"), "{line}");
        let followed = if workload == "subscribe" { 3 } else { 1 };
        assert_eq!(line["events"], events * followed, "{line}");
        assert!(line["p99_us"].as_u64() >= line["p50_us"].as_u64() && line["p50_us"].as_u64() > Some(0), "{line}");
    }
    let line = &server.run(&["bench", "read", "--clients", "2", "--events", "4000"]).exits(0).json_lines()[0];
    assert_eq!(line["events"], 4_000);
    server.run(&["bench", "append", "--payload", "1B"]).exits(2);
}
