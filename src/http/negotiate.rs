//! Which format does the client want? `Accept` and `Accept-Encoding`, with their weights.

use http::HeaderMap;
use http::HeaderName;
use http::header;

use crate::http::problem::Problem;
use crate::http::problem::Slug;

/// How a sequence of events goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventsFormat {
    /// One JSON document.
    Page,
    /// One event a line.
    Ndjson,
    /// Server-Sent Events.
    Sse,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// `zstd`.
    Zstd,
    /// `gzip`.
    Gzip,
}

/// Picks the format for a sequence of events; the page wins ties.
///
/// # Errors
///
/// 406 if none of the three is acceptable.
pub(crate) fn events_format(headers: &HeaderMap) -> Result<EventsFormat, Problem> {
    let offers = [
        ("application/json", EventsFormat::Page),
        ("application/x-ndjson", EventsFormat::Ndjson),
        ("application/ndjson", EventsFormat::Ndjson),
        ("text/event-stream", EventsFormat::Sse),
    ];
    pick(headers, &offers)
}

/// Checks that JSON is acceptable.
///
/// # Errors
///
/// 406 if it is not.
pub(crate) fn json_only(headers: &HeaderMap) -> Result<(), Problem> {
    pick(headers, &[("application/json", ())])
}

/// Whether rows are wanted one a line; the page wins ties.
///
/// # Errors
///
/// 406 if neither is acceptable.
pub(crate) fn wants_lines(headers: &HeaderMap) -> Result<bool, Problem> {
    pick(headers, &[("application/json", false), ("application/x-ndjson", true), ("application/ndjson", true)])
}

/// Whether a module itself is wanted instead of the JSON that describes it.
///
/// # Errors
///
/// 406 if neither is acceptable; a definition that is no module is offered as JSON only.
pub(crate) fn wants_module(headers: &HeaderMap, is_module: bool) -> Result<bool, Problem> {
    let offers = [("application/json", false), ("text/javascript", true), ("application/javascript", true)];
    pick(headers, if is_module { &offers } else { &offers[..1] })
}

/// Picks how to compress an answer, if at all.
pub(crate) fn content_coding(headers: &HeaderMap) -> Option<Coding> {
    if !headers.contains_key(header::ACCEPT_ENCODING) {
        return None;
    }
    let weight = |name: &str| {
        let mut wildcard = 0;
        let mut own = None;
        for (token, q) in weighted(headers, &header::ACCEPT_ENCODING) {
            if token.eq_ignore_ascii_case(name) {
                own = Some(q);
            } else if token == "*" {
                wildcard = q;
            }
        }
        own.unwrap_or(wildcard)
    };
    let (zstd, gzip) = (weight("zstd"), weight("gzip"));
    if zstd == 0 && gzip == 0 { None } else { Some(if zstd >= gzip { Coding::Zstd } else { Coding::Gzip }) }
}

/// Picks one of the offers by what the client accepts; the first wins ties.
///
/// # Errors
///
/// 406 if none is acceptable.
pub(crate) fn pick<T: Copy>(headers: &HeaderMap, offers: &[(&str, T)]) -> Result<T, Problem> {
    let Some((_, first)) = offers.first() else { return Err(Problem::new(Slug::NotAcceptable, "nothing is on offer")) };
    if !headers.contains_key(header::ACCEPT) {
        return Ok(*first);
    }
    let mut best: Option<(u16, T)> = None;
    for (name, value) in offers {
        // For each offer the most specific range counts; among offers the highest weight, then their order.
        let weight =
            weighted(headers, &header::ACCEPT).filter_map(|(range, q)| Some((specificity(range, name)?, q))).max_by_key(|found| found.0);
        if let Some((_, q)) = weight
            && q > 0
            && best.is_none_or(|(highest, _)| q > highest)
        {
            best = Some((q, *value));
        }
    }
    let names: Vec<&str> = offers.iter().map(|(name, _)| *name).collect();
    best.map(|(_, value)| value).ok_or_else(|| {
        Problem::new(Slug::NotAcceptable, format!("this path answers with {}", names.join(", "))).with_text("field", "Accept")
    })
}

fn specificity(range: &str, name: &str) -> Option<u8> {
    if range.eq_ignore_ascii_case(name) {
        return Some(2);
    }
    let (kind, sub) = range.split_once('/')?;
    match (kind, sub) {
        ("*", "*") => Some(0),
        (_, "*") if name.split('/').next().is_some_and(|own| own.eq_ignore_ascii_case(kind)) => Some(1),
        _ => None,
    }
}

/// The elements of a header that is a list, each with its weight in thousandths.
fn weighted<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = (&'a str, u16)> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(|element| {
        let mut parts = element.split(';');
        let token = parts.next().unwrap_or_default().trim();
        let q = parts.find_map(|part| part.trim().strip_prefix("q=").or_else(|| part.trim().strip_prefix("Q=")));
        (token, q.map_or(1000, thousandths))
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000")]
fn thousandths(text: &str) -> u16 {
    // What is not a number is taken as 0: a range that can't be read can't be asked for.
    let q: f32 = text.trim().parse().unwrap_or(0.0);
    if q.is_finite() { (q.clamp(0.0, 1.0) * 1000.0) as u16 } else { 0 }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accepting(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn accept_is_weighed() {
        let check = |value: &str, expected: Option<EventsFormat>| {
            assert_eq!(events_format(&accepting(header::ACCEPT, value)).ok(), expected, "{value}");
        };
        check("*/*", Some(EventsFormat::Page));
        check("application/*", Some(EventsFormat::Page));
        check("application/x-ndjson", Some(EventsFormat::Ndjson));
        check("text/event-stream", Some(EventsFormat::Sse));
        check("text/html, */*;q=0.1", Some(EventsFormat::Page));
        check("application/json;q=0.5, application/x-ndjson", Some(EventsFormat::Ndjson));
        check("application/json;q=0, */*", Some(EventsFormat::Ndjson));
        check("text/html", None);
        check("application/json;q=0", None);
        check("application/json;q=nonsense", None);
        assert_eq!(events_format(&HeaderMap::new()).ok(), Some(EventsFormat::Page));
    }

    #[test]
    fn coding_is_weighed() {
        let check = |value: &str, expected| assert_eq!(content_coding(&accepting(header::ACCEPT_ENCODING, value)), expected, "{value}");
        check("gzip, deflate, br", Some(Coding::Gzip));
        check("gzip, zstd", Some(Coding::Zstd));
        check("zstd;q=0.1, gzip", Some(Coding::Gzip));
        check("identity", None);
        check("*", Some(Coding::Zstd));
        check("zstd;q=0, *", Some(Coding::Gzip));
    }
}
