//! When the check says yes for schemas and values drawn at random, does a validator find the same?

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::schema::compatibility::tests::backward;
use crate::schema::document::Document;
use crate::schema::validator::Validator;

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()].clone()
    }

    /// A value out of so few that schemas often speak about it.
    fn value(&mut self, depth: u64) -> Value {
        let kinds = if depth == 0 { 6 } else { 8 };
        match self.below(kinds) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 | 3 => self.number(),
            4 | 5 => json!(self.pick(&["", "a", "ab", "b", "abc"])),
            6 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let mut members = Map::new();
                for _ in 0..self.below(4) {
                    members.insert(self.pick(&NAMES).to_owned(), self.value(depth - 1));
                }
                Value::Object(members)
            }
        }
    }

    fn number(&mut self) -> Value {
        self.pick(&[json!(-1), json!(0), json!(1), json!(1.0), json!(1.5), json!(2), json!(2.5), json!(3), json!(4), json!(6)])
    }

    fn types(&mut self) -> Value {
        let types = ["null", "boolean", "object", "array", "string", "integer", "number"];
        if self.below(2) == 0 {
            return json!(self.pick(&types));
        }
        let (one, other) = (self.pick(&types), self.pick(&types));
        if one == other { json!(one) } else { json!([one, other]) }
    }

    fn schema(&mut self, depth: u64) -> Value {
        match self.below(20) {
            0 => return json!(true),
            1 => return json!(false),
            2 if depth < 3 => return json!({"$ref": self.pick(&["#/$defs/a", "#/$defs/b"])}),
            _ => {}
        }
        let mut keywords = Map::new();
        if self.below(2) == 0 {
            keywords.insert("type".to_owned(), self.types());
        }
        for _ in 0..=self.below(3) {
            let (keyword, value) = if depth > 0 && self.below(3) > 0 { self.applicator(depth - 1) } else { self.assertion() };
            keywords.insert(keyword.to_owned(), value);
        }
        // What stands beside them decides what they mean.
        for (keyword, partner) in [("patternProperties", "additionalProperties"), ("prefixItems", "items")] {
            if depth > 0 && keywords.contains_key(keyword) && self.below(2) == 0 {
                keywords.insert(partner.to_owned(), if self.below(2) == 0 { json!(false) } else { self.schema(depth - 1) });
            }
        }
        Value::Object(keywords)
    }

    fn assertion(&mut self) -> (&'static str, Value) {
        match self.below(11) {
            0 => ("const", self.value(1)),
            1 => ("enum", (0..=self.below(3)).map(|_| self.value(1)).collect()),
            2 => (self.pick(&["minimum", "exclusiveMinimum"]), self.number()),
            3 => (self.pick(&["maximum", "exclusiveMaximum"]), self.number()),
            4 => ("multipleOf", self.pick(&[json!(1), json!(2), json!(0.5), json!(3), json!(6)])),
            5 => (self.pick(&["minLength", "minItems", "minProperties"]), json!(self.below(3))),
            6 => (self.pick(&["maxLength", "maxItems", "maxProperties"]), json!(self.below(4))),
            7 => ("pattern", json!(self.pick(&PATTERNS))),
            8 => ("uniqueItems", json!(self.below(4) > 0)),
            9 => ("required", json!([self.pick(&NAMES)])),
            _ => ("dependentRequired", json!({self.pick(&NAMES): [self.pick(&NAMES)]})),
        }
    }

    fn applicator(&mut self, depth: u64) -> (&'static str, Value) {
        match self.below(14) {
            0..=3 => {
                let mut members = Map::new();
                for _ in 0..=self.below(2) {
                    members.insert(self.pick(&NAMES).to_owned(), self.schema(depth));
                }
                ("properties", Value::Object(members))
            }
            4 => ("patternProperties", json!({self.pick(&PATTERNS): self.schema(depth)})),
            5 | 6 => ("additionalProperties", if self.below(2) == 0 { json!(false) } else { self.schema(depth) }),
            7 => ("items", self.schema(depth)),
            8 => ("prefixItems", (0..=self.below(2)).map(|_| self.schema(depth)).collect()),
            9 => ("not", self.schema(depth)),
            10 => (self.pick(&["propertyNames", "contains", "unevaluatedProperties", "unevaluatedItems"]), self.schema(depth)),
            11 => ("dependentSchemas", json!({self.pick(&NAMES): self.schema(depth)})),
            _ => (self.pick(&["anyOf", "oneOf", "allOf"]), (0..=self.below(2)).map(|_| self.schema(depth)).collect()),
        }
    }

    /// A schema that differs in little, so that the two are often compatible.
    fn changed(&mut self, schema: &Value, depth: u64) -> Value {
        match schema {
            Value::Object(keywords) if !keywords.is_empty() => {
                let mut changed = keywords.clone();
                let names: Vec<&String> = keywords.keys().filter(|name| *name != "$defs").collect();
                let Some(name) = (!names.is_empty()).then(|| self.pick(&names).clone()) else { return schema.clone() };
                match self.below(6) {
                    0 => drop(changed.remove(&name)),
                    1 => {
                        let (keyword, value) = self.assertion();
                        changed.insert(keyword.to_owned(), value);
                    }
                    2 if depth > 0 => {
                        let (keyword, value) = self.applicator(depth - 1);
                        changed.insert(keyword.to_owned(), value);
                    }
                    3 => drop(changed.insert("type".to_owned(), self.types())),
                    _ => {
                        let value = self.changed_value(&name, &keywords[&name], depth);
                        changed.insert(name, value);
                    }
                }
                Value::Object(changed)
            }
            Value::Object(_) | Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => self.schema(depth),
        }
    }

    fn changed_value(&mut self, keyword: &str, value: &Value, depth: u64) -> Value {
        match (keyword, value) {
            ("minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum", _) => self.number(),
            ("items" | "additionalProperties" | "not" | "propertyNames" | "contains", _) => self.changed(value, depth.saturating_sub(1)),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(parts)) => {
                let mut parts = parts.clone();
                if self.below(2) == 0 {
                    parts.push(self.schema(depth.saturating_sub(1)));
                } else if let Some(part) = parts.last_mut() {
                    *part = self.changed(part, depth.saturating_sub(1));
                }
                Value::Array(parts)
            }
            ("properties" | "patternProperties", Value::Object(members)) => {
                let change = |(name, member): (&String, &Value)| (name.clone(), self.changed(member, depth.saturating_sub(1)));
                Value::Object(members.iter().map(change).collect())
            }
            _ => value.clone(),
        }
    }

    /// A whole document: a schema with two that it may refer to, which may refer to themselves below.
    fn document(&mut self) -> Value {
        let mut schema = self.schema(3);
        if let Value::Object(keywords) = &mut schema {
            keywords.insert("$defs".to_owned(), json!({"a": self.schema(2), "b": self.schema(2)}));
        }
        schema
    }
}

