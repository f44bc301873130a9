//! Why does an export not go on, and what helps?

use std::fmt;

/// Why work on a lake has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Trying again at once does not help; somebody has to look at it. It is tried again now and then all the same.
    Lasting(String),
    /// Another writer has taken the lake over.
    Fenced(String),
    /// The export was told to stop, or the database closes.
    Stopped,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lasting(reason) | Self::Fenced(reason) => f.write_str(reason),
            Self::Stopped => f.write_str("it was told to stop"),
        }
    }
}

/// An error with everything that has caused it, in one line: object stores tell the reason at the end of the chain.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    let cut = text.char_indices().nth(TEXT_CHARS_MAX).map(|(at, _)| at);
    cut.map_or(text.clone(), |at| format!("{}…", text.get(..at).unwrap_or_default()))
}

const TEXT_CHARS_MAX: usize = 600;
