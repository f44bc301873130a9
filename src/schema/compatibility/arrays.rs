//! Do the items of an array that the narrow schema accepts satisfy the wide one?

use serde_json::Value;

use crate::schema::compatibility::Comparison;
use crate::schema::compatibility::bounds;
use crate::schema::compatibility::narrow::Narrow;
use crate::schema::compatibility::wide::Demand;
use crate::schema::document::Node;
use crate::schema::error::Break;

impl<'a> Comparison<'a> {
    pub(super) fn array_demand(&self, demand: &Demand<'_, 'a>, breaks: &mut Vec<Break>) {
        let Demand { keyword, value, wide, narrow, place } = *demand;
        match keyword {
            "minItems" => self.least_demand(demand, bounds::least_size(narrow, keyword), breaks),
            "maxItems" => self.greatest_demand(demand, most_items(narrow), breaks),
            "uniqueItems" if value == &Value::Bool(true) => {
                let is_unique = narrow.facts().iter().any(|fact| fact.keyword(keyword) == Some(&Value::Bool(true)));
                if !is_unique && most_items(narrow).is_none_or(|most| most > 1) {
                    breaks.push(self.may(wide, keyword, place, "hold the same item twice"));
                }
            }
            "prefixItems" => {
                for (at, part) in wide.list(keyword).iter().enumerate() {
                    self.item_demand(part, narrow, at, place, breaks);
                }
            }
            "items" => {
                let Some(rest) = wide.child(keyword) else { return };
                let first = wide.length("prefixItems");
                let named = narrow.facts().iter().map(|fact| fact.length("prefixItems")).max().unwrap_or(0);
                // The last one is behind all that either schema names, and so stands for all that follow.
                for at in first..=named.max(first) {
                    self.item_demand(&rest, narrow, at, place, breaks);
                }
            }
            "contains" => {
                let whole = ["contains", "minContains", "maxContains"];
                if !narrow.facts().iter().any(|fact| self.same_keywords(wide, fact, &whole)) {
                    breaks.push(self.unclear(wide, keyword, place));
                }
            }
            "unevaluatedItems" if value != &Value::Bool(true) => breaks.push(self.unclear(wide, keyword, place)),
            _ => {}
        }
    }

    fn item_demand(&self, wide: &Node<'a>, narrow: &Narrow<'a>, at: usize, place: &str, breaks: &mut Vec<Break>) {
        if most_items(narrow).is_none_or(|most| most > at as u64) {
            self.accepts(wide, &item(narrow, at), place, breaks);
        }
    }
}

/// What is known about one item.
fn item<'a>(narrow: &Narrow<'a>, at: usize) -> Narrow<'a> {
    let mut known = Narrow::any();
    for fact in narrow.facts() {
        let part = fact.nth("prefixItems", at).or_else(|| fact.child("items"));
        part.iter().for_each(|part| known.add(part));
    }
    known
}

/// How many items there can be.
fn most_items(narrow: &Narrow<'_>) -> Option<u64> {
    let closed = narrow.facts().iter().filter(|fact| fact.keyword("items") == Some(&Value::Bool(false)));
    let named = closed.map(|fact| fact.length("prefixItems") as u64).min();
    named.into_iter().chain(bounds::greatest_size(narrow, "maxItems")).min()
}
