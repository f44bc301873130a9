//! What holds for which keys, if their order decides? Ranges without a gap and without an overlap, each with its value.

use serde::Deserialize;
use serde::Serialize;

/// Keys that follow each other, by the order of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRange {
    /// Where they begin (inclusive); `None`: with the first key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where they end (exclusive); `None`: with the last key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl KeyRange {
    /// Whether a key is one of them.
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.start() <= key && self.to.as_deref().is_none_or(|to| key < to)
    }

    /// The keys from one of them on.
    pub(crate) fn behind(&self, split: &str) -> Self {
        Self { from: Some(split.to_owned()), to: self.to.clone() }
    }

    /// The keys before one of them.
    pub(crate) fn before(&self, split: &str) -> Self {
        Self { from: self.from.clone(), to: Some(split.to_owned()) }
    }

    /// The text that no key stands before.
    fn start(&self) -> &str {
        self.from.as_deref().unwrap_or_default()
    }
}

impl std::fmt::Display for KeyRange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.from {
            Some(from) => write!(formatter, "from {from:?} ")?,
            None => formatter.write_str("from the first key ")?,
        }
        match &self.to {
            Some(to) => write!(formatter, "to before {to:?}"),
            None => formatter.write_str("to the last"),
        }
    }
}

/// A value for every key. Neighbours that hold the same are one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyMap<T> {
    /// Where each range begins, ascending, and what holds in it. The first begins with the empty text, which no key stands before.
    ranges: Vec<(String, T)>,
}

impl<T: Clone + PartialEq> KeyMap<T> {
    /// Of ranges by where they begin.
    ///
    /// # Errors
    ///
    /// In words, if they do not ascend or leave something out.
    pub(crate) fn new(ranges: impl IntoIterator<Item = (String, T)>) -> Result<Self, String> {
        let ranges: Vec<(String, T)> = ranges.into_iter().collect();
        if ranges.first().is_none_or(|(from, _)| !from.is_empty()) {
            return Err("the first range does not begin with the first key".to_owned());
        }
        match ranges.iter().zip(ranges.iter().skip(1)).find(|((one, _), (next, _))| one >= next) {
            Some(((one, _), (next, _))) => Err(format!("the range from {one:?} does not stand before the one from {next:?}")),
            None => Ok(Self { ranges }),
        }
    }

    /// What holds for a key.
    pub(crate) fn of(&self, key: &str) -> &T {
        &self.ranges.get(self.index(key)).expect("the first range begins before every key").1
    }

    /// The range that a key lies in.
    pub(crate) fn range_of(&self, key: &str) -> KeyRange {
        self.range(self.index(key))
    }