/// Whether a text is a schema that may be registered, and what then judges values.
fn compiled(schema: &Value) -> Option<Validator> {
    Validator::new(&Document::new(schema).ok()?).ok()
}

#[test]
fn what_is_found_compatible_is_compatible() {
    let seed = std::env::var("SEED").map_or(0x00FA_C701, |seed| seed.parse().expect("SEED is a number"));
    println!("SEED={seed}");
    let mut random = Random(seed);
    let (mut compatible, mut witnesses) = (0, 0);
    for round in 0..PAIRS {
        let old = random.document();
        let mut new = if random.below(8) == 0 { random.document() } else { random.changed(&old, 3) };
        if random.below(4) == 0 {
            new = random.changed(&new, 3);
        }
        let (Some(old_validator), Some(new_validator)) = (compiled(&old), compiled(&new)) else { continue };
        let values: Vec<Value> = (0..VALUES).map(|_| random.value(2)).collect();
        let (old, new, old_validator, new_validator) =
            if random.below(2) == 0 { (old, new, old_validator, new_validator) } else { (new, old, new_validator, old_validator) };
        if !backward(&old, &new).is_empty() {
            continue;
        }
        compatible += 1;
        for value in values.iter().filter(|value| old_validator.accepts(value)) {
            witnesses += 1;
            assert!(new_validator.accepts(value), "SEED={seed} round {round}: {value} breaks\n{new}\nand not\n{old}");
        }
    }
    println!("{compatible} of {PAIRS} pairs are compatible, {witnesses} values show it");
    // A check that always says no would be sound and useless.
    assert!(compatible > PAIRS / 20 && witnesses > 2 * PAIRS, "{compatible} pairs, {witnesses} values");
}

const PAIRS: u64 = 600;
const VALUES: u64 = 100;
const NAMES: [&str; 5] = ["a", "b", "ab", "c", "ba"];
const PATTERNS: [&str; 4] = ["^a", "b", "^ab?$", "c$"];
