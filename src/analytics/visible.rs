//! Whose events may a query show?

use std::collections::BTreeSet;

/// Streams, by their names and by how names begin. What else there is can't be told from what there is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VisibleStreams {
    names: BTreeSet<String>,
    beginnings: BTreeSet<String>,
}

impl VisibleStreams {
    /// Of each text whether it is a whole name, or what names begin with.
    pub fn new<'a>(texts: impl IntoIterator<Item = (&'a str, bool)>) -> Self {
        let mut visible = Self::default();
        for (text, is_whole) in texts {
            if is_whole {
                visible.names.insert(text.to_owned())
            } else {
                visible.beginnings.insert(text.to_owned())
            };
        }
        visible
    }

    /// Whether the events of this stream are shown.
    #[must_use]
    pub fn shows(&self, stream: &str) -> bool {
        self.names.contains(stream) || self.beginnings.iter().any(|beginning| stream.starts_with(beginning.as_str()))
    }

    /// Whether a category may be asked about as a table of its own, whose columns tell of all of its events.
    #[must_use]
    pub fn shows_category(&self, category: &str) -> bool {
        let first = format!("{category}-");
        self.beginnings.iter().any(|beginning| first.starts_with(beginning.as_str()))
    }

    /// The streams, if they are all named.
    pub(in crate::analytics) fn names(&self) -> Option<&BTreeSet<String>> {
        self.beginnings.is_empty().then_some(&self.names)
    }

    /// What all names begin with, if it is one text.
    pub(in crate::analytics) fn beginning(&self) -> Option<&String> {
        self.beginnings.first().filter(|_| self.beginnings.len() == 1 && self.names.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_shown_by_name_or_beginning_and_categories_whole() {
        let visible = VisibleStreams::new([("t1-", false), ("order-7", true), ("in", false)]);
        for (stream, is_shown) in
            [("t1-1", true), ("t10-1", false), ("t1", false), ("order-7", true), ("order-77", false), ("invoice", true)]
        {
            assert_eq!(visible.shows(stream), is_shown, "{stream}");
        }
        for (category, is_shown) in [("t1", true), ("t10", false), ("order", false), ("invoice", true), ("in", true), ("i", false)] {
            assert_eq!(visible.shows_category(category), is_shown, "{category}");
        }
        assert_eq!((visible.names(), visible.beginning()), (None, None));
        let named = VisibleStreams::new([("order-7", true)]);
        assert_eq!(named.names().map(BTreeSet::len), Some(1));
        assert_eq!(VisibleStreams::new([("t1-", false)]).beginning().map(String::as_str), Some("t1-"));
        let nothing = VisibleStreams::default();
        assert!(!nothing.shows("order-7") && !nothing.shows_category("order") && nothing.names().is_some_and(BTreeSet::is_empty));
    }
}
