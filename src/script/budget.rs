//! How long may a call go on? So long as neither the clock nor the engine's own count says no.

use std::cell::Cell;
use std::time::Instant;

use super::Options;

/// How long a call may still go on; the engine asks now and then.
pub(super) struct Budget {
    deadline: Cell<Instant>,
    interrupts_left: Cell<u64>,
    /// Stays so until the next call: code that swallowed one interrupt meets the next.
    is_spent: Cell<bool>,
    /// Only while code of a module may run.
    is_armed: Cell<bool>,
}

impl Budget {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { deadline: Cell::new(Instant::now()), interrupts_left: Cell::new(0), is_spent: Cell::new(false), is_armed: Cell::new(false) }
    }

    /// The budget of a new call.
    pub(super) fn renew(&self, options: &Options) {
        self.deadline.set(Instant::now() + options.wall);
        self.interrupts_left.set(options.interrupts_max);
        self.is_spent.set(false);
    }

    /// From here on code of a module runs.
    pub(super) fn arm(&self) {
        self.is_armed.set(true);
    }

    /// From here on only the driver runs. Says whether the call had to be stopped.
    pub(super) fn disarm(&self) -> bool {
        self.is_armed.set(false);
        self.is_spent.get()
    }

    /// What the engine asks.
    pub(super) fn has_run_out(&self) -> bool {
        if !self.is_armed.get() {
            return false;
        }
        let left = self.interrupts_left.get();
        self.interrupts_left.set(left.saturating_sub(1));
        if left == 0 || Instant::now() > self.deadline.get() {
            self.is_spent.set(true);
        }
        self.is_spent.get()
    }
}
