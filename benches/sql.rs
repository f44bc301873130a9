//! How fast is SQL over the log and over Parquet? The real data, repeated with shifted ids until there are `EVENTS` (default 1,000,000).
//!
//! `EVENTS=10000000 cargo bench --bench sql`. Each figure is the best of five; figures compare only within one run. Expected on the 2-core
//! machine of `docs/performance.md`: at least 1,500,000 events/s for a query that reads three columns of the log, less than 5 ms for one
//! stream.

#![cfg_attr(not(feature = "analytics"), expect(unused, reason = "there is no SQL to measure"))]
#![expect(clippy::print_stdout, reason = "figures are for people")]

#[cfg(feature = "analytics")]
#[path = "export/data.rs"]
mod data;
#[cfg(feature = "analytics")]
#[path = "sql/measure.rs"]
mod measure;

fn main() {
    #[cfg(feature = "analytics")]
    measure::main();
}
