//! Rows over a real connection: whole, broken off, and given up by their client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::array::Int64Array;
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use axum::Router;
use axum::routing::get;
use factum_storage::Position;
use futures::Stream;
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use super::*;
use crate::database::Cursor;
use crate::http::HttpSettings;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

fn numbers(range: std::ops::Range<i64>) -> Result<RecordBatch, Error> {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(range));
    Ok(RecordBatch::try_new(schema(), vec![column]).unwrap())
}

fn out_of_memory() -> Error {
    Error::QueryLimit { limit: "memory", detail: "at most 1 byte: ask for less".into() }
}

/// A server that answers each request with the next of these streams of batches.
struct Server {
    address: SocketAddr,
    answers: mpsc::Sender<(SqlAnswer, OutputFormat)>,
    _stop: oneshot::Sender<()>,
}

impl Server {
    async fn start() -> Self {
        let (answers, queue) = mpsc::channel::<(SqlAnswer, OutputFormat)>(8);
        let queue = Arc::new(tokio::sync::Mutex::new(queue));
        let router = Router::new().route(
            "/",
            get(async move |headers: HeaderMap| {
                let (answer, format) = queue.lock().await.recv().await.unwrap();
                response(answer, format, &headers).await
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(crate::http::serve(listener, router, HttpSettings::default(), async move {
            drop(stopped.await);
        }));
        Self { address, answers, _stop: stop }
    }

    async fn get(
        &self,
        client: &reqwest::Client,
        batches: impl Stream<Item = Result<RecordBatch, Error>> + Send + 'static,
        format: OutputFormat,
    ) -> reqwest::Result<reqwest::Response> {
        // Each is waited for, as in life.
        let batches = batches.then(async |batch| {
            tokio::task::yield_now().await;
            batch
        });
        let answer = SqlAnswer::new(schema(), Cursor::new(vec![Position::new(7)]), batches.boxed());
        self.answers.send((answer, format)).await.unwrap();
        client.get(format!("http://{}/", self.address)).send().await
    }
}

fn http1() -> reqwest::Client {
    reqwest::Client::builder().http1_only().build().unwrap()
}

fn http2() -> reqwest::Client {
    reqwest::Client::builder().http2_prior_knowledge().build().unwrap()
}

/// Says when it is dropped.
struct Flag(Option<oneshot::Sender<()>>);

impl Drop for Flag {
    fn drop(&mut self) {
        // Nobody listens if the test has failed already.
        self.0.take().map_or(Ok(()), |sender| sender.send(())).unwrap_or_default();
    }
}

/// Batches and then nothing, for ever; and what tells when the query was dropped.
fn endless(batches: Vec<Result<RecordBatch, Error>>) -> (impl Stream<Item = Result<RecordBatch, Error>> + Send, oneshot::Receiver<()>) {
    let (sender, dropped) = oneshot::channel();
    let flag = Flag(Some(sender));
    let stream = futures::stream::iter(batches).chain(futures::stream::pending()).map(move |batch| {
        let _kept = &flag;
        batch
    });
    (stream, dropped)
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("in time")
}

#[tokio::test]
async fn rows_are_whole_and_say_where_they_are_from() {
    let server = Server::start().await;
    for client in [http1(), http2()] {
        let answer = server.get(&client, futures::stream::iter([numbers(0..2)]), OutputFormat::Json).await.unwrap();
        assert_eq!(answer.headers()["factum-position"], "7");
        assert_eq!(answer.headers()["content-type"], "application/json");
        let json: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!((&json["rows"], &json["cursor"]), (&serde_json::json!([[0], [1]]), &serde_json::json!("7")));
        let answer = server.get(&client, futures::stream::iter([numbers(0..2)]), OutputFormat::Csv).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8; header=present");
        assert_eq!(answer.text().await.unwrap(), "n\n0\n1\n");
    }
}

#[tokio::test]
async fn an_error_before_the_first_row_has_a_status() {
    let server = Server::start().await;
    for format in [OutputFormat::Json, OutputFormat::Ndjson, OutputFormat::Csv, OutputFormat::Arrow, OutputFormat::Parquet] {
        let answer = server.get(&http1(), futures::stream::iter([numbers(0..0), Err(out_of_memory())]), format).await.unwrap();
        assert_eq!(answer.status().as_u16(), 422);
        let json: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!((&json["type"], &json["limit"]), (&"urn:factum:problem:query-limit-exceeded".into(), &"memory".into()));
    }
}

/// Whatever the format and the protocol, nobody can take what came for all there is.
#[tokio::test]
async fn an_error_behind_rows_is_never_taken_for_the_end() {
    let server = Server::start().await;
    for client in [http1(), http2()] {
        for format in [OutputFormat::Json, OutputFormat::Csv, OutputFormat::Arrow, OutputFormat::Parquet] {
            let batches = futures::stream::iter([numbers(0..1_000), Err(out_of_memory())]);
            let answer = within(server.get(&client, batches, format)).await;
            // With Parquet nothing is out yet, and the error has its status; else the body breaks off.
            match answer {
                Ok(answer) if answer.status() == 422 => assert_eq!(format, OutputFormat::Parquet),
                Ok(answer) => assert!(within(answer.bytes()).await.is_err(), "{format:?}: a body that broke off was whole"),
                Err(error) => panic!("{format:?}: {error}"),
            }
        }
        let batches = futures::stream::iter([numbers(0..1_000), Err(out_of_memory())]);
        let answer = server.get(&client, batches, OutputFormat::Ndjson).await.unwrap();
        let text = within(answer.text()).await.unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[1_000]["$error"]["limit"]), (1_001, &"memory".into()));
    }
}

/// The reason comes with what there is of a JSON document.
#[tokio::test]
async fn a_broken_document_says_why() {
    let server = Server::start().await;
    let answer = server.get(&http1(), futures::stream::iter([numbers(0..2), Err(out_of_memory())]), OutputFormat::Json).await.unwrap();
    let mut body = answer.bytes_stream();
    let (mut text, mut has_failed) = (Vec::new(), false);
    while let Some(part) = within(body.next()).await {
        match part {
            Ok(part) => text.extend_from_slice(&part),
            Err(_) => has_failed = true,
        }
    }
    let text = String::from_utf8(text).unwrap();
    assert!(has_failed && text.contains("[1]\n],\"$error\":{\"type\":\"urn:factum:problem:query-limit-exceeded\""), "{text}");
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_err(), "{text}");
}

