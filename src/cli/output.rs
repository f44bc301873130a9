//! What does a command print: tables for people, JSON lines for programs?

use std::borrow::Cow;
use std::io;
use std::io::IsTerminal;
use std::io::Write;

use comfy_table::Attribute;
use comfy_table::Cell;
use comfy_table::CellAlignment;
use comfy_table::ContentArrangement;
use comfy_table::Table;
use comfy_table::presets;
use serde::Serialize;

/// The command's stdout.
pub(crate) struct Output {
    human: bool,
    json: bool,
    #[cfg(feature = "analytics")]
    is_terminal: bool,
    colour: bool,
    writer: Box<dyn Write + Send>,
}

impl Output {
    /// Prints for people if stdout is a terminal and `json` was not asked for.
    pub(crate) fn of_process(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            human: terminal && !json,
            json,
            #[cfg(feature = "analytics")]
            is_terminal: terminal,
            colour: terminal && colours_wanted(),
            writer: Box::new(io::BufWriter::new(io::stdout())),
        }
    }

    /// Prints for people, also when piped; colours only on a terminal.
    pub(crate) fn for_people() -> Self {
        Self { human: true, ..Self::of_process(false) }
    }

    /// Whether JSON was asked for, and is not only what a pipe gets.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn is_human(&self) -> bool {
        self.human
    }

    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.writer.write_all(text.as_bytes())?;
        self.writer.write_all(b"\n")
    }

    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.writer, value)?;
        self.writer.write_all(b"\n")
    }

    pub(crate) fn table(&mut self, columns: &[Column], rows: Vec<Vec<String>>) -> io::Result<()> {
        let text = table_text(columns, rows, terminal_width(), self.colour);
        self.line(&text)
    }

    /// A table in which each row takes one line: what is too long for the terminal is cut. Answers how many columns at the end had no room
    /// at all.
    pub(crate) fn table_of_lines(&mut self, mut columns: Vec<Column>, mut rows: Vec<Vec<String>>) -> io::Result<usize> {
        rows.iter_mut().flatten().for_each(|cell| *cell = printable(cell));
        let longest =
            |place: usize| rows.iter().filter_map(|row| row.get(place)).map(|cell| cell.chars().count()).max().unwrap_or_default();
        let natural = columns.iter().enumerate().map(|(place, column)| longest(place).max(column.name.chars().count()));
        let widths = fitting(&natural.collect::<Vec<_>>(), usize::from(terminal_width()));
        let left_out = columns.len() - widths.len();
        columns.truncate(widths.len());
        for (column, width) in columns.iter_mut().zip(&widths) {
            column.name = Cow::Owned(cut(&column.name, *width));
        }
        for row in &mut rows {
            row.truncate(widths.len());
            row.iter_mut().zip(&widths).for_each(|(cell, width)| *cell = cut(cell, *width));
        }
        self.table(&columns, rows)?;
        Ok(left_out)
    }

    /// A table, with values that do not fit cut to one line. Away from a terminal nothing is cut.
    #[cfg(feature = "analytics")]
    pub(crate) fn fitted_table(&mut self, columns: &[Column], rows: Vec<Vec<String>>) -> io::Result<()> {
        let text = made_text(&fitted(columns, rows, self.width(), self.colour));
        self.line(&text)
    }

    /// Columns of the terminal; `None` if it is none.
    #[cfg(feature = "analytics")]
    pub(crate) fn width(&self) -> Option<u16> {
        self.is_terminal.then(terminal_width)
    }

    /// Bytes as they are.
    #[cfg(feature = "analytics")]
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// A table, two columns further in.
    pub(crate) fn indented_table(&mut self, columns: &[Column], rows: Vec<Vec<String>>) -> io::Result<()> {
        let text = table_text(columns, rows, terminal_width().saturating_sub(2), self.colour);
        text.lines().try_for_each(|line| self.line(&format!("  {line}")))
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    pub(crate) fn bold(&self, text: &str) -> String {
        self.styled("1", text)
    }

    pub(crate) fn dim(&self, text: &str) -> String {
        self.styled("2", text)
    }

    pub(crate) fn green(&self, text: &str) -> String {
        self.styled("32", text)
    }

    pub(crate) fn yellow(&self, text: &str) -> String {
        self.styled("33", text)
    }

    pub(crate) fn cyan(&self, text: &str) -> String {
        self.styled("36", text)
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A column's head and how its cells stand.
pub(crate) struct Column {
    name: Cow<'static, str>,
    right: bool,
}

impl Column {
    pub(crate) const fn left(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), right: false }
    }

    pub(crate) const fn right(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), right: true }
    }

    /// A column that somebody else has named.
    pub(crate) fn named(name: String, right: bool) -> Self {
        Self { name: Cow::Owned(name), right }
    }
}

/// Columns of a terminal, 100 if there is none.
pub(crate) fn terminal_width() -> u16 {
    Table::new().width().unwrap_or(100)
}

