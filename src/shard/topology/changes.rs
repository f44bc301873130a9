//! What comes after a topology, and what for?

use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use super::Inner;
use super::Topology;
use crate::shard::key_map::KeyRange;
use crate::shard::moves::Move;
use crate::shard::moves::Part;
use crate::shard::moves::Tenures;
use crate::shard::strategy::Strategy;

/// What a change of the topology is for. It is kept, so that a restart goes on with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Goal {
    /// The name of the job.
    pub(crate) job: String,
    pub(crate) kind: GoalKind,
    /// Microseconds since 1970 UTC.
    pub(crate) started_at: i64,
    /// How many slots, or ranges, there were to move in all.
    pub(crate) total: u32,
    pub(crate) is_paused: bool,
    /// With `range`: what is left to move, in this order. It depends on what was there when the change began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) planned: Vec<KeyStep>,
    /// Why the database began it by itself; `None` if somebody has asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// Keys that are to go from one shard to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyStep {
    pub(crate) keys: KeyRange,
    pub(crate) from: u16,
    pub(crate) to: u16,
}

/// What a change of the topology comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GoalKind {
    /// A new shard takes its share.
    Add(u16),
    /// A shard gives all away.
    Drain(u16),
    /// Each gets its share.
    Rebalance,
}

impl Topology {
    /// The next version, with another goal.
    pub(crate) fn with_goal(&self, goal: Option<Goal>) -> Self {
        self.next(|next| next.goal = goal)
    }

    /// The same, before anybody knows of it, with another goal.
    pub(crate) fn same_version_with_goal(&self, goal: Goal) -> Self {
        let mut same = self.inner.as_ref().clone();
        same.goal = Some(goal);
        Self { inner: Arc::new(same) }
    }

    /// The next version, in which what was being done is given up: a shard that still has something is to keep it.
    pub(crate) fn without_goal(&self) -> Self {
        self.next(|next| {
            let owners = &next.owners;
            next.drained.retain(|shard| !owners.has_any(*shard));
            next.goal = None;
        })
    }

    /// The next version, with one shard more, which owns nothing yet. With `ring` it has a weight, with `geo` a region that is there.
    pub(crate) fn with_shard(&self, weight: u32, region: Option<&str>, goal: Goal) -> Self {
        self.next(|next| {
            match &mut next.strategy {
                Strategy::Ring { weights } => weights.push(weight),
                Strategy::Geo { regions, .. } => {
                    let joined = regions.iter_mut().filter(|known| region == Some(known.name.as_str()));
                    joined.for_each(|region| region.shards.push(next.shards));
                }
                Strategy::Hash | Strategy::Range { .. } => {}
            }
            next.shards += 1;
            next.goal = Some(goal);
        })
    }

    /// The next version, in which a shard is to give everything away.
    pub(crate) fn with_draining(&self, shard: u16, goal: Goal) -> Self {
        self.next(|next| {
            next.drained.insert(shard);
            next.goal = Some(goal);
        })
    }

    /// The next version, in which something has moved. If the goal has planned it, that is done.
    ///
    /// # Errors
    ///
    /// In words, if it is not `from`'s to give, or would leave its region.
    pub(crate) fn with_move(&self, moved: Move) -> Result<Self, String> {
        let moved = Move { version: self.inner.version + 1, ..moved };
        let Inner { strategy, goal, .. } = &*self.inner;
        let (mut owners, mut goal) = (self.inner.owners.clone(), goal.clone());
        owners.give(&moved.part, (moved.from, moved.to), strategy)?;
        if let (Some(goal), Part::Keys(keys)) = (&mut goal, &moved.part)
            && goal.planned.first().is_some_and(|step| (&step.keys, step.from, step.to) == (keys, moved.from, moved.to))
        {
            goal.planned.remove(0);
        }
        let moves: Vec<Move> = self.inner.moves.iter().cloned().chain([moved]).collect();
        let tenures = Tenures::new(&moves, strategy)?;
        owners.check_tenures(&tenures)?;
        Ok(self.next(|next| (next.owners, next.moves, next.tenures, next.goal) = (owners, moves, tenures, goal)))
    }

    fn next(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut next = self.inner.as_ref().clone();
        next.version += 1;
        change(&mut next);
        Self { inner: Arc::new(next) }
    }

    /// What is told of it in a stream: the type of an event, and its data as JSON.
    pub(crate) fn event(&self) -> (&'static str, String) {
        let Inner { version, shards, strategy, moves, drained, goal, .. } = &*self.inner;
        let each: Vec<_> = (0..*shards)
            .map(|shard| {
                let (slots, ranges, region) = (self.slots_of(shard), self.ranges_of(shard), self.region_of(shard));
                let mut told = serde_json::json!({ "id": shard, "slots": slots, "drained": drained.contains(&shard) });
                if let Some(ranges) = ranges {
                    told["ranges"] = serde_json::json!(ranges);
                }
                if let Some(region) = region {
                    told["region"] = serde_json::json!(region);
                }
                told
            })
            .collect();
        // Each hand-over is one version, and nothing else of that version changes.
        let moved = moves.last().filter(|moved| moved.version == *version);
        let event_type = match moved.map(|moved| &moved.part) {
            Some(Part::Slots(_) | Part::Region { .. }) => "SlotsMoved",
            Some(Part::Keys(_)) => "RangeMoved",
            None => "TopologyChanged",
        };
        let data = serde_json::json!({
            "version": version, "strategy": strategy.as_str(), "shards": each, "moved": moved, "change": goal,
        });
        (event_type, data.to_string())
    }
}
