//! What do `If-Match`, `If-None-Match` and `ETag` mean here? On a write they are the expected version, on a read they save sending
//! what the client has.

use factum_storage::ExpectedVersion;
use factum_storage::Version;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::header;

use crate::http::problem::Problem;

/// The expected version that the headers of a write carry, if any.
///
/// # Errors
///
/// 400 for values that no version of a stream can have, and for both headers at once.
pub(crate) fn expected_by_header(headers: &HeaderMap) -> Result<Option<ExpectedVersion>, Problem> {
    let if_match = single(headers, &header::IF_MATCH, "If-Match")?;
    let if_none_match = single(headers, &header::IF_NONE_MATCH, "If-None-Match")?;
    match (if_match, if_none_match) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Problem::malformed("If-None-Match", "cannot stand beside If-Match")),
        (None, Some("*")) => Ok(Some(ExpectedVersion::Exact(Version::ZERO))),
        (None, Some(_)) => Err(Problem::malformed("If-None-Match", "must be * on a write: the stream has no events yet")),
        (Some("*"), None) => Ok(Some(ExpectedVersion::Exists)),
        (Some(text), None) => {
            const DETAIL: &str = "must be one version in quotes, such as \"3\", or *";
            let digits = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let version = if is_number { digits.parse().ok() } else { None };
            version.map(|version| Some(ExpectedVersion::Exact(Version::new(version)))).ok_or_else(|| Problem::malformed("If-Match", DETAIL))
        }
    }
}

/// Refuses conditions on a call that cannot check them together with its effect.
///
/// # Errors
///
/// 400 if there is one.
pub(crate) fn refuse_conditions(headers: &HeaderMap) -> Result<(), Problem> {
    for (name, text) in
        [(header::IF_MATCH, "If-Match"), (header::IF_NONE_MATCH, "If-None-Match"), (header::IF_UNMODIFIED_SINCE, "If-Unmodified-Since")]
    {
        if headers.contains_key(name) {
            return Err(Problem::malformed(text, "is not supported by this call"));
        }
    }
    Ok(())
}

/// Whether a read may be answered with 304.
pub(crate) fn is_not_modified(headers: &HeaderMap, etag: &str) -> bool {
    let plain = etag.trim_start_matches("W/");
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|own| own.trim() == "*" || own.trim().trim_start_matches("W/") == plain)
}

/// The one value of a header that must not be repeated.
///
/// # Errors
///
/// 400 if it is repeated or not visible ASCII.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName, text: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::malformed(text, "is given more than once"));
    }
    visible(value).map(Some).ok_or_else(|| Problem::malformed(text, "must be visible ASCII characters"))
}

fn visible(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_conditions_are_versions() {
        let check = |name: HeaderName, value: &str, expected: Option<ExpectedVersion>| {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]);
            assert_eq!(expected_by_header(&headers).ok().flatten(), expected, "{value}");
        };
        check(header::IF_MATCH, "\"3\"", Some(ExpectedVersion::Exact(Version::new(3))));
        check(header::IF_MATCH, "*", Some(ExpectedVersion::Exists));
        check(header::IF_NONE_MATCH, "*", Some(ExpectedVersion::Exact(Version::ZERO)));
        for bad in ["3", "W/\"3\"", "\"-3\"", "\"+3\"", "\"1\", \"2\"", "\"\"", "\"18446744073709551616\""] {
            check(header::IF_MATCH, bad, None);
        }
        check(header::IF_NONE_MATCH, "\"3\"", None);
    }
}
