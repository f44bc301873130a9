//! Do two schemas say the same in the same words?

use serde_json::Value;

use crate::schema::compatibility::Comparison;
use crate::schema::document::Kind;
use crate::schema::document::Node;
use crate::schema::document::kind;

impl<'a> Comparison<'a> {
    /// Whether both accept the same values because they are written alike. What only describes does not count; references count as what
    /// they lead to.
    pub(super) fn same(&self, one: &Node<'a>, other: &Node<'a>) -> bool {
        self.same_below(one, other, 0, &mut Vec::new())
    }

    /// Whether both have these keywords with the same meaning, or both lack them.
    pub(super) fn same_keywords(&self, one: &Node<'a>, other: &Node<'a>, keywords: &[&str]) -> bool {
        keywords.iter().all(|keyword| self.same_keyword(one, other, keyword, 0, &mut Vec::new()))
    }

    /// `seen` are pairs that are being compared above, or were found the same.
    fn same_below(&self, one: &Node<'a>, other: &Node<'a>, depth: usize, seen: &mut Vec<(*const Value, *const Value)>) -> bool {
        let pair = (std::ptr::from_ref(one.value), std::ptr::from_ref(other.value));
        if pair.0 == pair.1 || seen.contains(&pair) {
            return true;
        }
        if !one.value.is_object() || !other.value.is_object() {
            return one.value == other.value;
        }
        if depth >= SAME_DEPTH_MAX || !self.spend(1) {
            return false;
        }
        seen.push(pair);
        ASSERTIONS.iter().all(|keyword| self.same_keyword(one, other, keyword, depth, seen))
    }

    fn same_keyword(
        &self,
        one: &Node<'a>,
        other: &Node<'a>,
        keyword: &str,
        depth: usize,
        seen: &mut Vec<(*const Value, *const Value)>,
    ) -> bool {
        let (left, right) = match (one.keyword(keyword), other.keyword(keyword)) {
            (None, None) => return true,
            (Some(left), Some(right)) => (left, right),
            (None, Some(_)) | (Some(_), None) => return false,
        };
        let mut below = |left: Option<Node<'a>>, right: Option<Node<'a>>| match (left, right) {
            (Some(left), Some(right)) => self.same_below(&left, &right, depth + 1, seen),
            (None, _) | (_, None) => false,
        };
        match kind(keyword) {
            Kind::Schema => below(one.child(keyword), other.child(keyword)),
            Kind::List => {
                let (left, right) = (one.list(keyword), other.list(keyword));
                left.len() == right.len() && left.into_iter().zip(right).all(|(left, right)| below(Some(left), Some(right)))
            }
            Kind::Map => {
                one.names(keyword).count() == other.names(keyword).count()
                    && one.names(keyword).all(|name| below(one.member(keyword, name), other.member(keyword, name)))
            }
            Kind::Plain if keyword == "$ref" || keyword == "$dynamicRef" => below(one.reference(keyword), other.reference(keyword)),
            Kind::Plain => left == right,
        }
    }
}

/// Every keyword that can make a value invalid.
const ASSERTIONS: [&str; 43] = [
    "$dynamicRef",
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "required",
    "then",
    "type",
    "uniqueItems",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// How deep schemas are compared word by word: what that may cost of the stack.
const SAME_DEPTH_MAX: usize = 96;
