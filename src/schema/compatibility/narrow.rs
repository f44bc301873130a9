//! What is known about a value that the narrow schema accepts?

use serde_json::Value;

use crate::schema::document::Node;

/// What is known: its types, and the schemas that it obeys. All of them hold at once; `allOf` and references are taken apart.
#[derive(Clone, Debug)]
pub(super) struct Narrow<'a> {
    types: Types,
    /// Schemas that it obeys, each an object.
    facts: Vec<Node<'a>>,
    /// Schemas that it does not obey.
    exceptions: Vec<Node<'a>>,
    /// There is no such value.
    never: bool,
    /// Lists of alternatives of which one is among the facts already.
    settled: Vec<*const Value>,
}

impl<'a> Narrow<'a> {
    /// Nothing is known.
    pub(super) fn any() -> Self {
        Self { types: Types::ALL, facts: Vec::new(), exceptions: Vec::new(), never: false, settled: Vec::new() }
    }

    /// It obeys this schema.
    pub(super) fn of(schema: &Node<'a>) -> Self {
        let mut known = Self::any();
        known.add(schema);
        known
    }

    /// It obeys this schema too.
    pub(super) fn and(&self, schema: &Node<'a>) -> Self {
        let mut known = self.clone();
        known.add(schema);
        known
    }

    /// It has one of these types.
    pub(super) fn and_types(&self, types: Types) -> Self {
        let mut known = self.clone();
        known.types = known.types.and(types);
        known
    }

    /// The same without what it does not obey.
    pub(super) fn without_exceptions(&self) -> Self {
        Self { exceptions: Vec::new(), ..self.clone() }
    }

    pub(super) fn add(&mut self, schema: &Node<'a>) {
        match schema.value {
            Value::Bool(accepts) => self.never |= !accepts,
            Value::Object(_) if !self.facts.iter().any(|fact| fact.is(schema)) => {
                self.types = self.types.and(Types::of_keywords(schema));
                self.facts.push(schema.clone());
                schema.references().for_each(|target| self.add(&target));
                schema.list("allOf").iter().for_each(|part| self.add(part));
                for keyword in ALTERNATIVES {
                    if schema.keyword(keyword).is_some() {
                        self.types = self.types.and(Types::of_any(&schema.list(keyword)));
                    }
                }
                self.exceptions.extend(schema.child("not"));
            }
            Value::Object(_) | Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {}
        }
    }

    /// There is no such value, as far as types say.
    pub(super) fn is_never(&self) -> bool {
        self.never || self.types.is_empty()
    }

    pub(super) fn types(&self) -> Types {
        self.types
    }

    pub(super) fn facts(&self) -> &[Node<'a>] {
        &self.facts
    }

    pub(super) fn exceptions(&self) -> &[Node<'a>] {
        &self.exceptions
    }

