//! Who may want some of what was committed? Those who do are woken, and nobody else: a thousand who wait for something rare cost nothing.

use std::collections::HashMap;
use std::collections::HashSet;

use factum_storage as storage;
use storage::Filter;
use storage::RecordedEvent;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a follower may want. It is woken for all of that, and now and then for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Any event.
    Everything,
    /// Events with one of these keys.
    Keys(Vec<Key>),
}

/// One name that an event has: a hash is enough, since who is woken in vain only looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    of: Of,
    hash: u64,
}

/// What is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Of {
    Stream,
    Category,
    Type,
    Tag,
}

impl Interest {
    /// What matches a filter. One name that every match has is enough; streams and their categories say most.
    pub(crate) fn of(filter: &Filter) -> Self {
        let names = |of, names: &[String]| Self::Keys(names.iter().map(|name| Key::new(of, name)).collect());
        let prefix = filter.stream_prefix.as_deref().filter(|prefix| prefix.contains('-'));
        if let Some(prefix) = prefix {
            Self::Keys(vec![Key::new(Of::Category, storage::category(prefix))])
        } else if !filter.categories.is_empty() {
            names(Of::Category, &filter.categories)
        } else if !filter.types.is_empty() {
            names(Of::Type, &filter.types)
        } else if !filter.tags.is_empty() {
            names(Of::Tag, &filter.tags)
        } else {
            Self::Everything
        }
    }

    /// The events of one stream, and what becomes of it.
    pub(crate) fn of_stream(stream: &str) -> Self {
        Self::Keys(vec![Key::new(Of::Stream, stream)])
    }
}

impl Key {
    fn new(of: Of, name: &str) -> Self {
        Self { of, hash: xxh3_64_with_seed(name.as_bytes(), of as u64) }
    }
}

/// Who is interested in what.
#[derive(Default)]
pub(super) struct Interested<T> {
    everything: HashMap<u64, T>,
    by_key: HashMap<Key, HashMap<u64, T>>,
    /// How many look at each kind of name: what nobody looks at is not hashed.
    streams: usize,
    categories: usize,
    types: usize,
    tags: usize,
}

impl<T: Clone> Interested<T> {
    pub(super) fn insert(&mut self, id: u64, interest: &Interest, who: &T) {
        match interest {
            Interest::Everything => drop(self.everything.insert(id, who.clone())),
            Interest::Keys(keys) => {
                for key in keys {
                    if self.by_key.entry(*key).or_default().insert(id, who.clone()).is_none() {
                        *self.count(key.of) += 1;
                    }
                }
            }
        }
    }

    pub(super) fn remove(&mut self, id: u64, interest: &Interest) {
        match interest {
            Interest::Everything => drop(self.everything.remove(&id)),
            Interest::Keys(keys) => {
                for key in keys {
                    let Some(those) = self.by_key.get_mut(key) else { continue };
                    let is_removed = those.remove(&id).is_some();
                    if those.is_empty() {
                        self.by_key.remove(key);
                    }
                    if is_removed {
                        *self.count(key.of) -= 1;
                    }
                }
            }
        }
    }

    fn count(&mut self, of: Of) -> &mut usize {
        match of {
            Of::Stream => &mut self.streams,
            Of::Category => &mut self.categories,
            Of::Type => &mut self.types,
            Of::Tag => &mut self.tags,
        }
    }

    /// Everybody who may want one of these events, some of them more than once.
    pub(super) fn in_events(&self, events: &[RecordedEvent]) -> Vec<T> {
        let mut found: Vec<T> = self.everything.values().cloned().collect();
        if self.by_key.is_empty() {
            return found;
        }
        let mut looked = HashSet::new();
        let mut look = |of: Of, name: &str| {
            let key = Key::new(of, name);
            if let Some(those) = self.by_key.get(&key).filter(|_| looked.insert(key)) {
                found.extend(those.values().cloned());
            }
        };
        for event in events {
            let stream = event.stream();
            if self.streams > 0 {
                look(Of::Stream, stream);
                // A control record's first tag is the stream that it is about.
                if let Some(about) = event.tags().next().filter(|_| event.is_control()) {
                    look(Of::Stream, about);
                }
            }
            if self.categories > 0 {
                look(Of::Category, storage::category(stream));
            }
            if self.types > 0 {
                look(Of::Type, event.event_type());
            }
            if self.tags > 0 {
                event.tags().for_each(|tag| look(Of::Tag, tag));
            }
        }
        found
    }

    /// Everybody.
    pub(super) fn all(&self) -> Vec<T> {
        self.everything.values().chain(self.by_key.values().flat_map(HashMap::values)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interest_is_in_what_says_most() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let keys = |of, names: &[&str]| Interest::Keys(names.iter().map(|name| Key::new(of, name)).collect());
        let all = Filter { categories: texts(&["a", "b"]), types: texts(&["T"]), tags: texts(&["x"]), ..Filter::default() };
        assert_eq!(Interest::of(&all), keys(Of::Category, &["a", "b"]));
        assert_eq!(Interest::of(&Filter { stream_prefix: Some("a-1".into()), ..all.clone() }), keys(Of::Category, &["a"]));
        // Streams of any category that begins so.
        assert_eq!(Interest::of(&Filter { stream_prefix: Some("a".into()), ..Filter::default() }), Interest::Everything);
        assert_eq!(Interest::of(&Filter { categories: Vec::new(), ..all.clone() }), keys(Of::Type, &["T"]));
        assert_eq!(Interest::of(&Filter { tags: texts(&["x", "y"]), ..Filter::default() }), keys(Of::Tag, &["x", "y"]));
        assert_eq!(Interest::of(&Filter::default()), Interest::Everything);
        assert_ne!(Key::new(Of::Type, "a"), Key::new(Of::Tag, "a"));
    }

    #[test]
    fn who_is_gone_is_not_found_and_leaves_nothing() {
        let mut interested = Interested::default();
        let interest = Interest::Keys(vec![Key::new(Of::Tag, "x"), Key::new(Of::Tag, "x"), Key::new(Of::Type, "T")]);
        interested.insert(1, &interest, &1);
        interested.insert(2, &interest, &2);
        interested.insert(3, &Interest::Everything, &3);
        assert_eq!((interested.tags, interested.types), (2, 2));
        interested.remove(1, &interest);
        assert_eq!((interested.tags, interested.types, interested.all().len()), (1, 1, 3));
        interested.remove(2, &interest);
        interested.remove(3, &Interest::Everything);
        assert!(interested.by_key.is_empty() && interested.all().is_empty());
        assert_eq!((interested.tags, interested.types), (0, 0));
    }
}
