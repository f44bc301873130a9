//! What is a script made of? Its name, its text, and whether that is a whole module or one function.

/// A script: text that has not been looked at yet. What it means comes out in [`super::Sandbox::inspect`].
#[derive(Debug)]
pub(crate) struct Module {
    name: String,
    source: String,
    is_function: bool,
    hash: [u8; 32],
}

/// What stands before a function, so that it is the module's only export.
const PREFIX: &str = "export default (";

impl Module {
    /// An ES module. The name is the one that errors carry.
    pub(crate) fn new(name: impl Into<String>, source: impl Into<String>) -> Self {
        Self::of(name.into(), source.into(), false)
    }

    /// One function expression, such as `(data, event) => ({ ...data, currency: "EUR" })`.
    pub(crate) fn function(name: impl Into<String>, source: impl Into<String>) -> Self {
        Self::of(name.into(), source.into(), true)
    }

    fn of(name: String, source: String, is_function: bool) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(if is_function { b"function\0" } else { b"module\0" });
        hasher.update(source.as_bytes());
        Self { name, source, is_function, hash: hasher.finalize().into() }
    }

    /// The hash of the source and of its sort, not of the name: a renamed script keeps its results.
    pub(crate) fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// As its author wrote it.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Its file's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_function(&self) -> bool {
        self.is_function
    }

    /// The text for the engine: always an ES module, so that its names stay its own.
    pub(super) fn text(&self) -> String {
        if self.is_function { format!("{PREFIX}{}\n);", self.source) } else { self.source.clone() }
    }

    /// By how many columns the engine is off in the first line.
    pub(super) fn shift(&self) -> u32 {
        if self.is_function { u32::try_from(PREFIX.len()).unwrap_or(0) } else { 0 }
    }

    /// Whether `null` that was thrown may be the author's. The engine throws it too, when no memory is left for an error.
    pub(super) fn throws_null(&self) -> bool {
        self.source.split("throw").skip(1).any(|behind| behind.trim_start().starts_with("null"))
    }

    /// The line of the first literal such as `10n`, also in a comment or a text: whole numbers without a bound make single steps
    /// that take as long as a number is large, and nothing can interrupt a step.
    pub(super) fn big_integer(&self) -> Option<u32> {
        let mut line = 1;
        let mut literal = false;
        let mut before = ' ';
        for character in self.source.chars().chain([' ']) {
            let is_word = character.is_alphanumeric() || matches!(character, '_' | '$');
            let was_word = before.is_alphanumeric() || matches!(before, '_' | '$');
            if is_word && !was_word {
                literal = character.is_ascii_digit();
            }
            if !is_word && was_word && literal && before == 'n' {
                return Some(line);
            }
            if character == '\n' {
                line += 1;
            }
            before = character;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_of_a_big_integer_is_found() {
        let line = |source: &str| Module::new("a.js", source).big_integer();
        for source in ["1n", "let a = 0x1Fn;", "1_000n**2n", "x[7n]", "-3n"] {
            assert_eq!(line(source), Some(1), "{source}");
        }
        assert_eq!(line("a\nb\n  9n"), Some(3));
        for source in ["n", "x1n", "1 n", "0x1F", "\"n1\"", "1e3", "$1n", "function(n){return n}"] {
            assert_eq!(line(source), None, "{source}");
        }
    }

    #[test]
    fn a_hash_is_of_source_and_sort() {
        let hash = Module::new("a.js", "x").hash();
        assert_eq!(hash, Module::new("b.js", "x").hash());
        assert_ne!(hash, Module::new("a.js", "y").hash());
        assert_ne!(hash, Module::function("a.js", "x").hash());
    }
}
