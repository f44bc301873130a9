//! How do the rows of a query leave? As they are worked out, and never cut short without a word.

use std::io;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::HeaderMap;
use http::HeaderValue;
use http::header;

use crate::Error;
use crate::analytics::SqlAnswer;
use crate::analytics::output::OutputFormat;
use crate::analytics::output::chunks;
use crate::http::answer;
use crate::http::answer::FACTUM_POSITION;
use crate::http::answer::cursor_text;
use crate::http::coded;
use crate::http::coded::Coder;
use crate::http::negotiate::content_coding;
use crate::http::problem::Problem;
use crate::http::problem::Slug;

/// The answer of a query. Its first rows are waited for, so that what goes wrong until then is told with a status of its own.
///
/// # Errors
///
/// What went wrong before the first rows were there.
pub(super) async fn response(answer: SqlAnswer, format: OutputFormat, headers: &HeaderMap) -> Result<Response, Problem> {
    let cursor = cursor_text(answer.cursor());
    let mut chunks = chunks(answer, format).boxed();
    let first = chunks.next().await.transpose()?;
    // Parquet is compressed in itself.
    let coding = if format == OutputFormat::Parquet { None } else { content_coding(headers) };
    let coder = coding.map(Coder::new).transpose().map_err(|error| no_coder(&error))?;
    let rows = Rows { first, chunks, format, coder, stage: Stage::Rows };
    let parts = futures::stream::unfold(rows, |mut rows| async move {
        let part = rows.next_part().await?;
        Some((part, rows))
    });
    let mut response = Response::new(Body::from_stream(parts));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type(format));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if let Some(coding) = coding {
        headers.insert(header::CONTENT_ENCODING, coded::name(coding));
    }
    answer::set(headers, FACTUM_POSITION, cursor);
    Ok(response)
}

struct Rows {
    first: Option<Bytes>,
    chunks: BoxStream<'static, Result<Bytes, Error>>,
    format: OutputFormat,
    coder: Option<Coder>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Rows,
    /// What went wrong has been said; the connection is broken off behind it.
    Broken,
    Ended,
}

impl Rows {
    async fn next_part(&mut self) -> Option<io::Result<Bytes>> {
        match self.stage {
            Stage::Ended => return None,
            Stage::Broken => return self.broken_off().await,
            Stage::Rows => {}
        }
        let next = match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.chunks.next().await,
        };
        match next {
            Some(Ok(part)) => Some(self.coded(part, false).await),
            Some(Err(error)) => self.broken(error).await,
            None => {
                self.stage = Stage::Ended;
                self.coder.as_ref()?;
                Some(self.coded(Bytes::new(), true).await)
            }
        }
    }

    /// Ends the connection, once what came before is on its way: a connection that ends takes along what it has not sent.
    async fn broken_off(&mut self) -> Option<io::Result<Bytes>> {
        self.stage = Stage::Ended;
        tokio::task::yield_now().await;
        Some(Err(io::Error::other("the answer of a query broke off")))
    }

    /// What is said of an error behind the first rows.
    async fn broken(&mut self, error: Error) -> Option<io::Result<Bytes>> {
        let problem = Problem::from(error);
        tracing::warn!(slug = problem.slug().entry().slug, cause = problem.cause(), "the answer of a query broke off");
        let (before, after): (&[u8], &[u8]) = match self.format {
            OutputFormat::Ndjson => (b"{\"$error\":", b"}\n"),
            OutputFormat::Json => (b"\n],\"$error\":", b"\n"),
            OutputFormat::Csv | OutputFormat::Arrow | OutputFormat::Parquet => return self.broken_off().await,
        };
        let said = Bytes::from([before, &problem.to_json(), after].concat());
        // Lines that end with an error are whole; a document is not, and must not look as if it were.
        let is_whole = self.format == OutputFormat::Ndjson;
        self.stage = if is_whole { Stage::Ended } else { Stage::Broken };
        Some(self.coded(said, is_whole).await)
    }

    /// The part as it goes out; compression is done where it holds nobody up.
    async fn coded(&mut self, part: Bytes, is_last: bool) -> io::Result<Bytes> {
        let Some(mut coder) = self.coder.take() else { return Ok(part) };
        let done = tokio::task::spawn_blocking(move || {
            let mut out = coder.push(&part)?;
            if is_last {
                out = [out, coder.finish()?].concat().into();
                return io::Result::Ok((out, None));
            }
            Ok((out, Some(coder)))
        });
        let (out, coder) = done.await.map_err(io::Error::other).flatten().inspect_err(|_| self.stage = Stage::Ended)?;
        self.coder = coder;
        Ok(out)
    }
}

fn content_type(format: OutputFormat) -> HeaderValue {
    match format {
        OutputFormat::Json => answer::JSON,
        OutputFormat::Ndjson => answer::NDJSON,
        OutputFormat::Csv => HeaderValue::from_static("text/csv; charset=utf-8; header=present"),
        OutputFormat::Arrow => HeaderValue::from_static("application/vnd.apache.arrow.stream"),
        OutputFormat::Parquet => HeaderValue::from_static("application/vnd.apache.parquet"),
    }
}

fn no_coder(error: &io::Error) -> Problem {
    Problem::new(Slug::InternalError, "the answer cannot be compressed").caused_by(error)
}

#[cfg(test)]
mod tests;
