//! How do slots, or ranges of keys, go from one shard to another while everybody goes on?
//!
//! Appends to what moves wait; everything that was queued before is committed, and the old owner's log says that it gives it up.
//! Then the new topology is made durable, which is the one moment when ownership changes: before it a crash leaves everything as it was,
//! behind it everything as it will be. The new owner's log says that it has it, and whoever waited goes on there. Nothing is copied:
//! the new owner asks the old one for a stream's version the first time it needs it.

use std::sync::Arc;

use factum_storage as storage;
use futures::future::BoxFuture;
use storage::Direction;
use storage::ExpectedVersion;
use storage::Filter;
use storage::Position;
use storage::STREAMS_STREAM;
use storage::StreamAppend;
use storage::StreamName;
use storage::Transaction;
use tokio::sync::watch;

use super::Handle;
use super::Router;
use super::Step;
use super::Topology;
use super::moves::Move;
use super::moves::Part;
use super::system_event::system_event;
use super::writer::Write;
use crate::Error;

/// What changes hands now.
pub(super) struct Moving {
    /// By which it can be told what streams are in it.
    topology: Topology,
    part: Part,
    is_over: watch::Sender<bool>,
}

impl Moving {
    /// Whether a stream changes hands.
    pub(super) fn concerns(&self, stream: &str) -> bool {
        self.topology.concerns(&self.part, stream)
    }

    /// Waits until it has changed hands, or has not after all.
    pub(super) async fn over(&self) {
        // Without anybody who could say so, it is over.
        drop(self.is_over.subscribe().wait_for(|over| *over).await);
    }

    pub(super) fn end(&self) {
        self.is_over.send_replace(true);
    }
}

/// Whatever becomes of a hand-over, nobody waits for it for ever.
struct Gate<'a>(&'a Router);

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        self.0.end_move();
    }
}

/// Makes a topology durable.
pub(crate) type Keep = Arc<dyn Fn(Topology, Vec<[u8; 16]>) -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

impl Router {
    /// Hands a part over from one shard to another. One at a time.
    ///
    /// # Errors
    ///
    /// What the shards and `keep` say. Then the old shard still has it.
    pub(crate) async fn hand_over(&self, Step { part, from, to }: Step, keep: &Keep) -> Result<(), Error> {
        let (giver, taker) = (self.shard(from), self.shard(to));
        // Whoever waits for it must not find that nothing can be written there.
        taker.check_writable()?;
        let topology = self.topology();
        let next_version = topology.version() + 1;
        self.begin_move(Arc::new(Moving { topology: topology.clone(), part: part.clone(), is_over: watch::Sender::new(false) }));
        let gate = Gate(self);
        let said = Said { topology_version: next_version, part: &part, from, to };
        let from_position = said.in_log(&giver, GIVEN).await?;
        let to_position = taker.committed();
        let moved = Move {
            version: next_version,
            part: part.clone(),
            from,
            to,
            from_position: from_position.get(),
            to_position: to_position.get(),
        };
        let topology = topology.with_move(moved).map_err(|detail| Error::Unavailable { shard: from, detail })?;
        keep(topology.clone(), self.log_ids()).await?;
        self.adopt(topology, None);
        giver.forget_recent();
        drop(gate);
        // Evidence, for whoever finds an older topology beside this log. It has moved whether or not that can be written.
        if let Err(error) = said.in_log(&taker, TAKEN).await {
            tracing::warn!(shard = to, %error, "the log could not be told that its shard has taken something over");
        }
        Ok(())
    }

    /// The ids of all logs.
    pub(crate) fn log_ids(&self) -> Vec<[u8; 16]> {
        self.shards().iter().map(Handle::log_id).collect()
    }
}

impl Handle {
    /// Checks that it takes appends, as far as can be told without one.
    ///
    /// # Errors
    ///
    /// As [`Handle::check_open`]; why its log or its writer takes none.
    fn check_writable(&self) -> Result<(), Error> {
        self.check_open()?;
        let local = self.local()?;
        if let Some(refusal) = local.reader.refuses_appends() {
            return Err(refusal.into());
        }
        local.queue.check_alive()
    }

    /// The newest version of a topology by which the log says that its shard has taken slots over.
    ///
    /// # Errors
    ///
    /// What the log says.
    pub(crate) async fn newest_taken(&self) -> Result<Option<u64>, Error> {
        let filter = Filter { types: vec![TAKEN.to_owned()], include_system: true, ..Filter::default() };
        let mut after = Position::new(u64::MAX);
        loop {
            let slice = self.read_events(Arc::new(filter.clone()), after, Direction::Backward, 1, usize::MAX).await?;
            // Whatever a client calls so is in a stream of its own.
            if let Some(event) = slice.events.first().filter(|event| event.stream() == STREAMS_STREAM) {
                let said: serde_json::Value = serde_json::from_slice(event.data()).unwrap_or_default();
                return Ok(said.get("topology_version").and_then(serde_json::Value::as_u64));
            }
            if slice.at_end {
                return Ok(None);
            }
            after = slice.through;
        }
    }
}

/// What the logs say of a hand-over.
struct Said<'a> {
    topology_version: u64,
    part: &'a Part,
    from: u16,
    to: u16,
}

impl Said<'_> {
    async fn in_log(&self, shard: &Handle, event_type: &str) -> Result<Position, Error> {
        let Self { topology_version, part, from, to } = self;
        let mut data = part.told();
        data["topology_version"] = serde_json::json!(topology_version);
        (data["from"], data["to"]) = (serde_json::json!(from), serde_json::json!(to));
        let event = system_event(event_type, data.to_string());
        let stream = StreamName::new(STREAMS_STREAM).expect("a constant that keeps the rule");
        let append = StreamAppend { stream, expected: ExpectedVersion::Any, events: vec![event] };
        Ok(shard.write(Write::Transaction(Transaction { appends: vec![append], conditions: Vec::new() })).await?.position)
    }
}

/// What the log of the old owner says.
const GIVEN: &str = "$slots-given";
/// What the log of the new owner says.
const TAKEN: &str = "$slots-taken";
