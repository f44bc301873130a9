//! What is asked of shards, and what do plans and jobs look like?

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::database;
use crate::database::Job;
use crate::database::KeyRange;
use crate::database::SLOTS;
use crate::database::ShardPlan;
use crate::subscription::time::push_timestamp;

/// What a new shard is to be like.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewShard {
    /// With `ring`: its share against the others', 1 to 100; 1 by default.
    #[serde(default)]
    pub(super) weight: Option<u32>,
    /// With `range`: it takes the keys from this one on, up to the end of the range that it lies in. Without: the upper half of the
    /// heaviest range, by events.
    #[serde(default)]
    pub(super) split: Option<String>,
    /// With `geo`: the region that it joins.
    #[serde(default)]
    pub(super) region: Option<String>,
}

/// What a change of the shards would do.
#[derive(Serialize, ToSchema)]
pub(crate) struct Plan {
    /// The version of the topology that it is made for.
    topology_version: u64,
    moves: Vec<PlannedMove>,
    shards: Vec<PlannedShard>,
    /// How many slots would move.
    moved_slots: u32,
    /// The same as a share of all slots; null with `range`.
    moved_fraction: Option<f64>,
    /// With `range`: how many ranges would move.
    moved_ranges: u32,
    /// How many streams are in them now.
    moved_streams: u64,
    /// How many events these streams have, which stay where they are.
    events: u64,
    /// About how many bytes these take in the logs that keep them.
    bytes: u64,
    /// History is never copied.
    copied_bytes: u64,
}

/// Slots, or keys, that would go from one shard to another.
#[derive(Serialize, ToSchema)]
pub(crate) struct PlannedMove {
    from: u16,
    to: u16,
    /// 0 with `range`.
    slots: u32,
    /// With `geo`: the region that they are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    /// With `range`: which keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<RangeInfo>,
}

/// Keys that follow each other, by the order of their bytes.
#[derive(Serialize, ToSchema)]
pub(crate) struct RangeInfo {
    /// The first of them; null: the first of all.
    from: Option<String>,
    /// The first behind them; null: they go to the last of all.
    to: Option<String>,
}

/// What a shard would have.
#[derive(Serialize, ToSchema)]
pub(crate) struct PlannedShard {
    id: u16,
    /// Null with `range`.
    slots_now: Option<usize>,
    slots_then: Option<usize>,
    /// With `range`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ranges_now: Option<Vec<RangeInfo>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ranges_then: Option<Vec<RangeInfo>>,
}

/// Jobs.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobList {
    pub(super) jobs: Vec<JobInfo>,
}

/// A change of the shards, and how far it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobInfo {
    id: String,
    /// `add`, `drain` or `rebalance`.
    kind: &'static str,
    /// The shard that joins or is drained.
    shard: Option<u16>,
    /// `running`, `paused`, `failed` (it can be resumed), `done`, `cancelled`.
    state: &'static str,
    /// What is counted: `slots`, or `ranges` with the strategy `range`.
    unit: &'static str,
    /// How many of them have moved.
    done: u32,
    /// How many have to.
    total: u32,
    /// How many streams are in all of these; null until they are counted.
    moved_streams: Option<u64>,
    /// Which share of all slots has moved, with `geo` of one region's; null with `range`.
    moved_fraction: Option<f64>,
    /// Why the server began it by itself; null if somebody has asked for it.
    why: Option<String>,
    started_at: String,
    /// How long it may take yet; null if that can't be told, or nothing moves.
    eta_seconds: Option<f64>,
    /// Why it has failed.
    error: Option<String>,
}

impl JobInfo {
    pub(crate) fn new(job: &Job) -> Self {
        Self {
            id: job.id.clone(),
            kind: job.kind,
            shard: job.shard,
            state: job.state.as_str(),
            unit: job.unit,
            done: job.done,
            total: job.total,
            moved_streams: job.moved_streams,
            moved_fraction: job.moved_fraction(),
            why: job.why.clone(),
            started_at: {
                let mut text = Vec::new();
                push_timestamp(&mut text, job.started_at);
                String::from_utf8_lossy(&text).into_owned()
            },
            eta_seconds: job.eta().map(|eta| eta.as_secs_f64()),
            error: job.error.clone(),
        }
    }
}

impl Plan {
    pub(super) fn new(plan: &ShardPlan) -> Self {
        let planned_move = |planned: &database::PlannedMove| PlannedMove {
            from: planned.from,
            to: planned.to,
            slots: planned.slots,
            region: planned.region.clone(),
            range: planned.keys.clone().map(RangeInfo::from),
        };
        let planned_shard = |planned: &database::PlannedShard| {
            let (slots_now, slots_then) = planned.slots.unzip();
            let (ranges_now, ranges_then) = planned.ranges.clone().map(|(now, then)| (infos(now), infos(then))).unzip();
            PlannedShard { id: planned.shard, slots_now, slots_then, ranges_now, ranges_then }
        };
        let has_slots = plan.shards.iter().all(|shard| shard.slots.is_some());
        Self {
            topology_version: plan.topology_version,
            moves: plan.moves.iter().map(planned_move).collect(),
            shards: plan.shards.iter().map(planned_shard).collect(),
            moved_slots: plan.slots,
            moved_fraction: has_slots.then(|| f64::from(plan.slots) / f64::from(SLOTS)),
            moved_ranges: plan.ranges,
            moved_streams: plan.streams,
            events: plan.events,
            bytes: plan.bytes,
            copied_bytes: 0,
        }
    }
}

impl From<KeyRange> for RangeInfo {
    fn from(KeyRange { from, to }: KeyRange) -> Self {
        Self { from, to }
    }
}

/// Ranges as they are shown.
pub(crate) fn infos(ranges: Vec<KeyRange>) -> Vec<RangeInfo> {
    ranges.into_iter().map(RangeInfo::from).collect()
}
