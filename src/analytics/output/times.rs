//! How do times read? RFC 3339 in UTC with microseconds, dates and times of day as parts of it, intervals as in ISO 8601.

use std::io::Write;

use arrow::array::Array;
use arrow::array::ArrowPrimitiveType;
use arrow::array::AsArray;
use arrow::datatypes as t;
use arrow::datatypes::DataType;
use arrow::datatypes::IntervalUnit;
use arrow::datatypes::TimeUnit;
use factum_storage::Timestamp;

use super::cells::Cells;
use crate::subscription::time::push_timestamp;

/// The cells of a type of time; `None` for any other.
pub(super) fn cells(array: &dyn Array) -> Option<Cells<'_>> {
    use DataType as T;
    Some(match array.data_type() {
        // A time without a zone is one in UTC here, as everywhere in Factum.
        T::Timestamp(unit, _) => match unit {
            TimeUnit::Second => plain::<t::TimestampSecondType>(array, |out, value| push_instant(out, scaled(value, 1_000_000))),
            TimeUnit::Millisecond => plain::<t::TimestampMillisecondType>(array, |out, value| push_instant(out, scaled(value, 1_000))),
            TimeUnit::Microsecond => plain::<t::TimestampMicrosecondType>(array, |out, value| push_instant(out, i128::from(value))),
            TimeUnit::Nanosecond => {
                plain::<t::TimestampNanosecondType>(array, |out, value| push_instant(out, i128::from(value.div_euclid(1_000))))
            }
        },
        T::Date32 => plain::<t::Date32Type>(array, |out, days| push_date(out, i64::from(days))),
        T::Date64 => plain::<t::Date64Type>(array, |out, millis| push_date(out, millis.div_euclid(86_400_000))),
        T::Time32(TimeUnit::Second) => plain::<t::Time32SecondType>(array, |out, value| push_time(out, i64::from(value) * 1_000_000)),
        T::Time32(_) => plain::<t::Time32MillisecondType>(array, |out, value| push_time(out, i64::from(value) * 1_000)),
        T::Time64(TimeUnit::Microsecond) => plain::<t::Time64MicrosecondType>(array, push_time),
        T::Time64(_) => plain::<t::Time64NanosecondType>(array, |out, value| push_time(out, value / 1_000)),
        T::Duration(unit) => match unit {
            TimeUnit::Second => plain::<t::DurationSecondType>(array, |out, value| push_interval(out, 0, 0, scaled(value, 1_000_000_000))),
            TimeUnit::Millisecond => {
                plain::<t::DurationMillisecondType>(array, |out, value| push_interval(out, 0, 0, scaled(value, 1_000_000)))
            }
            TimeUnit::Microsecond => {
                plain::<t::DurationMicrosecondType>(array, |out, value| push_interval(out, 0, 0, scaled(value, 1_000)))
            }
            TimeUnit::Nanosecond => plain::<t::DurationNanosecondType>(array, |out, value| push_interval(out, 0, 0, i128::from(value))),
        },
        T::Interval(IntervalUnit::YearMonth) => plain::<t::IntervalYearMonthType>(array, |out, months| push_interval(out, months, 0, 0)),
        T::Interval(IntervalUnit::DayTime) => plain::<t::IntervalDayTimeType>(array, |out, value| {
            push_interval(out, 0, value.days, scaled(i64::from(value.milliseconds), 1_000_000));
        }),
        T::Interval(IntervalUnit::MonthDayNano) => plain::<t::IntervalMonthDayNanoType>(array, |out, value| {
            push_interval(out, value.months, value.days, i128::from(value.nanoseconds));
        }),
        _ => return None,
    })
}

fn plain<'a, T: ArrowPrimitiveType>(array: &'a dyn Array, push: impl Fn(&mut Vec<u8>, T::Native) + 'a) -> Cells<'a> {
    let array = array.as_primitive::<T>();
    Cells::Plain(Box::new(move |out, row| push(out, array.value(row))))
}

fn scaled(value: i64, by: i64) -> i128 {
    i128::from(value) * i128::from(by)
}

fn push_instant(out: &mut Vec<u8>, micros: i128) {
    match i64::try_from(micros).ok().filter(|micros| (YEAR_0_US..YEAR_10000_US).contains(micros)) {
        Some(micros) => push_timestamp(out, Timestamp::from_micros(micros)),
        None => push_far(out, micros.div_euclid(DAY_US), micros.rem_euclid(DAY_US)),
    }
}