#[tokio::test]
async fn answers_are_compressed_as_they_come() {
    let server = Server::start().await;
    for name in ["zstd", "gzip"] {
        for format in [OutputFormat::Ndjson, OutputFormat::Arrow, OutputFormat::Parquet] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(name).unwrap());
            let client = reqwest::Client::builder().default_headers(headers).build().unwrap();
            let answer = server.get(&client, futures::stream::iter([numbers(0..50_000), numbers(0..50_000)]), format).await.unwrap();
            let coding = answer.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
            let bytes = answer.bytes().await.unwrap();
            if format == OutputFormat::Parquet {
                assert_eq!((coding, bytes.get(..4)), (None, Some(b"PAR1".as_slice())));
                continue;
            }
            assert_eq!(coding.as_deref(), Some(name));
            let coding = if name == "zstd" { crate::http::negotiate::Coding::Zstd } else { crate::http::negotiate::Coding::Gzip };
            let mut whole = Vec::new();
            std::io::Read::read_to_end(&mut crate::http::body::decoder(coding, bytes.as_ref()).unwrap(), &mut whole).unwrap();
            assert!(whole.len() > 2 * bytes.len(), "{name}: {} of {}", bytes.len(), whole.len());
            if format == OutputFormat::Ndjson {
                assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count(), 100_000);
            }
        }
    }
}

/// Q5: a query ends with the connection of who asked, whether rows have come or not.
#[tokio::test]
async fn q5_a_client_that_goes_away_ends_its_query() {
    let server = Server::start().await;
    for client in [http1, http2] {
        // Amid the rows.
        let (batches, dropped) = endless(vec![numbers(0..10)]);
        let own = client();
        let mut answer = server.get(&own, batches, OutputFormat::Ndjson).await.unwrap();
        assert!(within(answer.chunk()).await.unwrap().is_some());
        drop((answer, own));
        within(dropped).await.unwrap();
        // Before the first.
        let (batches, mut dropped) = endless(Vec::new());
        let own = client();
        let asked = tokio::time::timeout(Duration::from_millis(300), server.get(&own, batches, OutputFormat::Json)).await;
        assert!(asked.is_err() && dropped.try_recv().is_err(), "the query is still running");
        drop(own);
        within(dropped).await.unwrap();
    }
}
