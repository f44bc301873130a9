//! What must the worker know? What it saw last is kept, so that it is not woken for what it knows.

use tokio::time::Instant;

use super::Books;
use super::Now;
use super::Wanted;

/// What the worker sees.
#[derive(Clone, Copy, Default)]
pub(in super::super) struct Look {
    /// More of the log is to be read.
    pub(in super::super) wants_more: bool,
    /// When something is due.
    pub(in super::super) due: Option<Instant>,
    /// Something is to be stored.
    pub(in super::super) has_changes: bool,
    /// Nobody is there, and nothing is out.
    pub(in super::super) is_idle: bool,
}

impl Books {
    /// Does what is due, and says what is to be read again and what else there is.
    pub(in super::super) fn look(&mut self, now: Now) -> (Vec<Wanted>, Look) {
        self.expire(now);
        self.shed_for_hungry();
        let wanted = self.wanted();
        self.seen = Look { wants_more: self.wants_more(), due: self.next_due(), has_changes: self.has_changes(), is_idle: self.is_idle() };
        (wanted, self.seen)
    }

    /// Whether the worker has to look again before it would by itself. What was there when it looked and is gone, it finds out in time.
    pub(in super::super) fn concerns_worker(&self) -> bool {
        let seen = &self.seen;
        !self.wanting.is_empty()
            || self.next_due().is_some_and(|next| seen.due.is_none_or(|due| next < due))
            || (!seen.wants_more && self.wants_more())
            || (!seen.has_changes && self.has_changes())
            || (!seen.is_idle && self.is_idle())
    }

    fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }
}
