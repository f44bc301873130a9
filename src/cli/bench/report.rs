//! What came of a run: throughput and the distribution of times.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::cli::failure::Failure;
use crate::cli::output::Column;
use crate::cli::output::Output;
use crate::cli::output::grouped;
use crate::config::bytes_text;
use crate::config::duration_text;

/// What clients measured.
pub(super) struct Measured {
    /// One count an operation, in microseconds.
    times: Histogram<u64>,
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// How long it took, from the first to the last operation of any client.
    pub(super) seconds: f64,
}

impl Measured {
    pub(super) fn new() -> Self {
        let times = Histogram::new_with_bounds(1, TIME_MICROS_MAX, 3).expect("constant bounds are valid");
        Self { times, events: 0, bytes: 0, seconds: 0.0 }
    }

    /// Counts one operation.
    pub(super) fn record(&mut self, time: Duration, events: u64, bytes: u64) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.times.saturating_record(micros.clamp(1, TIME_MICROS_MAX));
        self.events += events;
        self.bytes += bytes;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.times.add(&other.times).expect("all have the same bounds");
        self.events += other.events;
        self.bytes += other.bytes;
    }

    fn at(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.times.value_at_quantile(quantile))
    }
}

pub(super) fn print(title: &str, measured: &Measured, output: &mut Output) -> Result<(), Failure> {
    let operations = measured.times.len();
    if operations == 0 {
        return Err(Failure::failed("nothing was measured").detail("no operation ended in time").next("give it more --seconds"));
    }
    let seconds = measured.seconds.max(1e-6);
    let max = Duration::from_micros(measured.times.max());
    if !output.is_human() {
        let micros = |quantile| u64::try_from(measured.at(quantile).as_micros()).unwrap_or(u64::MAX);
        output.json(&serde_json::json!({
            "name": title, "seconds": seconds, "operations": operations, "events": measured.events, "bytes": measured.bytes,
            "operations_per_second": per_second(operations, seconds), "events_per_second": per_second(measured.events, seconds),
            "p50_us": micros(0.5), "p95_us": micros(0.95), "p99_us": micros(0.99), "max_us": measured.times.max()
        }))?;
        return Ok(());
    }
    let name = output.bold(title);
    output.line(&name)?;
    let columns = [
        Column::right("operations/s"),
        Column::right("events/s"),
        Column::right("bytes/s"),
        Column::right("p50"),
        Column::right("p95"),
        Column::right("p99"),
        Column::right("max"),
    ];
    let row = vec![
        grouped(per_second(operations, seconds)),
        grouped(per_second(measured.events, seconds)),
        bytes_text(per_second(measured.bytes, seconds)),
        duration_text(measured.at(0.5)),
        duration_text(measured.at(0.95)),
        duration_text(measured.at(0.99)),
        duration_text(max),
    ];
    output.table(&columns, vec![row])?;
    let line = output.dim(&format!("{} operations, {} events in {seconds:.1} s", grouped(operations), grouped(measured.events)));
    output.line(&line)?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
fn per_second(count: u64, seconds: f64) -> u64 {
    (count as f64 / seconds) as u64
}

const TIME_MICROS_MAX: u64 = 600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_add_up() {
        let mut sum = Measured::new();
        for micros in [100, 200, 900] {
            let mut one = Measured::new();
            one.record(Duration::from_micros(micros), 10, 1_000);
            sum.add(&one);
        }
        assert_eq!((sum.events, sum.bytes, sum.times.len()), (30, 3_000, 3));
        assert_eq!(sum.at(0.5), Duration::from_micros(200));
        assert_eq!(per_second(sum.events, 0.5), 60);
    }
}
