//! Who did what? Changes, refusals and tokens are events of `$audit`, without secrets, tokens or payloads, and no faster than a bound.
//!
//! What has changed something is always told, and waits for its place; what was refused or issued is counted when there is no place.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use factum_storage::ExpectedVersion;
use factum_storage::StreamName;
use serde_json::Value;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use super::policy::Principal;
use crate::Database;

/// Where entries go.
pub(super) struct Audit {
    sender: mpsc::Sender<Entry>,
    left_out: Arc<AtomicU64>,
}

enum Entry {
    Event(&'static str, Bytes),
    /// Everything before it is on disk, or was told to be lost.
    Flush(oneshot::Sender<()>),
}

/// A call that is worth to be remembered.
#[derive(Clone, Debug)]
pub struct Call {
    /// Such as `PUT`.
    pub method: String,
    /// As it was sent, without what stands behind a question mark.
    pub path: String,
    /// From where.
    pub address: Option<IpAddr>,
}

impl Audit {
    /// Entries, and what writes them until the database closes.
    pub(super) fn new(database: &Database) -> (Self, impl Future<Output = ()> + use<>) {
        let (sender, entries) = mpsc::channel(WAITING_MAX);
        let left_out = Arc::new(AtomicU64::new(0));
        let writing = write(database.clone(), entries, Arc::clone(&left_out));
        (Self { sender, left_out }, writing)
    }

    /// Tells of something that has changed.
    pub(super) async fn changed(&self, event_type: &'static str, data: &Value) {
        if self.sender.send(Entry::Event(event_type, data.to_string().into())).await.is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells of something that was asked for, if there is a place.
    pub(super) fn asked(&self, event_type: &'static str, data: &Value) {
        if self.sender.try_send(Entry::Event(event_type, data.to_string().into())).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns once what was told is on disk.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.sender.send(Entry::Flush(done)).await.is_ok() {
            // Whoever writes has ended when it drops this, and then there is nothing to wait for.
            drop(flushed.await);
        }
    }
}

/// What is told of a call.
pub(super) fn call_data(principal: &Principal, call: &Call, status: u16) -> Value {
    let path: String = call.path.chars().take(PATH_CHARS_MAX).collect();
    json!({
        "subject": principal.subject,
        "client": principal.client,
        "issuer": principal.token.issuer,
        "token": principal.token.id,
        "address": call.address.map(|address| address.to_string()),
        "method": call.method,
        "path": path,
        "status": status,
    })
}

async fn write(database: Database, mut entries: mpsc::Receiver<Entry>, left_out: Arc<AtomicU64>) {
    let stream = StreamName::new(STREAM).expect("the name keeps the rules");
    let mut batch = Vec::with_capacity(BATCH_EVENTS);
    while entries.recv_many(&mut batch, BATCH_EVENTS).await > 0 {
        let (mut events, mut waiting) = (Vec::with_capacity(batch.len()), Vec::new());
        for entry in batch.drain(..) {
            match entry {
                Entry::Event(event_type, data) => events.push((event_type, data)),
                Entry::Flush(done) => waiting.push(done),
            }
        }
        let missing = left_out.swap(0, Ordering::Relaxed);
        if missing > 0 {
            events.push((LEFT_OUT, json!({ "count": missing }).to_string().into()));
        }
        if !events.is_empty() {
            let count = events.len();
            if let Err(error) = database.append_to_system(&stream, events, ExpectedVersion::Any).await {
                tracing::error!(%error, count, "what was done could not be written to $audit");
                left_out.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        }
        let has_flushed = !waiting.is_empty();
        for done in waiting {
            // Who has waited may have gone.
            let _is_gone = done.send(()).is_err();
        }
        if !has_flushed {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// A call that changes something, and how it ended.
pub(super) const CALLED: &str = "Called";
/// A call that the token does not allow.
pub(super) const DENIED: &str = "Denied";
/// A client got a token.
pub(super) const TOKEN_ISSUED: &str = "TokenIssued";
/// Somebody has ended a token, or a refresh token that was used twice has.
pub(super) const TOKEN_ENDED: &str = "TokenEnded";
/// Somebody had not the client's secret.
pub(super) const CLIENT_REFUSED: &str = "ClientRefused";
/// So many had no place.
const LEFT_OUT: &str = "LeftOut";
const STREAM: &str = "$audit";
/// With the pause, at most 2,560 events a second.
const BATCH_EVENTS: usize = 256;
const PAUSE: Duration = Duration::from_millis(100);
const WAITING_MAX: usize = 4_096;
const PATH_CHARS_MAX: usize = 1_024;
