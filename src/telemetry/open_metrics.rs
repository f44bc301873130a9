//! How do the measurements look in OpenMetrics 1.0? As in the format of Prometheus, but for the names of counters, units, and exemplars.

use std::fmt::Write;

use super::catalogue::Kind;
use super::exemplars;
use super::exemplars::Exemplar;
use super::families::Family;
use super::families::Series;

/// The whole text.
pub(super) fn text(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        push(&mut text, family);
    }
    text + "# EOF\n"
}

fn push(text: &mut String, family: &Family) {
    // A counter's family is named without the ending of its lines.
    let name = family.name.strip_suffix("_total").filter(|_| family.kind == Kind::Counter).unwrap_or(&family.name);
    line(text, format_args!("# TYPE {name} {}", family.kind.as_str()));
    if let Some(unit) = UNITS.iter().find(|unit| name.strip_suffix(**unit).is_some_and(|before| before.ends_with('_'))) {
        line(text, format_args!("# UNIT {name} {unit}"));
    }
    line(text, format_args!("# HELP {name} {}", family.help.replace('"', "\\\"")));
    let mut of_series: (&[(String, String)], Vec<Option<Exemplar>>) = (&[], Vec::new());
    let (mut bucket, mut below) = (0, 0.0);
    for series in &family.series {
        if family.kind == Kind::Histogram && (bucket == 0 || of_series.0 != series.labels) {
            of_series = (&series.labels, exemplars::of(&family.name, &series.labels));
            (bucket, below) = (0, 0.0);
        }
        let exemplar = series.bound.and_then(|_| {
            let counted = series.value > std::mem::replace(&mut below, series.value);
            bucket += 1;
            // One of a bucket that has counted nothing yet is of a moment after the text was made.
            of_series.1.get(bucket - 1).copied().flatten().filter(|_| counted)
        });
        let exemplar = exemplar.map(written).unwrap_or_default();
        line(text, format_args!("{}{}{} {:?}{exemplar}", family.name, series.suffix, labels(series), series.value));
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes everything");
}

fn written(exemplar: Exemplar) -> String {
    let Exemplar { place, value, at } = exemplar;
    let seconds = at.as_microsecond() as f64 / 1e6;
    format!(" # {{trace_id=\"{}\",span_id=\"{:016x}\"}} {value:?} {seconds:.3}", place.trace, place.span)
}

fn labels(series: &Series) -> String {
    let own = series.labels.iter().map(|(name, value)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    });
    let bound = series.bound.map(|bound| if bound.is_finite() { format!("le=\"{bound:?}\"") } else { "le=\"+Inf\"".to_owned() });
    let all: Vec<String> = own.chain(bound).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

/// The base units that a name may end with.
const UNITS: [&str; 2] = ["seconds", "bytes"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::families;
    use crate::telemetry::request::TraceId;
    use crate::telemetry::traces::Place;

    #[test]
    fn counters_lose_their_ending_and_buckets_have_exemplars() {
        let place = Place { trace: TraceId(0xab), span: 0xcd };
        exemplars::note("factum_http_request_seconds", &[("route", "open")], std::time::Duration::from_micros(150), place);
        let plain = "# HELP factum_append_bytes_total Bytes\n# TYPE factum_append_bytes_total counter\nfactum_append_bytes_total{shard=\"0\"} 9\n\n\
                     # HELP factum_http_request_seconds How \"long\"\n# TYPE factum_http_request_seconds histogram\n\
                     factum_http_request_seconds_bucket{route=\"open\",le=\"0.0001\"} 0\n\
                     factum_http_request_seconds_bucket{route=\"open\",le=\"0.00025\"} 2\n\
                     factum_http_request_seconds_bucket{route=\"open\",le=\"+Inf\"} 2\nfactum_http_request_seconds_sum{route=\"open\"} 1\n\
                     factum_http_request_seconds_bucket{route=\"b\",le=\"0.0001\"} 0\n\
                     factum_http_request_seconds_bucket{route=\"b\",le=\"0.00025\"} 1\n";
        let text = text(&families::read(plain));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..4],
            [
                "# TYPE factum_append_bytes counter",
                "# UNIT factum_append_bytes bytes",
                "# HELP factum_append_bytes Bytes",
                "factum_append_bytes_total{shard=\"0\"} 9.0",
            ]
        );
        assert_eq!(lines[6], "# HELP factum_http_request_seconds How \\\"long\\\"");
        let (before, exemplar) = lines[8].split_once(" # ").expect("an exemplar");
        assert_eq!(before, "factum_http_request_seconds_bucket{route=\"open\",le=\"0.00025\"} 2.0");
        let expected = "{trace_id=\"000000000000000000000000000000ab\",span_id=\"00000000000000cd\"} 0.00015 ";
        assert!(exemplar.starts_with(expected), "{exemplar}");
        assert_eq!(text.matches(" # ").count(), 1, "{text}");
        assert!(text.ends_with("\n# EOF\n"));
    }
}
