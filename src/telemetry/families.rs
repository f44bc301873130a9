//! What do the measurements say, number by number? The recorder gives them as a text; who sends or shows them otherwise reads it here.

use super::catalogue::Kind;

/// Everything of one name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) help: String,
    pub(super) kind: Kind,
    pub(super) series: Vec<Series>,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// What its name has behind that of the family: `_bucket`, `_sum` or `_count` of a histogram, else nothing.
    pub(super) suffix: &'static str,
    /// The upper bound of a bucket.
    pub(super) bound: Option<f64>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

/// Reads the text format of Prometheus (0.0.4), as the recorder writes it: the head of a family stands before its series.
pub(super) fn read(text: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let mut help = "";
    for line in text.lines() {
        if let Some((_, said)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help = said;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let kind = match kind {
                "counter" => Kind::Counter,
                "histogram" => Kind::Histogram,
                _ => Kind::Gauge,
            };
            families.push(Family { name: name.to_owned(), help: std::mem::take(&mut help).to_owned(), kind, series: Vec::new() });
        } else if let Some(family) = families.last_mut() {
            family.series.extend(series(line, &family.name));
        }
    }
    families
}

fn series(line: &str, family: &str) -> Option<Series> {
    let behind = line.strip_prefix(family)?;
    let suffix = SUFFIXES.iter().find(|suffix| behind.strip_prefix(**suffix).is_some_and(|rest| rest.starts_with(['{', ' '])))?;
    let mut rest = behind.strip_prefix(suffix)?;
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while let Some((name, quoted)) = rest.trim_start_matches(',').split_once("=\"").filter(|(name, _)| !name.contains('}')) {
            let (value, behind) = unquoted(quoted)?;
            labels.push((name.to_owned(), value));
            rest = behind;
        }
        rest = rest.strip_prefix('}')?;
    }
    let at = labels.iter().position(|(name, _)| name == "le" && *suffix == "_bucket");
    let bound = at.and_then(|at| labels.remove(at).1.parse().ok());
    Some(Series { suffix, bound, labels, value: rest.trim().parse().ok()? })
}

/// The value up to its closing quote, and what stands behind that.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, text.get(at + 1..)?)),
            (_, '\\') => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            (_, plain) => value.push(plain),
        }
    }
}

const SUFFIXES: [&str; 4] = ["_bucket", "_sum", "_count", ""];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_line_by_line() {
        let text = "# HELP a_seconds how long\n# TYPE a_seconds histogram\na_seconds_bucket{x=\"p \\\"q\\\\\\n,}\",le=\"0.5\"} 1\n\
                    a_seconds_bucket{le=\"+Inf\"} 2\na_seconds_sum 1.5\n\n# TYPE b counter\nb{x=\"/v1/{s}\",y=\"\"} 7\nb_count 1\n";
        let families = read(text);
        let series = |suffix, bound, labels: &[(&str, &str)], value| Series {
            suffix,
            bound,
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            value,
        };
        let first = [
            series("_bucket", Some(0.5), &[("x", "p \"q\\\n,}")], 1.0),
            series("_bucket", Some(f64::INFINITY), &[], 2.0),
            series("_sum", None, &[], 1.5),
        ];
        assert_eq!((families[0].help.as_str(), families[0].kind, &families[0].series[..]), ("how long", Kind::Histogram, &first[..]));
        assert_eq!((families[1].help.as_str(), &families[1].series[0]), ("", &series("", None, &[("x", "/v1/{s}"), ("y", "")], 7.0)));
    }
}
