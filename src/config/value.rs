//! How are sizes, times and addresses written?

use std::net::SocketAddr;
use std::time::Duration;

/// Reads a size: a number of bytes, with a unit such as `64MiB` or `10kB` if wanted.
///
/// # Errors
///
/// A sentence that says what a size looks like.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor);
    let number: Option<u64> = number.parse().ok();
    number
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .ok_or_else(|| "not a size; write one such as 512KiB, 64MiB or 1GiB".into())
}

/// Reads a time: a number with a unit, such as `250ms` or `10s`.
///
/// # Errors
///
/// A sentence that says what a time looks like.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let micros = TIME_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, micros)| *micros);
    let number: Option<u64> = number.parse().ok();
    let micros = number.zip(micros).and_then(|(number, micros)| number.checked_mul(micros));
    micros.map(Duration::from_micros).ok_or_else(|| "not a time; write one such as 250ms, 10s or 5min".into())
}

/// Writes a size as people read it: `1.5 MiB`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub fn bytes_text(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Writes a time as people read it: `3.2 ms`, `12.4 s`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 100.0 {
        format!("{seconds:.0} s")
    } else if seconds >= 1.0 {
        format!("{seconds:.1} s")
    } else if seconds >= 0.001 {
        format!("{:.2} ms", seconds * 1e3)
    } else {
        format!("{:.0} µs", seconds * 1e6)
    }
}

/// Where something is served by HTTP; credentials are not taken, since settings are shown.
pub(super) fn http_url(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("must be a url such as http://127.0.0.1:4318: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with http:// or https:// and name a host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("must have no user, password, query or fragment".to_owned());
    }
    Ok(text.to_owned())
}

/// A share from 0 to 1, in millionths.
pub(super) fn millionths(text: &str) -> Result<u32, String> {
    let wrong = || "must be a number from 0 to 1, with at most six digits behind the point".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    if part.is_empty() || part.len() > 6 || !part.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(whole, "0" | "1") {
        return Err(wrong());
    }
    let part: u32 = format!("{part:0<6}").parse().map_err(|_| wrong())?;
    let whole = if whole == "1" { 1_000_000 } else { 0 };
    if whole + part > 1_000_000 { Err(wrong()) } else { Ok(whole + part) }
}

/// As [`parse_bytes`], within bounds (inclusive).
pub(super) fn bytes_within(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let bytes = parse_bytes(text)?;
    if (min..=max).contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!("must be between {} and {}", bytes_text(min), bytes_text(max)))
}

/// As [`parse_duration`], within bounds (inclusive).
pub(super) fn duration_within(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if (min..=max).contains(&duration) {
        return Ok(duration);
    }
    Err(format!("must be between {} and {}", duration_text(min), duration_text(max)))
}

/// Reads a whole number within bounds (inclusive).
pub(super) fn number_within(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let number: Option<u64> = text.trim().replace('_', "").parse().ok();
    number.filter(|number| (min..=max).contains(number)).ok_or_else(|| format!("must be a whole number from {min} to {max}"))
}

/// Reads `true` or `false`.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    text.trim().parse().map_err(|_| "must be true or false".into())
}

/// Reads `address:port`; `localhost` is the IPv4 loopback address.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let numeric = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    numeric.parse().map_err(|_| "must be an IP address and a port, such as 127.0.0.1:4400 or [::1]:4400".into())
}

fn split(text: &str) -> (String, &str) {
    let text = text.trim();
    let at = text.find(|character: char| !character.is_ascii_digit() && character != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    (number.replace('_', ""), unit.trim())
}

const SIZE_UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];
const TIME_UNITS: [(&str, u64); 7] =
    [("us", 1), ("µs", 1), ("ms", 1_000), ("s", 1_000_000), ("min", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];