    /// All ranges in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (KeyRange, &T)> {
        self.ranges.iter().enumerate().map(|(index, (_, value))| (self.range(index), value))
    }

    /// Where each range begins, in order; the first with the empty text.
    pub(crate) fn starts(&self) -> impl Iterator<Item = (&str, &T)> {
        self.ranges.iter().map(|(from, value)| (from.as_str(), value))
    }

    /// Changes what holds for some keys, and joins neighbours that hold the same then.
    ///
    /// # Errors
    ///
    /// In words, if there can be no key in the range; what `change` says of a part of it. Nothing is changed then.
    pub(crate) fn change(&mut self, keys: &KeyRange, mut change: impl FnMut(&mut T) -> Result<(), String>) -> Result<(), String> {
        if keys.to.as_deref().is_some_and(|to| keys.start() >= to) {
            return Err(format!("no key lies {keys}"));
        }
        let mut next = self.clone();
        let first = next.split(keys.start());
        let end = keys.to.as_deref().map_or(next.ranges.len(), |to| next.split(to));
        next.ranges.iter_mut().take(end).skip(first).try_for_each(|(_, value)| change(value))?;
        next.ranges.dedup_by(|(_, later), (_, earlier)| later == earlier);
        *self = next;
        Ok(())
    }

    /// Lets a range begin with this key, and says which one.
    fn split(&mut self, key: &str) -> usize {
        let index = self.index(key);
        match self.ranges.get(index).filter(|(from, _)| from != key).map(|(_, value)| value.clone()) {
            Some(value) => {
                self.ranges.insert(index + 1, (key.to_owned(), value));
                index + 1
            }
            None => index,
        }
    }

    fn index(&self, key: &str) -> usize {
        self.ranges.partition_point(|(from, _)| from.as_str() <= key).saturating_sub(1)
    }

    fn range(&self, index: usize) -> KeyRange {
        let start = |index: usize| self.ranges.get(index).map(|(from, _)| from.clone());
        KeyRange { from: start(index).filter(|from| !from.is_empty()), to: start(index + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::fixture::Random;

    fn keys(from: &str, to: Option<&str>) -> KeyRange {
        KeyRange { from: Some(from.to_owned()).filter(|from| !from.is_empty()), to: to.map(str::to_owned) }
    }

    fn map(ranges: &[(&str, u16)]) -> Result<KeyMap<u16>, String> {
        KeyMap::new(ranges.iter().map(|(from, value)| ((*from).to_owned(), *value)))
    }

    #[test]
    fn ranges_leave_nothing_out_and_overlap_nowhere() {
        for (broken, expected) in [
            (&[][..], "the first range"),
            (&[("a", 0)], "the first range"),
            (&[("", 0), ("b", 1), ("b", 2)], "\"b\""),
            (&[("", 0), ("", 1)], "\"\""),
        ] {
            let refused = map(broken).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
        let map = map(&[("", 0), ("g", 1)]).unwrap();
        assert_eq!((map.of(""), map.of("fz"), map.of("g"), map.of("ä")), (&0, &0, &1, &1));
        assert_eq!(map.range_of("a"), keys("", Some("g")));
        assert_eq!(map.iter().map(|(range, _)| range).collect::<Vec<_>>(), [keys("", Some("g")), keys("g", None)]);
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let mut map = map(&[("", 0), ("g", 1)]).unwrap();
        let before = map.clone();
        assert!(map.change(&keys("g", Some("g")), |_| Ok(())).is_err());
        assert!(map.change(&keys("m", Some("a")), |_| Ok(())).is_err());
        let refused = map.change(&keys("c", Some("k")), |value| {
            *value += 7;
            if *value == 8 { Err("not this one".to_owned()) } else { Ok(()) }
        });
        assert_eq!((refused, map), (Err("not this one".to_owned()), before));
    }

    /// Whatever is split and joined: every key has the one value that was given to it last.
    #[test]
    fn every_key_has_one_value_as_in_a_plain_model() {
        let mut random = Random::new("every_key_has_one_value_as_in_a_plain_model");
        let all: Vec<String> = (0..60).map(|number| format!("k{number:02}")).collect();
        for _ in 0..200 {
            let mut map = map(&[("", 0)]).unwrap();
            let mut model = vec![0_u16; all.len()];
            for _ in 0..40 {
                let (one, other) = (usize::from(random.below(61)), usize::from(random.below(61)));
                let (first, end) = (one.min(other), one.max(other));
                let from = if first == 0 { "" } else { all.get(first).map_or("z", String::as_str) };
                let range = keys(from, all.get(end).map(String::as_str));
                let value = random.below(4);
                let changed = map.change(&range, |held| {
                    *held = value;
                    Ok(())
                });
                assert_eq!(changed.is_err(), range.to.as_deref() == Some(from));
                if changed.is_ok() {
                    model[first..end].fill(value);
                }
                for (key, expected) in all.iter().zip(&model) {
                    assert_eq!(map.of(key), expected, "{key}: {map:?}");
                    assert_eq!(map.iter().filter(|(range, _)| range.contains(key)).count(), 1, "{key}: {map:?}");
                    assert!(map.range_of(key).contains(key));
                }
                assert!(map.ranges.windows(2).all(|pair| pair[0].1 != pair[1].1), "neighbours are joined: {map:?}");
            }
        }
    }
}
