//! What do the measurements say, as OTLP has it? What the recorder holds at a moment, since the process began.

use crate::telemetry::catalogue::Kind;
use crate::telemetry::catalogue::METRICS;
use crate::telemetry::exemplars;
use crate::telemetry::exemplars::Exemplar;
use crate::telemetry::families::Family;
use crate::telemetry::families::Series;

use super::message::Message;
use super::message::Value;

/// From when to when the numbers are, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) began: u64,
    pub(super) now: u64,
}

/// One `Metric`.
pub(super) fn metric(family: &Family, span: Span) -> Message {
    let metric = Message::new()
        .with(1, "name", Value::Text(family.name.clone()))
        .with(2, "description", Value::Text(family.help.clone()))
        .with(3, "unit", Value::Text(unit(&family.name)));
    let numbers = || Value::Messages(family.series.iter().map(|series| number(series, span)).collect());
    match family.kind {
        Kind::Gauge => metric.with(5, "gauge", Value::Message(Message::new().with(1, "dataPoints", numbers()))),
        Kind::Counter => {
            let sum = Message::new().with(1, "dataPoints", numbers()).with(2, "aggregationTemporality", CUMULATIVE);
            metric.with(7, "sum", Value::Message(sum.with(3, "isMonotonic", Value::Truth(true))))
        }
        Kind::Histogram => {
            let points = Value::Messages(distributions(family).iter().map(|of| distribution(&family.name, of, span)).collect());
            let histogram = Message::new().with(1, "dataPoints", points).with(2, "aggregationTemporality", CUMULATIVE);
            metric.with(9, "histogram", Value::Message(histogram))
        }
    }
}

/// As UCUM writes it.
fn unit(name: &str) -> String {
    let known = METRICS.iter().find(|metric| metric.name == name).map_or("", |metric| metric.unit());
    match known {
        "seconds" => "s".to_owned(),
        "bytes" => "By".to_owned(),
        "" => "1".to_owned(),
        things => format!("{{{things}}}"),
    }
}

fn number(series: &Series, span: Span) -> Message {
    let point = Message::new().with(2, "startTimeUnixNano", Value::Fixed(span.began)).with(3, "timeUnixNano", Value::Fixed(span.now));
    point.with(4, "asDouble", Value::Double(series.value)).with(7, "attributes", attributes(&series.labels))
}

/// The lines of a histogram that have the same labels.
fn distributions(family: &Family) -> Vec<Vec<&Series>> {
    let mut found: Vec<Vec<&Series>> = Vec::new();
    for series in &family.series {
        // They stand together.
        match found.last_mut().filter(|of| of.first().is_some_and(|first| first.labels == series.labels)) {
            Some(of) => of.push(series),
            None => found.push(vec![series]),
        }
    }
    found
}

fn distribution(name: &str, of: &[&Series], span: Span) -> Message {
    let value = |suffix: &str| of.iter().find(|series| series.suffix == suffix).map_or(0.0, |series| series.value);
    let buckets = || of.iter().filter_map(|series| Some((series.bound?, whole(series.value))));
    // Prometheus counts what is at most so large, OTLP what is between two bounds.
    let mut below = 0;
    let counts = buckets().map(|(_, count)| count - std::mem::replace(&mut below, count).min(count)).collect();
    let bounds = buckets().map(|(bound, _)| bound).filter(|bound| bound.is_finite()).collect();
    let labels = of.first().map(|first| attributes(&first.labels));
    let traces = of.first().map(|first| exemplars::of(name, &first.labels)).unwrap_or_default();
    Message::new()
        .with(2, "startTimeUnixNano", Value::Fixed(span.began))
        .with(3, "timeUnixNano", Value::Fixed(span.now))
        .with(4, "count", Value::Fixed(whole(value("_count"))))
        .with(5, "sum", Value::Double(value("_sum")))
        .with(6, "bucketCounts", Value::Fixeds(counts))
        .with(7, "explicitBounds", Value::Doubles(bounds))
        .with(8, "exemplars", Value::Messages(traces.into_iter().flatten().map(exemplar).collect()))
        .with(9, "attributes", labels.unwrap_or(Value::Messages(Vec::new())))
}

fn exemplar(exemplar: Exemplar) -> Message {
    let Exemplar { place, value, at } = exemplar;
    Message::new()
        .with(2, "timeUnixNano", Value::Fixed(u64::try_from(at.as_nanosecond()).unwrap_or_default()))
        .with(3, "asDouble", Value::Double(value))
        .with(4, "spanId", Value::Id(place.span.to_be_bytes().to_vec()))
        .with(5, "traceId", Value::Id(place.trace.0.to_be_bytes().to_vec()))
}

fn attributes(labels: &[(String, String)]) -> Value {
    Value::Messages(labels.iter().map(|(name, value)| Message::attribute(name, Message::text(value))).collect())
}

/// A count, which the text format writes as any other number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are whole and not negative")]
fn whole(count: f64) -> u64 {
    count as u64
}

const CUMULATIVE: Value = Value::Choice(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::families;

    #[test]
    fn buckets_are_counted_one_by_one() {
        let text = "# HELP factum_commit_seconds how long\n# TYPE factum_commit_seconds histogram\n\
                    factum_commit_seconds_bucket{shard=\"0\",le=\"0.5\"} 1\nfactum_commit_seconds_bucket{shard=\"0\",le=\"1\"} 4\n\
                    factum_commit_seconds_bucket{shard=\"0\",le=\"+Inf\"} 5\nfactum_commit_seconds_sum{shard=\"0\"} 3.5\n\
                    factum_commit_seconds_count{shard=\"0\"} 5\n";
        let [family] = &families::read(text)[..] else { panic!("one") };
        let json = metric(family, Span { began: 1, now: 2 }).to_json();
        let point = &json["histogram"]["dataPoints"][0];
        assert_eq!(json["unit"], "s");
        assert_eq!(point["bucketCounts"], serde_json::json!(["1", "3", "1"]));
        assert_eq!(point["explicitBounds"], serde_json::json!([0.5, 1.0]));
        assert_eq!((&point["count"], &point["sum"]), (&"5".into(), &3.5.into()));
        assert_eq!(json["histogram"]["dataPoints"].as_array().map(Vec::len), Some(1));
    }
}
