//! Which columns does the data of a category have, and of which types?
//!
//! One for each top-level member, in the order in which they first appeared. Its type is the narrowest that every value fits: it only ever
//! widens, null < boolean < text, null < bigint < double < text, timestamp < text. What the JSON Schemas of the category's types say widens
//! it in the same way; a text is a timestamp only where a schema says so and every value is one.

mod declared;
mod field_type;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use foldhash::HashMap;
use foldhash::HashMapExt;
use foldhash::HashSet;
use serde::Deserialize;
use serde::Serialize;

use super::members;
use crate::subscription::Event;

#[cfg(test)]
use declared::declared;
pub(crate) use field_type::FieldType;
pub(super) use field_type::timestamp;

/// The typed columns of a category.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(crate) struct CategoryColumns {
    fields: Vec<Field>,
    by_member: HashMap<String, usize>,
    column_names: HashSet<String>,
    /// The types of the events that were looked at.
    types: BTreeSet<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// The member of `data`.
    pub(crate) member: String,
    /// The column's name: the member's, unless that is taken.
    pub(crate) column: String,
    /// What the values are; a text that always reads as a time is a timestamp here.
    observed: FieldType,
    /// What the schemas say.
    declared: Option<FieldType>,
}

impl Field {
    /// What all values fit.
    pub(crate) fn field_type(&self) -> FieldType {
        let is_time = self.declared == Some(FieldType::Timestamp);
        let observed = if self.observed == FieldType::Timestamp && !is_time { FieldType::Text } else { self.observed };
        observed.widened(self.declared.unwrap_or(FieldType::Null))
    }
}

impl CategoryColumns {
    /// So many members of a category become columns: those that appeared first. The rest is in `data`.
    pub(crate) const COLUMNS_MAX: usize = 1_000;

    /// All columns, in order.
    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The types of the events that were looked at.
    pub(crate) fn types(&self) -> impl Iterator<Item = &str> {
        self.types.iter().map(String::as_str)
    }

    /// Widens the columns to what an event of the category holds. What is no JSON object holds nothing.
    pub(crate) fn observe(&mut self, event: &Event) {
        let record = &event.record;
        if !self.types.contains(record.event_type()) && self.types.len() < TYPES_MAX {
            self.types.insert(record.event_type().to_owned());
        }
        self.observe_data(record.data());
    }

    fn observe_data(&mut self, data: &[u8]) {
        // Broken data must not leave a trace, and it is found broken only at its end.
        let mut seen = 0;
        let Self { fields, by_member, .. } = &*self;
        let (mut widened, mut new) = (Vec::new(), Vec::new());
        let is_json = members::each(data, is_column_name, |name, json| {
            // Members mostly come in the same order.
            let place = match fields.get(seen) {
                Some(expected) if expected.member == name => Some(seen),
                _ => by_member.get(name.as_ref()).copied(),
            };
            match place.and_then(|place| Some((place, fields.get(place)?))) {
                Some((place, field)) => {
                    seen = place + 1;
                    let widest = field.observed.widened_by(json);
                    if widest != field.observed {
                        widened.push((place, widest));
                    }
                }
                None => new.push((name, FieldType::Null.widened_by(json))),
            }
        });
        if !is_json {
            return;
        }
        for (place, widest) in widened {
            if let Some(field) = self.fields.get_mut(place) {
                field.observed = field.observed.widened(widest);
            }
        }
        for (name, observed) in new {
            self.widen(&name, observed);
        }
    }

    /// Takes in what was seen of later events.
    pub(crate) fn merge(&mut self, later: &Self) {
        for field in &later.fields {
            self.widen(&field.member, field.observed);
        }
        let room = TYPES_MAX.saturating_sub(self.types.len());
        let new: Vec<String> = later.types.difference(&self.types).take(room).cloned().collect();
        self.types.extend(new);
    }

    /// Takes what the schemas of the category's types say in the place of what they said before. Members that no event has yet become
    /// columns too.
    pub(crate) fn declare(&mut self, declared: impl IntoIterator<Item = (String, FieldType)>) {
        self.fields.iter_mut().for_each(|field| field.declared = None);
        for (member, declared) in declared {
            if !is_column_name(&member) {
                continue;
            }
            self.widen(&member, FieldType::Null);
            if let Some(field) = self.by_member.get(&member).and_then(|place| self.fields.get_mut(*place)) {
                field.declared = Some(field.declared.map_or(declared, |before| before.widened(declared)));
            }
        }
    }

    fn widen(&mut self, member: &str, observed: FieldType) {
        if let Some(field) = self.by_member.get(member).and_then(|place| self.fields.get_mut(*place)) {
            field.observed = field.observed.widened(observed);
        } else if self.fields.len() < Self::COLUMNS_MAX {
            let column = self.free_name(member);
            self.column_names.insert(column.clone());
            self.by_member.insert(member.to_owned(), self.fields.len());
            self.fields.push(Field { member: member.to_owned(), column, observed, declared: None });
        }
    }

    /// Columns are never renamed: whoever comes later gives way.
    fn free_name(&self, member: &str) -> String {
        let mut name = member.to_owned();
        while ENVELOPE.contains(&name.as_str()) || self.column_names.contains(&name) {
            name.insert_str(0, TAKEN_PREFIX);
        }
        name
    }
}

/// Whether a member can be a column.
fn is_column_name(member: &str) -> bool {
    !member.is_empty() && member.len() <= factum_storage::NAME_BYTES_MAX
}

/// What is kept of the columns.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// By first appearance: the columns' names follow from the order.
    members: Vec<(String, FieldType)>,
    types: BTreeSet<String>,
}

impl From<CategoryColumns> for Stored {
    fn from(columns: CategoryColumns) -> Self {
        Self { members: columns.fields.into_iter().map(|field| (field.member, field.observed)).collect(), types: columns.types }
    }
}

impl From<Stored> for CategoryColumns {
    fn from(stored: Stored) -> Self {
        let mut columns = Self { types: stored.types, by_member: HashMap::with_capacity(stored.members.len()), ..Self::default() };
        for (member, observed) in stored.members {
            columns.widen(&member, observed);
        }
        columns
    }
}

/// The columns that every event has, in order.
pub(crate) const ENVELOPE: [&str; 13] = [
    "position",
    "shard",
    "recorded_at",
    "occurred_at",
    "stream",
    "version",
    "category",
    "type",
    "schema_version",
    "id",
    "tags",
    "data",
    "metadata",
];
/// What is put before a member's name that is taken.
const TAKEN_PREFIX: &str = "data_";
/// As many types as may have schemas.
const TYPES_MAX: usize = 1_000;
