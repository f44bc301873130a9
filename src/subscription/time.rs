//! How are points in time and durations read and written? RFC 3339 in UTC with exactly six digits of a second; `30d`, `12h`, `250ms`.

use factum_storage::Timestamp;

/// Appends the time as RFC 3339 in UTC with microseconds, such as `2026-11-22T18:41:54.123456Z`.
pub(crate) fn push_timestamp(out: &mut Vec<u8>, timestamp: Timestamp) {
    let micros = timestamp.as_micros();
    let days = micros.div_euclid(DAY_US);
    let of_day = micros.rem_euclid(DAY_US);
    let (year, month, day) = civil_from_days(days);
    if !(0..=9999).contains(&year) {
        // RFC 3339 ends there; what is accepted from clients lies within, so this is for a broken clock only.
        out.extend_from_slice(if year < 0 { b"0000-01-01T00:00:00.000000Z" } else { b"9999-12-31T23:59:59.999999Z" });
        return;
    }
    let seconds = of_day / 1_000_000;
    let fraction = of_day % 1_000_000;
    // Two digits at a time: events are mostly numbers and times to print, and the times would cost the most.
    let pairs = [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, seconds / 3600),
        (14, seconds / 60 % 60),
        (17, seconds % 60),
        (20, fraction / 10_000),
        (22, fraction / 100 % 100),
        (24, fraction % 100),
    ];
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    for (at, number) in pairs {
        if let (Some(slot), Some(digits)) = (text.get_mut(at..at + 2), usize::try_from(number).ok().and_then(|number| PAIRS.get(number))) {
            slot.copy_from_slice(digits);
        }
    }
    out.extend_from_slice(&text);
}

/// Days since 1970-01-01 to year, month and day, by counting in eras of 400 years that begin on a 1st of March.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Reads RFC 3339 with any offset; what is finer than a microsecond is cut.
///
/// # Errors
///
/// What is wrong, in words for a client.
pub(crate) fn parse_timestamp(text: &str) -> Result<Timestamp, &'static str> {
    const SHAPE: &str = "must be an RFC 3339 time with an offset, such as 2026-11-22T18:41:54.123456Z";
    // The grammar of the library is wider than RFC 3339 (brackets, no seconds), so the fixed part is checked first.
    let shape_holds = text.len() >= 20
        && text.len() <= 64
        && text.bytes().take(19).enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => matches!(byte, b'T' | b't' | b' '),
            13 | 16 => byte == b':',
            _ => byte.is_ascii_digit(),
        })
        && text.bytes().skip(19).all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'+' | b'-' | b':' | b'Z' | b'z'));
    if !shape_holds {
        return Err(SHAPE);
    }
    let parsed: jiff::Timestamp = text.parse().map_err(|_| SHAPE)?;
    let micros = parsed.as_nanosecond().div_euclid(1_000);
    let micros = i64::try_from(micros).map_err(|_| "is out of range")?;
    if !(YEAR_0_US..=YEAR_9999_END_US).contains(&micros) {
        return Err("is out of range: years 0000 to 9999 in UTC");
    }
    Ok(Timestamp::from_micros(micros))
}

/// Reads a duration such as `30d`, `1d12h` or `250ms` as microseconds. Units: us, ms, s, m, h, d, w.
///
/// # Errors
///
/// What is wrong, in words for a client.
pub(crate) fn parse_duration_us(text: &str) -> Result<u64, &'static str> {
    const SHAPE: &str = "must be a duration such as \"30d\", \"12h\" or \"250ms\" (units us, ms, s, m, h, d, w)";
    let mut rest = text;
    let mut total = 0_u64;
    if rest.is_empty() {
        return Err(SHAPE);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(SHAPE)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale).ok_or(SHAPE)?;
        let number: u64 = number.parse().map_err(|_| SHAPE)?;
        total = number.checked_mul(scale).and_then(|part| total.checked_add(part)).ok_or("is too long")?;
        rest = tail;
    }
    Ok(total)
}

/// The duration in the largest unit that divides it.
pub(crate) fn duration_text(us: u64) -> String {
    let (unit, scale) = UNITS.iter().rev().find(|(name, scale)| us.is_multiple_of(*scale) && *name != "w").copied().unwrap_or(("us", 1));
    format!("{}{unit}", us / scale)
}

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let (mut tens, mut at) = (b'0', 0);
    while tens <= b'9' {
        let mut ones = b'0';
        while ones <= b'9' {
            pairs[at] = [tens, ones];
            ones += 1;
            at += 1;
        }
        tens += 1;
    }
    pairs
};
const DAY_US: i64 = 86_400_000_000;
const YEAR_0_US: i64 = -62_167_219_200_000_000;
const YEAR_9999_END_US: i64 = 253_402_300_799_999_999;
const UNITS: [(&str, u64); 7] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000), ("w", 604_800_000_000)];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(micros: i64) -> String {
        let mut out = Vec::new();
        push_timestamp(&mut out, Timestamp::from_micros(micros));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_written_as_promised() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(text(951_827_696_123_456), "2000-02-29T12:34:56.123456Z");
        assert_eq!(text(YEAR_0_US), "0000-01-01T00:00:00.000000Z");
        assert_eq!(text(YEAR_9999_END_US), "9999-12-31T23:59:59.999999Z");
    }

    proptest! {
        #[test]
        fn times_read_back(micros in YEAR_0_US..=YEAR_9999_END_US) {
            let limits = jiff::Timestamp::MIN.as_microsecond()..=jiff::Timestamp::MAX.as_microsecond();
            prop_assume!(limits.contains(&micros));
            prop_assert_eq!(parse_timestamp(&text(micros)), Ok(Timestamp::from_micros(micros)));
        }
    }

    #[test]
    fn offsets_are_taken_and_nonsense_is_not() {
        assert_eq!(parse_timestamp("1970-01-01T01:00:00+01:00").unwrap().as_micros(), 0);
        assert_eq!(parse_timestamp("1970-01-01t00:00:00.1234567z").unwrap().as_micros(), 123_456);
        for bad in
            ["", "yesterday", "1970-01-01", "1970-01-01T00:00:00", "1970-13-01T00:00:00Z", "1970-01-01T00:00:00Z[UTC]", "1970-01-01T00:00Z"]
        {
            assert!(parse_timestamp(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_read_and_write() {
        for (text, us) in [("250ms", 250_000), ("12h", 43_200_000_000), ("1d12h", 129_600_000_000), ("0s", 0)] {
            assert_eq!(parse_duration_us(text), Ok(us), "{text}");
        }
        assert_eq!(duration_text(129_600_000_000), "36h");
        assert_eq!(duration_text(250_000), "250ms");
        for bad in ["", "12", "h", "1.5h", "-1h", "1y", "99999999999999999w", "1h 2m"] {
            assert!(parse_duration_us(bad).is_err(), "{bad}");
        }
    }
}
