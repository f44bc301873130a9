//! How are shards added and drained while everybody goes on?

use std::sync::Arc;

use factum_storage as storage;
use storage::Direction;
use storage::Filter;
use storage::Position;
use storage::RecordedEvent;
use storage::StreamName;
use tokio::sync::watch;

use super::Database;
use super::job::Job;
use super::job::JobState;
use super::reshaping::slots_of;
use crate::Error;
use crate::shard;
use crate::shard::Goal;
use crate::shard::GoalKind;
use crate::shard::Handle;
use crate::shard::SLOTS;
use crate::shard::Strategy;
use crate::shard::StreamListing;
use crate::shard::Topology;

/// A change of the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopologyChange {
    /// One more, which takes its share from the others. Its weight, with `ring` (`None`: 1).
    Add(Option<u32>),
    /// This one gives all its slots to the others; its log stays, and can be read.
    Drain(u16),
    /// Each gets its share: after a change that was cancelled.
    Rebalance,
}

/// What a change of the shards would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPlan {
    /// The version of the topology that it was made for.
    pub topology_version: u64,
    /// From which shard to which, and how many slots.
    pub moves: Vec<(u16, u16, usize)>,
    /// How many slots each shard has now and would have.
    pub shards: Vec<(u16, usize, usize)>,
    /// How many slots would move.
    pub slots: u16,
    /// How many streams are in them now.
    pub streams: u64,
    /// How many events these streams have. They stay where they are: none is copied.
    pub events: u64,
    /// About what these events take on disk.
    pub bytes: u64,
}

impl Database {
    /// What a change of the shards would do. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::TopologyConflict`], [`Error::NoSuchPart`], [`Error::Invalid`]; [`Error::ShardFailed`] if a shard can't be used.
    pub async fn plan_shards(&self, change: TopologyChange) -> Result<ShardPlan, Error> {
        let topology = self.router().topology();
        let changed = changed(&topology, change, self.inner.reshaping.goal(kind_of(&topology, change)))?;
        let steps = shard::steps(&changed);
        let counts = self.count_by_slot().await?;
        let moved = steps.iter().flat_map(|step| &step.slots).filter_map(|slot| counts.get(usize::from(*slot)));
        let (mut streams, mut events, mut bytes) = (0, 0, 0);
        for count in moved {
            (streams, events, bytes) = (streams + u64::from(count.streams), events + count.events, bytes + count.bytes);
        }
        let gained = |shard: u16| steps.iter().filter(|step| step.to == shard).map(|step| step.slots.len()).sum::<usize>();
        let lost = |shard: u16| steps.iter().filter(|step| step.from == shard).map(|step| step.slots.len()).sum::<usize>();
        let owned = |shard: u16| topology.slots_of(shard).unwrap_or_default();
        Ok(ShardPlan {
            topology_version: topology.version(),
            moves: steps.iter().map(|step| (step.from, step.to, step.slots.len())).collect(),
            shards: (0..changed.shards()).map(|shard| (shard, owned(shard), owned(shard) + gained(shard) - lost(shard))).collect(),
            slots: slots_of(&steps),
            streams,
            events,
            bytes,
        })
    }

    /// Begins a change of the shards and returns the job that sees to it. Appends and reads go on meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Database::plan_shards`]; [`Error::TopologyConflict`] also if another change is under way.
    ///
    /// # Cancellation
    ///
    /// Once the topology is kept, the change goes on.
    pub async fn change_shards(&self, change: TopologyChange) -> Result<Job, Error> {
        let (database, reshaping) = (self.clone(), Arc::clone(&self.inner.reshaping));
        // In a task of its own: whoever asks may go away between two steps that belong together.
        let begun = tokio::spawn(async move {
            let _changing = reshaping.changing.lock().await;
            let topology = reshaping.router.topology();
            if let Some(goal) = topology.goal() {
                let detail = format!("job {} is under way: wait for it, or cancel it", goal.job);
                return Err(Error::TopologyConflict { detail });
            }
            database.router().shards().iter().try_for_each(Handle::check_open)?;
            let changed = changed(&topology, change, reshaping.goal(kind_of(&topology, change)))?;
            let slots = slots_to_move(&changed);
            let newcomer = match change {
                TopologyChange::Add(_) => Some(reshaping.newcomer(topology.shards()).await?),
                TopologyChange::Drain(_) | TopologyChange::Rebalance => None,
            };
            let job = reshaping.begin(changed, newcomer).await?;
            tokio::spawn(database.count_streams(job.id.clone(), slots));
            Ok(job)
        });
        begun.await.unwrap_or_else(|error| Err(Error::Unavailable { shard: 0, detail: format!("the change did not begin: {error}") }))
    }

