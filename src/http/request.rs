//! What is this request about? The names in its path, the type of its body.

use factum_storage::StreamName;
use http::HeaderMap;
use http::Uri;
use http::header;

use crate::http::problem::Problem;
use crate::http::problem::Slug;
use crate::http::query::percent_decode;

/// A segment of the path, decoded; the first after the leading slash is 0.
///
/// # Errors
///
/// 400 if its percent-encoding is broken or it is not UTF-8.
pub(crate) fn segment(uri: &Uri, index: usize, name: &str) -> Result<String, Problem> {
    let raw = uri.path().split('/').nth(index + 1).unwrap_or_default();
    percent_decode(raw, false).map_err(|detail| Problem::malformed(name, detail))
}

/// The stream that the path names, in `/v1/streams/{stream}…`.
///
/// # Errors
///
/// 400 if that can't be a stream's name.
pub(crate) fn stream_in_path(uri: &Uri) -> Result<StreamName, Problem> {
    let name = segment(uri, 2, "stream")?;
    StreamName::new(&name).map_err(|fault| Problem::malformed("stream", fault.to_string()))
}

/// The media type of the body, in lower case and without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Checks that the body says it is JSON. Without a label it is refused too: a web page can send unlabelled bodies across origins.
///
/// # Errors
///
/// 415 if it says anything else or nothing.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json") || media_type(headers) == "application/json" {
        Ok(())
    } else {
        Err(unsupported("application/json"))
    }
}

/// The 415 that names what is read.
pub(crate) fn unsupported(supported: &str) -> Problem {
    Problem::new(Slug::UnsupportedMediaType, format!("Content-Type must be {supported}")).with_text("field", "Content-Type")
}