fn push_date(out: &mut Vec<u8>, days: i64) {
    let start = out.len();
    push_instant(out, i128::from(days) * DAY_US);
    let text = out.split_off(start);
    out.extend_from_slice(text.split(|byte| *byte == b'T').next().unwrap_or_default());
}

fn push_time(out: &mut Vec<u8>, micros: i64) {
    let start = out.len();
    push_timestamp(out, Timestamp::from_micros(micros));
    // Of `1970-01-01T12:34:56.000000Z` what stands between the T and the Z.
    let text = out.split_off(start);
    out.extend_from_slice(text.get(11..26).unwrap_or_default());
}

/// What lies outside of the years that RFC 3339 has: with a sign and as many digits as it takes, as in ISO 8601.
fn push_far(out: &mut Vec<u8>, days: i128, of_day: i128) {
    // The calendar repeats every 400 years: the same day of a year near by has the same month and day.
    let (eras, day_of_era) = (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS));
    let near = i64::try_from(day_of_era * DAY_US + of_day).expect("400 years have fewer microseconds than 64 bits");
    let mut text = Vec::with_capacity(27);
    push_timestamp(&mut text, Timestamp::from_micros(near));
    let year: i128 = String::from_utf8_lossy(text.get(..4).unwrap_or_default()).parse().unwrap_or_default();
    write!(out, "{:+05}", year + eras * 400).expect("memory takes everything");
    out.extend_from_slice(text.get(4..).unwrap_or_default());
}

/// Months, days and nanoseconds as `P1M2DT3.5S`.
fn push_interval(out: &mut Vec<u8>, months: i32, days: i32, nanos: i128) {
    out.push(b'P');
    if months != 0 {
        write!(out, "{months}M").expect("memory takes everything");
    }
    if days != 0 {
        write!(out, "{days}D").expect("memory takes everything");
    }
    if nanos == 0 && (months != 0 || days != 0) {
        return;
    }
    let (seconds, fraction) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    write!(out, "T{}{seconds}", if nanos < 0 { "-" } else { "" }).expect("memory takes everything");
    if fraction > 0 {
        let digits = format!("{fraction:09}");
        write!(out, ".{}", digits.trim_end_matches('0')).expect("memory takes everything");
    }
    out.push(b'S');
}

const DAY_US: i128 = 86_400_000_000;
const DAYS_OF_400_YEARS: i128 = 146_097;
const YEAR_0_US: i64 = -62_167_219_200_000_000;
const YEAR_10000_US: i64 = 253_402_300_800_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(push: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_far_away_have_their_year() {
        let check = |micros, expected: &str| assert_eq!(told(|out| push_instant(out, micros)), expected);
        check(0, "1970-01-01T00:00:00.000000Z");
        check(-1, "1969-12-31T23:59:59.999999Z");
        check(i128::from(YEAR_10000_US) - 1, "9999-12-31T23:59:59.999999Z");
        check(i128::from(YEAR_10000_US), "+10000-01-01T00:00:00.000000Z");
        check(i128::from(YEAR_0_US), "0000-01-01T00:00:00.000000Z");
        check(i128::from(YEAR_0_US) - 1, "-0001-12-31T23:59:59.999999Z");
        // The ends of 64 bits of seconds do not overflow.
        assert!(told(|out| push_instant(out, scaled(i64::MAX, 1_000_000))).starts_with("+292277026596-12-04T15:30:07"));
        assert_eq!(told(|out| push_date(out, 2_932_897)), "+10000-01-01");
        assert_eq!(told(|out| push_date(out, -1)), "1969-12-31");
    }

    #[test]
    fn intervals_and_times_of_day() {
        let check = |months, days, nanos, expected: &str| assert_eq!(told(|out| push_interval(out, months, days, nanos)), expected);
        check(0, 0, 0, "PT0S");
        check(1, -2, 0, "P1M-2D");
        check(0, 1, 1_500_000_000, "P1DT1.5S");
        check(0, 0, -1, "PT-0.000000001S");
        assert_eq!(told(|out| push_time(out, 45_296_000_001)), "12:34:56.000001");
    }
}