    /// A job, by its name.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchPart`].
    pub fn job(&self, id: &str) -> Result<Job, Error> {
        let jobs = self.inner.reshaping.jobs();
        jobs.into_iter().find(|job| job.id == id).ok_or_else(|| Error::NoSuchPart { what: "job of this name".to_owned() })
    }

    /// All jobs since the database was opened, and the one that it went on with; the newest last.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.inner.reshaping.jobs()
    }

    /// Tells whenever a job has changed.
    #[must_use]
    pub fn job_changes(&self) -> watch::Receiver<u64> {
        self.inner.reshaping.ticks()
    }

    /// Lets a job rest: nothing moves until it is resumed, also after a restart.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchPart`], [`Error::TopologyConflict`] if it has ended.
    pub async fn pause_job(&self, id: &str) -> Result<Job, Error> {
        self.steer(id, JobState::Paused).await
    }

    /// Goes on with a job that rests or has failed.
    ///
    /// # Errors
    ///
    /// As [`Database::pause_job`].
    pub async fn resume_job(&self, id: &str) -> Result<Job, Error> {
        self.steer(id, JobState::Running).await
    }

    /// Gives a job up. What has moved stays where it is; a shard that was to be drained keeps what it still has.
    ///
    /// # Errors
    ///
    /// As [`Database::pause_job`].
    pub async fn cancel_job(&self, id: &str) -> Result<Job, Error> {
        self.steer(id, JobState::Cancelled).await
    }

    async fn steer(&self, id: &str, state: JobState) -> Result<Job, Error> {
        let reshaping = &self.inner.reshaping;
        self.job(id)?;
        let _changing = reshaping.changing.lock().await;
        let topology = reshaping.router.topology();
        let Some(goal) = topology.goal().filter(|goal| goal.job == id) else {
            return Err(Error::TopologyConflict { detail: "the job has ended".to_owned() });
        };
        let next = match state {
            JobState::Cancelled => topology.without_goal(),
            JobState::Running | JobState::Paused | JobState::Failed | JobState::Done => {
                topology.with_goal(Some(Goal { is_paused: state == JobState::Paused, ..goal.clone() }))
            }
        };
        reshaping.put(next).await?;
        reshaping.change(id, |job| (job.state, job.error) = (state, None));
        if state == JobState::Running {
            reshaping.go_on();
        }
        self.job(id)
    }

    /// Goes on with what was under way when the database was closed.
    pub(super) async fn resume_reshaping(&self) {
        self.inner.reshaping.tell_what_is_missing().await;
        let topology = self.router().topology();
        if let Some(goal) = topology.goal() {
            tokio::spawn(self.clone().count_streams(goal.job.clone(), slots_to_move(&topology)));
        }
        if self.router().topology().goal().is_some_and(|goal| !goal.is_paused) {
            self.inner.reshaping.go_on();
        }
    }

    /// Tells a job how many streams are in the slots that it moves. Beside the moves: the more there are, the longer it takes.
    async fn count_streams(self, job: String, slots: Vec<u16>) {
        let counts = self.count_by_slot().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the streams that move could not be counted");
            Vec::new()
        });
        let streams = slots.iter().filter_map(|slot| counts.get(usize::from(*slot))).map(|count| u64::from(count.streams)).sum();
        self.inner.reshaping.change(&job, |job| job.moved_streams = Some(streams));
    }

    /// How many streams are in each slot, with their events and about what these take on disk.
    async fn count_by_slot(&self) -> Result<Vec<SlotCount>, Error> {
        let mut counts = vec![SlotCount::default(); usize::from(SLOTS)];
        for shard in self.router().shards().iter() {
            let event_bytes = event_bytes(shard).await?;
            let mut after = None;
            loop {
                let listing = StreamListing {
                    after,
                    prefix: String::new(),
                    category: None,
                    include_system: false,
                    leave_out_undecided: false,
                    limit: LISTED,
                };
                let infos = shard.streams(listing).await?;
                for info in &infos {
                    if let Some(count) = counts.get_mut(usize::from(shard::slot(info.stream.as_str()))) {
                        let events = info.version.get();
                        count.streams = count.streams.saturating_add(1);
                        count.events += events;
                        count.bytes += events * event_bytes;
                    }
                }
                match infos.last() {
                    Some(last) if infos.len() == LISTED => after = Some(StreamName::to_string(&last.stream)),
                    _ => break,
                }
            }
        }
        Ok(counts)
    }
}

