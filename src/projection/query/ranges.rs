//! Which sortable bytes does a filter let through?

/// Half-open ranges of byte strings, in order, without overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranges(pub(super) Vec<(Vec<u8>, Vec<u8>)>);

impl Ranges {
    pub(super) fn one(start: Vec<u8>, end: Vec<u8>) -> Self {
        Self::of(vec![(start, end)])
    }

    /// Ranges in any order; no two of them may overlap unless they are the same.
    pub(super) fn of(mut ranges: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        ranges.retain(|(start, end)| start < end);
        ranges.sort();
        ranges.dedup();
        Self(ranges)
    }

    pub(super) fn contains(&self, bytes: &[u8]) -> bool {
        let behind = self.0.partition_point(|(start, _)| start.as_slice() <= bytes);
        behind.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, end)| bytes < end.as_slice())
    }

    /// What is in both.
    pub(super) fn intersect(&self, other: &Self) -> Self {
        let mut both = Vec::new();
        let (mut mine, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some((start, end)), Some((other_start, other_end))) = (mine.peek(), theirs.peek()) {
            both.push((start.max(other_start).clone(), end.min(other_end).clone()));
            if end < other_end {
                mine.next()
            } else {
                theirs.next()
            };
        }
        Self::of(both)
    }

    /// What of these lies behind `at` (exclusive) in the direction of the walk.
    pub(super) fn beyond(&self, at: &[u8], is_descending: bool) -> Self {
        let clip = |(start, end): &(Vec<u8>, Vec<u8>)| {
            if is_descending {
                return (start.clone(), end.as_slice().min(at).to_vec());
            }
            let mut next = at.to_vec();
            // The smallest string behind it.
            next.push(0);
            (start.max(&next).clone(), end.clone())
        };
        Self::of(self.0.iter().map(clip).collect())
    }

    /// The same, each with something in front.
    pub(super) fn behind_prefix(&self, prefix: &[u8]) -> Self {
        let with = |bytes: &[u8]| [prefix, bytes].concat();
        Self(self.0.iter().map(|(start, end)| (with(start), with(end))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(pairs: &[(&str, &str)]) -> Ranges {
        Ranges::of(pairs.iter().map(|(start, end)| (start.as_bytes().to_vec(), end.as_bytes().to_vec())).collect())
    }

    #[test]
    fn ranges_meet() {
        let one = ranges(&[("m", "p"), ("a", "d"), ("f", "h")]);
        assert_eq!(one.intersect(&ranges(&[("b", "g")])), ranges(&[("b", "d"), ("f", "g")]));
        assert_eq!(one.intersect(&ranges(&[("d", "f"), ("h", "m")])), ranges(&[]));
        for (text, expected) in [("a", true), ("cz", true), ("d", false), ("e", false), ("f", true), ("", false), ("p", false)] {
            assert_eq!(one.contains(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(one.beyond(b"b", false), ranges(&[("b\0", "d"), ("f", "h"), ("m", "p")]));
        assert_eq!(one.beyond(b"g", true), ranges(&[("a", "d"), ("f", "g")]));
    }
}
