//! How far must a view have come before it is read? `Factum-Min-Position: <cursor>`, and `Prefer: wait=<seconds>` (RFC 7240).

use std::time::Duration;

use axum::response::Response;
use http::HeaderMap;
use http::HeaderName;

use crate::Error;
use crate::database::Cursor;
use crate::database::Database;
use crate::http::answer;
use crate::http::problem::Problem;

/// What a reader asks for.
pub(crate) struct MinPosition {
    pub(crate) cursor: Option<Cursor>,
    pub(crate) wait: Duration,
    /// `wait` was asked for.
    is_preferred: bool,
}

impl MinPosition {
    /// Reads the headers.
    ///
    /// # Errors
    ///
    /// 400 for a cursor that is none of this database, and for a `wait` that is no number of seconds.
    pub(crate) fn read(database: &Database, headers: &HeaderMap) -> Result<Self, Problem> {
        let field = "Factum-Min-Position";
        let mut given = headers.get_all(HeaderName::from_static("factum-min-position")).iter();
        let cursor = match (given.next(), given.next()) {
            (None, _) => None,
            (Some(_), Some(_)) => return Err(Problem::malformed(field, "stands there more than once")),
            (Some(value), None) => {
                let text = value.to_str().map_err(|_| Problem::malformed(field, "is not ASCII"))?;
                Some(database.parse_cursor(text).map_err(|error| {
                    if let Error::BadCursor { detail, .. } = error {
                        return Problem::malformed(field, format!("not a cursor of this database: {detail}"));
                    }
                    Problem::from(error)
                })?)
            }
        };
        let wait = wait(headers)?;
        Ok(Self { cursor, wait: wait.unwrap_or(WAIT_DEFAULT), is_preferred: wait.is_some() })
    }

    /// The answer, which says how long it would have waited if that was asked for.
    pub(crate) fn applied(&self, mut response: Response) -> Response {
        if self.is_preferred {
            let applied = format!("wait={}", self.wait.as_secs_f64());
            answer::set(response.headers_mut(), HeaderName::from_static("preference-applied"), applied);
        }
        response
    }

    /// How long the caller waits, where no position is asked for.
    ///
    /// # Errors
    ///
    /// 400 for a `wait` that is no number of seconds.
    #[cfg(feature = "analytics")]
    pub(crate) fn wait_of(headers: &HeaderMap) -> Result<Duration, Problem> {
        Ok(wait(headers)?.unwrap_or(WAIT_DEFAULT))
    }
}

/// The `wait` preference; longer than is allowed is what is allowed, other preferences are nobody's business here.
fn wait(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let texts = headers.get_all(http::header::HeaderName::from_static("prefer")).iter().filter_map(|value| value.to_str().ok());
    for preference in texts.flat_map(|text| text.split(',')) {
        let Some((name, value)) = preference.split(';').next().and_then(|preference| preference.split_once('=')) else { continue };
        if name.trim().eq_ignore_ascii_case("wait") {
            let seconds = value.trim().trim_matches('"').parse::<f64>().ok().filter(|seconds| *seconds >= 0.0 && seconds.is_finite());
            let seconds = seconds.ok_or_else(|| Problem::malformed("Prefer", "wait must be a number of seconds, such as wait=5"))?;
            return Ok(Some(Duration::from_secs_f64(seconds.min(WAIT_MAX_S))));
        }
    }
    Ok(None)
}

const WAIT_DEFAULT: Duration = Duration::from_secs(5);
const WAIT_MAX_S: f64 = 60.0;
