//! Which files does the project have, and what do they say outside of comments and strings?

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// A text file of the project.
pub(crate) struct Source {
    /// Relative to the project's root, with `/` between the parts.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The module of `src/` that the file belongs to: `http` for `src/http/sse.rs`; `None` outside of `src/`.
    pub(crate) fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let first = inside.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test(&self) -> bool {
        let parts: Vec<&str> = self.path.split('/').collect();
        parts.iter().any(|part| matches!(*part, "tests" | "benches" | "fuzz" | "tests.rs"))
    }
}

/// The project's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below the root with one of these extensions, in the order of their paths; hidden folders and what is built are left out.
pub(crate) fn sources(extensions: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    walk(root(), &mut |path| {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if extensions.contains(&extension) {
            found.push(Source { path: relative(path), text: fs::read_to_string(path).expect("source files are UTF-8") });
        }
    });
    found.sort_by(|left, right| left.path.cmp(&right.path));
    assert!(!found.is_empty(), "no file with one of {extensions:?} below {}", root().display());
    found
}

/// The names of what lies in the root, without hidden entries and what `.gitignore` names.
pub(crate) fn top_level() -> Vec<String> {
    let ignored = fs::read_to_string(root().join(".gitignore")).expect(".gitignore is there");
    let mut names: Vec<String> = entries(root()).iter().map(|path| relative(path)).collect();
    names.retain(|name| !name.starts_with('.') && !ignored.lines().any(|line| line.trim_matches('/') == name));
    names.sort();
    names
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for path in entries(folder) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_file() {
            visit(&path);
        // Folders of build output bear a marker, wherever CARGO_TARGET_DIR has put them.
        } else if path.is_dir() && !name.starts_with('.') && name != "data" && !path.join("CACHEDIR.TAG").exists() {
            walk(&path, visit);
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).expect("a folder of the project can be listed");
    listed.map(|entry| entry.expect("an entry can be read").path()).collect()
}

fn relative(path: &Path) -> String {
    let inside = path.strip_prefix(root()).expect("below the root");
    inside.to_str().expect("names are UTF-8").replace('\\', "/")
}

/// The text with everything in comments, strings and character literals replaced by blanks; lines stay where they are.
pub(crate) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = literal_or_comment(rest, code.chars().next_back());
        let (blank, taken) = if skipped > 0 { (true, skipped) } else { (false, first.len_utf8()) };
        let (piece, behind) = rest.split_at(taken);
        code.extend(piece.chars().map(|character| if blank && character != '\n' { ' ' } else { character }));
        rest = behind;
    }
    code
}

/// How many bytes at the start of `rest` are a comment or a literal; 0 if it begins with neither.
fn literal_or_comment(rest: &str, before: Option<char>) -> usize {
    let is_word = before.is_some_and(|before| before.is_alphanumeric() || before == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    if let Some(raw) = rest.strip_prefix('r').filter(|_| !is_word || before == Some('b')) {
        let hashes = raw.bytes().take_while(|&byte| byte == b'#').count();
        let closing = format!("\"{}", "#".repeat(hashes));
        if let Some(inside) = raw.get(hashes..).and_then(|behind| behind.strip_prefix('"')) {
            let end = inside.find(&closing).unwrap_or(inside.len());
            return (1 + hashes + 1 + end + closing.len()).min(rest.len());
        }
    }
    if let Some(inside) = rest.strip_prefix('"') {
        return 1 + until_unescaped(inside, '"');
    }
    if let Some(inside) = rest.strip_prefix('\'') {
        // A lifetime has no closing quote behind its first character.
        let mut characters = inside.chars();
        return match (characters.next(), characters.next()) {
            (Some('\\'), _) => 1 + until_unescaped(inside, '\''),
            (Some(one), Some('\'')) => 2 + one.len_utf8(),
            _ => 0,
        };
    }
    0
}

fn until_unescaped(inside: &str, closing: char) -> usize {
    let mut escaped = false;
    for (at, character) in inside.char_indices() {
        if character == closing && !escaped {
            return at + closing.len_utf8();
        }
        escaped = character == '\\' && !escaped;
    }
    inside.len()
}

/// Whether `word` stands in `text` as a whole identifier.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    words(text).any(|found| found == word)
}

/// All identifiers of `text`.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric() && character != '_').filter(|word| !word.is_empty())
}

#[test]
fn code_only_blanks_comments_and_literals_and_keeps_the_rest() {
    let text = "let a = \"axum \\\" b\"; // axum\nlet b = r#\"Store \" \"#; /* Store\n */ fn f<'a>(c: char) { c == '\"' || c == '\\'' }";
    let code = code_only(text);
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(!has_word(&code, "axum") && !has_word(&code, "Store"), "{code}");
    assert!(has_word(&code, "b") && code.contains("fn f<'a>(c: char)") && code.ends_with('}'), "{code}");
}
