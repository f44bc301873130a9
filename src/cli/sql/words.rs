//! How does the prompt help? It completes names and words, and lets a statement go on until its `;`.

use rustyline::Context;
use rustyline::Helper;
use rustyline::completion::Completer;
use rustyline::completion::Pair;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::ValidationContext;
use rustyline::validate::ValidationResult;
use rustyline::validate::Validator;

use super::source::Table;
use super::statements::is_complete;

/// What the line editor asks.
#[derive(Default)]
pub(super) struct Words {
    pub(super) tables: Vec<Table>,
}

impl Words {
    /// Where the word before `position` begins, and what it may become.
    fn completions(&self, line: &str, position: usize) -> (usize, Vec<String>) {
        let before = line.get(..position).unwrap_or_default();
        let start = before.rfind(|character: char| !(character.is_alphanumeric() || matches!(character, '_' | '\\'))).map_or(0, |at| {
            // Whatever ends a word is a character of its own length.
            at + before.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
        });
        let word = before.get(start..).unwrap_or_default();
        if word.starts_with('\\') {
            let commands = COMMANDS.iter().map(|(name, _)| (*name).to_owned());
            return (start, commands.filter(|name| name.starts_with(word)).collect());
        }
        let tables = || self.tables.iter().map(|table| table.name.as_str());
        if before.trim_start().starts_with("\\d") {
            return (start, matching(tables(), word));
        }
        // What is named already says whose columns are meant; else anybody's may be.
        let is_named = |table: &&Table| line.contains(&table.name);
        let named: Vec<&Table> = self.tables.iter().filter(is_named).collect();
        let owners = if named.is_empty() { self.tables.iter().collect() } else { named };
        let columns = owners.into_iter().flat_map(|table| table.columns.iter()).map(|column| column.name.as_str());
        if before.get(..start).is_some_and(|before| before.ends_with('.')) {
            return (start, matching(columns, word));
        }
        let mut found = matching(tables().chain(columns), word);
        if !word.is_empty() {
            let is_upper = word.chars().all(|character| !character.is_lowercase());
            let keywords = KEYWORDS.iter().filter(|keyword| keyword.starts_with(&word.to_lowercase()));
            found.extend(keywords.map(|keyword| if is_upper { keyword.to_uppercase() } else { (*keyword).to_owned() }));
        }
        (start, found)
    }
}

/// Names that begin so, in quotes where SQL needs them, each once.
fn matching<'a>(names: impl Iterator<Item = &'a str>, word: &str) -> Vec<String> {
    let mut found: Vec<String> = names.filter(|name| name.to_lowercase().starts_with(&word.to_lowercase())).map(quoted).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// A name as a statement has to write it.
pub(super) fn quoted(name: &str) -> String {
    let is_plain = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && part.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
            && !KEYWORDS.contains(&part)
    };
    let is_qualified = QUALIFIERS.iter().find_map(|qualifier| Some((*qualifier, name.strip_prefix(qualifier)?)));
    let (qualifier, own) = is_qualified.unwrap_or(("", name));
    if is_plain(own) { name.to_owned() } else { format!("{qualifier}\"{}\"", own.replace('"', "\"\"")) }
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, words) = self.completions(line, position);
        Ok((start, words.into_iter().map(|word| Pair { display: word.clone(), replacement: word }).collect()))
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input().trim();
        let is_whole = text.starts_with('\\') || is_word_of_leave(text) || is_complete(text);
        Ok(if is_whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}
impl Helper for Words {}

/// What people type who know other prompts.
pub(super) fn is_word_of_leave(text: &str) -> bool {
    matches!(text, "exit" | "quit")
}

/// The prompt's own commands, and what each does.
pub(super) const COMMANDS: [(&str, &str); 6] = [
    ("\\d", "list the tables, or with a name behind it the columns of one"),
    ("\\dt", "the same"),
    ("\\timing", "show how long answers take, or stop showing it"),
    ("\\x", "show one column a line: always, never, or when a row does not fit (the default)"),
    ("\\?", "this list"),
    ("\\q", "leave (Ctrl-D does too)"),
];

const QUALIFIERS: [&str; 3] = ["categories.", "views.", "exports."];

const KEYWORDS: [&str; 86] = [
    "all",
    "and",
    "any",
    "array_agg",
    "as",
    "asc",
    "avg",
    "between",
    "by",
    "case",
    "cast",
    "coalesce",
    "count",
    "cross",
    "current_date",
    "date_bin",
    "date_part",
    "date_trunc",
    "desc",
    "distinct",
    "else",
    "end",
    "except",
    "exists",
    "explain",
    "extract",
    "false",
    "filter",
    "first_value",
    "following",
    "from",
    "full",
    "group",
    "having",
    "ilike",
    "in",
    "inner",
    "intersect",
    "interval",
    "is",
    "join",
    "json_as_text",
    "json_contains",
    "json_get",
    "json_get_float",
    "json_get_int",
    "json_get_str",
    "json_length",
    "lag",
    "last_value",
    "lead",
    "left",
    "like",
    "limit",
    "max",
    "median",
    "min",
    "not",
    "now",
    "null",
    "nulls",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "percentile_cont",
    "preceding",
    "rank",
    "recursive",
    "right",
    "row_number",
    "rows",
    "select",
    "sum",
    "then",
    "true",
    "unbounded",
    "union",
    "unnest",
    "using",
    "values",
    "when",
    "where",
];

#[cfg(test)]
mod tests {
    use super::super::document::Column;
    use super::*;

    fn words() -> Words {
        let table = |name: &str, columns: &[&str]| Table {
            name: name.to_owned(),
            kind: "category".to_owned(),
            columns: columns.iter().map(|name| Column { name: (*name).to_owned(), data_type: "text".to_owned() }).collect(),
        };
        Words {
            tables: vec![
                table("events", &["stream", "type"]),
                table("order", &["stream", "Total", "amount"]),
                table("views.paid", &["amount"]),
            ],
        }
    }

    #[test]
    fn names_and_words_are_completed() {
        let check = |line: &str, start: usize, expected: &[&str]| {
            let (at, found) = words().completions(line, line.len());
            assert_eq!((at, found.iter().map(String::as_str).collect::<Vec<_>>()), (start, expected.to_vec()), "{line}");
        };
        check("sel", 0, &["select"]);
        check("SEL", 0, &["SELECT"]);
        check("select am", 7, &["amount"]);
        // Of the tables that are named the columns alone; what needs quotes gets them.
        check("select st from events e where e.ty", 32, &["type"]);
        check("select * from order o where o.t", 30, &["\"Total\""]);
        check("select * from ev", 14, &["events"]);
        check("select * from vi", 14, &["views.paid"]);
        check("\\d o", 3, &["\"order\""]);
        check("\\t", 0, &["\\timing"]);
        check("sélect ünder", 8, &[]);
    }

    #[test]
    fn names_are_quoted_where_sql_needs_it() {
        for (name, expected) in [
            ("events", "events"),
            ("order", "\"order\""),
            ("My-Table", "\"My-Table\""),
            ("views.order", "views.\"order\""),
            ("a\"b", "\"a\"\"b\""),
            ("1a", "\"1a\""),
        ] {
            assert_eq!(quoted(name), expected);
        }
    }

    #[test]
    fn keywords_stand_in_order() {
        assert!(KEYWORDS.is_sorted());
    }
}
