//! Which trace shows why a measurement is as it is? For each bucket of some histograms the latest request that is kept as a trace.

use std::sync::OnceLock;
use std::time::Duration;

use foldhash::HashMap;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::metrics::SECONDS;
use super::traces::Place;

/// One request of those that a bucket has counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exemplar {
    pub(super) place: Place,
    pub(super) value: f64,
    pub(super) at: Timestamp,
}

/// Notes one for the bucket of a histogram in seconds that has counted `took`.
pub fn note(name: &'static str, labels: &[(&'static str, &str)], took: Duration, place: Place) {
    let value = took.as_secs_f64();
    let bucket = SECONDS.iter().position(|bound| value <= *bound).unwrap_or(SECONDS.len());
    let mut kept = KEPT.get_or_init(Mutex::default).lock();
    let count = kept.len();
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let key = Key { name, labels: labels.collect() };
    // There are as many as there are routes and shards, but nothing here says so.
    if count < SERIES_MAX || kept.contains_key(&key) {
        let buckets = kept.entry(key).or_insert_with(|| vec![None; SECONDS.len() + 1]);
        if let Some(slot) = buckets.get_mut(bucket) {
            *slot = Some(Exemplar { place, value, at: Timestamp::now() });
        }
    }
}

/// Those of a histogram's series, bucket by bucket; none if there are none.
pub(super) fn of(name: &str, labels: &[(String, String)]) -> Vec<Option<Exemplar>> {
    let Some(kept) = KEPT.get() else { return Vec::new() };
    let kept = kept.lock();
    let found = kept.iter().find(|(key, _)| key.name == name && key.labels == labels);
    found.map(|(_, buckets)| buckets.clone()).unwrap_or_default()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    name: &'static str,
    /// In the order of the catalogue.
    labels: Vec<(String, String)>,
}

static KEPT: OnceLock<Mutex<HashMap<Key, Vec<Option<Exemplar>>>>> = OnceLock::new();
const SERIES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::request::TraceId;

    #[test]
    fn the_latest_of_each_bucket_is_kept() {
        let place = |span| Place { trace: TraceId(7), span };
        let labels = [("shard", "exemplars")];
        for (span, micros) in [(1, 100), (2, 100), (3, 101), (4, 40_000_000)] {
            note("factum_commit_seconds", &labels, Duration::from_micros(micros), place(span));
        }
        let found = of("factum_commit_seconds", &[("shard".to_owned(), "exemplars".to_owned())]);
        let spans: Vec<Option<u64>> = found.iter().map(|exemplar| exemplar.map(|exemplar| exemplar.place.span)).collect();
        assert_eq!((spans[0], spans[1], spans[2], spans[SECONDS.len()]), (Some(2), Some(3), None, Some(4)));
        assert_eq!(of("factum_commit_seconds", &[]), []);
    }
}
