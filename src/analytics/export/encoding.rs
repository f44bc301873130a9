//! How is a column written best? That is tried on some of its rows: a dictionary where values come again and again, prefixes where each
//! is much like the one before, differences where numbers count up, else as they are, for the compression to find what there is.

use std::collections::HashSet;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Float64Type;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;

/// A way to write a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Dictionary,
    Plain,
    /// What a text shares with the one before is left out.
    Prefixes,
    /// Numbers as differences.
    Differences,
}

/// The way for a column of which these are some rows.
pub(super) fn choose(sample: &ArrayRef) -> Choice {
    match sample.data_type() {
        DataType::Utf8View => texts(&sample.as_string_view().iter().flatten().take(SAMPLE_ROWS).collect::<Vec<_>>()),
        DataType::Int64 => numbers(sample.as_primitive::<Int64Type>().iter().flatten(), true),
        DataType::Timestamp(..) => numbers(sample.as_primitive::<TimestampMicrosecondType>().iter().flatten(), true),
        DataType::Float64 => {
            numbers(sample.as_primitive::<Float64Type>().iter().flatten().map(|number| i64::from_ne_bytes(number.to_ne_bytes())), false)
        }
        DataType::FixedSizeBinary(_) => Choice::Plain,
        _ => Choice::Dictionary,
    }
}

fn numbers(values: impl Iterator<Item = i64>, may_differ: bool) -> Choice {
    let values: Vec<i64> = values.take(SAMPLE_ROWS).collect();
    let distinct = values.iter().collect::<HashSet<_>>().len();
    if distinct * DICTIONARY_REPEATS <= values.len() {
        return Choice::Dictionary;
    }
    if !may_differ {
        return Choice::Plain;
    }
    let plain: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    // About what packing the differences of 32 neighbours with as many bits as the greatest of them takes.
    let mut packed_bits = 0_u64;
    let mut before = values.first().copied().unwrap_or_default();
    for neighbours in values.chunks(NEIGHBOURS) {
        let mut differences = Vec::with_capacity(neighbours.len());
        for value in neighbours {
            differences.push(value.wrapping_sub(before));
            before = *value;
        }
        let least = differences.iter().copied().min().unwrap_or_default();
        let widest = differences.iter().map(|difference| 64 - u64::from(difference.wrapping_sub(least).leading_zeros())).max();
        packed_bits += widest.unwrap_or_default() * u64::try_from(neighbours.len()).unwrap_or(u64::MAX);
    }
    if packed_bits / 8 <= compressed(&plain) { Choice::Differences } else { Choice::Plain }
}

fn texts(values: &[&str]) -> Choice {
    let distinct: HashSet<&str> = values.iter().copied().collect();
    if distinct.len() * DICTIONARY_REPEATS <= values.len() {
        return Choice::Dictionary;
    }
    let (mut plain, mut lengths, mut suffixes) = (Vec::new(), Vec::new(), Vec::new());
    let mut before: &[u8] = &[];
    for value in values {
        let bytes = value.as_bytes();
        plain.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        plain.extend_from_slice(bytes);
        let shared = before.iter().zip(bytes).take_while(|(one, other)| one == other).count();
        lengths.push(u8::try_from(shared).unwrap_or(u8::MAX));
        lengths.push(u8::try_from(bytes.len() - shared).unwrap_or(u8::MAX));
        suffixes.extend_from_slice(bytes.get(shared..).unwrap_or_default());
        before = bytes;
    }
    // Texts that are written whole are read faster: only a clear gain is one.
    let prefixes = compressed(&lengths) + compressed(&suffixes);
    if prefixes + prefixes / 8 < compressed(&plain) { Choice::Prefixes } else { Choice::Plain }
}

fn compressed(bytes: &[u8]) -> u64 {
    let length = zstd::bulk::compress(bytes, SAMPLE_LEVEL).map_or(bytes.len(), |compressed| compressed.len());
    u64::try_from(length).unwrap_or(u64::MAX)
}

const SAMPLE_ROWS: usize = 8_192;
const SAMPLE_LEVEL: i32 = 1;
/// A dictionary pays when a value comes so often.
const DICTIONARY_REPEATS: usize = 8;
const NEIGHBOURS: usize = 32;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::array::StringViewArray;

    use super::*;

    fn texts_of(text: impl Fn(u64) -> String) -> Choice {
        let array: StringViewArray = (0..4_000).map(|number| Some(text(number))).collect();
        choose(&(Arc::new(array) as ArrayRef))
    }

    fn numbers_of(number: impl Fn(i64) -> i64) -> Choice {
        let array: Int64Array = (0..4_000).map(|at| Some(number(at))).collect();
        choose(&(Arc::new(array) as ArrayRef))
    }

    /// The same in every run, and without an order that a compression could find.
    fn scrambled(number: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes())
    }

    #[test]
    fn each_kind_of_column_is_written_as_suits_it() {
        assert_eq!(texts_of(|number| format!("kind {}", number % 7)), Choice::Dictionary);
        assert_eq!(texts_of(|number| format!("{:016x}", scrambled(number))), Choice::Plain);
        assert_eq!(texts_of(|number| format!("{{\"source\":\"somewhere\",\"step\":\"step {}\"}}", 100_000 + 3 * number)), Choice::Prefixes);
        assert_eq!(numbers_of(|at| at % 5), Choice::Dictionary);
        assert_eq!(numbers_of(|at| 1_000_000 + at), Choice::Differences);
        let of_a_thousand = |at: i64| i64::from_ne_bytes(scrambled(scrambled(at.unsigned_abs()) % 1_000).to_ne_bytes());
        assert_eq!(numbers_of(of_a_thousand), Choice::Plain);
        let nothing: StringViewArray = (0..10).map(|_| None::<&str>).collect();
        assert_eq!(choose(&(Arc::new(nothing) as ArrayRef)), Choice::Dictionary);
    }
}
