//! Does a value that the narrow schema accepts satisfy `allOf`, `anyOf`, `oneOf`, `not` and `if` of the wide one?

use crate::schema::compatibility::Comparison;
use crate::schema::compatibility::narrow::Narrow;
use crate::schema::compatibility::narrow::Types;
use crate::schema::document::Node;
use crate::schema::error::Break;

impl<'a> Comparison<'a> {
    pub(super) fn alternative_demand(&self, keyword: &str, wide: &Node<'a>, narrow: &Narrow<'a>, place: &str, breaks: &mut Vec<Break>) {
        if keyword == "allOf" {
            wide.list(keyword).iter().for_each(|part| self.accepts(part, narrow, place, breaks));
            return;
        }
        let same: &[&str] = if keyword == "if" { &["if", "then", "else"] } else { &[keyword] };
        if narrow.facts().iter().any(|fact| self.same_keywords(wide, fact, same)) {
            return;
        }
        let follows = match keyword {
            "anyOf" => self.by_types(narrow, |narrow| self.satisfies_any(&wide.list(keyword), narrow)),
            "oneOf" => self.by_types(narrow, |narrow| self.satisfies_one(&wide.list(keyword), narrow)),
            "not" => wide.child(keyword).is_some_and(|excluded| self.by_types(narrow, |narrow| self.is_empty(&narrow.and(&excluded)))),
            // Without consequences it demands nothing.
            _ => wide.keyword("then").is_none() && wide.keyword("else").is_none(),
        };
        if !follows {
            breaks.push(match keyword {
                "anyOf" => self.may(wide, keyword, place, "match none of the alternatives"),
                "oneOf" => self.may(wide, keyword, place, "match none or several of the alternatives"),
                "not" => self.may(wide, keyword, place, "match what is excluded"),
                _ => self.unclear(wide, keyword, place),
            });
        }
    }

    /// Whether it holds for all types at once, or for each alone.
    fn by_types(&self, narrow: &Narrow<'a>, holds: impl Fn(&Narrow<'a>) -> bool) -> bool {
        let each = || Types::EACH.into_iter().map(|(one, _)| narrow.and_types(one)).filter(|case| !case.is_never());
        holds(narrow) || (each().count() > 1 && each().all(|case| holds(&case)))
    }

    fn satisfies_any(&self, alternatives: &[Node<'a>], narrow: &Narrow<'a>) -> bool {
        alternatives.iter().any(|alternative| self.proves(alternative, narrow))
    }

    /// One is satisfied, and no other can be.
    fn satisfies_one(&self, alternatives: &[Node<'a>], narrow: &Narrow<'a>) -> bool {
        alternatives.iter().enumerate().any(|(at, alternative)| {
            self.proves(alternative, narrow)
                && alternatives.iter().enumerate().all(|(other, excluded)| other == at || self.is_empty(&narrow.and(excluded)))
        })
    }
}
