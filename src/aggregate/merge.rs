//! What does a category without a definition fold to? RFC 7396 (JSON Merge Patch) of each event's data.
//!
//! The patch is never built: its text is read straight into the state.

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::Error;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::Map;
use serde_json::Number;
use serde_json::Value;

/// Merges a JSON text into `state`.
///
/// # Errors
///
/// If the text is not JSON; `state` may then have changed in part.
pub(super) fn merge(state: &mut Value, patch: &[u8]) -> Result<(), serde_json::Error> {
    // An event without data says nothing.
    if patch.is_empty() {
        return Ok(());
    }
    let mut json = serde_json::Deserializer::from_slice(patch);
    Into(state).deserialize(&mut json)?;
    json.end()
}

/// Takes a patch in place of, or into, a value.
struct Into<'a>(&'a mut Value);

impl<'de> DeserializeSeed<'de> for Into<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Into<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        *self.0 = Value::Null;
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        *self.0 = Value::Bool(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        *self.0 = Value::Number(value.into());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        *self.0 = Value::Number(value.into());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        *self.0 = Number::from_f64(value).map_or(Value::Null, Value::Number);
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        if let Value::String(text) = self.0 {
            text.clear();
            text.push_str(value);
        } else {
            *self.0 = Value::String(value.to_owned());
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        *self.0 = Value::Array(items);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut patch: A) -> Result<(), A::Error> {
        if !self.0.is_object() {
            *self.0 = Value::Object(Map::new());
        }
        let Value::Object(members) = self.0 else { return Ok(()) };
        while let Some(key) = patch.next_key::<CowKey<'de>>()? {
            let key = key.0;
            if let Some(member) = members.get_mut(&*key) {
                if patch.next_value_seed(Member(member))? == Fate::Removed {
                    members.remove(&*key);
                }
            } else {
                let mut member = Value::Null;
                if patch.next_value_seed(Member(&mut member))? == Fate::Kept {
                    members.insert(key.into_owned(), member);
                }
            }
        }
        Ok(())
    }
}

/// A member of an object: `null` in the patch removes it, everywhere else it is a value.
struct Member<'a>(&'a mut Value);

#[derive(PartialEq, Eq)]
enum Fate {
    Kept,
    Removed,
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Fate;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fate, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Fate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Fate, E> {
        Ok(Fate::Removed)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Fate, E> {
        Into(self.0).visit_bool(value).map(|()| Fate::Kept)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Fate, E> {
        Into(self.0).visit_i64(value).map(|()| Fate::Kept)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Fate, E> {
        Into(self.0).visit_u64(value).map(|()| Fate::Kept)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Fate, E> {
        Into(self.0).visit_f64(value).map(|()| Fate::Kept)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Fate, E> {
        Into(self.0).visit_str(value).map(|()| Fate::Kept)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Fate, A::Error> {
        Into(self.0).visit_seq(list).map(|()| Fate::Kept)
    }

    fn visit_map<A: MapAccess<'de>>(self, patch: A) -> Result<Fate, A::Error> {
        Into(self.0).visit_map(patch).map(|()| Fate::Kept)
    }
}

/// A key without a copy where the text has no escapes.
#[derive(serde::Deserialize)]
struct CowKey<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(state: &str, patch: &str) -> String {
        let mut state = serde_json::from_str(state).unwrap();
        merge(&mut state, patch.as_bytes()).unwrap();
        state.to_string()
    }

    /// The table of RFC 7396, appendix A.
    #[test]
    fn the_examples_of_the_rfc() {
        let cases = [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ];
        for (state, patch, expected) in cases {
            assert_eq!(merged(state, patch), expected, "{state} + {patch}");
        }
    }

    #[test]
    fn nulls_in_lists_stay_and_numbers_keep_their_value() {
        assert_eq!(merged("{}", r#"{"a":[null,{"b":null}]}"#), r#"{"a":[null,{"b":null}]}"#);
        assert_eq!(
            merged("{}", r#"{"a":26.85120450862128,"b":-1,"c":18446744073709551615}"#),
            r#"{"a":26.85120450862128,"b":-1,"c":18446744073709551615}"#
        );
        assert_eq!(merged(r#"{"a":1}"#, ""), r#"{"a":1}"#);
        assert_eq!(merged(r#"{"a\n":1}"#, r#"{"a\n":2,"\u0062":3}"#), r#"{"a\n":2,"b":3}"#);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for patch in ["{", "{} x", "nul", "{\"a\":}"] {
            assert!(merge(&mut Value::Null, patch.as_bytes()).is_err(), "{patch}");
        }
    }
}
