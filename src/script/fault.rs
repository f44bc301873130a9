//! How does a script fail? One kind for each thing that its author or its caller does differently.

/// What went wrong with a script, and where in the text that its author wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", self.place())]
pub(crate) struct ScriptError {
    /// What sort of failure this is.
    pub(crate) kind: Kind,
    /// In words; for [`Kind::Threw`] the author's own.
    pub(crate) message: String,
    /// The name of the module.
    pub(crate) file: String,
    /// Counted from 1.
    pub(crate) line: Option<u32>,
    /// Counted from 1.
    pub(crate) column: Option<u32>,
    /// Which of the events or items the call was at.
    pub(crate) at: Option<usize>,
}

/// The sort of a [`ScriptError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The source is not JavaScript, or too long.
    Syntax,
    /// The source exports something else than what a definition consists of.
    Definition,
    /// The code threw.
    Threw,
    /// The call took too long.
    Time,
    /// The call took too much memory.
    Memory,
    /// The calls, or the values, were nested too deeply.
    Stack,
    /// The result is not JSON, or too large.
    Output,
    /// The module has no such command.
    Missing,
    /// The same event and the same state gave another state in a fresh instance of the module.
    Impure,
    /// Too many calls wait already.
    Busy,
    /// The sandbox failed, not the script.
    Died,
}

impl Kind {
    /// The name that answers and metrics use.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Definition => "definition",
            Self::Threw => "threw",
            Self::Time => "time",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::Output => "output",
            Self::Missing => "missing",
            Self::Impure => "impure",
            Self::Busy => "busy",
            Self::Died => "died",
        }
    }
}

impl ScriptError {
    /// A failure without a place in the source.
    pub(super) fn new(kind: Kind, file: &str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), file: file.to_owned(), line: None, column: None, at: None }
    }

    /// The same failure at the innermost frame of `stack` that lies in the author's file.
    pub(super) fn placed(mut self, stack: &str) -> Self {
        if let Some((line, column)) = place(stack, &self.file) {
            self.line = Some(line);
            self.column = Some(column);
        }
        self
    }

    fn place(&self) -> String {
        match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", self.file),
            _ => self.file.clone(),
        }
    }
}

/// The first `file:line:column` of a stack trace.
fn place(stack: &str, file: &str) -> Option<(u32, u32)> {
    stack.lines().find_map(|frame| {
        let (_, behind) = frame.rsplit_once(&format!("{file}:"))?;
        let (line, rest) = behind.split_once(':')?;
        let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
        Some((line.parse().ok()?, rest.get(..digits)?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names_of_their_own() {
        let kinds =
            [Kind::Syntax, Kind::Definition, Kind::Threw, Kind::Time, Kind::Memory, Kind::Stack, Kind::Output, Kind::Missing, Kind::Impure];
        let mut names: Vec<&str> = kinds.into_iter().chain([Kind::Busy, Kind::Died]).map(Kind::as_str).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 11);
    }

    #[test]
    fn a_place_is_the_innermost_frame_of_the_file() {
        let stack = "    at push (native)\n    at inner (a.js:3:14)\n    at a.js:9:1\n";
        assert_eq!(place(stack, "a.js"), Some((3, 14)));
        assert_eq!(place("    at b.js:1:2", "a.js"), None);
        assert_eq!(place("    at a.js:x:2\n a.js:4:5", "a.js"), Some((4, 5)));
    }
}
