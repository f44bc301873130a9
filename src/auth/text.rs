//! How are bytes written in tokens, and which JSON is accepted there? One way only, so that no two readers can read them differently.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::Map;
use serde_json::Value;

/// Base64url without padding.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads base64url: no padding, no white space, no bits that stand for nothing.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A JSON object, none of whose names stands twice.
pub(crate) fn read_object(text: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice::<Unique>(text).ok().map(|Unique(map)| map)
}

struct Unique(Map<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unique, A::Error> {
        let mut map = Map::new();
        while let Some((name, value)) = entries.next_entry::<String, Value>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Unique(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j14_there_is_one_way_to_write_bytes_and_names() {
        assert_eq!(decode("YWI"), Some(b"ab".to_vec()));
        for bad in ["YWI=", "YWJ", "YW I", "YWI\n", "YWI+", "YWI/", "Y"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
        assert!(read_object(br#"{"a":1,"b":{"a":1}}"#).is_some());
        for bad in [r#"{"a":1,"a":1}"#, r#"{"a":1} "#.trim_end().to_owned().as_str(), "[]", "{}x", r#"{"\u0061":1,"a":2}"#] {
            assert_eq!(read_object(bad.as_bytes()).is_some(), bad == r#"{"a":1}"#, "{bad}");
        }
    }
}
