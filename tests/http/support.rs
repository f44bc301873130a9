//! An interface over a database in memory, as a value and on a socket.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use factum::Database;
use factum::http::HttpSettings;
use http::HeaderMap;
use http::Request;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// The interface as a value.
pub(crate) struct Api {
    pub(crate) database: Database,
    pub(crate) router: Router,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Api {
    pub(crate) async fn new() -> Self {
        Self::with(HttpSettings::default()).await
    }

    pub(crate) async fn with(settings: HttpSettings) -> Self {
        Self::over(Database::in_memory().await.expect("memory opens"), settings)
    }

    pub(crate) fn over(database: Database, settings: HttpSettings) -> Self {
        Self { router: factum::http::router(database.clone(), settings), database }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("the body is whole").to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path, &[], "")).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request("GET", path, headers, "")).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(request("POST", path, &[JSON], body.to_owned())).await
    }

    pub(crate) async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![JSON];
        all.extend_from_slice(headers);
        self.send(request("POST", path, &all, body.to_owned())).await
    }

    pub(crate) async fn put(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send(request("PUT", path, headers, body.to_owned())).await
    }

    /// Defines a category by a module.
    pub(crate) async fn define(&self, category: &str, module: &str) -> Answer {
        self.put(&format!("/v1/aggregates/{category}"), &[MODULE], module).await
    }

    /// Registers a version of a type's schema.
    pub(crate) async fn register(&self, type_and_version: &str, document: &serde_json::Value) -> Answer {
        self.put(&format!("/v1/schemas/{type_and_version}"), &[JSON], &document.to_string()).await
    }

    /// Appends one event with this type and data.
    pub(crate) async fn append(&self, stream: &str, event_type: &str, data: &serde_json::Value) -> Answer {
        let body = serde_json::json!({"events": [{"type": event_type, "data": data}]});
        self.post(&format!("/v1/streams/{stream}/events"), &body.to_string()).await
    }

    /// Appends events of the type `t` with the numbers from 1 on as data.
    pub(crate) async fn fill(&self, stream: &str, count: usize) {
        let events: Vec<String> = (1..=count).map(|n| format!(r#"{{"type":"t","data":{n}}}"#)).collect();
        let body = format!(r#"{{"events":[{}]}}"#, events.join(","));
        self.post(&format!("/v1/streams/{stream}/events"), &body).await.is(201);
    }

    /// Nothing was stored, by anybody.
    pub(crate) async fn assert_empty(&self, why: &str) {
        let answer = self.get("/v1/events?include_system=true").await;
        assert_eq!(answer.json()["events"], Value::Array(Vec::new()), "{why}");
        assert_eq!(answer.json()["cursor"], "0", "{why}");
    }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// One JSON document a line.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = self.text();
        assert!(text.is_empty() || text.ends_with('\n'), "every line ends: {text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    /// A well-formed problem with this status and slug.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let json = self.json();
        assert_eq!(json["type"], format!("urn:factum:problem:{slug}"), "{json}");
        assert_eq!(json["status"], status, "{json}");
        assert!(json["title"].is_string() && json["detail"].is_string(), "{json}");
        json
    }
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).expect("a request")
}

/// The interface on a socket.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) api: Api,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Served {
    pub(crate) async fn start(settings: HttpSettings) -> Self {
        Self::serve(Api::with(settings.clone()).await, settings).await
    }

    /// What is a value already, with the default settings; handlers learn who asks.
    pub(crate) async fn over(api: &Api) -> Self {
        Self::serve(
            Api { database: api.database.clone(), router: api.router.clone() },
            HttpSettings { knows_peers: true, ..HttpSettings::default() },
        )
        .await
    }

    async fn serve(api: Api, settings: HttpSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(factum::http::serve(listener, api.router.clone(), settings, async move {
            // Both a word and silence mean: stop.
            drop(stopped.await);
        }));
        Self { address, api, stop: Some(stop), task }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }

    /// Sends bytes and reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut socket = self.connect().await;
        // The server may close before it has read everything.
        drop(socket.write_all(bytes).await);
        read_to_end(&mut socket).await
    }

    /// Ends feeds, waits for requests under way, and returns when the server has.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        within(&mut self.task).await.expect("no panic").expect("no error");
    }
}

/// Reads until the server closes; a reset counts as that.
pub(crate) async fn read_to_end(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        match within(socket.read(&mut part)).await {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&bytes).into_owned(),
            Ok(count) => bytes.extend_from_slice(&part[..count]),
        }
    }
}

/// Reads until the text has `needle`.
pub(crate) async fn read_until(socket: &mut TcpStream, needle: &str) -> String {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    while !String::from_utf8_lossy(&bytes).contains(needle) {
        let count = within(socket.read(&mut part)).await.expect("reads");
        assert!(count > 0, "closed before {needle:?}: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&part[..count]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A net for tests that would hang: far beyond anything that a working server takes.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("done within a minute")
}

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const MODULE: (&str, &str) = ("content-type", "text/javascript");
pub(crate) const NDJSON: (&str, &str) = ("accept", "application/x-ndjson");
pub(crate) const SSE: (&str, &str) = ("accept", "text/event-stream");
