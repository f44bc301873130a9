//! Is what a client sends again under an id the event that is there?

use std::collections::BTreeMap;

use factum_storage::NewEvent;
use factum_storage::RecordedEvent;
use serde_json::value::RawValue;

/// Whether a stored event has the content of a new one, as far as the client sent it: type, data, and tags, metadata and `occurred_at` if
/// there are any. How JSON is written does not count, nor does `traceparent`, which is another one in each try.
pub(super) fn same_content(stored: &RecordedEvent, new: &NewEvent) -> bool {
    stored.event_type() == &*new.event_type
        && new.occurred_at.is_none_or(|at| stored.client_occurred_at() == Some(at))
        && same_tags(stored, new)
        && same_json(stored.data(), &new.data)
        && same_metadata(stored.metadata(), &new.metadata)
}

fn same_tags(stored: &RecordedEvent, new: &NewEvent) -> bool {
    if new.tags.is_empty() {
        return true;
    }
    // Tags are a set: a client that keeps them in one sends them in any order.
    let mut there: Vec<&str> = stored.tags().collect();
    let mut here: Vec<&str> = new.tags.iter().map(|tag| &**tag).collect();
    there.sort_unstable();
    here.sort_unstable();
    there.dedup();
    here.dedup();
    there == here
}

fn same_metadata(stored: &[u8], new: &[u8]) -> bool {
    if new.is_empty() || stored == new {
        return true;
    }
    let Some(mut here) = members(new) else { return false };
    here.remove(TRACEPARENT);
    if here.is_empty() {
        return true;
    }
    let Some(mut there) = members(stored) else { return false };
    there.remove(TRACEPARENT);
    same_members(&there, &here, DEPTH_MAX)
}

fn same_json(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    match (serde_json::from_slice::<&RawValue>(one), serde_json::from_slice::<&RawValue>(other)) {
        (Ok(one), Ok(other)) => same_value(one.get(), other.get(), DEPTH_MAX),
        _ => false,
    }
}

/// Compares level by level on the text, because a number that went through a float would be equal to its neighbours.
fn same_value(one: &str, other: &str, depth: usize) -> bool {
    let (one, other) = (one.trim(), other.trim());
    if one == other {
        return true;
    }
    if depth == 0 {
        return false;
    }
    match (one.bytes().next(), other.bytes().next()) {
        (Some(b'{'), Some(b'{')) => match (members(one.as_bytes()), members(other.as_bytes())) {
            (Some(one), Some(other)) => same_members(&one, &other, depth - 1),
            _ => false,
        },
        (Some(b'['), Some(b'[')) => match (serde_json::from_str::<Vec<&RawValue>>(one), serde_json::from_str::<Vec<&RawValue>>(other)) {
            (Ok(one), Ok(other)) => {
                one.len() == other.len() && one.iter().zip(&other).all(|(one, other)| same_value(one.get(), other.get(), depth - 1))
            }
            _ => false,
        },
        (Some(b'"'), Some(b'"')) => match (serde_json::from_str::<String>(one), serde_json::from_str::<String>(other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        },
        // Numbers and literals are the same if they are written the same.
        _ => false,
    }
}

fn members(json: &[u8]) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_slice(json).ok()
}

fn same_members(one: &BTreeMap<String, &RawValue>, other: &BTreeMap<String, &RawValue>, depth: usize) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|((one_name, one), (other_name, other))| one_name == other_name && same_value(one.get(), other.get(), depth))
}

const TRACEPARENT: &str = "traceparent";
/// Deeper than this only equal bytes are the same: the comparison must not exhaust the stack.
const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_compared_by_what_it_says() {
        for (one, other) in [
            (r#"{"a":1,"b":[1,2]}"#, r#" { "b" : [1, 2], "a": 1 } "#),
            (r#""\u0041""#, r#""A""#),
            ("{}", "{ }"),
            (r#"{"a":{"b":null}}"#, "{\"a\":\n{\"b\":null}}"),
        ] {
            assert!(same_json(one.as_bytes(), other.as_bytes()), "{one} and {other}");
        }
        for (one, other) in [
            ("1", "1.0"),
            ("123456789012345678901", "123456789012345678902"),
            ("0.1", "0.10000000000000001"),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
            ("[1,2]", "[2,1]"),
            ("[]", "{}"),
            ("null", "false"),
            (r#""1""#, "1"),
            ("not json", "not json either"),
        ] {
            assert!(!same_json(one.as_bytes(), other.as_bytes()), "{one} and {other}");
        }
        assert!(same_json(b"\x00opaque", b"\x00opaque"));
    }

    #[test]
    fn what_is_nested_too_deep_is_the_same_only_byte_by_byte() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(same_json(deep("1").as_bytes(), deep("1").as_bytes()));
        assert!(!same_json(deep("1").as_bytes(), deep(" 1").as_bytes()));
    }

    #[test]
    fn metadata_is_compared_without_the_trace() {
        for (stored, new, expected) in [
            ("", "", true),
            (r#"{"a":1}"#, "", true),
            (r#"{"a":1,"traceparent":"x"}"#, r#"{"traceparent":"y","a":1}"#, true),
            (r#"{"a":1,"traceparent":"x"}"#, r#"{"a":1}"#, true),
            (r#"{"a":1}"#, r#"{"traceparent":"y"}"#, true),
            (r#"{"a":1}"#, "{}", true),
            (r#"{"a":1}"#, r#"{"a":2}"#, false),
            ("", r#"{"a":2}"#, false),
            (r#"{"a":{"traceparent":1}}"#, r#"{"a":{"traceparent":2}}"#, false),
        ] {
            assert_eq!(same_metadata(stored.as_bytes(), new.as_bytes()), expected, "{stored} and {new}");
        }
    }
}
