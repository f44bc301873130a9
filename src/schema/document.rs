//! Which parts of a schema are schemas themselves, where do its references lead, and is it of a size that can be worked with?
//!
//! Everything is refused here that would make a schema mean more than its own text: references that leave it, sub-schemas with another
//! base address, keywords of earlier drafts.

use std::collections::BTreeMap;
use std::collections::HashMap;

use serde_json::Map;
use serde_json::Value;

use crate::schema::error::SchemaError;

/// A schema that is closed in itself: every reference leads to a schema of the same text, and no chain of references comes back to where
/// it began without a step down into the data.
#[derive(Debug)]
pub(in crate::schema) struct Document<'a> {
    root: &'a Value,
    /// Every schema in it, by JSON Pointer.
    schemas: BTreeMap<String, &'a Value>,
    /// Names that references may use, with the pointers of what they name.
    anchors: HashMap<&'a str, String>,
}

/// A schema within a document.
#[derive(Clone, Debug)]
pub(in crate::schema) struct Node<'a> {
    pub(in crate::schema) document: &'a Document<'a>,
    pub(in crate::schema) pointer: String,
    pub(in crate::schema) value: &'a Value,
}

/// A schema that stands directly in another.
pub(in crate::schema) struct Child<'a> {
    /// What comes behind the parent's pointer.
    pub(in crate::schema) suffix: String,
    pub(in crate::schema) value: &'a Value,
    /// It speaks about the same value as its parent, not about a part of that.
    in_place: bool,
}

impl<'a> Document<'a> {
    /// Reads a schema and checks all that can be said without compiling it.
    ///
    /// # Errors
    ///
    /// [`SchemaError::Invalid`] with the pointer of what is wrong.
    pub(in crate::schema) fn new(root: &'a Value) -> Result<Self, SchemaError> {
        check_nesting(root, 1)?;
        let bytes = root.to_string().len();
        if bytes > SCHEMA_BYTES_MAX {
            return Err(SchemaError::at("", format!("the schema has {bytes} bytes, more than {SCHEMA_BYTES_MAX}")));
        }
        let mut document = Self { root, schemas: BTreeMap::new(), anchors: HashMap::new() };
        let mut patterns = 0;
        document.collect(String::new(), root, &mut patterns)?;
        if patterns > PATTERNS_MAX {
            return Err(SchemaError::at("", format!("the schema has {patterns} patterns, more than {PATTERNS_MAX}")));
        }
        let mut spans = HashMap::new();
        for pointer in document.schemas.keys() {
            document.span(pointer, 0, &mut spans)?;
        }
        Ok(document)
    }

