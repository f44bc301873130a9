//! How is a shard reached that another server has?
//!
//! It speaks the contract that every client speaks, so any Factum server with one shard can be one. Each request names the log that it is
//! meant for, and a server with another log refuses it. What the server acknowledges it keeps; nothing is kept here but how far its log
//! was seen to reach, so that one which comes back with less is noticed.

mod call;
mod reads;
mod seen;
mod watch;
mod wire;
mod writes;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use factum_storage as storage;
use parking_lot::Mutex;
use parking_lot::RwLock;
use storage::Disk;
use storage::EventId;
use storage::Position;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Handle;
use super::handle::Status;
use super::live::Live;
use super::meters::Meters;
use crate::Error;
use call::Caller;
use seen::Seen;
use wire::ShardWire;

/// Where a shard is, and who asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The address of the server.
    pub(crate) url: String,
    /// A file with the token that every request bears.
    pub(crate) token_file: Option<PathBuf>,
    /// How long a call may take.
    pub(crate) timeout: Duration,
    /// How many appends may wait for an answer.
    pub(crate) queue_appends: usize,
}

/// A shard that another server has.
pub(super) struct Remote {
    pub(super) shard: u16,
    caller: Caller,
    /// How far its log was seen to reach.
    end: Arc<AtomicU64>,
    health: RwLock<Health>,
    /// The last event that it has sent: whoever has the log has this one, there.
    last: Mutex<Option<(Position, EventId)>>,
    seen: Arc<Seen>,
    pub(super) live: Arc<Live>,
    /// Appends that may wait for an answer, and what they may hold together, in KiB.
    places: Semaphore,
    room: Semaphore,
    closing: CancellationToken,
    tasks: TaskTracker,
}

/// How it was when it was asked last.
struct Health {
    /// Why it can't be used.
    fault: Option<String>,
    told: ShardWire,
}

