//! How is the memory of queries shared out? As they come while there is enough, and fairly once it gets tight.
//!
//! What can move to the disk (sorts, groups, joins) may take what it needs as long as all together use less than half. Beyond that, each
//! has a share, as in DataFusion's `FairSpillPool`, which divides from the first byte on: two sorts of one query, each in two parts,
//! would go to the disk with three quarters of the memory free.

use std::fmt;

use datafusion::common::Result;
use datafusion::common::resources_datafusion_err;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::memory_pool::MemoryReservation;
use parking_lot::Mutex;

/// The memory of all queries.
#[derive(Debug)]
pub(super) struct Pool {
    bytes: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    /// How many there are that can move to the disk,
    movers: usize,
    /// the bytes that they have,
    movable: usize,
    /// and those of everybody else.
    fixed: usize,
}

impl Pool {
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes, used: Mutex::default() }
    }

    /// May one that has `own` bytes with those that it asks for, while all have `total` with them?
    fn allows(&self, used: &Used, can_move: bool, own: usize, total: usize) -> bool {
        if !can_move {
            return total <= self.bytes;
        }
        let movers = used.movers.max(1);
        // Without anything at all nobody could begin to move to the disk: a little is always there.
        if own <= self.bytes / ALWAYS / movers {
            return true;
        }
        let share = self.bytes.saturating_sub(used.fixed) / movers;
        total <= self.bytes && (total <= self.bytes / 2 || own <= share)
    }
}

impl MemoryPool for Pool {
    fn name(&self) -> &'static str {
        "queries"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.used.lock().movers += usize::from(consumer.can_spill());
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.used.lock().movers -= usize::from(consumer.can_spill());
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let mut used = self.used.lock();
        *used.part(reservation.consumer().can_spill()) += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut used = self.used.lock();
        *used.part(reservation.consumer().can_spill()) -= shrink;
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let can_move = reservation.consumer().can_spill();
        let mut used = self.used.lock();
        let total = used.movable.saturating_add(used.fixed).saturating_add(additional);
        if !self.allows(&used, can_move, reservation.size().saturating_add(additional), total) {
            let name = reservation.consumer().name();
            return Err(resources_datafusion_err!(
                "{additional} more bytes for {name} are not there: of {} in all, {total} with them",
                self.bytes
            ));
        }
        *used.part(can_move) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let used = self.used.lock();
        used.movable + used.fixed
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queries, {} bytes", self.bytes)
    }
}

impl Used {
    fn part(&mut self, can_move: bool) -> &mut usize {
        if can_move { &mut self.movable } else { &mut self.fixed }
    }
}

/// This part of all is for those that have next to nothing.
const ALWAYS: usize = 4;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn one(pool: &Arc<dyn MemoryPool>, can_move: bool) -> MemoryReservation {
        MemoryConsumer::new("one").with_can_spill(can_move).register(pool)
    }

    #[test]
    fn one_takes_half_and_beyond_it_each_has_a_share() {
        let pool: Arc<dyn MemoryPool> = Arc::new(Pool::new(1_000));
        let (first, second, third) = (one(&pool, true), one(&pool, true), one(&pool, true));
        first.try_grow(500).unwrap();
        first.try_grow(1).unwrap_err();
        second.try_grow(333).unwrap();
        second.try_grow(1).unwrap_err();
        // The third gets what is left of its share, and always a little.
        third.try_grow(168).unwrap_err();
        third.try_grow(167).unwrap();
        assert_eq!(pool.reserved(), 1_000);
        let fourth = one(&pool, true);
        fourth.try_grow(63).unwrap_err();
        fourth.try_grow(62).unwrap();
        // Who has gone leaves everything to the others.
        drop((first, second, fourth));
        third.try_grow(333).unwrap();
        third.try_grow(501).unwrap_err();
        drop(third);
        assert_eq!(pool.reserved(), 0);
        one(&pool, true).try_grow(1_000).unwrap();
    }

    #[test]
    fn what_can_not_move_has_all_that_is_left_and_no_more() {
        let pool: Arc<dyn MemoryPool> = Arc::new(Pool::new(1_000));
        let (mover, fixed) = (one(&pool, true), one(&pool, false));
        mover.try_grow(400).unwrap();
        fixed.try_grow(601).unwrap_err();
        fixed.try_grow(600).unwrap();
        mover.try_grow(1).unwrap_err();
        fixed.shrink(100);
        mover.try_grow(100).unwrap();
        assert_eq!(pool.reserved(), 1_000);
    }
}