    /// The whole of it.
    pub(in crate::schema) fn root(&'a self) -> Node<'a> {
        Node { document: self, pointer: String::new(), value: self.root }
    }

    /// What a `$ref` or `$dynamicRef` leads to. Within one resource the two mean the same.
    pub(in crate::schema) fn resolve(&'a self, reference: &str) -> Option<Node<'a>> {
        let pointer = self.target(reference)?;
        let value = self.schemas.get(&pointer)?;
        Some(Node { document: self, pointer, value })
    }

    fn target(&self, reference: &str) -> Option<String> {
        let fragment = percent_decoded(reference.strip_prefix('#')?)?;
        if fragment.is_empty() || fragment.starts_with('/') { Some(fragment) } else { self.anchors.get(fragment.as_str()).cloned() }
    }

    /// Notes a schema and those in it. What nothing knows as a schema, such as an `enum` or an `example`, may hold anything.
    fn collect(&mut self, pointer: String, schema: &'a Value, patterns: &mut usize) -> Result<(), SchemaError> {
        if let Value::Object(keywords) = schema {
            check_keywords(&pointer, keywords)?;
            *patterns += usize::from(keywords.contains_key("pattern"));
            *patterns += keywords.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
            for name in ["$anchor", "$dynamicAnchor"] {
                if let Some(anchor) = keywords.get(name).and_then(Value::as_str)
                    && self.anchors.insert(anchor, pointer.clone()).is_some_and(|other| other != pointer)
                {
                    return Err(SchemaError::at(format!("{pointer}/{name}"), format!("{anchor:?} names two schemas")));
                }
            }
            for child in children(keywords) {
                self.collect(format!("{pointer}{}", child.suffix), child.value, patterns)?;
            }
        }
        self.schemas.insert(pointer, schema);
        Ok(())
    }

    /// How long a chain of schemas about one and the same value starts here, and how many such chains there are.
    fn span(&self, pointer: &str, depth: usize, known: &mut HashMap<String, (usize, usize)>) -> Result<(usize, usize), SchemaError> {
        if let Some(span) = known.get(pointer) {
            return Ok(*span);
        }
        if depth > CHAIN_MAX {
            let detail = format!(
                "schemas and references about one and the same value run in a circle, or more than {CHAIN_MAX} deep; \
                 a recursive schema must step down into properties or items"
            );
            return Err(SchemaError::at(pointer, detail));
        }
        let (mut longest, mut count) = (0, 1_usize);
        let Some(Value::Object(keywords)) = self.schemas.get(pointer) else { return Ok((1, 1)) };
        let mut next: Vec<String> =
            children(keywords).into_iter().filter(|child| child.in_place).map(|child| format!("{pointer}{}", child.suffix)).collect();
        for name in REFERENCES {
            if let Some(reference) = keywords.get(name).and_then(Value::as_str) {
                let target = self.target(reference).filter(|target| self.schemas.contains_key(target));
                next.push(target.ok_or_else(|| {
                    let detail = format!("{reference:?} leads to no schema here; references look like \"#/$defs/name\"");
                    SchemaError::at(format!("{pointer}/{name}"), detail)
                })?);
            }
        }
        for target in next {
            let (length, chains) = self.span(&target, depth + 1, known)?;
            longest = longest.max(length);
            count = count.saturating_add(chains);
        }
        longest += 1;
        if depth + longest > CHAIN_MAX + 1 || count > CHAINS_MAX {
            let detail = format!("more than {CHAIN_MAX} schemas deep, or {CHAINS_MAX} in all, speak about one and the same value");
            return Err(SchemaError::at(pointer, detail));
        }
        known.insert(pointer.to_owned(), (longest, count));
        Ok((longest, count))
    }
}

impl<'a> Node<'a> {
    /// Its keywords; none for `true` and `false`.
    pub(in crate::schema) fn keyword(&self, name: &str) -> Option<&'a Value> {
        self.value.as_object()?.get(name)
    }

    /// The schema under a keyword that holds one.
    pub(in crate::schema) fn child(&self, name: &str) -> Option<Self> {
        Some(self.at(format!("/{name}"), self.keyword(name)?))
    }

    /// The schemas under a keyword that holds an array of them.
    pub(in crate::schema) fn list(&self, name: &str) -> Vec<Self> {
        let items = self.keyword(name).and_then(Value::as_array).into_iter().flatten();
        items.enumerate().map(|(at, value)| self.at(format!("/{name}/{at}"), value)).collect()
    }

    /// One schema under a keyword that holds an array of them.
    pub(in crate::schema) fn nth(&self, name: &str, at: usize) -> Option<Self> {
        Some(self.at(format!("/{name}/{at}"), self.keyword(name)?.as_array()?.get(at)?))
    }

    /// How many schemas stand under a keyword that holds several.
    pub(in crate::schema) fn length(&self, name: &str) -> usize {
        match self.keyword(name) {
            Some(Value::Array(items)) => items.len(),
            Some(Value::Object(members)) => members.len(),
            _ => 0,
        }
    }

    /// One schema under a keyword that holds them by name.
    pub(in crate::schema) fn member(&self, name: &str, key: &str) -> Option<Self> {
        Some(self.at(format!("/{name}/{}", escaped(key)), self.keyword(name)?.as_object()?.get(key)?))
    }

    /// The names under a keyword that holds schemas by name.
    pub(in crate::schema) fn names(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.keyword(name).and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key.as_str())
    }

    /// What its references lead to.
    pub(in crate::schema) fn references(&self) -> impl Iterator<Item = Self> {
        REFERENCES.iter().filter_map(|name| self.reference(name))
    }

    /// What one of its references leads to.
    pub(in crate::schema) fn reference(&self, name: &str) -> Option<Self> {
        self.document.resolve(self.keyword(name)?.as_str()?)
    }

