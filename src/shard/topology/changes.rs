//! What comes after a topology, and what for?

use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use super::Inner;
use super::Topology;
use crate::shard::moves;
use crate::shard::moves::Move;
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
    /// How many slots there were to move in all.
    pub(crate) total: u16,
    pub(crate) is_paused: bool,
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

    /// The next version, in which what was being done is given up: a shard that still has slots is to keep them.
    pub(crate) fn without_goal(&self) -> Self {
        self.next(|next| {
            let slots = &next.slots;
            next.drained.retain(|shard| !slots.contains(shard));
            next.goal = None;
        })
    }

    /// The next version, with one shard more, which owns nothing yet.
    pub(crate) fn with_shard(&self, weight: u32, goal: Goal) -> Self {
        self.next(|next| {
            next.shards += 1;
            if let Strategy::Ring { weights } = &mut next.strategy {
                weights.push(weight);
            }
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

    /// The next version, in which slots have moved.
    ///
    /// # Errors
    ///
    /// In words, if `from` does not own them.
    pub(crate) fn with_move(&self, moved: Move) -> Result<Self, String> {
        let moved = Move { version: self.inner.version + 1, ..moved };
        let mut slots = self.inner.slots.clone();
        for slot in &moved.slots {
            let owner = slots.get_mut(usize::from(*slot)).ok_or_else(|| format!("there is no slot {slot}"))?;
            if *owner != moved.from {
                return Err(format!("slot {slot} is not shard {}'s to give, but shard {owner}'s", moved.from));
            }
            *owner = moved.to;
        }
        let moves: Vec<Move> = self.inner.moves.iter().cloned().chain([moved]).collect();
        let tenures = moves::tenures(&moves, &slots)?;
        Ok(self.next(|next| (next.slots, next.moves, next.tenures) = (slots, moves, tenures)))
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
            .map(|shard| serde_json::json!({ "id": shard, "slots": self.slots_of(shard), "drained": drained.contains(&shard) }))
            .collect();
        // Each hand-over is one version, and nothing else of that version changes.
        let moved = moves.last().filter(|moved| moved.version == *version);
        let event_type = if moved.is_some() { "SlotsMoved" } else { "TopologyChanged" };
        let data = serde_json::json!({
            "version": version, "strategy": strategy.as_str(), "shards": each, "moved": moved, "change": goal,
        });
        (event_type, data.to_string())
    }
}
