//! How are shards added and drained while everybody goes on?

use std::sync::Arc;

use tokio::sync::watch;

use super::Database;
use super::counts::Moved;
use super::job::Job;
use super::job::JobState;
use super::reshaping::count_of;
use crate::Error;
use crate::shard;
use crate::shard::Goal;
use crate::shard::GoalKind;
use crate::shard::Handle;
use crate::shard::KeyRange;
use crate::shard::Move;
use crate::shard::Part;
use crate::shard::Step;
use crate::shard::Strategy;
use crate::shard::Topology;
use crate::shard::ranges;

/// A change of the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopologyChange {
    /// One more, which takes its share from the others.
    Add(NewShard),
    /// This one gives all that it has to the others, with `geo` to those of its region; its log stays, and can be read.
    Drain(u16),
    /// Each gets its share: after a change that was cancelled, or when ranges have grown apart.
    Rebalance,
}

/// What a shard that joins is to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewShard {
    /// With `ring`: its share against the others' (`None`: 1).
    pub weight: Option<u32>,
    /// With `range`: it takes the keys from this one on, up to the end of the range that it lies in (`None`: half of the heaviest range).
    pub split: Option<String>,
    /// With `geo`: the region that it joins.
    pub region: Option<String>,
}

/// What a change of the shards would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPlan {
    /// The version of the topology that it was made for.
    pub topology_version: u64,
    /// What would go where.
    pub moves: Vec<PlannedMove>,
    /// What each shard has now and would have.
    pub shards: Vec<PlannedShard>,
    /// How many slots would move.
    pub slots: u32,
    /// How many ranges would, with `range`.
    pub ranges: u32,
    /// How many streams are in them now.
    pub streams: u64,
    /// How many events these streams have. They stay where they are: none is copied.
    pub events: u64,
    /// About what these events take on disk.
    pub bytes: u64,
}

/// Something that would go from one shard to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMove {
    /// Who has it.
    pub from: u16,
    /// Who would have it.
    pub to: u16,
    /// How many slots; none with `range`.
    pub slots: u32,
    /// With `geo`: of which region they are.
    pub region: Option<String>,
    /// With `range`: which keys.
    pub keys: Option<KeyRange>,
}

/// What a shard has now and would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedShard {
    /// Its number.
    pub shard: u16,
    /// How many slots now and then; `None` with `range`.
    pub slots: Option<(usize, usize)>,
    /// With `range`: its ranges now and then.
    pub ranges: Option<(Vec<KeyRange>, Vec<KeyRange>)>,
}

impl Database {
    /// What a change of the shards would do. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::TopologyConflict`], [`Error::NoSuchPart`], [`Error::Invalid`]; [`Error::ShardFailed`] if a shard can't be used.
    pub async fn plan_shards(&self, change: TopologyChange) -> Result<ShardPlan, Error> {
        let topology = self.router().topology();
        let changed = self.changed(&topology, &change, None).await?;
        let (steps, moved) = (shard::steps(&changed), self.count_moved(&changed).await?);
        let mut then = changed.clone();
        for Step { part, from, to } in steps.iter().cloned() {
            let moved = Move { version: 0, part, from, to, from_position: 0, to_position: 0 };
            then = then.with_move(moved).map_err(|detail| Error::Unavailable { shard: from, detail })?;
        }
        let shards = (0..changed.shards()).map(|shard| PlannedShard {
            shard,
            slots: topology.slots_of(shard).zip(then.slots_of(shard)),
            ranges: topology.ranges_of(shard).zip(then.ranges_of(shard)),
        });
        let count = count_of(&steps);
        let has_ranges = changed.ranges().is_some();
        Ok(ShardPlan {
            topology_version: topology.version(),
            shards: shards.collect(),
            moves: steps.into_iter().map(planned).collect(),
            slots: if has_ranges { 0 } else { count },
            ranges: if has_ranges { count } else { 0 },
            streams: moved.streams,
            events: moved.events,
            bytes: moved.bytes,
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
        self.begin_change(change, None).await
    }

    /// As [`Database::change_shards`], with the reason if nobody has asked for it.
    pub(super) async fn begin_change(&self, change: TopologyChange, why: Option<String>) -> Result<Job, Error> {
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
            let changed = database.changed(&topology, &change, why).await?;
            let newcomer = match change {
                TopologyChange::Add(_) => Some(reshaping.newcomer(topology.shards()).await?),
                TopologyChange::Drain(_) | TopologyChange::Rebalance => None,
            };
            let job = reshaping.begin(changed.clone(), newcomer).await?;
            tokio::spawn(database.count_streams(job.id.clone(), changed));
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

    /// Counts up whenever it was looked whether a range has to be split by itself. For tests, which wait for that.
    #[doc(hidden)]
    #[must_use]
    pub fn split_checks(&self) -> watch::Receiver<u64> {
        self.inner.reshaping.split_checks.subscribe()
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
            tokio::spawn(self.clone().count_streams(goal.job.clone(), topology.clone()));
        }
        if self.router().topology().goal().is_some_and(|goal| !goal.is_paused) {
            self.inner.reshaping.go_on();
        }
    }

    /// Tells a job how many streams are in what it moves. Beside the moves: the more there are, the longer it takes.
    async fn count_streams(self, job: String, topology: Topology) {
        let moved = self.count_moved(&topology).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the streams that move could not be counted");
            Moved::default()
        });
        self.inner.reshaping.change(&job, |job| job.moved_streams = Some(moved.streams));
    }

