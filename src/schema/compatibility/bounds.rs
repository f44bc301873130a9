//! Which bounds of numbers and sizes follow from others?

use std::cmp::Ordering;

use serde_json::Number;
use serde_json::Value;

use crate::schema::compatibility::narrow::Narrow;
use crate::schema::compatibility::narrow::Types;

/// One end of a range of numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound<'a> {
    number: &'a Number,
    /// The number itself is not in the range.
    is_open: bool,
}

/// Which end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Lower,
    Upper,
}

impl End {
    fn keywords(self) -> [(&'static str, bool); 2] {
        match self {
            Self::Lower => [("minimum", false), ("exclusiveMinimum", true)],
            Self::Upper => [("maximum", false), ("exclusiveMaximum", true)],
        }
    }

    /// How much further in `one` is than `other`.
    fn order(self, one: &Number, other: &Number) -> Ordering {
        match self {
            Self::Lower => compare(one, other),
            Self::Upper => compare(other, one),
        }
    }
}

/// The end that a keyword sets; none if it sets none.
pub(super) fn end_of(keyword: &str) -> Option<(End, bool)> {
    [End::Lower, End::Upper].into_iter().find_map(|end| {
        let (_, is_open) = end.keywords().into_iter().find(|(name, _)| *name == keyword)?;
        Some((end, is_open))
    })
}

/// Whether every number of the narrow schema lies within this bound.
pub(super) fn lies_within(narrow: &Narrow<'_>, end: End, number: &Number, is_open: bool) -> bool {
    let wanted = Bound { number, is_open };
    let is_whole = !narrow.types().has_any(Types::FRACTION);
    bounds(narrow, end).any(|bound| implies(end, bound, wanted, is_whole))
}

/// Whether the bounds of the narrow schema leave no number.
pub(super) fn has_no_number(narrow: &Narrow<'_>) -> bool {
    bounds(narrow, End::Lower).any(|lower| {
        bounds(narrow, End::Upper).any(|upper| match compare(lower.number, upper.number) {
            Ordering::Less => false,
            Ordering::Equal => lower.is_open || upper.is_open,
            Ordering::Greater => true,
        })
    })
}

fn bounds<'a>(narrow: &Narrow<'a>, end: End) -> impl Iterator<Item = Bound<'a>> {
    narrow.facts().iter().flat_map(move |fact| {
        let bound = move |(keyword, is_open): (&str, bool)| match fact.keyword(keyword)? {
            Value::Number(number) => Some(Bound { number, is_open }),
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
        };
        end.keywords().into_iter().filter_map(bound)
    })
}

fn implies(end: End, bound: Bound<'_>, wanted: Bound<'_>, is_whole: bool) -> bool {
    if is_whole && let (Some(number), Some(limit)) = (whole(bound.number), whole(wanted.number)) {
        // Among whole numbers, "more than 3" is "at least 4".
        let inward = if end == End::Lower { 1 } else { -1 };
        let closed = |number: i128, is_open: bool| if is_open { number + inward } else { number };
        let (number, limit) = (closed(number, bound.is_open), closed(limit, wanted.is_open));
        return if end == End::Lower { number >= limit } else { number <= limit };
    }
    match end.order(bound.number, wanted.number) {
        Ordering::Less => false,
        Ordering::Equal => bound.is_open || !wanted.is_open,
        Ordering::Greater => true,
    }
}

/// Whether every multiple of `of` is one of `by`, as far as whole numbers show.
pub(super) fn is_multiple(of: &Number, by: &Number) -> bool {
    match (of.as_u64(), by.as_u64()) {
        // Beyond this, numbers that were read as floats are not exact.
        (Some(of), Some(by)) if of <= EXACT_MAX && by > 0 => of % by == 0,
        (_, _) => false,
    }
}

/// The least size that the narrow schema allows.
pub(super) fn least_size(narrow: &Narrow<'_>, keyword: &str) -> u64 {
    narrow.facts().iter().filter_map(|fact| size(fact.keyword(keyword)?)).max().unwrap_or(0)
}

/// The greatest size that the narrow schema allows, if it bounds it.
pub(super) fn greatest_size(narrow: &Narrow<'_>, keyword: &str) -> Option<u64> {
    narrow.facts().iter().filter_map(|fact| size(fact.keyword(keyword)?)).min()
}

/// Whether the sizes that the narrow schema allows are none.
pub(super) fn has_no_size(narrow: &Narrow<'_>, least: &str, greatest: &str) -> bool {
    greatest_size(narrow, greatest).is_some_and(|greatest| least_size(narrow, least) > greatest)
}

/// A size as a keyword states it; `2.0` is one too.
pub(super) fn size(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        u64::try_from(whole_float(number)?).ok()
    })
}

/// Exact, also where one is whole and the other a float.
fn compare(one: &Number, other: &Number) -> Ordering {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(one), None) => compare_mixed(one, float(other)),
        (None, Some(other)) => compare_mixed(other, float(one)).reverse(),
        (None, None) => float(one).total_cmp(&float(other)),
    }
}

/// A float that is no whole number within reach: it has a fraction, or is larger than any whole number that JSON's reader makes.
fn compare_mixed(whole: i128, float: f64) -> Ordering {
    if float.abs() >= WHOLE_MAX {
        return if float > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    match whole_float(float.floor()) {
        // A fraction lies above its floor.
        Some(floor) => whole.cmp(&floor).then(if float.fract() == 0.0 { Ordering::Equal } else { Ordering::Less }),
        None => Ordering::Equal,
    }
}

fn whole(number: &Number) -> Option<i128> {
    let small = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    small.or_else(|| whole_float(number.as_f64()?))
}

/// JSON numbers that serde reads are finite.
fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::INFINITY)
}

#[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is far below the greatest i128")]
fn whole_float(number: f64) -> Option<i128> {
    (number.fract() == 0.0 && number.abs() < WHOLE_MAX).then_some(number as i128)
}

/// 2^64 times 2^32: beyond any whole number that is read, far from the end of `i128`.
const WHOLE_MAX: f64 = 79_228_162_514_264_337_593_543_950_336.0;
/// 2^53: up to here a float holds every whole number.
const EXACT_MAX: u64 = 1 << 53;
