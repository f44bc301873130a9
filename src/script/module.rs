//! What is a script made of? Its name, its text, and whether that is a whole module or one function.

/// A script: text that has not been looked at yet. What it means comes out in [`super::Sandbox::inspect`].
#[derive(Debug)]
pub(crate) struct Module {
    name: String,
    source: String,
    is_function: bool,
    hash: [u8; 32],
}

/// The name of a function in a factory; a source that contains it gets none.
const EXPORTED: &str = "exported$by$factory";

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

    /// What stands before the source in a factory.
    fn prefix(&self) -> String {
        if self.is_function { format!("export default () => {{ const {EXPORTED} = (") } else { "export default () => {".to_owned() }
    }

    /// The text for the engine: always an ES module, so that its names stay its own. The first line is as far off as in a factory.
    pub(super) fn text(&self) -> String {
        let before = if self.is_function { "export default (" } else { "" };
        let shift = self.prefix().len();
        if self.is_function {
            format!("{before:>shift$}{}\n);", self.source)
        } else if self.has_hashbang() {
            self.source.clone()
        } else {
            format!("{before:>shift$}{}", self.source)
        }
    }

    /// A line for other programs, which is one only at the very start of a text.
    fn has_hashbang(&self) -> bool {
        self.source.starts_with("#!")
    }

    /// By how many columns the engine is off in the first line.
    pub(super) fn shift(&self) -> u32 {
        if self.has_hashbang() && !self.is_function { 0 } else { u32::try_from(self.prefix().len()).unwrap_or(0) }
    }

    /// The text of a factory: an ES module whose default export is a function that does what evaluating this module does, and returns
    /// its exports. Only where each of `exported` is declared once, on a line that starts with `export`.
    ///
    /// The body of an arrow function inside a module means what it means as a module: the mode is strict, there is neither `this` nor
    /// `arguments`, and `await` is reserved. Any other sort of export is a mistake there. What looks like an export inside a text can
    /// only pass for one when a name is declared in a list; for that there is [`Factory::probes`].
    pub(super) fn factory(&self, exported: &[String]) -> Option<Factory> {
        let prefix = self.prefix();
        if self.source.len() > FACTORY_BYTES_MAX {
            return None;
        }
        if self.is_function {
            let text = format!("{prefix}{}\n); return {{ __proto__: null, default: {EXPORTED} }}; }};", self.source);
            return (exported == ["default"] && !self.source.contains(EXPORTED)).then_some(Factory { text, probes: Vec::new() });
        }
        let names = exported.join(", ");
        let found: Vec<(usize, &str)> = declarations(&self.source);
        let mut declared: Vec<&str> = found.iter().map(|(_, name)| *name).collect();
        declared.sort_unstable();
        let mut wanted: Vec<&str> = exported.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        if wanted.is_empty() || wanted.len() > EXPORTS_MAX || declared != wanted {
            return None;
        }
        let without = |kept: Option<usize>| {
            let mut body = self.source.clone();
            for (at, _) in found.iter().filter(|(at, _)| Some(*at) != kept) {
                body.replace_range(*at..*at + EXPORT.len(), &" ".repeat(EXPORT.len()));
            }
            format!("{prefix}{body}\nreturn {{ __proto__: null, {names} }}; }};")
        };
        let probes = found.iter().map(|(at, _)| without(Some(*at))).collect();
        Some(Factory { text: without(None), probes })
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

const EXPORT: &str = "export ";

/// More exports than an aggregate has are not worth a factory.
const EXPORTS_MAX: usize = 4;

/// A longer source would make the first call of a module too slow, which reads it once for each export.
const FACTORY_BYTES_MAX: usize = 64 << 10;

/// Another text for a module, see [`Module::factory`].
pub(super) struct Factory {
    pub(super) text: String,
    /// The same text with one of the exports left as it was: each must be refused by the engine, or the line was no export.
    pub(super) probes: Vec<String>,
}

/// Where lines of `source` look like `export const NAME`, and the names.
fn declarations(source: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    for line in source.split_inclusive('\n') {
        let name = line.strip_prefix(EXPORT).and_then(|rest| {
            let (sort, rest) = rest.split_once(' ')?;
            let end = rest.find(|character: char| !(character.is_ascii_alphanumeric() || matches!(character, '_' | '$')))?;
            matches!(sort, "const" | "let" | "var" | "function" | "class").then_some(rest.get(..end)?)
        });
        found.extend(name.filter(|name| !name.is_empty()).map(|name| (at, name)));
        at += line.len();
    }
    found
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

    #[test]
    fn a_factory_needs_every_export_on_a_line_of_its_own() {
        let has = |source: &str, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Module::new("a.js", source).factory(&names).is_some()
        };
        assert!(has("export const initial = 1;\nexport function evolve() {}", &["evolve", "initial"]));
        assert!(!has("const a = 1; export { a as initial };", &["initial"]));
        assert!(!has("export default 1;", &["default"]));
        assert!(!has("export const initial = 1, evolve = {};", &["evolve", "initial"]));
        assert!(!has("export const initial = `\nexport const x = 1`;", &["initial"]));
        assert!(!has("export const initial = `\nexport const initial = 1`;", &["initial"]));
        assert!(!has("", &[]));
        assert!(Module::function("a.js", "(data) => data").factory(&["default".to_owned()]).is_some());
    }
}