/// Cuts a text for people to so many characters, with `…` where something is missing.
pub(crate) fn cut(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    text.chars().take(characters_max.saturating_sub(1)).chain(['…']).collect()
}

/// Groups a number's digits by three: `55,628`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Makes text of a foreign source harmless on a terminal: control characters are shown, not obeyed.
pub(crate) fn printable(text: &str) -> String {
    text.chars().flat_map(|character| if character.is_control() { character.escape_default().collect() } else { vec![character] }).collect()
}

/// Whether colours are wanted on a terminal (see no-color.org).
pub(crate) fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// How wide columns may be so that a line fits: the widest give way first. As many columns as have room for a few characters.
fn fitting(natural: &[usize], width: usize) -> Vec<usize> {
    let mut columns = natural.to_vec();
    // A space stands on either side of a cell.
    let room = |columns: &[usize]| width.saturating_sub(columns.len() * 2);
    let least = |columns: &[usize]| columns.iter().map(|column| (*column).min(CELL_MIN)).sum::<usize>();
    while columns.len() > 1 && least(&columns) > room(&columns) {
        columns.pop();
    }
    let widest = (CELL_MIN..=columns.iter().copied().max().unwrap_or(CELL_MIN).max(CELL_MIN)).rev();
    let fits = |cap: &usize| columns.iter().map(|column| (*column).min(*cap)).sum::<usize>() <= room(&columns);
    let cap = widest.into_iter().find(fits).unwrap_or(CELL_MIN);
    columns.iter().map(|column| (*column).min(cap)).collect()
}

fn table_text(columns: &[Column], rows: Vec<Vec<String>>, width: u16, colour: bool) -> String {
    let mut table = table(columns, rows, colour);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    made_text(&table)
}

/// A table in which each row has one line.
#[cfg(feature = "analytics")]
fn fitted(columns: &[Column], rows: Vec<Vec<String>>, width: Option<u16>, colour: bool) -> Table {
    let mut table = table(columns, rows, colour);
    table.set_truncation_indicator("…");
    for row in table.row_iter_mut() {
        row.max_height(1);
    }
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

fn table(columns: &[Column], rows: Vec<Vec<String>>, colour: bool) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    if colour {
        table.enforce_styling();
    } else {
        // Bold heads are colours too for whoever wants none.
        table.force_no_tty();
    }
    table.set_header(columns.iter().map(|column| Cell::new(printable(&column.name.to_uppercase())).add_attribute(Attribute::Bold)));
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    for (index, column) in columns.iter().enumerate() {
        if let (true, Some(made)) = (column.right, table.column_mut(index)) {
            made.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn made_text(table: &Table) -> String {
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The least that a cell shows of itself.
const CELL_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_never_obey_foreign_text() {
        let columns = [Column::left("stream"), Column::right("version")];
        let rows = vec![vec!["order-1".to_owned(), "7".to_owned()], vec!["evil\u{1b}[2J".to_owned(), "1,000".to_owned()]];
        let text = table_text(&columns, rows, 80, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.first().map(|line| line.trim_start().starts_with("STREAM")), Some(true), "{text}");
        assert!(text.contains("evil\\u{1b}[2J"), "{text}");
        let ends: Vec<usize> = lines.iter().map(|line| line.len()).collect();
        assert!(ends.windows(2).all(|pair| pair.first() == pair.last()), "right-aligned: {text}");
    }

    #[cfg(feature = "analytics")]
    #[test]
    fn wide_values_are_cut_to_fit() {
        let columns = [Column::left("a"), Column::left("b")];
        let rows = vec![vec!["short".to_owned(), "{\"text\":\"".to_owned() + &"xyz ".repeat(50)], vec!["x".to_owned(), "y".to_owned()]];
        let text = made_text(&fitted(&columns, rows.clone(), Some(40), false));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 40) && lines[1].ends_with('…') && lines[1].contains("short"), "{text}");
        assert!(made_text(&fitted(&columns, rows, None, false)).lines().any(|line| line.ends_with("xyz xyz")));
    }

    #[test]
    fn numbers_are_grouped_and_texts_cut() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (55_628, "55,628"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("äöü", 2), "ä…");
    }

    #[test]
    fn lines_fit_the_terminal() {
        let check =
            |natural: &[usize], width: usize, expected: &[usize]| assert_eq!(fitting(natural, width), expected, "{natural:?} in {width}");
        check(&[5, 5], 80, &[5, 5]);
        check(&[30, 5, 60], 80, &[30, 5, 39]);
        check(&[60, 60, 4], 80, &[35, 35, 4]);
        check(&[60; 20], 80, &[8; 8]);
        check(&[60], 5, &[8]);
        check(&[], 80, &[]);
        for natural in [vec![1; 40], vec![60; 40], vec![3, 60, 9, 60, 60, 2]] {
            let widths = fitting(&natural, 100);
            assert!(widths.iter().map(|width| width + 2).sum::<usize>() <= 100, "{widths:?}");
        }
    }
}
