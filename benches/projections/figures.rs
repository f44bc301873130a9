//! How is a figure printed, with what it is to be?

use std::time::Duration;

/// One line: what was measured, what came out, and what is wanted of it.
#[expect(clippy::print_stdout, reason = "the figures")]
pub(crate) fn figure(what: &str, found: &str, target: &str, is_met: Option<bool>) {
    let verdict = match is_met {
        Some(true) => ": met",
        Some(false) => ": SHORT",
        None => "",
    };
    println!("{what}: {found} ({target}{verdict})");
}

/// Times in order.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that so many thousandths are at most.
    pub(crate) fn at(&self, thousandths: usize) -> Duration {
        self.0.get(self.0.len() * thousandths / 1_000).or(self.0.last()).copied().unwrap_or_default()
    }

    pub(crate) fn shown(&self) -> String {
        let shown = |thousandths| format!("{:.2}", self.at(thousandths).as_secs_f64() * 1e3);
        format!("p50 {} ms, p99 {} ms, p99.9 {} ms, max {} ms of {}", shown(500), shown(990), shown(999), shown(1_000), self.0.len())
    }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The best one, and all of them in their order.
pub(crate) fn spread(values: &[f64]) -> String {
    let all: Vec<String> = values.iter().map(|value| format!("{value:.0}")).collect();
    format!("{:.0} (of {})", values.iter().copied().fold(0.0, f64::max), all.join(", "))
}

/// What this process has used of processors so far. A busy machine does not change it as much as it changes the clock.
pub(crate) fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything: the 14th and 15th field of the line, in hundredths of a second.
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    let ticks: u64 = behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