    /// The topology with a change, which is not carried out yet.
    async fn changed(&self, topology: &Topology, change: &TopologyChange, why: Option<String>) -> Result<Topology, Error> {
        check(topology, change)?;
        let mut goal = Goal { why, ..self.inner.reshaping.goal(kind_of(topology, change)) };
        if topology.ranges().is_some() {
            goal.planned = match change {
                TopologyChange::Add(NewShard { split: Some(split), .. }) => ranges::add(topology, topology.shards(), Some(split), &[])?,
                TopologyChange::Add(_) => ranges::add(topology, topology.shards(), None, &self.key_loads(topology).await?)?,
                TopologyChange::Drain(shard) => ranges::drain(topology, *shard, &self.key_loads(topology).await?)?,
                TopologyChange::Rebalance => ranges::rebalance(topology, &self.key_loads(topology).await?)?,
            };
        }
        Ok(match change {
            TopologyChange::Add(NewShard { weight, region, .. }) => topology.with_shard(weight.unwrap_or(1), region.as_deref(), goal),
            TopologyChange::Drain(shard) => topology.with_draining(*shard, goal),
            TopologyChange::Rebalance => topology.with_goal(Some(goal)),
        })
    }
}

fn planned(Step { part, from, to }: Step) -> PlannedMove {
    let none = PlannedMove { from, to, slots: 0, region: None, keys: None };
    match part {
        Part::Slots(_) => PlannedMove { slots: part.count(), ..none },
        Part::Region { ref region, .. } => PlannedMove { slots: part.count(), region: Some(region.clone()), ..none },
        Part::Keys(keys) => PlannedMove { keys: Some(keys), ..none },
    }
}

fn kind_of(topology: &Topology, change: &TopologyChange) -> GoalKind {
    match change {
        TopologyChange::Add(_) => GoalKind::Add(topology.shards()),
        TopologyChange::Drain(shard) => GoalKind::Drain(*shard),
        TopologyChange::Rebalance => GoalKind::Rebalance,
    }
}

/// Whether a change makes sense, as far as the topology alone can tell.
fn check(topology: &Topology, change: &TopologyChange) -> Result<(), Error> {
    let conflict = |detail: String| Err(Error::TopologyConflict { detail });
    if !topology.elsewhere().is_empty() {
        return conflict("some of the shards are at other servers (shards.urls): what such a database began with stays".to_owned());
    }
    match change {
        TopologyChange::Add(shard) => {
            check_new(topology.strategy(), shard)?;
            if topology.shards() >= shard::SHARDS_MAX {
                return conflict(format!("there are {} shards, and there can be no more", shard::SHARDS_MAX));
            }
            Ok(())
        }
        TopologyChange::Drain(shard) if *shard >= topology.shards() => Err(Error::NoSuchPart { what: format!("shard {shard}") }),
        TopologyChange::Drain(shard) if topology.drained().contains(shard) && !topology.owns_any(*shard) => {
            conflict(format!("shard {shard} is drained already"))
        }
        TopologyChange::Drain(shard) => {
            if topology.keeps_system_streams(*shard) {
                let detail = format!("shard {shard} has the streams of the system, which stay on it: it can't be drained");
                return conflict(detail);
            }
            let region = topology.region_of(*shard);
            let is_taker = |other: &u16| other != shard && topology.region_of(*other) == region && !topology.drained().contains(other);
            match region {
                _ if (0..topology.shards()).any(|other| is_taker(&other)) => Ok(()),
                Some(region) => conflict(format!("shard {shard} is the last of the region {region} that takes appends: add another first")),
                None => conflict(format!("shard {shard} is the last one that takes appends: add another first")),
            }
        }
        TopologyChange::Rebalance => Ok(()),
    }
}

/// Whether a new shard is given what its strategy needs, and nothing else.
fn check_new(strategy: &Strategy, shard: &NewShard) -> Result<(), Error> {
    let NewShard { weight, split, region } = shard;
    let invalid = |field: &str, detail: String| Err(Error::Invalid { field: field.to_owned(), detail });
    let name = strategy.as_str();
    if weight.is_some() && !matches!(strategy, Strategy::Ring { .. }) {
        return invalid("weight", format!("only shards of ring have weights, and the strategy is {name}"));
    }
    if weight.is_some_and(|weight| !(1..=shard::WEIGHT_MAX).contains(&weight)) {
        return invalid("weight", format!("must be from 1 to {}", shard::WEIGHT_MAX));
    }
    match split {
        Some(_) if !matches!(strategy, Strategy::Range { .. }) => {
            return invalid("split", format!("only shards of range have split points, and the strategy is {name}"));
        }
        Some(split) => shard::check_split("split", split)?,
        None => {}
    }
    match (strategy, region) {
        (Strategy::Geo { regions, .. }, region) => {
            if regions.iter().any(|known| region.as_ref() == Some(&known.name)) {
                return Ok(());
            }
            let names: Vec<&str> = regions.iter().map(|region| region.name.as_str()).collect();
            let asked = region.as_ref().map_or_else(|| "is missing".to_owned(), |region| format!("is {region:?}, which there is not"));
            invalid("region", format!("{asked}: with geo it must be one of {}", names.join(", ")))
        }
        (Strategy::Hash | Strategy::Ring { .. } | Strategy::Range { .. }, Some(_)) => {
            invalid("region", format!("only shards of geo are in regions, and the strategy is {name}"))
        }
        (Strategy::Hash | Strategy::Ring { .. } | Strategy::Range { .. }, None) => Ok(()),
    }
}
