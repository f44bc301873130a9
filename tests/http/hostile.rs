//! What no honest client sends: always the right 4xx, never a 500, and nothing stored.

use std::io::Write;

use factum::http::HttpSettings;

use crate::support::Api;
use crate::support::JSON;
use crate::support::request;

const PATH: &str = "/v1/streams/order-42/events";

fn event(fields: &str) -> String {
    format!(r#"{{"events":[{{{fields}}}]}}"#)
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table, a line for each body")]
async fn h5_malformed_bodies_name_their_field_and_store_nothing() {
    let api = Api::new().await;
    let long = "x".repeat(256);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    let open = "[".repeat(100_000);
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "body"),
        ("nonsense".into(), "body"),
        ("null".into(), "body"),
        ("[]".into(), "body"),
        ("{}".into(), "events"),
        (r#"{"events":null}"#.into(), "events"),
        (r#"{"events":{}}"#.into(), "events"),
        (r#"{"events":[]}"#.into(), "events"),
        (r#"{"events":[1]}"#.into(), "events[0]"),
        (r#"[[{"type":"A","data":1}],"any"]"#.into(), "body"),
        (r#"{"events":[["A",1]]}"#.into(), "events[0]"),
        (r#"{"events":[{}]}"#.into(), "events[0].type"),
        (event(r#""type":"A""#), "events[0].data"),
        (event(r#""data":1"#), "events[0].type"),
        (event(r#""type":5,"data":1"#), "events[0].type"),
        (event(r#""type":null,"data":1"#), "events[0].type"),
        (event(r#""type":"","data":1"#), "events[0].type"),
        (event(&format!(r#""type":"{long}","data":1"#)), "events[0].type"),
        (event(r#""type":"a\u0000b","data":1"#), "events[0].type"),
        (event(r#""type":"a\nb","data":1"#), "events[0].type"),
        (event(r#""type":"\ud800","data":1"#), "events[0].type"),
        (event(r#""type":"A","data":NaN"#), "events[0].data"),
        (event(r#""type":"A","data":Infinity"#), "events[0].data"),
        (event(r#""type":"A","data":01"#), "events[0].data"),
        (event(r#""type":"A","data":1e"#), "events[0].data"),
        (event(r#""type":"A","data":'x'"#), "events[0].data"),
        (event(r#""type":"A","data":{"a":1,}"#), "events[0].data"),
        (event(&format!(r#""type":"A","data":{deep}"#)), "events[0].data"),
        (event(&format!(r#""type":"A","data":{deep_objects}"#)), "events[0].data"),
        (event(&format!(r#""type":"A","data":1,"metadata":{deep_objects}"#)), "events[0].metadata"),
        (event(r#""type":"A","data":1,"metadata":[]"#), "events[0].metadata"),
        (event(r#""type":"A","data":1,"metadata":"x""#), "events[0].metadata"),
        (event(r#""type":"A","data":1,"tags":"x""#), "events[0].tags"),
        (event(r#""type":"A","data":1,"tags":[1]"#), "events[0].tags[0]"),
        (event(r#""type":"A","data":1,"tags":["a",""]"#), "events[0].tags[1]"),
        (event(&format!(r#""type":"A","data":1,"tags":["{long}"]"#)), "events[0].tags[0]"),
        (event(r#""type":"A","data":1,"id":"42""#), "events[0].id"),
        (event(r#""type":"A","data":1,"id":42"#), "events[0].id"),
        (event(r#""type":"A","data":1,"occurred_at":"noon""#), "events[0].occurred_at"),
        (event(r#""type":"A","data":1,"occurred_at":"2026-02-30T00:00:00Z""#), "events[0].occurred_at"),
        (event(r#""type":"A","data":1,"occurred_at":"9999-12-31T23:59:59-23:00""#), "events[0].occurred_at"),
        (event(r#""type":"A","data":1,"occurred_at":1e9"#), "events[0].occurred_at"),
        (event(r#""type":"A","data":1,"schema_version":0"#), "events[0].schema_version"),
        (event(r#""type":"A","data":1,"schema_version":65536"#), "events[0].schema_version"),
        (event(r#""type":"A","data":1,"schema_version":1e400"#), "events[0].schema_version"),
        (event(r#""type":"A","data":1,"schema_version":1.5"#), "events[0].schema_version"),
        (event(r#""type":"A","data":1,"type":"B""#), "events[0].type"),
        (event(r#""type":"A","data":1,"position":9"#), "events[0].position"),
        (event(r#""type":"A","data":1,"recorded_at":"2026-11-22T00:00:00Z""#), "events[0].recorded_at"),
        (event(r#""type":"A","data":1,"stream":"other""#), "events[0].stream"),
        (r#"{"events":[{"type":"A","data":1}],"expected_version":-1}"#.into(), "expected_version"),
        (r#"{"events":[{"type":"A","data":1}],"expected_version":1.5}"#.into(), "expected_version"),
        (r#"{"events":[{"type":"A","data":1}],"expected_version":1e400}"#.into(), "expected_version"),
        (r#"{"events":[{"type":"A","data":1}],"expected_version":99999999999999999999}"#.into(), "expected_version"),
        (r#"{"events":[{"type":"A","data":1}],"expected_version":"1"}"#.into(), "expected_version"),
        (r#"{"events":[{"type":"A","data":1}],"expected_version":null}"#.into(), "expected_version"),
        (r#"{"events":[{"type":"A","data":1}],"expectedVersion":1}"#.into(), "expectedVersion"),
        (r#"{"events":[{"type":"A","data":1}]}x"#.into(), "body"),
        (r#"{"events":[{"type":"A","data":1}"#.into(), "events[0]"),
        (open, "body"),
    ];
    let mut failures = Vec::new();
    for (body, field) in cases {
        let start: String = body.chars().take(120).collect();
        let problem = api.post(PATH, &body).await.problem(400, "malformed-request");
        let named = problem["field"].as_str().unwrap_or_default();
        if named != field {
            failures.push(format!("{start}: {problem}"));
        }
        api.assert_empty(&start).await;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn h5_text_that_is_not_utf8_is_named_with_its_place() {
    let api = Api::new().await;
    for (body, field) in [
        (b"{\"events\":[{\"type\":\"\xff\",\"data\":1}]}".as_slice(), "events[0].type"),
        (b"{\"events\":[{\"type\":\"A\",\"data\":\"\xc3\x28\"}]}", "events[0].data"),
        (b"\xef\xbb\xbf{}", "body"),
        (b"\xff\xfe{\0}\0", "body"),
    ] {
        let problem = api.send(request("POST", PATH, &[JSON], body.to_vec())).await.problem(400, "malformed-request");
        assert_eq!(problem["field"], field, "{problem}");
    }
    api.assert_empty("refused").await;
}

#[tokio::test]
async fn h5_a_million_keys_and_a_deep_payload_that_may_be_are_taken_as_they_are() {
    let api = Api::new().await;
    let keys: Vec<String> = (0..100_000).map(|n| format!("\"{n}\":0")).collect();
    let data = format!("{{{}}}", keys.join(","));
    assert!(data.len() < 1 << 20);
    api.post(PATH, &event(&format!(r#""type":"A","data":{data}"#))).await.is(201);
    let nested = format!("{}{}", "[".repeat(128), "]".repeat(128));
    api.post(PATH, &event(&format!(r#""type":"A","data":{nested}"#))).await.is(201);
    let text = api.get("/v1/streams/order-42/events/1").await.text();
    assert!(text.contains(&data));
}

#[tokio::test]
async fn h9_what_is_too_much_is_413() {
    let api = Api::new().await;
    let one = r#"{"type":"A","data":1}"#;
    let batch = |count: usize| format!(r#"{{"events":[{}]}}"#, vec![one; count].join(","));
    let big = "x".repeat((1 << 20) + 1);
    for body in [
        batch(10_001),
        batch(150_000),
        batch(1_000_000),
        event(&format!(r#""type":"A","data":"{big}""#)),
        event(&format!(r#""type":"A","data":1,"metadata":{{"x":"{big}"}}"#)),
        format!(r#"{{"events":[{}{{}}]}}"#, " ".repeat(17 << 20)),
    ] {
        let start: String = body.chars().take(60).collect();
        let problem = api.post(PATH, &body).await.problem(413, "payload-too-large");
        assert!(problem["field"].is_string(), "{start}: {problem}");
    }
    api.assert_empty("refused").await;
    let wide = Api::with(HttpSettings { body_bytes_max: 64 << 20, ..HttpSettings::default() }).await;
    assert_eq!(wide.post(PATH, &batch(1_000_000)).await.problem(413, "payload-too-large")["field"], "events");
    let transaction =
        format!(r#"{{"appends":[{{"stream":"a","events":[{0}]}},{{"stream":"b","events":[{0}]}}]}}"#, vec![one; 6_000].join(","));
    wide.post("/v1/transactions", &transaction).await.problem(413, "payload-too-large");
    let tags = vec!["\"t\""; 65].join(",");
    let problem = wide.post(PATH, &event(&format!(r#""type":"A","data":1,"tags":[{tags}]"#))).await.problem(400, "malformed-request");
    assert!(problem["field"].as_str().unwrap().starts_with("events[0].tags"), "{problem}");
    wide.assert_empty("refused").await;
    api.post(PATH, &batch(10_000)).await.is(201);
}

#[tokio::test]
async fn bodies_must_say_that_they_are_json() {
    let api = Api::new().await;
    let body = r#"{"events":[{"type":"A","data":1}]}"#;
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data", "json", "application/jsonx", ""]
    {
        let answer = api.send(request("POST", PATH, &[("content-type", content_type)], body)).await;
        assert_eq!(answer.problem(415, "unsupported-media-type")["field"], "Content-Type", "{content_type}");
    }
    api.send(request("POST", PATH, &[], body)).await.problem(415, "unsupported-media-type");
    api.send(request("POST", "/v1/transactions", &[], body)).await.problem(415, "unsupported-media-type");
    api.assert_empty("refused").await;
    api.send(request("POST", PATH, &[("content-type", "Application/JSON; charset=utf-8")], body)).await.is(201);
}

#[tokio::test]
async fn a2_names_in_paths_are_decoded_once_and_checked() {
    let api = Api::new().await;
    let body = r#"{"events":[{"type":"A","data":1}]}"#;
    let long = "x".repeat(256);
    for (name, status) in [
        ("%00", 400),
        ("a%00b", 400),
        ("a%0ab", 400),
        ("%ff", 400),
        ("%c3%28", 400),
        ("%", 400),
        ("%2", 400),
        ("%zz", 400),
        (long.as_str(), 400),
        ("%24definitions", 403),
        ("$streams", 403),
        ("a/b", 404),
        ("", 400),
    ] {
        let answer = api.send(request("POST", &format!("/v1/streams/{name}/events"), &[JSON], body)).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {}", answer.text());
    }
    api.assert_empty("refused").await;
    let longest = "x".repeat(255);
    for (path, name) in [
        ("a%2Fb", "a/b"),
        ("..", ".."),
        ("%2e%2e%2f%2e%2e", "../.."),
        ("a%252Fb", "a%2Fb"),
        ("%E2%82%AC-1", "€-1"),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        (longest.as_str(), longest.as_str()),
    ] {
        let answer = api.send(request("POST", &format!("/v1/streams/{path}/events"), &[JSON], body)).await.is(201);
        assert_eq!(answer.json()["stream"], name, "{path}");
        let location = answer.header("location").to_owned();
        assert_eq!(api.get(&location).await.is(200).json()["stream"], name, "{location}");
    }
}

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405_with_allow() {
    let api = Api::new().await;
    for path in ["/v1", "/v2/events", "/v1/streams/", "/v1/streams/a/b", "/v1/streams/a/events/1/2", "/favicon.ico", "/v1/lakes"] {
        api.get(path).await.problem(404, "path-not-found");
    }
    for (method, path, allow) in [
        ("PATCH", PATH, "GET,HEAD,POST"),
        ("DELETE", "/v1/events", "GET,HEAD"),
        ("GET", "/v1/transactions", "POST"),
        ("GET", "/v1/import", "POST"),
        ("POST", "/v1/streams/a/retention", "PUT"),
        ("POST", "/v1/streams/a", "GET,HEAD,DELETE"),
        ("OPTIONS", "/v1/status", "GET,HEAD"),
    ] {
        let answer = api.send(request(method, path, &[JSON], "{}")).await;
        let mut allowed: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        let mut expected: Vec<&str> = allow.split(',').collect();
        allowed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(allowed, expected, "{method} {path}");
        answer.problem(405, "method-not-allowed");
    }
}

#[tokio::test]
async fn h4_a_compressed_body_counts_as_what_it_unpacks_to() {
    let api = Api::new().await;
    let pack = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    // 128 MiB of zeros, as members and frames one behind the other, which count together.
    let part = vec![0_u8; 8 << 20];
    let gzip_bomb = pack(&part).repeat(16);
    let zstd_bomb = zstd::encode_all(part.as_slice(), 3).unwrap().repeat(16);
    let json_bomb = pack(event(&format!(r#""type":"A","data":"{}""#, "x".repeat(20 << 20))).as_bytes());
    for (coding, body) in [("gzip", gzip_bomb), ("zstd", zstd_bomb), ("gzip", json_bomb)] {
        assert!(body.len() < 2 << 20, "the bomb itself is small: {}", body.len());
        api.send(request("POST", PATH, &[JSON, ("content-encoding", coding)], body)).await.problem(413, "payload-too-large");
    }
    let fine = event(r#""type":"A","data":1"#);
    for (coding, body) in [
        ("gzip", fine.clone().into_bytes()),
        ("zstd", fine.clone().into_bytes()),
        ("gzip", pack(fine.as_bytes())[..20].to_vec()),
        ("gzip", Vec::new()),
        ("gzip", pack(&pack(fine.as_bytes()))),
    ] {
        api.send(request("POST", PATH, &[JSON, ("content-encoding", coding)], body)).await.problem(400, "malformed-request");
    }
    for coding in ["br", "deflate", "gzip, gzip", "gzip, zstd", "x", ""] {
        let answer = api.send(request("POST", PATH, &[JSON, ("content-encoding", coding)], pack(fine.as_bytes()))).await;
        assert_eq!(answer.problem(415, "unsupported-media-type")["field"], "Content-Encoding", "{coding}");
    }
    api.assert_empty("refused").await;
    api.send(request("POST", PATH, &[JSON, ("content-encoding", "gzip")], pack(fine.as_bytes()))).await.is(201);
    api.send(request("POST", PATH, &[JSON, ("content-encoding", "zstd")], zstd::encode_all(fine.as_bytes(), 1).unwrap())).await.is(201);
}

#[tokio::test]
async fn h4_a_zstd_frame_cannot_ask_for_more_memory_than_the_format_promises() {
    let api = Api::new().await;
    // A frame header that declares a window of 128 MiB (exponent 17), with one raw block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x09, 0x00, 0x00, b'1'];
    let answer = api.send(request("POST", PATH, &[JSON, ("content-encoding", "zstd")], frame.to_vec())).await;
    let problem = answer.problem(400, "malformed-request");
    assert!(problem["detail"].as_str().unwrap().contains("zstd"), "{problem}");
}

#[tokio::test]
async fn h10_errors_repeat_no_values() {
    let api = Api::new().await;
    for body in [
        r#""hush-hush""#.to_owned(),
        r#"{"events":"hush-hush"}"#.to_owned(),
        event(r#""type":"A","data":1,"id":"hush-hush""#),
        event(r#""type":"A","data":1,"occurred_at":"hush-hush""#),
        event(r#""type":"A","data":1,"schema_version":"hush-hush""#),
        event(r#""type":"A","data":1,"metadata":"hush-hush""#),
        event(r#""type":"hush-hush\u0000","data":1"#),
        event(r#""type":"A","data":{"x":"hush-hush" "y"}"#),
        r#"{"events":[],"expected_version":"hush-hush"}"#.to_owned(),
    ] {
        let answer = api.post(PATH, &body).await;
        assert!(!answer.text().contains("hush"), "{body}: {}", answer.text());
        answer.problem(400, "malformed-request");
    }
}
