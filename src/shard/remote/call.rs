//! How is another server called, and what does its answer mean?

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use factum_storage as storage;
use parking_lot::RwLock;
use reqwest::Method;
use reqwest::RequestBuilder;
use reqwest::Response;
use reqwest::StatusCode;
use reqwest::Url;
use serde_json::Map;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::Options;
use super::hex;
use super::wire;
use crate::Error;

/// Calls the server that has a shard.
pub(super) struct Caller {
    pub(super) shard: u16,
    http: reqwest::Client,
    base: Url,
    options: Options,
    token: RwLock<Option<String>>,
    /// The log that must be there.
    log: OnceLock<[u8; 16]>,
    /// As many calls as may be under way.
    lines: Semaphore,
}

/// A success.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// `Factum-Position`.
    pub(super) position: Option<String>,
    pub(super) body: Bytes,
}

/// Why there is no answer that can be used.
#[derive(Debug)]
pub(super) enum Fault {
    /// It has not arrived: nothing was done.
    NotSent(String),
    /// It may have arrived, and what came of it is unknown.
    Lost(String),
    /// The server says no.
    Refused(Refusal),
}

/// A problem document.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    members: Map<String, Value>,
}

impl Caller {
    /// One that calls the server at an address.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if there can't be a server.
    pub(super) fn new(shard: u16, options: Options, log: Option<[u8; 16]>) -> Result<Self, Error> {
        let invalid = |detail: String| Error::Invalid { field: "shards.urls".to_owned(), detail };
        let address = options.url.as_str();
        let base: Url = address.parse().map_err(|_| invalid(format!("{address:?} is not the address of a server")))?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() || base.query().is_some() || base.fragment().is_some() {
            return Err(invalid(format!("{address:?} is not the address of a server; write one such as http://10.0.0.2:4400")));
        }
        // Addresses are shown to whoever asks where a shard is.
        if !base.username().is_empty() || base.password().is_some() {
            let host = base.host_str().unwrap_or_default();
            return Err(invalid(format!("that of {host} has a name or password in it: a token goes into the file shards.token_file")));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(options.timeout.min(CONNECT_TIMEOUT))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(LINES_MAX)
            .user_agent(concat!("factum/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| invalid(format!("{address}: {}", chain(&error))))?;
        let known = OnceLock::new();
        if let Some(log) = log {
            known.get_or_init(|| log);
        }
        let caller = Self { shard, http, base, options, token: RwLock::default(), log: known, lines: Semaphore::new(LINES_MAX) };
        caller.read_token()?;
        Ok(caller)
    }

    /// Where the server is.
    pub(super) fn url(&self) -> &str {
        &self.options.url
    }

    /// The log that must be there, once it is known.
    pub(super) fn log(&self) -> Option<[u8; 16]> {
        self.log.get().copied()
    }

    /// This log and no other must be there from here on.
    pub(super) fn hold_to(&self, log: [u8; 16]) {
        self.log.get_or_init(|| log);
    }

    /// Reads the token again: whoever renews it puts another one into the file.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the file can't be read.
    fn read_token(&self) -> Result<(), Error> {
        let Some(file) = &self.options.token_file else { return Ok(()) };
        let read = std::fs::read_to_string(file);
        let text = read.map_err(|error| Error::Invalid {
            field: "shards.token_file".to_owned(),
            detail: format!("{} can't be read: {error}", file.display()),
        })?;
        *self.token.write() = Some(text.trim().to_owned());
        Ok(())
    }

    /// A request that is meant for the shard's log, and for no other.
    pub(super) fn request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> Result<RequestBuilder, Error> {
        let request = self.open_request(method, path, query)?;
        Ok(match self.log.get() {
            Some(log) => request.header(LOG_ID, hex(log)),
            None => request,
        })
    }

    /// A request to whoever is there; each part of the path is escaped.
    pub(super) fn open_request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> Result<RequestBuilder, Error> {
        if path.iter().any(|part| matches!(*part, "." | ".." | "")) {
            let detail = "a name of only one or two dots cannot stand in a URL, and the shard is reached by one".to_owned();
            return Err(Error::Invalid { field: "stream".to_owned(), detail });
        }
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url);
        if let Some(token) = self.token.read().as_deref() {
            request = request.bearer_auth(token);
        }
        Ok(request)
    }

    /// Sends it, and gives the answer if it is a success. The time that a call may take is for the head of the answer.
    pub(super) async fn open(&self, request: RequestBuilder) -> Result<Response, Fault> {
        let sent = tokio::time::timeout(self.options.timeout, request.send()).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() || error.is_builder() => {
                return Err(Fault::NotSent(format!("{} can't be reached: {}", self.url(), chain(&error))));
            }
            Ok(Err(error)) => return Err(Fault::Lost(format!("the connection to {} broke: {}", self.url(), chain(&error)))),
            Err(_elapsed) => return Err(Fault::Lost(self.too_slow())),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED
            && let Err(error) = self.read_token()
        {
            tracing::warn!(shard = self.shard, %error, "the token for the shard can't be renewed");
        }
        let members = self.whole(response, PROBLEM_BYTES_MAX).await.ok().and_then(|body| serde_json::from_slice(&body).ok());
        Err(Fault::Refused(Refusal { status, members: members.unwrap_or_default() }))
    }

    /// Sends it, and gives the whole answer.
    pub(super) async fn call(&self, request: RequestBuilder) -> Result<Answer, Fault> {
        let _line = self.lines.acquire().await;
        let answered = async {
            let response = self.open(request).await?;
            let status = response.status();
            let position = response.headers().get("factum-position").and_then(|value| value.to_str().ok()).map(str::to_owned);
            Ok(Answer { status, position, body: self.whole(response, ANSWER_BYTES_MAX).await? })
        };
        // However slowly its parts come.
        match tokio::time::timeout(self.options.timeout, answered).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(Fault::Lost(self.too_slow())),
        }
    }

    fn too_slow(&self) -> String {
        format!("{} has not answered within {} ms", self.url(), self.options.timeout.as_millis())
    }

    async fn whole(&self, mut response: Response, bytes_max: usize) -> Result<Bytes, Fault> {
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(part)) if body.len() + part.len() > bytes_max => {
                    return Err(Fault::Lost(format!("{} answers with more than {bytes_max} bytes", self.url())));
                }
                Ok(Some(part)) => body.extend_from_slice(&part),
                Ok(None) => return Ok(body.freeze()),
                Err(error) => return Err(Fault::Lost(format!("the answer of {} broke off: {}", self.url(), chain(&error)))),
            }
        }
    }

    /// A fault in words.
    pub(super) fn told(&self, fault: &Fault) -> String {
        match fault {
            Fault::NotSent(detail) | Fault::Lost(detail) => detail.clone(),
            Fault::Refused(refusal) => self.said(refusal),
        }
    }

    /// What a fault of a read means: whatever it is, nothing has changed. What is asked was checked here, so a server that refuses it is
    /// not as it should be: its log ends earlier, or it does not trust the token.
    pub(super) fn failed_read(&self, fault: Fault) -> Error {
        match fault {
            Fault::NotSent(detail) | Fault::Lost(detail) => self.down(detail),
            Fault::Refused(refusal) if refusal.status == StatusCode::TOO_MANY_REQUESTS => Error::Overloaded { shard: self.shard },
            Fault::Refused(refusal) => self.down(self.said(&refusal)),
        }
    }

    /// What a fault of a write means.
    pub(super) fn failed_write(&self, fault: Fault) -> Error {
        match fault {
            Fault::NotSent(detail) => self.down(detail),
            Fault::Lost(detail) => Error::Unavailable { shard: self.shard, detail: format!("{detail}; the outcome is unknown") },
            Fault::Refused(refusal) => self.refused(&refusal),
        }
    }

    /// The server is not there, or not the right one.
    pub(super) fn down(&self, detail: String) -> Error {
        Error::ShardFailed { shard: self.shard, detail }
    }

    /// An answer that no Factum server gives.
    pub(super) fn garbled(&self, what: impl std::fmt::Display) -> Error {
        self.down(format!("{} answers what can't be understood: {what}", self.url()))
    }

    /// What the server's own no means to a caller of this database.
    pub(super) fn refused(&self, refusal: &Refusal) -> Error {
        let Refusal { status, members } = refusal;
        let slug = refusal.slug();
        let known = match slug {
            "wrong-expected-version" | "condition-failed" => wire::failed_checks(members).map(storage::Error::Conflict),
            "event-id-reused" => wire::reused(members),
            "stream-deleted" => wire::stream(members).map(storage::Error::StreamDeleted),
            "stream-not-found" => wire::stream(members).map(storage::Error::StreamNotFound),
            "storage-full" => Some(storage::Error::StorageFull),
            _ => None,
        };
        if let Some(error) = known {
            return error.into();
        }
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let detail = self.said(refusal);
        match *status {
            StatusCode::TOO_MANY_REQUESTS => Error::Overloaded { shard: self.shard },
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Error::Invalid { field: text("field").unwrap_or("events").to_owned(), detail }
            }
            status if status.is_server_error() && text("outcome") != Some("not-stored") && slug != "store-read-only" => {
                Error::Unavailable { shard: self.shard, detail }
            }
            _ => self.down(detail),
        }
    }

    fn said(&self, refusal: &Refusal) -> String {
        let detail = refusal.members.get("detail").and_then(Value::as_str).unwrap_or_default();
        format!("{} answers {} {}: {detail}", self.url(), refusal.status.as_u16(), refusal.slug())
    }
}

impl Refusal {
    fn slug(&self) -> &str {
        let kind = self.members.get("type").and_then(Value::as_str).unwrap_or_default();
        kind.rsplit(':').next().unwrap_or_default()
    }

    /// Whether it says that there is no such stream, or no such event; `Some(true)`: for ever.
    pub(super) fn says_gone(&self) -> Option<bool> {
        match self.slug() {
            "stream-not-found" | "event-not-found" => Some(false),
            "stream-deleted" => Some(true),
            _ => None,
        }
    }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// The log that a request is meant for; a server that has another one refuses it.
const LOG_ID: &str = "factum-log-id";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// So many calls of one shard are under way at once, each on a connection of its own.
const LINES_MAX: usize = 128;
const ANSWER_BYTES_MAX: usize = 256 << 20;
const PROBLEM_BYTES_MAX: usize = 1 << 20;