    /// Equal for two that know the same.
    pub(super) fn key(&self) -> Vec<usize> {
        let addresses = |nodes: &[Node<'a>]| nodes.iter().map(|node| std::ptr::from_ref(node.value).addr()).collect::<Vec<_>>();
        let mut facts = addresses(&self.facts);
        facts.sort_unstable();
        let mut exceptions = addresses(&self.exceptions);
        exceptions.sort_unstable();
        // Zero is no address: it parts the lists.
        facts.push(0);
        facts.append(&mut exceptions);
        facts.extend([0, usize::from(self.types.0), usize::from(self.never)]);
        facts.extend(self.settled.iter().map(|list| list.addr()));
        facts
    }

    /// All values that it can be, when those are few. Some may be refused by a fact.
    pub(super) fn values(&self) -> Option<Vec<Value>> {
        let listed = self.facts.iter().filter_map(|fact| {
            let one = fact.keyword("const").map(std::slice::from_ref);
            one.or_else(|| fact.keyword("enum").and_then(Value::as_array).map(Vec::as_slice))
        });
        let values = match listed.min_by_key(|values| values.len()) {
            Some(values) => values.to_vec(),
            None if self.types.is_within(Types::NULL.or(Types::BOOLEAN)) => vec![Value::Null, Value::Bool(false), Value::Bool(true)],
            None => return None,
        };
        Some(values.into_iter().filter(|value| Types::of_value(value).is_within(self.types)).collect())
    }

    /// The names of properties that it has.
    pub(super) fn required(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> =
            self.facts.iter().filter_map(|fact| fact.keyword("required")?.as_array()).flatten().filter_map(Value::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// One for each alternative of the first list of alternatives: it is one of these. None if there is no list.
    pub(super) fn cases(&self) -> Option<Vec<Self>> {
        for fact in &self.facts {
            for keyword in ALTERNATIVES {
                let Some(list) = fact.keyword(keyword) else { continue };
                if self.settled.contains(&std::ptr::from_ref(list)) {
                    continue;
                }
                let branches = fact.list(keyword);
                let case = |at: usize, branch: &Node<'a>| {
                    let mut case = self.and(branch);
                    case.settled.push(std::ptr::from_ref(list));
                    if keyword == "oneOf" {
                        let others = branches.iter().enumerate().filter(|(other, _)| *other != at);
                        case.exceptions.extend(others.map(|(_, other)| other.clone()));
                    }
                    case
                };
                return Some(branches.iter().enumerate().map(|(at, branch)| case(at, branch)).collect());
            }
        }
        None
    }
}

/// A set of the types that JSON Schema knows. Whole numbers and other numbers are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOLEAN: Self = Self(2);
    pub(super) const OBJECT: Self = Self(4);
    pub(super) const ARRAY: Self = Self(8);
    pub(super) const STRING: Self = Self(16);
    pub(super) const INTEGER: Self = Self(32);
    pub(super) const FRACTION: Self = Self(64);
    pub(super) const NUMBER: Self = Self(32 + 64);
    pub(super) const ALL: Self = Self(127);
    /// Each type with its name, one by one.
    pub(super) const EACH: [(Self, &'static str); 7] = [
        (Self::NULL, "null"),
        (Self::BOOLEAN, "a boolean"),
        (Self::OBJECT, "an object"),
        (Self::ARRAY, "an array"),
        (Self::STRING, "a string"),
        (Self::INTEGER, "an integer"),
        (Self::FRACTION, "a number with a fraction"),
    ];

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn without_numbers(self) -> Self {
        self.without(Self::NUMBER)
    }

    pub(super) fn without_strings(self) -> Self {
        self.without(Self::STRING)
    }

    pub(super) fn without_objects(self) -> Self {
        self.without(Self::OBJECT)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn is_within(self, other: Self) -> bool {
        self.without(other).is_empty()
    }

    pub(super) fn has_any(self, other: Self) -> bool {
        !self.and(other).is_empty()
    }

    /// What a `type` keyword names.
    pub(super) fn named(names: &Value) -> Self {
        let one = |name: &Value| match name.as_str() {
            Some("null") => Self::NULL,
            Some("boolean") => Self::BOOLEAN,
            Some("object") => Self::OBJECT,
            Some("array") => Self::ARRAY,
            Some("string") => Self::STRING,
            Some("integer") => Self::INTEGER,
            Some("number") => Self::NUMBER,
            _ => Self(0),
        };
        names.as_array().map_or_else(|| one(names), |names| names.iter().map(one).fold(Self(0), Self::or))
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Object(_) => Self::OBJECT,
            Value::Array(_) => Self::ARRAY,
            Value::String(_) => Self::STRING,
            // 1.0 is an integer to JSON Schema.
            Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() != 0.0) => Self::FRACTION,
            Value::Number(_) => Self::INTEGER,
        }
    }

    /// The types that a schema's own keywords leave, its sub-schemas aside.
    fn of_keywords(schema: &Node<'_>) -> Self {
        let named = schema.keyword("type").map_or(Self::ALL, Self::named);
        let constant = schema.keyword("const").map_or(Self::ALL, Self::of_value);
        let listed = schema.keyword("enum").and_then(Value::as_array);
        named.and(constant).and(listed.map_or(Self::ALL, |values| values.iter().map(Self::of_value).fold(Self(0), Self::or)))
    }

    /// The types that any of the schemas leaves.
    fn of_any(schemas: &[Node<'_>]) -> Self {
        let of = |schema: &Node<'_>| {
            let known = Narrow::of(schema);
            if known.is_never() { Self(0) } else { known.types }
        };
        schemas.iter().map(of).fold(Self(0), Self::or)
    }
}

/// Keywords that list alternatives.
const ALTERNATIVES: [&str; 2] = ["anyOf", "oneOf"];