/// About what an event takes in a shard's log, by its newest ones.
async fn event_bytes(shard: &Handle) -> Result<u64, Error> {
    let everything = Arc::new(Filter::default());
    let newest = shard.read_events(everything, Position::new(u64::MAX), Direction::Backward, SAMPLED, usize::MAX).await?;
    let bytes: usize = newest.events.iter().map(RecordedEvent::stored_bytes).sum();
    Ok((bytes / newest.events.len().max(1)) as u64)
}

fn slots_to_move(topology: &Topology) -> Vec<u16> {
    shard::steps(topology).into_iter().flat_map(|step| step.slots).collect()
}

#[derive(Clone, Copy, Default)]
struct SlotCount {
    streams: u32,
    events: u64,
    bytes: u64,
}

fn kind_of(topology: &Topology, change: TopologyChange) -> GoalKind {
    match change {
        TopologyChange::Add(_) => GoalKind::Add(topology.shards()),
        TopologyChange::Drain(shard) => GoalKind::Drain(shard),
        TopologyChange::Rebalance => GoalKind::Rebalance,
    }
}

/// The topology with a change, which is not carried out yet.
fn changed(topology: &Topology, change: TopologyChange, goal: Goal) -> Result<Topology, Error> {
    let conflict = |detail: String| Err(Error::TopologyConflict { detail });
    if !topology.elsewhere().is_empty() {
        return conflict("some of the shards are at other servers (shards.urls): what such a database began with stays".to_owned());
    }
    if topology.slots().is_empty() {
        let name = topology.strategy().as_str();
        return conflict(format!("the shards of {name} are given by its settings; only those of hash and ring can be changed"));
    }
    match change {
        TopologyChange::Add(weight) => {
            if weight.is_some() && !matches!(topology.strategy(), Strategy::Ring { .. }) {
                return Err(Error::Invalid { field: "weight".to_owned(), detail: "only shards of ring have weights".to_owned() });
            }
            if weight.is_some_and(|weight| !(1..=shard::WEIGHT_MAX).contains(&weight)) {
                return Err(Error::Invalid { field: "weight".to_owned(), detail: format!("must be from 1 to {}", shard::WEIGHT_MAX) });
            }
            if topology.shards() >= shard::SHARDS_MAX {
                return conflict(format!("there are {} shards, and there can be no more", shard::SHARDS_MAX));
            }
            Ok(topology.with_shard(weight.unwrap_or(1), goal))
        }
        TopologyChange::Drain(shard) if shard >= topology.shards() => Err(Error::NoSuchPart { what: format!("shard {shard}") }),
        TopologyChange::Drain(shard) if topology.drained().contains(&shard) && topology.slots_of(shard) == Some(0) => {
            conflict(format!("shard {shard} is drained already"))
        }
        TopologyChange::Drain(shard) => {
            if (0..topology.shards()).all(|other| other == shard || topology.drained().contains(&other)) {
                return conflict(format!("shard {shard} is the last one that takes appends: add another first"));
            }
            Ok(topology.with_draining(shard, goal))
        }
        TopologyChange::Rebalance => Ok(topology.with_goal(Some(goal))),
    }
}

/// So many events of a shard say how large they are.
const SAMPLED: usize = 256;
/// Streams that are listed at a time.
const LISTED: usize = 1_000;
