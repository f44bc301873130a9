//! Which shard does a stream's name lead to?

use xxhash_rust::xxh3::xxh3_64;

/// How many slots there are. Streams belong to slots for ever; slots belong to shards.
pub const SLOTS: u16 = 4_096;

/// What of a name decides where it lives: the text between the first `{` and the `}` behind it, if there is any; else all of it.
pub(crate) fn partition_key(stream: &str) -> &str {
    let braced = stream.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    match braced {
        Some((key, _)) if !key.is_empty() => key,
        _ => stream,
    }
}

/// The slot of a stream.
pub(crate) fn slot(stream: &str) -> u16 {
    slot_of_key(partition_key(stream))
}

/// The slot of a partition key.
pub(crate) fn slot_of_key(key: &str) -> u16 {
    let slot = xxh3_64(key.as_bytes()) % u64::from(SLOTS);
    u16::try_from(slot).expect("a remainder of a u16 fits into one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_what_stands_between_braces() {
        for (stream, key) in [
            ("order-42", "order-42"),
            ("order-{tenant 7}-42", "tenant 7"),
            ("{a}{b}", "a"),
            ("a{}b{c}", "a{}b{c}"),
            ("a{b", "a{b"),
            ("a}b{c", "a}b{c"),
            ("a{b{c}d}", "b{c"),
            ("{", "{"),
        ] {
            assert_eq!(partition_key(stream), key, "{stream}");
        }
    }

    #[test]
    fn slots_are_pinned_and_common_keys_share_one() {
        // A name that moved to another slot would lead to another shard than the one that has its events.
        assert_eq!(slot("order-42"), u16::try_from(xxh3_64(b"order-42") % 4_096).unwrap());
        assert_eq!(slot("order-{7}"), slot("invoice-{7}-a"));
        assert_eq!(slot("{7}"), slot("7"));
        let used: std::collections::BTreeSet<u16> = (0..100_000).map(|n| slot(&format!("order-{n}"))).collect();
        assert_eq!(used.len(), usize::from(SLOTS));
    }
}
