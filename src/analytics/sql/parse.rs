//! Is this text one statement that reads, and of a size that can be worked with?

use std::collections::HashSet;

use datafusion::common::TableReference;
use datafusion::sql::parser::Statement as PlannedStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;
use datafusion::sql::sqlparser::tokenizer::Tokenizer;

use super::dialect::QueryDialect;
use super::failure;
use super::shape::Shape;
use crate::Error;

/// A statement that reads, as far as its text tells.
pub(crate) struct Parsed {
    statement: Statement,
    tokens: Vec<TokenWithSpan>,
    /// As they are written.
    tables: Vec<TableReference>,
    /// The names of functions that stand where tables do.
    functions: HashSet<String>,
}

/// Reads a query's text.
///
/// # Errors
///
/// [`Error::InvalidQuery`].
pub(crate) fn parse(text: &str) -> Result<Parsed, Error> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(invalid(format!("has {} bytes, at most {TEXT_BYTES_MAX} are allowed; give values as params", text.len())));
    }
    let tokens = Tokenizer::new(&QueryDialect, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| failure::of_syntax(&error.into()))?;
    let words = tokens.iter().filter(|token| is_word(&token.token)).count();
    if words > WORDS_MAX {
        return Err(invalid(format!("has {words} words and operators, at most {WORDS_MAX} are allowed; lists of values do not count")));
    }
    let statement = statement(&tokens)?;
    let Shape { functions, .. } = Shape::of(&statement).map_err(invalid)?;
    let planned = PlannedStatement::Statement(Box::new(statement));
    let tables = resolve_table_references(&planned, false).map_err(|error| failure::of_planning(&error, None))?.0;
    let PlannedStatement::Statement(statement) = planned else { return Err(invalid(READS_ONLY.to_owned())) };
    Ok(Parsed { statement: *statement, tokens, tables, functions })
}

impl Parsed {
    /// The tables that it names, as they are written.
    pub(crate) fn tables(&self) -> &[TableReference] {
        &self.tables
    }

    /// Whether the name is that of a function which stands where tables do: `from range(1, 9)`.
    pub(crate) fn is_function(&self, reference: &TableReference) -> bool {
        self.functions.contains(reference.table())
    }

    /// How often each parameter is used.
    pub(crate) fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().filter_map(|token| match &token.token {
            Token::Placeholder(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// What the texts in it take.
    pub(crate) fn literal_bytes(&self) -> usize {
        let of = |token: &TokenWithSpan| match &token.token {
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) | Token::NationalStringLiteral(text) => text.len(),
            Token::DollarQuotedString(text) => text.value.len(),
            _ => 0,
        };
        self.tokens.iter().map(of).sum()
    }

    /// The statement, in which words are names as they are written if they are among `exact`: others are taken in lower case, as is usual.
    ///
    /// # Errors
    ///
    /// None but those of [`parse`].
    pub(crate) fn statement(mut self, exact: &HashSet<String>) -> Result<PlannedStatement, Error> {
        let mut has_changed = false;
        let mut before_parenthesis = false;
        for token in self.tokens.iter_mut().rev() {
            match &mut token.token {
                Token::Whitespace(_) => continue,
                Token::Word(word) if word.quote_style.is_none() && word.keyword == Keyword::NoKeyword && !before_parenthesis => {
                    if exact.contains(&word.value) {
                        word.quote_style = Some('"');
                        has_changed = true;
                    }
                    before_parenthesis = false;
                }
                other => before_parenthesis = *other == Token::LParen,
            }
        }
        let statement = if has_changed { statement(&self.tokens)? } else { self.statement };
        Ok(PlannedStatement::Statement(Box::new(statement)))
    }
}

fn statement(tokens: &[TokenWithSpan]) -> Result<Statement, Error> {
    let mut parser = Parser::new(&QueryDialect).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(tokens.to_vec());
    if matches!(parser.peek_token_ref().token, Token::EOF) {
        return Err(invalid("is empty".to_owned()));
    }
    let statement = parser.parse_statement().map_err(|error| failure::of_syntax(&error))?;
    while parser.consume_token(&Token::SemiColon) {}
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        let place = rest.span.start;
        let detail = format!("goes on with {:?} behind its end; one statement at a time", rest.token.to_string());
        return Err(failure::invalid_at(detail, place.line, place.column));
    }
    if reads(&statement) { Ok(statement) } else { Err(invalid(READS_ONLY.to_owned())) }
}

/// A first look, for a clear answer. What counts is what the plan does.
fn reads(statement: &Statement) -> bool {
    match statement {
        Statement::Query(_) | Statement::ExplainTable { .. } => true,
        Statement::Explain { statement, .. } => matches!(**statement, Statement::Query(_)),
        _ => false,
    }
}

/// What may nest; long lists of values do not.
fn is_word(token: &Token) -> bool {
    !matches!(
        token,
        Token::Whitespace(_)
            | Token::Comma
            | Token::EOF
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::Placeholder(_)
    )
}

fn invalid(detail: String) -> Error {
    Error::InvalidQuery { detail, line: None, column: None }
}

const READS_ONLY: &str =
    "reads only: SELECT, WITH, VALUES, EXPLAIN and DESCRIBE; events are written by appending them, and exports by their definitions";
/// The longest text.
const TEXT_BYTES_MAX: usize = 4 << 20;
/// Each may be one step deeper into an expression.
const WORDS_MAX: usize = 10_000;
/// How deep parentheses and queries may be nested.
const NESTING_MAX: usize = 100;
