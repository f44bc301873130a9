//! Do the properties of an object that the narrow schema accepts satisfy the wide one?

use std::collections::BTreeSet;

use serde_json::Value;

use crate::schema::compatibility::Comparison;
use crate::schema::compatibility::Undescribed;
use crate::schema::compatibility::bounds;
use crate::schema::compatibility::narrow::Narrow;
use crate::schema::compatibility::narrow::Types;
use crate::schema::compatibility::wide::Demand;
use crate::schema::document::Node;
use crate::schema::error::Break;

impl<'a> Comparison<'a> {
    pub(super) fn object_demand(&self, demand: &Demand<'_, 'a>, breaks: &mut Vec<Break>) {
        let Demand { keyword, value, wide, narrow, place } = *demand;
        match keyword {
            "required" => {
                let known = narrow.required();
                let missing = value.as_array().into_iter().flatten().filter_map(Value::as_str).filter(|name| !known.contains(name));
                breaks.extend(missing.map(|name| self.may_lack(wide, name, place)));
            }
            "minProperties" => {
                let least = bounds::least_size(narrow, keyword).max(narrow.required().len() as u64);
                self.least_demand(demand, least, breaks);
            }
            "maxProperties" => self.greatest_demand(demand, most_properties(narrow), breaks),
            "properties" => {
                for name in wide.names(keyword) {
                    let Some(property) = wide.member(keyword, name) else { continue };
                    if self.undescribed == Undescribed::Absent && !describes(narrow, name) {
                        continue;
                    }
                    self.property_demand(&property, &self.property(narrow, name), place, breaks);
                }
            }
            "patternProperties" => wide.names(keyword).for_each(|pattern| self.pattern_demand(pattern, wide, narrow, place, breaks)),
            "additionalProperties" => self.additional_demand(wide, narrow, place, breaks),
            "propertyNames" => self.names_demand(wide, narrow, place, breaks),
            "dependentRequired" => self.dependent_names_demand(value, wide, narrow, place, breaks),
            "dependentSchemas" => self.dependent_schemas_demand(wide, narrow, place, breaks),
            "unevaluatedProperties" if value != &Value::Bool(true) => breaks.push(self.unclear(wide, keyword, place)),
            _ => {}
        }
    }

    fn property_demand(&self, wide: &Node<'a>, narrow: &Narrow<'a>, place: &str, breaks: &mut Vec<Break>) {
        if !narrow.facts().is_empty() || narrow.is_never() {
            return self.accepts(wide, narrow, place, breaks);
        }
        // Every demand on a property of which nothing is known fails for one and the same reason.
        if !self.proves(wide, narrow) {
            let place = &self.place(wide, narrow, place);
            breaks.push(self.undescribed(wide, place));
        }
    }

    /// Properties whose name matches a pattern of the wide schema.
    fn pattern_demand(&self, pattern: &str, wide: &Node<'a>, narrow: &Narrow<'a>, place: &str, breaks: &mut Vec<Break>) {
        let Some(demand) = wide.member("patternProperties", pattern) else { return };
        for name in named(narrow) {
            if self.matches(pattern, name) != Some(false) {
                self.accepts(&demand, &self.property(narrow, name), place, breaks);
            }
        }
        let patterns = patterns(narrow);
        if patterns.contains(pattern) {
            return self.accepts(&demand, &unnamed(narrow, Some(pattern)), place, breaks);
        }
        for other in patterns {
            self.accepts(&demand, &unnamed(narrow, Some(other)), place, breaks);
        }
        self.accepts(&demand, &unnamed(narrow, None), place, breaks);
    }

    /// Properties that the wide schema does not name.
    fn additional_demand(&self, wide: &Node<'a>, narrow: &Narrow<'a>, place: &str, breaks: &mut Vec<Break>) {
        let Some(demand) = wide.child("additionalProperties") else { return };
        let is_closed = demand.value == &Value::Bool(false);
        for name in named(narrow) {
            let is_matched = || wide.names("patternProperties").any(|pattern| self.matches(pattern, name) == Some(true));
            if wide.member("properties", name).is_some() || is_matched() {
                continue;
            }
            let known = self.property(narrow, name);
            if !is_closed {
                self.accepts(&demand, &known, place, breaks);
            } else if !self.is_empty(&known) {
                breaks.push(self.may(wide, "additionalProperties", place, &format!("have `{name}`")));
            }
        }
        let others = patterns(narrow).into_iter().filter(|pattern| wide.member("patternProperties", pattern).is_none()).map(Some);
        for pattern in others.chain([None]) {
            let known = unnamed(narrow, pattern);
            if !is_closed {
                self.accepts(&demand, &known, place, breaks);
            } else if !self.is_empty(&known) {
                let what = pattern
                    .map_or_else(|| "have properties that neither names".to_owned(), |pattern| format!("have properties like {pattern:?}"));
                breaks.push(self.may(wide, "additionalProperties", place, &what));
            }
        }
    }

