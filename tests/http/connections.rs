//! Connections: slow, silent, lying and smuggling clients lose theirs, everybody else keeps theirs.
//!
//! Deadlines are real here, because sockets know no other time; they are short, and a test waits for what the server does, not for time.

use std::time::Duration;

use factum::http::HttpSettings;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use crate::support::Served;
use crate::support::read_to_end;
use crate::support::read_until;
use crate::support::within;

const SHORT: Duration = Duration::from_millis(150);

fn hasty() -> HttpSettings {
    HttpSettings { header_read_timeout: SHORT, body_chunk_timeout: SHORT, body_total_timeout: SHORT * 4, ..HttpSettings::default() }
}

fn append(body: &str) -> String {
    format!(
        "POST /v1/streams/s/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

const BODY: &str = r#"{"events":[{"type":"A","data":1}]}"#;

/// The server still serves everybody else.
async fn assert_serves(served: &Served) {
    let answer = served.raw(b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_connection_is_kept_for_many_requests() {
    let served = Served::start(HttpSettings::default()).await;
    let mut socket = served.connect().await;
    for version in 1..=3 {
        socket.write_all(append(BODY).as_bytes()).await.unwrap();
        let answer = read_until(&mut socket, "}").await;
        assert!(answer.starts_with("HTTP/1.1 201") && answer.contains(&format!("\"last_version\":{version}")), "{answer}");
    }
    drop(socket);
    served.stop().await;
}

#[tokio::test]
async fn h1_a_silent_client_is_closed() {
    let served = Served::start(hasty()).await;
    assert_eq!(served.raw(b"").await, "");
    // The beginning of the HTTP/2 preface keeps the protocol undecided.
    assert_eq!(served.raw(b"PRI * HTT").await, "");
    assert_serves(&served).await;
}

#[tokio::test]
async fn h1_slow_headers_are_cut_however_steadily_they_drip() {
    let served = Served::start(hasty()).await;
    let (mut reader, mut writer) = served.connect().await.into_split();
    let drip = tokio::spawn(async move {
        let mut sent = writer.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n").await;
        while sent.is_ok() {
            sent = writer.write_all(b"x-a: b\r\n").await;
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    let mut answer = Vec::new();
    // A reset is an end as well.
    drop(within(reader.read_to_end(&mut answer)).await);
    assert!(!String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 200"));
    within(drip).await.unwrap();
    assert_serves(&served).await;
}

#[tokio::test]
async fn h1_a_kept_connection_without_a_further_request_is_closed() {
    let served = Served::start(hasty()).await;
    let mut socket = served.connect().await;
    socket.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut socket).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn h2_a_body_that_stops_is_408_and_stores_nothing() {
    let served = Served::start(hasty()).await;
    let head = "POST /v1/streams/s/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n";
    for sent in [head.to_owned(), format!("{head}{{\"events\":[")] {
        let answer = served.raw(sent.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("urn:factum:problem:request-timeout"), "{answer}");
    }
    served.api.assert_empty("half sent").await;
}

#[tokio::test]
async fn h2_a_body_that_drips_has_a_deadline_too() {
    let served = Served::start(hasty()).await;
    let (mut reader, mut writer) = served.connect().await.into_split();
    let drip = tokio::spawn(async move {
        let mut sent = writer
            .write_all(b"POST /v1/transactions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        while sent.is_ok() {
            sent = writer.write_all(b"1\r\n \r\n").await;
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    let mut answer = Vec::new();
    drop(within(reader.read_to_end(&mut answer)).await);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    within(drip).await.unwrap();
    assert_serves(&served).await;
}

#[tokio::test]
async fn h2_an_import_that_stops_is_told_and_keeps_what_came() {
    let served = Served::start(hasty()).await;
    let mut socket = served.connect().await;
    let lines = "{\"stream\":\"s\",\"type\":\"t\",\"data\":1}\n{\"stream\":\"s\",\"ty";
    let head = format!(
        "POST /v1/import HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{lines}\r\n",
        lines.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let answer = read_until(&mut socket, "$error").await;
    assert!(answer.contains("request-timeout"), "{answer}");
    assert_eq!(served.api.get("/v1/events").await.json()["cursor"], "1");
}

#[tokio::test]
async fn h3_lengths_that_lie_store_nothing_and_harm_nobody() {
    let served = Served::start(HttpSettings { body_bytes_max: 1000, ..hasty() }).await;
    let head = "POST /v1/streams/s/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    // Too long by its own word: refused before a byte of it is read.
    let answer = served.raw(format!("{head}content-length: 10000000000\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("connection: close"), "{answer}");
    // Without a length: counted as it comes.
    let chunk = format!("{:x}\r\n{}\r\n", 600, " ".repeat(600)).repeat(3);
    let answer = served.raw(format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // Shorter than the body: what is left over is not a request.
    let answer = served.raw(format!("{head}content-length: 5\r\n\r\n{BODY}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    for length in ["-1", "x", "1, 2", "99999999999999999999999"] {
        let answer = served.raw(format!("{head}content-length: {length}\r\n\r\n{BODY}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{length}: {answer}");
    }
    let answer = served.raw(format!("{head}transfer-encoding: chunked\r\n\r\nffffffffffffffff1\r\nx").as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    served.api.assert_empty("lies").await;
    assert_serves(&served).await;
}

#[tokio::test]
async fn h3_a_body_that_breaks_off_stores_nothing() {
    let served = Served::start(hasty()).await;
    let mut socket = served.connect().await;
    let whole = append(BODY);
    socket.write_all(&whole.as_bytes()[..whole.len() - 1]).await.unwrap();
    socket.shutdown().await.unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    served.api.assert_empty("half sent").await;
}

#[tokio::test]
async fn h7_requests_that_two_parsers_read_differently_are_not_two_requests() {
    let served = Served::start(hasty()).await;
    let smuggled = "DELETE /v1/streams/victim HTTP/1.1\r\nhost: x\r\n\r\n";
    served.api.fill("victim", 1).await;
    let inner = format!("0\r\n\r\n{smuggled}");
    for head in [
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", inner.len()),
        format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", inner.len()),
        format!("transfer-encoding: chunked, identity\r\ncontent-length: {}\r\n", inner.len()),
        format!("transfer-encoding: xchunked\r\ncontent-length: {}\r\n", inner.len()),
        format!("content-length: {}\r\ncontent-length: 0\r\n", inner.len()),
        format!("transfer-encoding : chunked\r\ncontent-length: {}\r\n", inner.len()),
    ] {
        let answer = served
            .raw(format!("POST /v1/streams/s/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{head}\r\n{inner}").as_bytes())
            .await;
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{head}: {answer}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{head}: {answer}");
        served.api.get("/v1/streams/victim").await.is(200);
    }
}

#[tokio::test]
async fn h7_hosts_and_targets_are_checked() {
    let served = Served::start(hasty()).await;
    for (head, status) in [
        ("GET /health/live HTTP/1.1\r\n\r\n", "400"),
        ("GET /health/live HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400"),
        ("GET /health/live HTTP/1.1\r\nhost: a b\r\n\r\n", "400"),
        ("GET /health/live HTTP/1.1\r\nhost: a@b\r\n\r\n", "400"),
        ("GET /health/live HTTP/1.1\r\nhost: a/../b\r\n\r\n", "400"),
        ("GET http://evil.example/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "200"),
        ("GET http://evil.example/v1/streams/../../etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "404"),
        ("CONNECT evil.example:443 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "40"),
        ("GET * HTTP/1.1\r\nhost: x\r\n\r\n", "40"),
        ("GET /health/live HTTP/1.0\r\n\r\n", "200"),
        ("GET /a b HTTP/1.1\r\nhost: x\r\n\r\n", "400"),
        ("G\0T / HTTP/1.1\r\nhost: x\r\n\r\n", "400"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let answer = served.raw(head.as_bytes()).await;
        let found = answer.split(' ').nth(1).unwrap_or_default();
        assert!(found.starts_with(status), "{head:?}: {answer}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    let answer = served.raw(long.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    let many = format!("GET /health/live HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let answer = served.raw(many.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_serves(&served).await;
}

#[tokio::test]
async fn s1_a_client_that_reads_nothing_is_closed() {
    let served = Served::start(HttpSettings { write_stall_timeout: SHORT, ..HttpSettings::default() }).await;
    let data = "x".repeat(500_000);
    for _ in 0..40 {
        served.api.post("/v1/streams/big/events", &format!(r#"{{"events":[{{"type":"A","data":"{data}"}}]}}"#)).await.is(201);
    }
    let mut socket = served.connect().await;
    socket.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n").await.unwrap();
    assert!(read_until(&mut socket, "event: event").await.starts_with("HTTP/1.1 200"));
    // The server gives up while nothing is read here: the connection's place is free again, so that stopping has nothing to wait for.
    served.api.database.close().await.ok();
    served.stop().await;
    let read = read_to_end(&mut socket).await;
    assert!(read.len() < 20_000_000, "the whole log does not fit between the two sockets: {}", read.len());
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let served = Served::start(HttpSettings { connections_max: 1, ..HttpSettings::default() }).await;
    let mut first = served.connect().await;
    first.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n").await.unwrap();
    read_until(&mut first, "caught-up").await;
    let mut second = served.connect().await;
    second.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut byte = [0];
    tokio::time::timeout(SHORT, second.read(&mut byte)).await.expect_err("no place yet");
    drop(first);
    // The server notices when it next writes to the one that hung up.
    served.api.fill("s", 1).await;
    assert!(read_until(&mut second, "ok").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way() {
    let served = Served::start(HttpSettings::default()).await;
    let mut feed = served.connect().await;
    feed.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n").await.unwrap();
    read_until(&mut feed, "caught-up").await;
    // A request whose body is on its way.
    let mut writer = served.connect().await;
    let whole = append(BODY);
    let (start, rest) = whole.split_at(whole.len() - 10);
    writer.write_all(start.as_bytes()).await.unwrap();
    let idle = served.connect().await;
    let address = served.address;
    let database = served.api.database.clone();
    let stopping = tokio::spawn(served.stop());
    assert!(read_to_end(&mut feed).await.ends_with("0\r\n\r\n"), "the feed ends as a body ends");
    writer.write_all(rest.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut writer).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    drop(idle);
    within(stopping).await.unwrap();
    assert_eq!(database.end().to_string(), "1");
    tokio::net::TcpStream::connect(address).await.expect_err("nobody listens any more");
}

#[tokio::test]
async fn stopping_has_a_deadline() {
    let served = Served::start(HttpSettings { shutdown_deadline: SHORT, ..HttpSettings::default() }).await;
    let mut stuck = served.connect().await;
    stuck.write_all(append(BODY).split_at(100).0.as_bytes()).await.unwrap();
    assert_serves(&served).await;
    served.stop().await;
    assert_eq!(read_to_end(&mut stuck).await, "");
}
