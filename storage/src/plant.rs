//! Would the tests notice if the engine had this bug?
//!
//! Each [`Plant`] names one bug that the engine can be made to have, on the calling thread, for as long as its guard
//! lives. The engine asks [`active`] at the place where the bug would be. Without the feature `simulation` the answer
//! is a constant `false`, so a released engine holds no trace of it.

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plant {
    /// A commit writes its frames and answers, and nobody syncs them.
    SkipLogSync,
    /// A commit is published and answered before its sync, so a failed sync changes nothing.
    AckBeforeSync,
    /// The directory is not synced after a new segment got its name.
    SkipDirSync,
    /// The directory is not synced after recovery gave the fresh segment its name.
    SkipRecoveryDirSync,
    /// Recovery cuts at the first bad frame, also when it stands below what is known to be durable.
    CutAtFirstBadFrame,
    /// Frames above the durable point are trusted where they stand, not written to a fresh segment first.
    TrustUnprovenTail,
    /// The checksum of a frame is not compared.
    IgnoreFrameCrc,
    /// A frame of a smaller epoch than the frame before is taken as good.
    IgnoreEpoch,
    /// The chain of a frame above the durable point is not compared.
    IgnoreChain,
    /// Frames say that nothing was durable when they were written.
    NoDurableUptoInFrame,
    /// An index that knows of a durable position behind the log's end is used as if nothing were missing.
    IndexAheadAccepted,
    /// A commit after a failed sync is written and synced as if nothing had happened.
    RetrySyncAfterFailure,
    /// A new segment gets its name before its bytes are synced.
    RenameBeforeSync,
    /// The index is flushed up to positions that are written but not yet committed.
    IndexFlushBeforeCommit,
    /// The part of the index that was being flushed is forgotten when the flush fails.
    LoseFrozenDelta,
    /// Staging checks versions against what is committed and does not see earlier requests of the same batch.
    SkipVersionCheckInBatch,
    /// A frame that begins behind the next expected position is taken as good.
    AcceptGapInPositions,
    /// Nobody checks that a segment begins where the one before it ended.
    ForgetSealContinuity,
    /// The position is left out of a record's checksum.
    RecordWithoutPositionInCrc,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::SkipLogSync,
        Self::AckBeforeSync,
        Self::SkipDirSync,
        Self::SkipRecoveryDirSync,
        Self::CutAtFirstBadFrame,
        Self::TrustUnprovenTail,
        Self::IgnoreFrameCrc,
        Self::IgnoreEpoch,
        Self::IgnoreChain,
        Self::NoDurableUptoInFrame,
        Self::IndexAheadAccepted,
        Self::RetrySyncAfterFailure,
        Self::RenameBeforeSync,
        Self::IndexFlushBeforeCommit,
        Self::LoseFrozenDelta,
        Self::SkipVersionCheckInBatch,
        Self::AcceptGapInPositions,
        Self::ForgetSealContinuity,
        Self::RecordWithoutPositionInCrc,
    ];
}

#[cfg(feature = "simulation")]
pub use planted::Planted;
#[cfg(feature = "simulation")]
pub use planted::active;
#[cfg(feature = "simulation")]
pub use planted::plant;
#[cfg(feature = "simulation")]
pub use planted::reached;

/// Whether this bug is planted: never, in this build.
#[cfg(not(feature = "simulation"))]
#[must_use]
pub const fn active(_plant: Plant) -> bool {
    false
}

#[cfg(feature = "simulation")]
mod planted {
    use std::cell::Cell;

    use super::Plant;

    thread_local! {
        static ACTIVE: Cell<Option<Plant>> = const { Cell::new(None) };
        static REACHED: Cell<bool> = const { Cell::new(false) };
    }

    /// Whether this bug is planted on this thread.
    #[must_use]
    pub fn active(plant: Plant) -> bool {
        let is_active = ACTIVE.get() == Some(plant);
        if is_active {
            REACHED.set(true);
        }
        is_active
    }

    /// Whether the engine has come by the planted bug since it was planted: a bug that nobody found is told from one that nobody built in.
    #[must_use]
    pub fn reached() -> bool {
        REACHED.get()
    }

    /// Plants a bug on this thread until the guard is dropped. One at a time: a second one replaces the first.
    #[must_use]
    pub fn plant(plant: Plant) -> Planted {
        ACTIVE.set(Some(plant));
        REACHED.set(false);
        Planted(())
    }

    /// A bug is planted while this lives.
    #[derive(Debug)]
    pub struct Planted(());

    impl Drop for Planted {
        fn drop(&mut self) {
            ACTIVE.set(None);
        }
    }
}

#[cfg(all(test, feature = "simulation"))]
mod tests {
    use super::*;

    #[test]
    fn a_planted_bug_is_active_until_its_guard_is_dropped() {
        assert!(!active(Plant::SkipLogSync));
        let guard = plant(Plant::SkipLogSync);
        assert!(!active(Plant::IgnoreChain) && !reached());
        assert!(active(Plant::SkipLogSync) && reached());
        drop(guard);
        assert!(!active(Plant::SkipLogSync));
    }
}