    fn names_demand(&self, wide: &Node<'a>, narrow: &Narrow<'a>, place: &str, breaks: &mut Vec<Break>) {
        let Some(demand) = wide.child("propertyNames") else { return };
        if let Some(closed) = narrow.facts().iter().find(|fact| is_closed(fact)) {
            for name in closed.names("properties") {
                let is_accepted = self.accepts_value(&demand, &Value::String(name.to_owned())) == Some(true);
                if !is_accepted && !self.is_empty(&self.property(narrow, name)) {
                    breaks.push(self.may(wide, "propertyNames", place, &format!("have `{name}`")));
                }
            }
            return;
        }
        let mut known = Narrow::any().and_types(Types::STRING);
        narrow.facts().iter().filter_map(|fact| fact.child("propertyNames")).for_each(|names| known.add(&names));
        if !self.proves(&demand, &known) {
            breaks.push(self.may(wide, "propertyNames", place, "have properties of other names"));
        }
    }

    fn dependent_names_demand(&self, value: &Value, wide: &Node<'a>, narrow: &Narrow<'a>, place: &str, breaks: &mut Vec<Break>) {
        for (name, wanted) in value.as_object().into_iter().flatten() {
            let mut known = narrow.required();
            for fact in narrow.facts() {
                let dependents = fact.keyword("dependentRequired").and_then(|all| all.get(name)).and_then(Value::as_array);
                known.extend(dependents.into_iter().flatten().filter_map(Value::as_str));
            }
            let missing = wanted.as_array().into_iter().flatten().filter_map(Value::as_str).find(|wanted| !known.contains(wanted));
            if let Some(missing) = missing
                && !self.is_empty(&self.property(narrow, name))
            {
                breaks.push(self.may(wide, "dependentRequired", place, &format!("have `{name}` without `{missing}`")));
            }
        }
    }

    fn dependent_schemas_demand(&self, wide: &Node<'a>, narrow: &Narrow<'a>, place: &str, breaks: &mut Vec<Break>) {
        for name in wide.names("dependentSchemas") {
            let Some(demand) = wide.member("dependentSchemas", name) else { continue };
            let mut known = narrow.facts().iter().filter_map(|fact| fact.member("dependentSchemas", name));
            let follows = known.any(|known| self.same(&demand, &known))
                || self.is_empty(&self.property(narrow, name))
                || self.proves(&demand, narrow);
            if !follows {
                breaks.push(self.unclear(wide, "dependentSchemas", place));
            }
        }
    }

    /// What is known about the property of this name, if it is there.
    pub(super) fn property(&self, narrow: &Narrow<'a>, name: &str) -> Narrow<'a> {
        let mut known = Narrow::any();
        for fact in narrow.facts() {
            let own = fact.member("properties", name);
            let mut is_additional = own.is_none();
            own.iter().for_each(|part| known.add(part));
            for pattern in fact.names("patternProperties") {
                let matched = self.matches(pattern, name);
                is_additional &= matched == Some(false);
                if matched == Some(true) {
                    fact.member("patternProperties", pattern).iter().for_each(|part| known.add(part));
                }
            }
            if is_additional {
                fact.child("additionalProperties").iter().for_each(|part| known.add(part));
            }
        }
        known
    }
}

/// Whether anything is said about the properties of this name.
fn describes(narrow: &Narrow<'_>, name: &str) -> bool {
    let by_all = |keyword| narrow.facts().iter().any(|fact| fact.child(keyword).is_some_and(|part| part.value != &Value::Bool(true)));
    let by_pattern = || narrow.facts().iter().any(|fact| fact.length("patternProperties") > 0);
    narrow.facts().iter().any(|fact| fact.member("properties", name).is_some()) || by_all("additionalProperties") || by_pattern()
}

/// What is known about a property that no fact names and whose name matches this pattern; without a pattern, none of all facts.
fn unnamed<'a>(narrow: &Narrow<'a>, pattern: Option<&str>) -> Narrow<'a> {
    let mut known = Narrow::any();
    for fact in narrow.facts() {
        let part = match pattern {
            Some(pattern) if fact.length("patternProperties") > 0 => fact.member("patternProperties", pattern),
            Some(_) | None => fact.child("additionalProperties"),
        };
        part.iter().for_each(|part| known.add(part));
    }
    known
}

/// All names that the facts name.
fn named<'a>(narrow: &Narrow<'a>) -> BTreeSet<&'a str> {
    narrow.facts().iter().flat_map(|fact| fact.names("properties")).collect()
}

/// All patterns of names that the facts name.
fn patterns<'a>(narrow: &Narrow<'a>) -> BTreeSet<&'a str> {
    narrow.facts().iter().flat_map(|fact| fact.names("patternProperties")).collect()
}

/// Whether a schema allows no properties but those that it names one by one.
fn is_closed(fact: &Node<'_>) -> bool {
    fact.keyword("additionalProperties") == Some(&Value::Bool(false)) && fact.length("patternProperties") == 0
}

/// How many properties there can be.
fn most_properties(narrow: &Narrow<'_>) -> Option<u64> {
    let named = narrow.facts().iter().filter(|fact| is_closed(fact)).map(|fact| fact.length("properties") as u64).min();
    named.into_iter().chain(bounds::greatest_size(narrow, "maxProperties")).min()
}
