//! Does one schema accept everything that another accepts?
//!
//! The rules are those of [Confluent] for JSON Schema: a version is *backward* compatible when all data that is valid under the
//! version before is valid under it, *forward* compatible when the version before accepts all data that is valid under it, and *full* when
//! both hold. Unlike there, a version is compared with the one before it only; [`Registry::upcast`] goes from version to version as well.
//! And unlike there, an optional property may join a schema that did not forbid unknown ones: what the version before does not describe is
//! taken as not there ([`Undescribed::Absent`]), since adding a field is what most new versions are for.
//!
//! The question is undecidable in the large (a pattern may be any regular language, `not` any complement), so the answer errs on one side
//! only: what is found compatible is compatible, and what cannot be shown to be is reported as a break. The wide schema is taken apart
//! into single demands, each of which must follow from what is known about the narrow one ([`narrow`]):
//!
//! - A demand that the narrow schema makes in the same words ([`same`]) follows. Titles, descriptions, examples, defaults and comments do
//!   not count.
//! - A narrow schema with finitely many values is settled by trying each.
//! - Alternatives of the narrow schema are looked at one by one, each of which must satisfy the demand.
//! - Recursive schemas are compared by assuming, below, what is being shown above: sound, as each round steps down into smaller data.
//!
//! [Confluent]: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/serdes-json.html
//! [`Registry::upcast`]: super::Registry::upcast

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::Value;
use serde_json::json;

use crate::schema::compatibility::narrow::Narrow;
use crate::schema::document::Document;
use crate::schema::document::Node;
use crate::schema::error::Break;
use crate::schema::validator::Validator;

mod alternatives;
mod arrays;
mod bounds;
mod narrow;
mod objects;
mod same;
#[cfg(test)]
mod tests;
mod wide;
mod words;

/// Why data of version `old_version` may not be valid under the version after it; empty if all of it is.
pub(in crate::schema) fn backward_breaks<'a>(
    old: &'a Document<'a>,
    new: &'a Document<'a>,
    old_version: u16,
    undescribed: Undescribed,
) -> Vec<Break> {
    Comparison::new(new, old_version, old_version + 1, undescribed).run(&new.root(), &old.root())
}

/// Why data of the version after `old_version` may not be valid under it; empty if all of it is.
pub(in crate::schema) fn forward_breaks<'a>(
    old: &'a Document<'a>,
    new: &'a Document<'a>,
    old_version: u16,
    undescribed: Undescribed,
) -> Vec<Break> {
    Comparison::new(new, old_version + 1, old_version, undescribed).run(&old.root(), &new.root())
}

/// What to think of a property that a schema neither describes nor forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::schema) enum Undescribed {
    /// No data has it.
    Absent,
    /// Data may have it, with any value: what a validator says, and what the proof is tried with.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests compare the proof with a validator"))]
    Anything,
}

/// One comparison of two documents under way.
struct Comparison<'a> {
    /// Breaks point into this one.
    new: &'a Document<'a>,
    narrow_version: u16,
    wide_version: u16,
    undescribed: Undescribed,
    /// What is left of [`STEPS_MAX`].
    steps: Cell<u32>,
    depth: Cell<usize>,
    /// What is being shown: a wide schema's place and the key of what is known about the narrow one.
    open: RefCell<Vec<(*const Value, Vec<usize>)>>,
    /// Compiled sub-schemas, for trying single values.
    validators: RefCell<HashMap<*const Value, Option<Validator>>>,
    /// Compiled patterns of property names.
    patterns: RefCell<HashMap<String, Option<Validator>>>,
}

impl<'a> Comparison<'a> {
    fn new(new: &'a Document<'a>, narrow_version: u16, wide_version: u16, undescribed: Undescribed) -> Self {
        Self {
            new,
            narrow_version,
            wide_version,
            undescribed,
            steps: Cell::new(STEPS_MAX),
            depth: Cell::new(0),
            open: RefCell::default(),
            validators: RefCell::default(),
            patterns: RefCell::default(),
        }
    }

    fn run(&self, wide: &Node<'a>, narrow: &Node<'a>) -> Vec<Break> {
        let mut breaks = Vec::new();
        self.accepts(wide, &Narrow::of(narrow), "", &mut breaks);
        let mut distinct: Vec<Break> = Vec::new();
        for broken in breaks {
            if distinct.len() < BREAKS_MAX && !distinct.contains(&broken) {
                distinct.push(broken);
            }
        }
        distinct
    }

    /// Whether the wide schema accepts all that is known of the narrow one, without saying why not.
    fn proves(&self, wide: &Node<'a>, narrow: &Narrow<'a>) -> bool {
        let mut breaks = Vec::new();
        self.accepts(wide, narrow, "", &mut breaks);
        breaks.is_empty()
    }

