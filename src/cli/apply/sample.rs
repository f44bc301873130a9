//! What would a changed projection make of the events that are there already? The rows that differ, as people read them.

use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::failure::Failure;
use crate::cli::output::Column;
use crate::cli::output::Output;
use crate::cli::output::cut;
use crate::cli::output::grouped;
use crate::cli::output::printable;

/// The server's trial of a definition on the first events of the log.
#[derive(Debug, Deserialize)]
pub(super) struct Sample {
    events: u64,
    rows: u64,
    same: u64,
    changed: u64,
    only_before: u64,
    only_after: u64,
    parked: u64,
    poison: Option<String>,
    #[serde(default)]
    examples: Vec<Example>,
}

#[derive(Debug, Deserialize)]
struct Example {
    key: Value,
    /// The columns that differ; null: there is no such row.
    before: Option<Map<String, Value>>,
    after: Option<Map<String, Value>>,
}

impl Sample {
    /// Reads the server's answer.
    pub(super) fn read(answer: &RawValue) -> Result<Self, Failure> {
        serde_json::from_str(answer.get()).map_err(|error| Failure::failed("the answer cannot be read").detail(error.to_string()))
    }

    /// Prints what would become of the rows, in no more lines than fit a screen beside others.
    pub(super) fn print(&self, output: &mut Output) -> Result<(), Failure> {
        let line = output.dim(&format!("  {}", self.summary()));
        output.line(&line)?;
        let (cells, left) = self.cells();
        if !cells.is_empty() {
            output.indented_table(&COLUMNS, cells)?;
        }
        if left > 0 {
            let line =
                output.dim(&format!("  … and {} more row{} that differ{}", grouped(left), plural(left), if left == 1 { "s" } else { "" }));
            output.line(&line)?;
        }
        if let Some(poison) = &self.poison {
            let text = format!("  it would stand still at {}", cut(&printable(poison), POISON_MAX));
            let line = output.yellow(&text);
            output.line(&line)?;
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let (events, rows) = (grouped(self.events), grouped(self.rows));
        let base = format!("the first {events} event{} make {rows} row{}", plural(self.events), plural(self.rows));
        let parts = [(self.same, "as before"), (self.changed, "changed"), (self.only_after, "new"), (self.only_before, "gone")];
        let parked =
            if self.parked > 0 { format!("; {} event{} parked", grouped(self.parked), plural(self.parked)) } else { String::new() };
        let told: Vec<String> =
            parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{} {what}", grouped(count))).collect();
        let told = if told.is_empty() { String::new() } else { format!(": {}", told.join(", ")) };
        format!("{base}{told}{parked}")
    }

    /// The lines of the table, and how many rows that differ are not in it.
    fn cells(&self) -> (Vec<Vec<String>>, u64) {
        let mut lines: Vec<Vec<String>> = Vec::new();
        let mut shown = 0;
        for example in self.examples.iter().take(ROWS_MAX) {
            lines.extend(example.lines());
            shown += 1;
        }
        let differing = self.changed.saturating_add(self.only_before).saturating_add(self.only_after);
        (lines, differing.saturating_sub(shown))
    }
}

impl Example {
    fn lines(&self) -> Vec<Vec<String>> {
        let key = cell(Some(&self.key));
        let (before, after) = match (&self.before, &self.after) {
            (Some(before), Some(after)) => (before, after),
            (None, Some(after)) => return vec![vec![key, "(new row)".to_owned(), String::new(), whole(after)]],
            (Some(before), None) => return vec![vec![key, "(row is gone)".to_owned(), whole(before), String::new()]],
            (None, None) => return Vec::new(),
        };
        let mut names: Vec<&String> = before.keys().collect();
        names.extend(after.keys().filter(|name| !before.contains_key(*name)));
        let more = names.len().saturating_sub(CHANGES_MAX);
        let mut lines: Vec<Vec<String>> = Vec::new();
        for name in names.into_iter().take(CHANGES_MAX) {
            let key = if lines.is_empty() { key.clone() } else { String::new() };
            lines.push(vec![key, cut(name, CELL_MAX), cell(before.get(name)), cell(after.get(name))]);
        }
        if more > 0 {
            lines.push(vec![String::new(), format!("… {more} more"), String::new(), String::new()]);
        }
        lines
    }
}

/// A value for people; a column that is not there at all is told from one that is null.
fn cell(value: Option<&Value>) -> String {
    match value {
        None => "(no column)".to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::String(text)) => cut(text, CELL_MAX),
        Some(value) => cut(&value.to_string(), CELL_MAX),
    }
}

/// A row that stands on one side only.
fn whole(row: &Map<String, Value>) -> String {
    let cells: Vec<String> =
        row.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| format!("{name}={}", cell(Some(value)))).collect();
    cut(&cells.join(" "), WHOLE_MAX)
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

const COLUMNS: [Column; 4] = [Column::left("row"), Column::left("column"), Column::left("before"), Column::left("after")];
const ROWS_MAX: usize = 5;
const CHANGES_MAX: usize = 6;
const CELL_MAX: usize = 32;
const WHOLE_MAX: usize = 60;
const POISON_MAX: usize = 300;