/// Reaches a shard. Of one whose log is not known yet the server has to answer; else it may be reached later.
///
/// # Errors
///
/// [`Error::Invalid`] for an address that is none; [`Error::ShardFailed`] if its log is not known and the server does not answer, or is
/// none that can have a shard.
pub(crate) async fn open(shard: u16, options: Options, log: Option<[u8; 16]>, root: Arc<dyn Disk>) -> Result<Handle, Error> {
    let places = Semaphore::new(options.queue_appends);
    let seen = Arc::new(Seen::new(root, shard));
    let last = log.and_then(|log| seen.read(log));
    let end = Arc::new(AtomicU64::new(last.map_or(0, |(position, _)| position.get())));
    let health = Health { fault: Some(format!("{} was not asked yet", options.url)), told: ShardWire::default() };
    let remote = Arc::new(Remote {
        shard,
        live: Arc::new(Live::of_another(shard, Arc::clone(&end), RING_BYTES_MAX, Arc::new(Meters::new(shard)))),
        end,
        caller: Caller::new(shard, options, log)?,
        health: RwLock::new(health),
        last: Mutex::new(last),
        seen,
        places,
        room: Semaphore::new(ROOM_KIB as usize),
        closing: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    match remote.look().await {
        Ok(()) => {}
        Err(detail) if log.is_some() => {
            tracing::error!(shard, detail, "the shard can't be reached; the others serve, and it is tried again")
        }
        Err(detail) => return Err(Error::ShardFailed { shard, detail }),
    }
    remote.tasks.spawn(watch::run(Arc::clone(&remote)));
    Ok(Handle::elsewhere(remote))
}

impl Remote {
    /// Where it is.
    pub(super) fn url(&self) -> &str {
        self.caller.url()
    }

    /// What tells its log from every other.
    pub(super) fn log_id(&self) -> [u8; 16] {
        // It is known from the first answer on, and nobody has a handle before that.
        self.caller.log().unwrap_or_default()
    }

    /// How far its log was seen to reach.
    pub(super) fn committed(&self) -> Position {
        Position::new(self.end.load(Ordering::Acquire))
    }

    /// The log reaches at least so far.
    fn reaches(&self, position: Position) {
        self.end.fetch_max(position.get(), Ordering::AcqRel);
    }

    /// Whether it can't be used just now.
    pub(super) fn is_down(&self) -> bool {
        self.health.read().fault.is_some()
    }

    /// Checks that it can be used.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if it is closed, [`Error::ShardFailed`] if the server is not there, or not the right one.
    pub(super) fn check_open(&self) -> Result<(), Error> {
        if self.closing.is_cancelled() {
            return Err(Error::Unavailable { shard: self.shard, detail: "the database is closed".to_owned() });
        }
        self.health.read().fault.clone().map_or(Ok(()), |detail| Err(Error::ShardFailed { shard: self.shard, detail }))
    }

    /// Asks the server how it is, and notes whether it can be used.
    async fn look(&self) -> Result<(), String> {
        let looked = self.ask().await;
        let mut health = self.health.write();
        match looked {
            Ok(told) => {
                self.reaches(Position::new(told.position));
                *health = Health { fault: None, told };
                Ok(())
            }
            Err(detail) => {
                health.fault = Some(detail.clone());
                Err(detail)
            }
        }
    }

    async fn ask(&self) -> Result<ShardWire, String> {
        let known = self.committed();
        let told = self.shards().await?;
        let [only] = &told[..] else {
            return Err(format!("{} has {} shards: a shard is a server with one", self.url(), told.len()));
        };
        let log = u128::from_str_radix(&only.log_id, 16).map(u128::to_be_bytes);
        let log = log.map_err(|_| format!("{} does not say which log it has", self.url()))?;
        if self.caller.log().is_some_and(|own| own != log) {
            return Err(format!("{} has the log {}, and the shard's is {}", self.url(), hex(&log), hex(&self.log_id())));
        }
        if Position::new(only.position) < known {
            return Err(format!(
                "the log of {} ends at position {}, and was at {known}: it is an older one; put back the newer one",
                self.url(),
                only.position
            ));
        }
        if only.state == "unavailable" {
            return Err(format!("{} can't use its log: {}", self.url(), only.reason.as_deref().unwrap_or("it does not say why")));
        }
        if self.is_down() {
            self.check_history().await?;
        }
        self.caller.hold_to(log);
        Ok(only.clone())
    }

    /// A log that was put back from a copy, and has grown since, is as long as it should be, and another one all the same.
    async fn check_history(&self) -> Result<(), String> {
        let Some((position, id)) = *self.last.lock() else { return Ok(()) };
        // Nothing at all is there if it was deleted meanwhile.
        match self.id_at(position).await? {
            Some(found) if found != id => Err(format!(
                "the log of {} has another event at position {position} than it had: it was put back from a copy and written to since",
                self.url()
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// How it is, as far as is known.
    pub(super) fn status(&self) -> Status {
        let health = self.health.read();
        let told = &health.told;
        let refusal = health.fault.clone().or_else(|| (told.state != "ok").then(|| told.reason.clone().unwrap_or_default()));
        Status {
            is_absent: health.fault.is_some(),
            location: Some(self.url().to_owned()),
            appends: refusal.map_or(Ok(()), |detail| Err(storage::Error::LogMissing(detail.into()))),
            position: self.committed(),
            streams: told.streams,
            log_bytes: told.bytes,
            index_bytes: told.index_bytes,
            index_lag_events: 0,
            queued_appends: told.queued_appends,
            available_bytes: None,
            feeds: self.live.followers(),
            index_cache: (0, 0),
            receipt: (Position::ZERO, [0; 32]),
            opened: storage::OpenReport::default(),
        }
    }

    pub(super) fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.live.close();
    }

    /// Waits for what is under way.
    pub(super) async fn closed(&self) {
        self.close();
        self.tasks.wait().await;
        self.write_down().await;
    }

    /// Writes down how far the log was seen to reach.
    async fn write_down(&self) {
        let (seen, log, last) = (Arc::clone(&self.seen), self.log_id(), *self.last.lock());
        if let Err(error) = tokio::task::spawn_blocking(move || seen.write(log, last)).await {
            tracing::warn!(shard = self.shard, %error, "how far the log reaches was not written down");
        }
    }
}

/// Bytes in hexadecimal.
fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

/// What is kept in memory for followers.
const RING_BYTES_MAX: usize = 8 << 20;
/// What may wait for an answer.
const ROOM_KIB: u32 = 64 << 10;