    /// Adds a break for each demand of the wide schema that does not follow. `place` is where the new version speaks about this, as far
    /// as is known.
    fn accepts(&self, wide: &Node<'a>, narrow: &Narrow<'a>, place: &str, breaks: &mut Vec<Break>) {
        let place = &self.place(wide, narrow, place);
        if !self.spend(1) || self.depth.get() >= DEPTH_MAX {
            breaks.push(Break { pointer: place.clone(), detail: self.too_large() });
            return;
        }
        if narrow.is_never() || wide.value == &Value::Bool(true) || narrow.facts().iter().any(|fact| self.same(wide, fact)) {
            return;
        }
        let key = (std::ptr::from_ref(wide.value), narrow.key());
        if self.open.borrow().contains(&key) {
            return;
        }
        self.open.borrow_mut().push(key);
        self.depth.set(self.depth.get() + 1);
        let mut found = Vec::new();
        if let Some(values) = narrow.values() {
            self.try_values(wide, narrow, &values, place, &mut found);
        } else {
            self.demands(wide, narrow, place, &mut found);
        }
        let follows = found.is_empty() || self.is_empty(narrow) || self.follows_by_cases(wide, narrow);
        self.depth.set(self.depth.get() - 1);
        self.open.borrow_mut().pop();
        if !follows {
            breaks.append(&mut found);
        }
    }

    /// Whether each alternative of the narrow schema satisfies the wide one.
    fn follows_by_cases(&self, wide: &Node<'a>, narrow: &Narrow<'a>) -> bool {
        narrow.cases().is_some_and(|cases| cases.iter().all(|case| self.proves(wide, case)))
    }

    /// The narrow schema accepts only these values, so each can be tried.
    fn try_values(&self, wide: &Node<'a>, narrow: &Narrow<'a>, values: &[Value], place: &str, breaks: &mut Vec<Break>) {
        for value in values {
            let is_refused = self.accepts_value(wide, value) != Some(true);
            if is_refused && !narrow.facts().iter().any(|fact| self.accepts_value(fact, value) == Some(false)) {
                breaks.push(self.may_be_value(wide, value, place));
            }
        }
    }

    /// Whether a schema accepts this very value. None if that cannot be found out.
    fn accepts_value(&self, schema: &Node<'a>, value: &Value) -> Option<bool> {
        let mut validators = self.validators.borrow_mut();
        let validator = match validators.entry(std::ptr::from_ref(schema.value)) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => {
                // Compiling takes the whole document, as references may lead anywhere in it.
                self.spend(COMPILE_STEPS).then(|| place.insert(Validator::part(schema).ok()))?
            }
        };
        self.spend(1).then_some(())?;
        Some(validator.as_ref()?.accepts(value))
    }

    /// Whether a pattern finds itself in a property's name. None if that cannot be found out.
    fn matches(&self, pattern: &str, name: &str) -> Option<bool> {
        let mut patterns = self.patterns.borrow_mut();
        let pattern =
            patterns.entry(pattern.to_owned()).or_insert_with_key(|pattern| Validator::compile(&json!({ "pattern": pattern })).ok());
        self.spend(1).then_some(())?;
        Some(pattern.as_ref()?.accepts(&Value::String(name.to_owned())))
    }

    /// Whether there is no value at all that the narrow schema accepts. `false` if that cannot be shown.
    fn is_empty(&self, narrow: &Narrow<'a>) -> bool {
        if narrow.is_never() {
            return true;
        }
        if !self.spend(1) || self.depth.get() >= DEPTH_MAX {
            return false;
        }
        self.depth.set(self.depth.get() + 1);
        let is_empty = self.has_no_value(narrow);
        self.depth.set(self.depth.get() - 1);
        is_empty
    }

    fn has_no_value(&self, narrow: &Narrow<'a>) -> bool {
        if let Some(values) = narrow.values() {
            let refused = |value: &Value| narrow.facts().iter().any(|fact| self.accepts_value(fact, value) == Some(false));
            if values.iter().all(refused) {
                return true;
            }
        }
        let mut types = narrow.types();
        if bounds::has_no_number(narrow) {
            types = types.without_numbers();
        }
        if bounds::has_no_size(narrow, "minLength", "maxLength") {
            types = types.without_strings();
        }
        if narrow.required().iter().any(|name| self.is_empty(&self.property(narrow, name))) {
            types = types.without_objects();
        }
        types.is_empty() || {
            let plain = narrow.without_exceptions();
            narrow.exceptions().iter().any(|excluded| self.proves(excluded, &plain))
        }
    }

    /// Takes steps from what is left. False when too few are.
    fn spend(&self, steps: u32) -> bool {
        match self.steps.get().checked_sub(steps) {
            Some(left) => {
                self.steps.set(left);
                true
            }
            None => {
                self.steps.set(0);
                false
            }
        }
    }

    /// Where the new version speaks about what is being compared.
    fn place(&self, wide: &Node<'a>, narrow: &Narrow<'a>, otherwise: &str) -> String {
        if std::ptr::eq(wide.document, self.new) {
            return wide.pointer.clone();
        }
        let fact = narrow.facts().iter().find(|fact| std::ptr::eq(fact.document, self.new));
        fact.map_or_else(|| otherwise.to_owned(), |fact| fact.pointer.clone())
    }
}

/// How much one comparison may do: some tenths of a second.
const STEPS_MAX: u32 = 100_000;
/// What compiling a sub-schema counts for.
const COMPILE_STEPS: u32 = 1_000;
/// How deep it may go: what it may cost of the stack.
const DEPTH_MAX: usize = 96;
/// How many breaks one answer names.
const BREAKS_MAX: usize = 100;
