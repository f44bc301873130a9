//! Where do measurements go, and how are they read? Everyone else only uses the macros of the crate `metrics`, which cost next to nothing
//! as long as nothing is installed here.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::BuildError;
use metrics_exporter_prometheus::Matcher;
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::MissedTickBehavior;

/// Keeps the measurements of this process from here on. Once is enough, and again does no harm.
///
/// # Errors
///
/// A sentence: the program has installed a recorder of its own.
pub fn install() -> Result<(), String> {
    RECORDER.get_or_init(|| build().map_err(|error| error.to_string())).as_ref().map(|_| ()).map_err(Clone::clone)
}

fn build() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?.install_recorder()
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

/// All measurements in the text format of Prometheus (0.0.4); `None` if nothing was installed. A recorder never forgets: series whose
/// label `name` has a value that is not there any more are left out here.
pub fn text(name: &str, is_there: impl Fn(&str) -> bool) -> Option<String> {
    let recorder = RECORDER.get()?.as_ref().ok()?;
    Some(without_gone(&recorder.render(), name, is_there))
}

fn without_gone(text: &str, name: &str, is_there: impl Fn(&str) -> bool) -> String {
    let kept = text.split_inclusive('\n').filter(|line| label(line, name).is_none_or(|value| is_there(&value)));
    kept.collect()
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
const SECONDS: &[f64] = &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_series_of_what_is_gone_are_left_out() {
        let text = "# HELP a projection=\"gone\"\n# TYPE a gauge\na{projection=\"here\",state=\"x\"} 1\na{state=\"x\",projection=\"gone\"} 1\n\
                    a{projection=\"a \\\"b\\\\\"} 2\na{other=\"{projection=\\\"gone\\\"\"} 3\na 4\n\n";
        let kept = without_gone(text, "projection", |value| value == "here" || value == "a \"b\\");
        assert_eq!(kept, text.replace("a{state=\"x\",projection=\"gone\"} 1\n", ""));
    }
}
