//! How fast does a lake follow the log, how small are its files, and what do appends notice? The real data, repeated with shifted ids until
//! there are `EVENTS` (default 1,000,000).
//!
//! `EVENTS=10000000 cargo bench --bench export`. Figures compare only within one run. Expected on the 2-core machine of
//! `docs/performance.md`: at least 250,000 events/s, and appends of 64 tasks that keep nine tenths of their rate meanwhile.

#![cfg_attr(not(feature = "analytics"), expect(unused, reason = "there are no exports to measure"))]
#![expect(clippy::print_stdout, reason = "figures are for people")]

#[cfg(feature = "analytics")]
#[path = "export/data.rs"]
mod data;
#[cfg(feature = "analytics")]
#[path = "export/measure.rs"]
mod measure;

fn main() {
    #[cfg(feature = "analytics")]
    measure::main();
}
