//! Where do measurements go, and how are they read? Everyone else only uses the macros of the crate `metrics`, which cost next to nothing
//! as long as nothing is installed here.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::BuildError;
use metrics_exporter_prometheus::Matcher;
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::MissedTickBehavior;

use super::catalogue;
use super::families;
use super::open_metrics;
use super::process;

/// Keeps the measurements of this process from here on. Once is enough, and again does no harm.
///
/// # Errors
///
/// A sentence: the program has installed a recorder of its own.
pub fn install() -> Result<(), String> {
    process::begin();
    let installed = RECORDER.get_or_init(|| build().map_err(|error| error.to_string()));
    installed.as_ref().map(|_| catalogue::describe()).map_err(Clone::clone)
}

fn build() -> Result<PrometheusHandle, BuildError> {
    let ending = |suffix: &str| Matcher::Suffix(suffix.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(ending("_seconds"), SECONDS)?
        .set_buckets_for_metric(ending("_calls"), CALLS)?
        .set_buckets_for_metric(ending("_shards"), SHARDS)?
        .install_recorder()
}

/// Puts what was recorded in order from time to time, for ever: else it piles up between two readings.
pub async fn keep() {
    let Some(Ok(recorder)) = RECORDER.get() else { return };
    let mut every = tokio::time::interval(KEPT_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        recorder.run_upkeep();
    }
}

/// The values of a label that are there still: what the recorder has of others is of things that are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Which label.
    pub label: &'static str,
    /// Its values.
    pub values: BTreeSet<String>,
}

/// All measurements in the text format of Prometheus (0.0.4); `None` if nothing was installed. A recorder never forgets: series of what is
/// gone are left out here.
pub fn text(present: &[Present]) -> Option<String> {
    let recorder = RECORDER.get()?.as_ref().ok()?;
    Some(without_gone(&recorder.render(), present) + &process::text())
}

/// The same as OpenMetrics 1.0, with traces that show why.
pub fn open_text(present: &[Present]) -> Option<String> {
    text(present).map(|text| open_metrics::text(&families::read(&text)))
}

fn without_gone(text: &str, present: &[Present]) -> String {
    let is_there = |line: &str| present.iter().all(|of| label(line, of.label).is_none_or(|value| of.values.contains(&value)));
    text.split_inclusive('\n').filter(|line| is_there(line)).collect()
}

/// The value of a label in a line of the text format.
fn label(line: &str, name: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let begins = |brace| line.find(&format!("{brace}{name}=\"")).map(|at| at + name.len() + 3);
    // A quote inside of another value has a backslash before it, so neither is found there.
    let mut rest = line.get(begins('{').or_else(|| begins(','))?..)?.chars();
    let mut value = String::new();
    loop {
        match rest.next()? {
            '"' => return Some(value),
            '\\' => match rest.next()? {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            plain => value.push(plain),
        }
    }
}

static RECORDER: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
const KEPT_EVERY: Duration = Duration::from_secs(5);

/// From a commit into memory to one that a slow disk or a lock has held up.
pub(super) const SECONDS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// From a client alone to a load that fills a batch.
const CALLS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1_024.0, 4_096.0];
/// One is the answer that most reads should have.
const SHARDS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_series_of_what_is_gone_are_left_out() {
        let text = "# HELP a projection=\"gone\"\n# TYPE a gauge\na{projection=\"here\",state=\"x\"} 1\na{state=\"x\",projection=\"gone\"} 1\n\
                    a{projection=\"a \\\"b\\\\\"} 2\na{other=\"{projection=\\\"gone\\\"\"} 3\na 4\n\n";
        let values = BTreeSet::from(["here".to_owned(), "a \"b\\".to_owned()]);
        let kept = without_gone(text, &[Present { label: "projection", values }]);
        assert_eq!(kept, text.replace("a{state=\"x\",projection=\"gone\"} 1\n", ""));
    }
}
