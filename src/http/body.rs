//! How is a request body read, so that nobody can fill the memory or hold a place for ever? Limits before buffering, deadlines on
//! every wait.

use std::io;
use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use bytes::BytesMut;
use futures::FutureExt;
use http::HeaderMap;
use http::header;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::http::negotiate::Coding;
use crate::http::problem::Problem;
use crate::http::problem::Slug;
use crate::http::settings::HttpSettings;

/// Reads and decompresses a whole body.
///
/// # Errors
///
/// 413 over the limit, before or after decompression; 408 when it comes too slowly; 415 for another coding; 400 when it breaks off.
pub(crate) async fn read_whole(headers: &HeaderMap, body: Body, settings: &HttpSettings) -> Result<Bytes, Problem> {
    let coding = content_coding(headers)?;
    let raw = collect(body, settings).await?;
    let Some(coding) = coding else { return Ok(raw) };
    let max = settings.body_bytes_max;
    // A bomb takes long to unpack up to the limit; meanwhile this thread has other requests.
    tokio::task::spawn_blocking(move || decompress(coding, &raw, max))
        .await
        .unwrap_or_else(|_| Err(Problem::new(Slug::InternalError, "the server failed while it decompressed the body")))
}

/// The same for a call that takes at most `max` bytes, whatever the settings allow.
///
/// # Errors
///
/// As [`read_whole`].
pub(crate) async fn read_at_most(headers: &HeaderMap, body: Body, settings: &HttpSettings, max: usize) -> Result<Bytes, Problem> {
    let settings = HttpSettings { body_bytes_max: settings.body_bytes_max.min(max), ..settings.clone() };
    read_whole(headers, body, &settings).await
}

async fn collect(mut body: Body, settings: &HttpSettings) -> Result<Bytes, Problem> {
    let max = settings.body_bytes_max;
    if body.size_hint().lower() > max as u64 {
        return Err(too_large(max).closing());
    }
    // Small bodies arrive with their head: no deadline needs to be set up for what is there already.
    let first = match body.frame().now_or_never() {
        Some(frame) => frame,
        None => match tokio::time::timeout(settings.body_chunk_timeout, body.frame()).await {
            Ok(frame) => frame,
            Err(_) => return Err(too_slow(settings.body_chunk_timeout)),
        },
    };
    let Some(first) = data_of(first)? else { return Ok(Bytes::new()) };
    if first.len() > max {
        return Err(too_large(max).closing());
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    collect_rest(first, body, settings).await
}

async fn collect_rest(first: Bytes, mut body: Body, settings: &HttpSettings) -> Result<Bytes, Problem> {
    let max = settings.body_bytes_max;
    let deadline = Instant::now() + settings.body_total_timeout;
    // What the client says about the length is taken as a hint for at most a megabyte: memory is given for bytes that came.
    let hint = usize::try_from(body.size_hint().lower()).unwrap_or(max).min(1 << 20);
    let mut whole = BytesMut::with_capacity(first.len() + hint);
    whole.extend_from_slice(&first);
    loop {
        let until = deadline.min(Instant::now() + settings.body_chunk_timeout);
        let frame = match tokio::time::timeout_at(until, body.frame()).await {
            Ok(frame) => frame,
            Err(_) => return Err(too_slow(settings.body_chunk_timeout)),
        };
        let Some(part) = data_of(frame)? else { return Ok(whole.freeze()) };
        if whole.len() + part.len() > max {
            return Err(too_large(max).closing());
        }
        whole.extend_from_slice(&part);
    }
}

/// The bytes of a frame; empty for trailers, `None` at the end.
pub(crate) fn data_of(frame: Option<Result<http_body::Frame<Bytes>, axum::Error>>) -> Result<Option<Bytes>, Problem> {
    match frame {
        None => Ok(None),
        Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
        Some(Err(_)) => Err(Problem::malformed("body", "the body broke off before its end").closing()),
    }
}

/// How the body is compressed, as the request says.
///
/// # Errors
///
/// 415 for anything but one of `gzip`, `zstd` and `identity`.
pub(crate) fn content_coding(headers: &HeaderMap) -> Result<Option<Coding>, Problem> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if values.next().is_none() {
        if text.eq_ignore_ascii_case("gzip") {
            return Ok(Some(Coding::Gzip));
        }
        if text.eq_ignore_ascii_case("zstd") {
            return Ok(Some(Coding::Zstd));
        }
        if text.eq_ignore_ascii_case("identity") {
            return Ok(None);
        }
    }
    Err(Problem::new(Slug::UnsupportedMediaType, "Content-Encoding must be one of gzip, zstd and identity, and not nested")
        .with_text("field", "Content-Encoding"))
}

fn decompress(coding: Coding, raw: &[u8], max: usize) -> Result<Bytes, Problem> {
    let mut reader = decoder(coding, raw).map_err(|_| not_compressed(coding))?;
    let mut whole = Vec::with_capacity(raw.len().saturating_mul(4).min(max));
    let mut limited = reader.by_ref().take(max as u64 + 1);
    limited.read_to_end(&mut whole).map_err(|_| not_compressed(coding))?;
    if whole.len() > max {
        return Err(too_large(max));
    }
    Ok(whole.into())
}

/// A reader of what `source` holds compressed. Its own memory is bounded whatever the source says.
///
/// # Errors
///
/// When the decoder cannot be made.
pub(crate) fn decoder<'a>(coding: Coding, source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    match coding {
        Coding::Gzip => Ok(Box::new(flate2::read::MultiGzDecoder::new(source))),
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Ok(Box::new(decoder))
        }
    }
}

pub(crate) fn too_slow(wait: Duration) -> Problem {
    Problem::new(Slug::RequestTimeout, format!("the next part of the body did not arrive within {} ms", wait.as_millis())).closing()
}

fn too_large(max: usize) -> Problem {
    Problem::new(Slug::PayloadTooLarge, format!("the body has more than {max} bytes")).with_text("field", "body")
}

fn not_compressed(coding: Coding) -> Problem {
    let name = match coding {
        Coding::Gzip => "gzip",
        Coding::Zstd => "zstd",
    };
    Problem::malformed("body", format!("the body is not valid {name}"))
}

/// 8 MiB: what the format's specification asks every decoder to support, and what a hostile frame can make us allocate.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
