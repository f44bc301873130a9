//! What is a table called, and its indexes?

use std::fmt;

/// A table, by its schema and name. `Display` quotes both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

impl Table {
    /// The table of a generation that is being built beside this one.
    pub(super) fn beside(&self, generation: &str) -> Self {
        let short = generation.get(..8).unwrap_or(generation);
        Self { schema: self.schema.clone(), name: format!("{}__{short}", self.name) }
    }

    /// As a person writes it.
    pub(super) fn described(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    pub(super) fn primary_key(&self) -> String {
        fitted(&self.name, "pkey")
    }

    pub(super) fn index(&self, column: &str) -> String {
        fitted(&self.name, &format!("{column}_idx"))
    }
}

/// An identifier that means what it says, whatever is in it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Checks that a name can be one in Postgres, and leaves room for `reserved` more bytes.
pub(super) fn check(what: &str, name: &str, reserved: usize) -> Result<(), String> {
    let max = NAME_BYTES_MAX.saturating_sub(reserved);
    if name.is_empty() {
        Err(format!("the {what} has no name"))
    } else if name.len() > max {
        Err(format!("the {what} {name:?} has {} bytes, at most {max} are possible", name.len()))
    } else if name.contains('\0') {
        Err(format!("the {what} {name:?} has U+0000 in its name"))
    } else {
        Ok(())
    }
}

/// What a table's name must leave for [`Table::beside`].
pub(super) const BESIDE_BYTES: usize = 10;

/// Two names of one table that are too long differ still: the cut one ends with a hash of all of it.
fn fitted(table: &str, rest: &str) -> String {
    let whole = format!("{table}_{rest}");
    if whole.len() <= NAME_BYTES_MAX {
        return whole;
    }
    let hash = blake3::hash(whole.as_bytes()).to_hex();
    let mut end = NAME_BYTES_MAX - 9;
    while !whole.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}_{}", whole.get(..end).unwrap_or_default(), hash.get(..8).unwrap_or_default())
}

const NAME_BYTES_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_fit() {
        let table = Table { schema: "My \"S\"".to_owned(), name: "é".repeat(26) };
        assert_eq!(table.to_string(), format!("\"My \"\"S\"\"\".\"{}\"", "é".repeat(26)));
        let beside = table.beside("0123456789abcdef");
        assert_eq!(beside.name, format!("{}__01234567", "é".repeat(26)));
        assert!(beside.name.len() <= NAME_BYTES_MAX);
        let indexes = [beside.index("status_of_the_first"), beside.index("status_of_the_second"), beside.primary_key()];
        assert!(indexes.iter().all(|index| index.len() <= NAME_BYTES_MAX), "{indexes:?}");
        assert_ne!(indexes[0], indexes[1]);
        for (name, is_fine) in [("", false), ("a\0b", false), (&"x".repeat(54), false), (&"x".repeat(53), true), ("Ünï \"q\"", true)] {
            assert_eq!(check("table", name, BESIDE_BYTES).is_ok(), is_fine, "{name:?}");
        }
    }
}
