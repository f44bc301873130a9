//! Which members does an event's data have, told without building what nobody looks at?

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::DeserializeSeed;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

/// Shows the members of a JSON object, in order, as their names and JSON texts: those that `is_wanted` says yes to. What is no object has
/// none. `false` if it is not JSON: what was seen up to there then counts for nothing.
pub(super) fn each<'a>(data: &'a [u8], mut is_wanted: impl FnMut(&str) -> bool, mut see: impl FnMut(Cow<'a, str>, &'a str)) -> bool {
    let mut deserializer = serde_json::Deserializer::from_slice(data);
    let walk = Walk { is_wanted: &mut is_wanted, see: &mut see };
    walk.deserialize(&mut deserializer).and_then(|()| deserializer.end()).is_ok()
}

/// Walks over one level of an object. Values are passed over without recursion, however deep they are nested.
struct Walk<'f, W, S> {
    is_wanted: &'f mut W,
    see: &'f mut S,
}

impl<'de, W: FnMut(&str) -> bool, S: FnMut(Cow<'de, str>, &'de str)> DeserializeSeed<'de> for Walk<'_, W, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, W: FnMut(&str) -> bool, S: FnMut(Cow<'de, str>, &'de str)> Visitor<'de> for Walk<'_, W, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        while let Some(name) = access.next_key_seed(Name)? {
            if (self.is_wanted)(&name) {
                let value: &'de RawValue = access.next_value()?;
                (self.see)(name, value.get());
            } else {
                access.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// The name of a member, copied only if it is written with escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// A JSON text as a text: a string as it is, everything else as it is written.
pub(super) fn text(json: &str) -> Cow<'_, str> {
    let Some(inside) = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')) else { return Cow::Borrowed(json) };
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    // Half of a surrogate pair is good JSON and no text: it stays as it is written.
    serde_json::from_str(json).map_or(Cow::Borrowed(json), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(data: &[u8]) -> (bool, Vec<(String, String)>) {
        let mut members = Vec::new();
        let is_json = each(data, |name| name != "skipped", |name, json| members.push((name.into_owned(), json.to_owned())));
        (is_json, members)
    }

    #[test]
    fn members_come_as_they_are_written() {
        let (is_json, members) = seen(br#" {"a": 1.50, "skipped": [1, {"b": 2}], "\u0062": {"c" : [ ]}, "d":null} "#);
        assert!(is_json);
        let expected = [("a", "1.50"), ("b", r#"{"c" : [ ]}"#), ("d", "null")];
        assert_eq!(members, expected.map(|(name, json)| (name.to_owned(), json.to_owned())));
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for data in ["[1, 2]", "7", "-1", "1.5", "\"text\"", "true", "null", "{}"] {
            assert_eq!(seen(data.as_bytes()), (true, Vec::new()), "{data}");
        }
    }

    #[test]
    fn what_is_no_json_is_told() {
        for data in
            [&b""[..], b"{", b"{\"a\": 1", b"{\"a\": 1} x", b"{\"a\": tru}", b"{a: 1}", b"\xff", b"{\"a\": \"\xff\"}", b"{\"\xff\": 1}"]
        {
            assert!(!seen(data).0, "{:?}", String::from_utf8_lossy(data));
        }
    }

    #[test]
    fn numbers_of_any_size_are_passed_over() {
        let (is_json, members) = seen(br#"{"a": 1e999, "skipped": 1e999, "b": 123456789012345678901234567890}"#);
        assert!(is_json && members.len() == 2);
    }

    #[test]
    fn nesting_has_no_limit() {
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        for name in ["a", "skipped"] {
            assert!(seen(format!("{{\"{name}\": {deep}}}").as_bytes()).0);
        }
    }

    #[test]
    fn strings_are_texts_and_the_rest_stays_json() {
        for (json, expected) in [
            (r#""a b""#, "a b"),
            (r#""a\n\"b\"""#, "a\n\"b\""),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\ud83d""#, r#""\ud83d""#),
            ("[1]", "[1]"),
            ("1e5", "1e5"),
        ] {
            assert_eq!(text(json), expected);
        }
    }
}
