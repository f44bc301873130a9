//! What time is it, when a test decides?

use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use crate::Timestamp;

/// Where wall-clock time comes from. Order never depends on it: `recorded_at` is the larger of this and the last one given.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place of the engine that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}