    fn at(&self, suffix: String, value: &'a Value) -> Self {
        Self { document: self.document, pointer: self.pointer.clone() + &suffix, value }
    }

    /// Whether it is the very same place of the same document.
    pub(in crate::schema) fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self.value, other.value)
    }
}

/// The schemas that stand directly in one.
pub(in crate::schema) fn children(keywords: &Map<String, Value>) -> Vec<Child<'_>> {
    let mut found = Vec::new();
    for (name, value) in keywords {
        let in_place = IN_PLACE.contains(&name.as_str());
        match kind(name) {
            Kind::Schema => found.push(Child { suffix: format!("/{name}"), value, in_place }),
            Kind::List => {
                let items = value.as_array().into_iter().flatten().enumerate();
                found.extend(items.map(|(at, value)| Child { suffix: format!("/{name}/{at}"), value, in_place }));
            }
            Kind::Map => {
                let members = value.as_object().into_iter().flatten();
                found.extend(members.map(|(key, value)| Child { suffix: format!("/{name}/{}", escaped(key)), value, in_place }));
            }
            Kind::Plain => {}
        }
    }
    found
}

/// What a keyword's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::schema) enum Kind {
    Schema,
    List,
    Map,
    /// Not a schema.
    Plain,
}

/// What the value of a keyword is made of.
pub(in crate::schema) fn kind(keyword: &str) -> Kind {
    match keyword {
        "additionalProperties"
        | "contains"
        | "contentSchema"
        | "else"
        | "if"
        | "items"
        | "not"
        | "propertyNames"
        | "then"
        | "unevaluatedItems"
        | "unevaluatedProperties" => Kind::Schema,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Kind::List,
        "$defs" | "definitions" | "dependentSchemas" | "patternProperties" | "properties" => Kind::Map,
        _ => Kind::Plain,
    }
}

fn check_keywords(pointer: &str, keywords: &Map<String, Value>) -> Result<(), SchemaError> {
    for (name, value) in keywords {
        let wrong = match (name.as_str(), value.as_str()) {
            ("$ref" | "$dynamicRef", Some(reference)) if !reference.starts_with('#') => {
                format!("{reference:?} leads out of this schema; only references within it, such as \"#/$defs/name\", are followed")
            }
            ("$id", _) if !pointer.is_empty() => "only the whole schema may have an $id".to_owned(),
            ("$schema", Some(draft)) if !pointer.is_empty() || draft.trim_end_matches('#') != DRAFT => {
                format!("schemas are of draft 2020-12: leave $schema out, or write {DRAFT:?} at the top")
            }
            ("additionalItems" | "dependencies" | "$recursiveRef" | "$recursiveAnchor", _) => {
                format!("{name} is of an earlier draft; 2020-12 has items, dependentRequired, dependentSchemas and $dynamicRef for it")
            }
            _ => continue,
        };
        return Err(SchemaError::at(format!("{pointer}/{}", escaped(name)), wrong));
    }
    Ok(())
}

fn check_nesting(value: &Value, depth: usize) -> Result<(), SchemaError> {
    if depth > NESTING_MAX {
        return Err(SchemaError::at("", format!("the schema is nested more than {NESTING_MAX} deep")));
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_nesting(item, depth + 1)),
        Value::Object(members) => members.values().try_for_each(|member| check_nesting(member, depth + 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// A name as one step of a JSON Pointer.
pub(in crate::schema) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The text of a fragment. References that are written otherwise than a plain pointer are rare, broken ones are refused.
fn percent_decoded(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

const REFERENCES: [&str; 2] = ["$ref", "$dynamicRef"];
/// Keywords whose schemas speak about the value that their parent speaks about.
const IN_PLACE: [&str; 8] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"];
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// The largest schema.
const SCHEMA_BYTES_MAX: usize = 256 << 10;
/// How deep a schema's own JSON may be nested.
const NESTING_MAX: usize = 64;
/// Each costs memory for as long as the schema is registered.
const PATTERNS_MAX: usize = 100;
/// How many schemas may follow each other about one value: what checking one value may cost of the stack.
const CHAIN_MAX: usize = 32;
/// How many schemas in all may speak about one value: what checking one value may cost of time.
const CHAINS_MAX: usize = 1_000;
