//! What can be asked of a shard, wherever it lives?

use std::sync::Arc;

use factum_storage as storage;
use storage::Position;
use storage::Reader;

use super::absent::Absent;
use super::absent::unusable;
use super::interest::Interest;
use super::live::Follower;
use super::local::Local;
use super::remote::Remote;
use crate::Error;

mod reads;
mod writes;

/// One shard, as the rest of the house sees it. Clones are the same shard.
#[derive(Clone)]
pub(crate) struct Handle {
    seat: Seat,
}

/// Where a shard is.
#[derive(Clone)]
enum Seat {
    /// In this process.
    Local(Arc<Local>),
    /// In another process, which is called over HTTP.
    Elsewhere(Arc<Remote>),
    /// Nowhere: what lies in its folder is not the shard, or can't be opened.
    Absent(Arc<Absent>),
}

/// How a shard is.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) is_absent: bool,
    /// The address of the server that has it; `None`: this process has.
    pub(crate) location: Option<String>,
    pub(crate) appends: Result<(), storage::Error>,
    pub(crate) position: Position,
    pub(crate) streams: u64,
    pub(crate) log_bytes: u64,
    pub(crate) index_bytes: u64,
    pub(crate) index_lag_events: u64,
    pub(crate) queued_appends: usize,
    pub(crate) available_bytes: Option<u64>,
    pub(crate) feeds: usize,
    pub(crate) index_cache: (u64, u64),
    pub(crate) receipt: (Position, [u8; 32]),
    pub(crate) opened: storage::OpenReport,
}

/// Which streams of a shard to list.
#[derive(Clone, Debug)]
pub(crate) struct StreamListing {
    pub(crate) after: Option<String>,
    pub(crate) prefix: String,
    pub(crate) category: Option<String>,
    pub(crate) include_system: bool,
    /// Those about which a shard would have to be asked that is missing are left out, instead of being an error.
    pub(crate) leave_out_undecided: bool,
    pub(crate) limit: usize,
}

impl Handle {
    pub(super) fn new(local: Arc<Local>) -> Self {
        Self { seat: Seat::Local(local) }
    }

    pub(super) fn elsewhere(remote: Arc<Remote>) -> Self {
        Self { seat: Seat::Elsewhere(remote) }
    }

    /// A shard that can't be served until the next start: whatever is asked of it is answered [`Error::ShardFailed`].
    pub(crate) fn absent(shard: u16, log_id: [u8; 16], detail: String) -> Self {
        Self { seat: Seat::Absent(Arc::new(Absent { shard, log_id, detail })) }
    }

    pub(super) fn local(&self) -> Result<&Arc<Local>, Error> {
        match &self.seat {
            Seat::Local(local) => Ok(local),
            Seat::Elsewhere(remote) => {
                let detail = format!("it is at {}, and what only a shard of this process can do was asked of it", remote.url());
                Err(Error::Unavailable { shard: remote.shard, detail })
            }
            Seat::Absent(absent) => Err(Error::ShardFailed { shard: absent.shard, detail: absent.detail.clone() }),
        }
    }

    /// Its log's reader, if it is there.
    pub(super) fn reader(&self) -> Option<&Reader> {
        match &self.seat {
            Seat::Local(local) => Some(&local.reader),
            Seat::Elsewhere(_) | Seat::Absent(_) => None,
        }
    }

    /// Followers go to the disk for what they have not read yet: who has the streams now says what of it is hidden.
    pub(super) fn forget_recent(&self) {
        if let Seat::Local(local) = &self.seat {
            local.live.forget();
        }
    }

    /// Whether it can't be used at all just now.
    pub(crate) fn is_absent(&self) -> bool {
        match &self.seat {
            Seat::Local(_) => false,
            Seat::Elsewhere(remote) => remote.is_down(),
            Seat::Absent(_) => true,
        }
    }

    /// The address of the server that has it, if that is another one.
    pub(crate) fn location(&self) -> Option<&str> {
        match &self.seat {
            Seat::Elsewhere(remote) => Some(remote.url()),
            Seat::Local(_) | Seat::Absent(_) => None,
        }
    }

    /// Its number.
    pub(crate) fn number(&self) -> u16 {
        match &self.seat {
            Seat::Local(local) => local.shard,
            Seat::Elsewhere(remote) => remote.shard,
            Seat::Absent(absent) => absent.shard,
        }
    }

    /// What tells its log from every other; a copy has the same.
    pub(crate) fn log_id(&self) -> [u8; 16] {
        match &self.seat {
            Seat::Local(local) => local.reader.log_id(),
            Seat::Elsewhere(remote) => remote.log_id(),
            Seat::Absent(absent) => absent.log_id,
        }
    }

    /// Its last committed position; none if it is absent, so that who goes on from there misses nothing of it.
    pub(crate) fn committed(&self) -> Position {
        match &self.seat {
            Seat::Local(local) => local.reader.committed(),
            Seat::Elsewhere(remote) => remote.committed(),
            Seat::Absent(_) => Position::ZERO,
        }
    }

    /// How it is.
    pub(crate) async fn status(&self) -> Result<Status, Error> {
        let local = match &self.seat {
            Seat::Local(local) => local,
            Seat::Elsewhere(remote) => return Ok(remote.status()),
            Seat::Absent(absent) => return Ok(absent.status()),
        };
        let queued_appends = local.queue.len();
        let opened = local.opened.clone();
        let death = local.queue.death();
        let (disk, feeds) = (Arc::clone(&local.disk), local.live.followers());
        self.read(move |reader| {
            let refusal = reader.refuses_appends().or_else(|| death.map(|detail| unusable(&detail)));
            let (log_bytes, index_bytes) = reader.disk_bytes();
            Ok(Status {
                is_absent: false,
                location: None,
                appends: refusal.map_or(Ok(()), Err),
                position: reader.committed(),
                streams: reader.stream_count()?,
                log_bytes,
                index_bytes,
                index_lag_events: reader.index_lag_events(),
                queued_appends,
                available_bytes: disk.available().ok(),
                feeds,
                index_cache: reader.index_cache(),
                receipt: reader.receipt(),
                opened,
            })
        })
        .await
    }

    /// A place at the live end, for who wants such events.
    ///
    /// # Errors
    ///
    /// [`Error::ShardFailed`].
    pub(crate) fn follow(&self, interest: Interest) -> Result<Follower, Error> {
        match &self.seat {
            Seat::Elsewhere(remote) => {
                remote.check_open()?;
                Ok(Follower::new(&remote.live, interest))
            }
            Seat::Local(_) | Seat::Absent(_) => Ok(Follower::new(&self.local()?.live, interest)),
        }
    }

    /// Takes nothing new from here on. What is queued is still done, by the shard's own threads.
    pub(crate) fn close(&self) {
        match &self.seat {
            Seat::Local(local) => local.close(),
            Seat::Elsewhere(remote) => remote.close(),
            Seat::Absent(_) => {}
        }
    }

    /// Waits until the shard has let go of its files, and returns what the last flush said.
    pub(crate) async fn closed(&self) -> Result<(), Error> {
        match &self.seat {
            Seat::Local(local) => local.closed().await,
            Seat::Elsewhere(remote) => {
                remote.closed().await;
                Ok(())
            }
            Seat::Absent(_) => Ok(()),
        }
    }

    /// Whether [`Handle::close`] was called.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if so, [`Error::ShardFailed`] if it is absent.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        match &self.seat {
            Seat::Elsewhere(remote) => remote.check_open(),
            Seat::Local(_) | Seat::Absent(_) => self.local()?.check_open(),
        }
    }
}
