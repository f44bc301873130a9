//! Which slots went from one shard to another, and which shards have had a stream since?
//!
//! History is never copied: a shard that hands slots over keeps what it has of them. So a stream may have its events in several logs,
//! and each shard that has had its slot is one *tenure*, the newest last.

use std::collections::HashMap;
use std::sync::Arc;

use factum_storage::Position;
use serde::Deserialize;
use serde::Serialize;

/// Slots that went from one shard to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Move {
    /// The version of the topology that it made.
    pub(crate) version: u64,
    /// Ascending.
    pub(crate) slots: Vec<u16>,
    pub(crate) from: u16,
    pub(crate) to: u16,
    /// Where the log of `from` was then: its events of these slots up to here came before those of `to`.
    pub(crate) from_position: u64,
    /// Where the log of `to` was then: what it has of these slots stands behind here.
    pub(crate) to_position: u64,
}

/// One shard's time with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tenure {
    pub(crate) shard: u16,
    /// What the shard has of the slot from this time stands behind here in its log.
    pub(crate) since: Position,
}

/// The tenures of those slots that have moved, oldest first. A slot that never did is not there.
pub(crate) type Tenures = HashMap<u16, Arc<[Tenure]>>;

/// Makes them of all moves.
///
/// # Errors
///
/// In words, if the moves do not follow from each other or do not end with these owners.
pub(super) fn tenures(moves: &[Move], slots: &[u16]) -> Result<Tenures, String> {
    let mut found: HashMap<u16, Vec<Tenure>> = HashMap::new();
    for Move { slots: moved, from, to, to_position, .. } in moves {
        for slot in moved {
            let had = found.entry(*slot).or_insert_with(|| vec![Tenure { shard: *from, since: Position::ZERO }]);
            let owner = had.last().map(|tenure| tenure.shard);
            if owner != Some(*from) || from == to {
                return Err(format!("slot {slot} went from shard {from} to {to}, and shard {owner:?} had it"));
            }
            had.push(Tenure { shard: *to, since: Position::new(*to_position) });
        }
    }
    for (slot, had) in &found {
        let owner = slots.get(usize::from(*slot));
        if had.last().map(|tenure| &tenure.shard) != owner {
            return Err(format!("slot {slot} went to another shard than to its owner, {owner:?}"));
        }
    }
    Ok(found.into_iter().map(|(slot, had)| (slot, Arc::from(had))).collect())
}
