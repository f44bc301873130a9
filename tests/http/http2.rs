//! HTTP/2: the same port, and the attacks that only it knows. Frames are written by hand, since clients refuse to.

use std::time::Duration;

use factum::http::HttpSettings;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::Served;
use crate::support::within;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// `GET /health/live` in HPACK without the dynamic table.
fn get_live() -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, 12];
    block.extend_from_slice(b"/health/live");
    block.extend_from_slice(&[0x01, 1, b'x']);
    block
}

async fn open(served: &Served) -> TcpStream {
    let mut socket = served.connect().await;
    socket.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("writes");
    socket
}

/// The next frame: kind, stream, payload. `None` when the connection has ended.
async fn next(socket: &mut TcpStream) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    within(socket.read_exact(&mut head)).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    within(socket.read_exact(&mut payload)).await.ok()?;
    Some((head[3], u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]), payload))
}

/// Reads until the server says goodbye or closes; gives the error code that it named.
async fn goodbye(socket: &mut TcpStream) -> Option<u32> {
    while let Some((kind, _, payload)) = next(socket).await {
        if kind == GOAWAY {
            return payload.get(4..8).map(|code| u32::from_be_bytes(code.try_into().expect("four bytes")));
        }
    }
    None
}

async fn assert_serves(served: &Served) {
    let mut socket = open(served).await;
    socket.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &get_live())).await.expect("writes");
    loop {
        let (kind, stream, payload) = next(&mut socket).await.expect("an answer");
        if kind == HEADERS && stream == 1 {
            // Index 8 of the static table: status 200.
            assert_eq!(payload.first(), Some(&0x88));
            return;
        }
    }
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served_on_the_same_port() {
    let served = Served::start(HttpSettings::default()).await;
    assert_serves(&served).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let address = served.address;
    let body = r#"{"events":[{"type":"A","data":1}]}"#;
    let sends = (0..50).map(|_| {
        let request = client.post(format!("http://{address}/v1/streams/s/events")).header("content-type", "application/json").body(body);
        async move { request.send().await.unwrap().status().as_u16() }
    });
    assert!(futures::future::join_all(sends).await.into_iter().all(|status| status == 201));
    assert_eq!(served.api.get("/v1/streams/s").await.json()["version"], 50);
    drop(client);
    served.stop().await;
}

#[tokio::test]
async fn h1_http2_that_asks_nothing_is_closed() {
    let served = Served::start(HttpSettings { header_read_timeout: Duration::from_millis(150), ..HttpSettings::default() }).await;
    let mut socket = open(&served).await;
    while next(&mut socket).await.is_some() {}
    // A header block that never ends is no request either.
    let mut socket = open(&served).await;
    socket.write_all(&frame(HEADERS, END_STREAM, 1, &get_live())).await.unwrap();
    while next(&mut socket).await.is_some() {}
}

#[tokio::test]
async fn h6_rapid_reset_ends_the_connection() {
    let served = Served::start(HttpSettings::default()).await;
    let mut socket = open(&served).await;
    let mut attack = Vec::new();
    for number in 0..20_000_u32 {
        let stream = number * 2 + 1;
        attack.extend_from_slice(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &get_live()));
        attack.extend_from_slice(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    // It is cut off in the middle.
    drop(socket.write_all(&attack).await);
    let code = goodbye(&mut socket).await;
    assert!(matches!(code, None | Some(11)), "ENHANCE_YOUR_CALM or a closed connection: {code:?}");
    assert_serves(&served).await;
}

#[tokio::test]
async fn h6_a_flood_of_continuations_ends_the_connection() {
    let served = Served::start(HttpSettings::default()).await;
    let mut socket = open(&served).await;
    let mut sent = socket.write_all(&frame(HEADERS, END_STREAM, 1, &get_live())).await;
    // Literal headers without end, never indexed, and never the flag that ends the block.
    let header = [&[0x10, 1, b'a', 100], [b'b'; 100].as_slice()].concat().repeat(100);
    for _ in 0..10_000 {
        if sent.is_err() {
            break;
        }
        sent = socket.write_all(&frame(CONTINUATION, 0, 1, &header)).await;
    }
    assert!(sent.is_err(), "100 MB of headers were taken");
    assert_serves(&served).await;
}

#[tokio::test]
async fn h6_too_many_headers_are_refused() {
    let served = Served::start(HttpSettings::default()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let answer = client.get(format!("http://{}/health/live", served.address)).header("x-big", "x".repeat(1 << 20)).send().await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status().as_u16() == 431));
    assert_serves(&served).await;
}

#[tokio::test]
async fn h6_streams_beyond_the_limit_are_refused_one_by_one() {
    let served = Served::start(HttpSettings { http2_streams_max: 4, ..HttpSettings::default() }).await;
    let mut socket = open(&served).await;
    let mut feed = vec![0x82, 0x86, 0x04, 10];
    feed.extend_from_slice(b"/v1/events");
    feed.extend_from_slice(&[0x01, 1, b'x', 0x0f, 0x04, 17]);
    feed.extend_from_slice(b"text/event-stream");
    let opened: Vec<u8> = (0..8_u32).flat_map(|number| frame(HEADERS, END_STREAM | END_HEADERS, number * 2 + 1, &feed)).collect();
    socket.write_all(&opened).await.unwrap();
    socket.write_all(&frame(PING, 0, 0, b"are_you?")).await.unwrap();
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < 8 {
        let (kind, _, payload) = next(&mut socket).await.expect("the connection lives");
        match kind {
            HEADERS => {
                assert_eq!(payload.first(), Some(&0x88));
                answered += 1;
            }
            RST_STREAM => {
                assert_eq!(payload, 7_u32.to_be_bytes(), "REFUSED_STREAM");
                refused += 1;
            }
            _ => {}
        }
    }
    assert_eq!((answered, refused), (4, 4));
}

#[tokio::test]
async fn h6_floods_of_empty_frames_do_not_hold_up_others() {
    let served = Served::start(HttpSettings::default()).await;
    let mut socket = open(&served).await;
    let mut post = vec![0x83, 0x86, 0x04, 10];
    post.extend_from_slice(b"/v1/import");
    post.extend_from_slice(&[0x01, 1, b'x', 0x0f, 0x10, 20]);
    post.extend_from_slice(b"application/x-ndjson");
    let mut flood = frame(HEADERS, END_HEADERS, 1, &post);
    flood.extend_from_slice(&frame(0, 0, 1, &[]).repeat(100_000));
    drop(socket.write_all(&flood).await);
    assert_serves(&served).await;
    served.api.assert_empty("nothing was sent").await;
}
