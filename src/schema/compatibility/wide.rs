//! Which demands does the wide schema make, and do they follow from what is known?

use serde_json::Value;

use crate::schema::compatibility::Comparison;
use crate::schema::compatibility::bounds;
use crate::schema::compatibility::bounds::End;
use crate::schema::compatibility::narrow::Narrow;
use crate::schema::compatibility::narrow::Types;
use crate::schema::compatibility::words::type_names;
use crate::schema::document::Node;
use crate::schema::error::Break;

/// One keyword of the wide schema, and what it must follow from.
pub(super) struct Demand<'d, 'a> {
    pub(super) keyword: &'d str,
    pub(super) value: &'d Value,
    pub(super) wide: &'d Node<'a>,
    pub(super) narrow: &'d Narrow<'a>,
    /// Where the new version speaks about it.
    pub(super) place: &'d str,
}

impl<'a> Comparison<'a> {
    /// Adds a break for each keyword of the wide schema whose demand does not follow.
    pub(super) fn demands(&self, wide: &Node<'a>, narrow: &Narrow<'a>, place: &str, breaks: &mut Vec<Break>) {
        let Some(keywords) = wide.value.as_object() else {
            breaks.push(self.may(wide, "", place, "be present"));
            return;
        };
        wide.references().for_each(|target| self.accepts(&target, narrow, place, breaks));
        for (keyword, value) in keywords {
            let keyword = keyword.as_str();
            match keyword {
                "type" => self.type_demand(wide, narrow, value, place, breaks),
                // A narrow schema with few values was tried; this one has many.
                "const" | "enum" => breaks.push(self.may(wide, keyword, place, "be another value than those listed")),
                "allOf" | "anyOf" | "oneOf" | "not" | "if" => self.alternative_demand(keyword, wide, narrow, place, breaks),
                _ => {}
            }
            let demand = &Demand { keyword, value, wide, narrow, place };
            if narrow.types().has_any(Types::NUMBER) {
                self.number_demand(demand, breaks);
            }
            if narrow.types().has_any(Types::STRING) {
                self.string_demand(demand, breaks);
            }
            if narrow.types().has_any(Types::ARRAY) {
                self.array_demand(demand, breaks);
            }
            if narrow.types().has_any(Types::OBJECT) {
                self.object_demand(demand, breaks);
            }
        }
    }

    fn type_demand(&self, wide: &Node<'a>, narrow: &Narrow<'a>, value: &Value, place: &str, breaks: &mut Vec<Break>) {
        let lost = narrow.types().without(Types::named(value));
        if lost.is_empty() {
            return;
        }
        let broken = if narrow.facts().is_empty() {
            self.undescribed(wide, place)
        } else {
            self.may(wide, "type", place, &format!("be {}", type_names(lost)))
        };
        breaks.push(broken);
    }

    fn number_demand(&self, demand: &Demand<'_, 'a>, breaks: &mut Vec<Break>) {
        let Demand { keyword, value, wide, narrow, place } = *demand;
        let Value::Number(limit) = value else { return };
        if let Some((end, is_open)) = bounds::end_of(keyword) {
            if !bounds::lies_within(narrow, end, limit, is_open) {
                let side = if end == End::Lower { "less" } else { "more" };
                let or_equal = if is_open { " or equal" } else { "" };
                breaks.push(self.may(wide, keyword, place, &format!("be {side} than{or_equal} {limit}")));
            }
        } else if keyword == "multipleOf" {
            let whole = limit.as_u64() == Some(1) && !narrow.types().has_any(Types::FRACTION);
            let mut known = narrow.facts().iter().filter_map(|fact| fact.keyword("multipleOf"));
            let follows = known.any(|known| known == value || matches!(known, Value::Number(known) if bounds::is_multiple(known, limit)));
            if !whole && !follows {
                breaks.push(self.may(wide, keyword, place, &format!("be no multiple of {limit}")));
            }
        }
    }

    fn string_demand(&self, demand: &Demand<'_, 'a>, breaks: &mut Vec<Break>) {
        let Demand { keyword, wide, narrow, place, .. } = *demand;
        match keyword {
            "minLength" => self.least_demand(demand, bounds::least_size(narrow, keyword), breaks),
            "maxLength" => self.greatest_demand(demand, bounds::greatest_size(narrow, keyword), breaks),
            "pattern" | "format" | "contentEncoding" | "contentMediaType" | "contentSchema" => {
                if narrow.facts().iter().any(|fact| self.same_keywords(wide, fact, &[keyword])) {
                    return;
                }
                let is_new = narrow.facts().iter().all(|fact| fact.keyword(keyword).is_none());
                breaks.push(if is_new {
                    self.may(wide, keyword, place, &format!("break the {keyword} {}", demand.value))
                } else {
                    self.unclear(wide, keyword, place)
                });
            }
            _ => {}
        }
    }

    /// The wide schema asks for at least a size, the narrow one allows `least`.
    pub(super) fn least_demand(&self, demand: &Demand<'_, 'a>, least: u64, breaks: &mut Vec<Break>) {
        let Demand { keyword, value, wide, place, .. } = *demand;
        if bounds::size(value).is_none_or(|wanted| least < wanted) {
            breaks.push(self.may(wide, keyword, place, &format!("have fewer {} than {value}", counted(keyword))));
        }
    }

    /// The wide schema asks for at most a size, the narrow one allows `greatest`; none is no bound.
    pub(super) fn greatest_demand(&self, demand: &Demand<'_, 'a>, greatest: Option<u64>, breaks: &mut Vec<Break>) {
        let Demand { keyword, value, wide, place, .. } = *demand;
        if bounds::size(value).is_none_or(|wanted| greatest.is_none_or(|greatest| greatest > wanted)) {
            breaks.push(self.may(wide, keyword, place, &format!("have more {} than {value}", counted(keyword))));
        }
    }
}

/// What a keyword counts.
fn counted(keyword: &str) -> &'static str {
    match keyword {
        "minLength" | "maxLength" => "characters",
        "minItems" | "maxItems" => "items",
        _ => "properties",
    }
}
