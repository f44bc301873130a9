//! Which of the wanted members does an event's data have?

use foldhash::HashMap;

use super::super::members;

/// Finds the wanted members of one event after the other.
pub(super) struct Slots {
    names: Vec<String>,
    by_name: HashMap<String, usize>,
    /// Where in the data each of them stands; empty if it is not there.
    found: Vec<(usize, usize)>,
}

/// The wanted members of one event.
pub(super) struct Found<'a> {
    data: &'a [u8],
    found: &'a [(usize, usize)],
}

impl Slots {
    pub(super) fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let by_name = names.iter().cloned().zip(0..).collect();
        Self { found: vec![ABSENT; names.len()], names, by_name }
    }

    /// Looks for all of them. Of a member that is there twice the first counts; broken data has none.
    pub(super) fn read<'a>(&'a mut self, data: &'a [u8]) -> Found<'a> {
        if !self.names.is_empty() {
            self.found.fill(ABSENT);
            let Self { names, by_name, found } = self;
            let slot_of = |name: &str| {
                if names.len() <= COMPARED_MAX { names.iter().position(|own| own == name) } else { by_name.get(name).copied() }
            };
            let is_json = members::each(
                data,
                |name| slot_of(name).is_some(),
                |name, json| {
                    if let Some(place) = slot_of(&name).and_then(|slot| found.get_mut(slot)).filter(|place| **place == ABSENT) {
                        let start = json.as_ptr().addr() - data.as_ptr().addr();
                        *place = (start, start + json.len());
                    }
                },
            );
            if !is_json {
                self.found.fill(ABSENT);
            }
        }
        Found { data, found: &self.found }
    }
}

impl<'a> Found<'a> {
    /// The JSON text of a member.
    pub(super) fn json(&self, slot: usize) -> Option<&'a str> {
        let (start, end) = self.found.get(slot).copied()?;
        // It was text when it was found.
        self.data.get(start..end).filter(|json| !json.is_empty()).and_then(|json| std::str::from_utf8(json).ok())
    }
}

const ABSENT: (usize, usize) = (0, 0);
/// So few names are compared faster than hashed.
const COMPARED_MAX: usize = 6;
