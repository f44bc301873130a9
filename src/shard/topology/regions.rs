//! Which region does a key belong to?

use crate::shard::strategy::Region;

/// The region of a key (by its place), and the pattern that says so.
pub(super) fn region<'a>(regions: &'a [Region], default: Option<&str>, key: &str) -> Option<(usize, Option<&'a str>)> {
    let named = regions.iter().enumerate().find_map(|(at, region)| {
        let pattern = region.keys.iter().find(|pattern| matches(pattern, key))?;
        Some((at, Some(pattern.as_str())))
    });
    named.or_else(|| regions.iter().position(|region| default == Some(region.name.as_str())).map(|at| (at, None)))
}

/// Whether a pattern matches a whole text; `*` stands for any text, also none.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        // The first place is as good as any: what comes behind has most room then.
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    true
}
