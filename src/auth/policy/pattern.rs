//! Which streams does a pattern stand for? A name, or a beginning with `*` behind it; never one of the system.

use factum_storage::is_system;

/// The streams that a token is for. Names are compared byte by byte: nothing is folded, decoded or normalised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    /// `None`: all streams.
    list: Option<Box<[Pattern]>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// This stream.
    Name(String),
    /// Streams whose names begin so.
    Prefix(String),
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// Too many of them.
    #[error("has {0} patterns, at most {PATTERNS_MAX} are allowed")]
    TooMany(usize),
    /// Nothing, or more than a stream's name can have.
    #[error("pattern {0} must have 1 to {PATTERN_BYTES_MAX} bytes")]
    Length(usize),
    /// A star elsewhere than at the end.
    #[error("pattern {0} may have one * at its end only")]
    Star(usize),
    /// A stream of the system, or a character that no name has.
    #[error("pattern {0} can match no stream: names begin without $ and have no control characters")]
    Impossible(usize),
}

impl Patterns {
    /// Every stream.
    #[must_use]
    pub fn all() -> Self {
        Self { list: None }
    }

    /// Reads patterns such as `order-*` and `invoice-7`. None at all stand for no stream; `*` for all.
    ///
    /// # Errors
    ///
    /// [`BadPattern`] names the first that is none by its index.
    pub fn parse<'a>(texts: impl ExactSizeIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        if texts.len() > PATTERNS_MAX {
            return Err(BadPattern::TooMany(texts.len()));
        }
        let list: Vec<Pattern> = texts.enumerate().map(|(index, text)| Pattern::parse(index, text)).collect::<Result<_, _>>()?;
        let has_all = list.iter().any(|pattern| matches!(pattern, Pattern::Prefix(prefix) if prefix.is_empty()));
        Ok(Self { list: (!has_all).then(|| list.into()) })
    }

    /// Whether every stream is meant.
    #[must_use]
    pub fn are_all(&self) -> bool {
        self.list.is_none()
    }

    /// Whether this stream is meant; one of the system never is.
    #[must_use]
    pub fn matches(&self, stream: &str) -> bool {
        if is_system(stream) {
            return false;
        }
        let Some(list) = &self.list else { return true };
        list.iter().any(|pattern| match pattern {
            Pattern::Name(name) => name == stream,
            Pattern::Prefix(prefix) => stream.starts_with(prefix.as_str()),
        })
    }

    /// Whether every stream whose name begins so is meant.
    #[must_use]
    pub fn cover(&self, beginning: &str) -> bool {
        let Some(list) = &self.list else { return true };
        list.iter().any(|pattern| matches!(pattern, Pattern::Prefix(prefix) if beginning.starts_with(prefix.as_str())))
    }

    /// Whether everything that `others` mean is meant here, too.
    #[must_use]
    pub fn contain(&self, others: &Self) -> bool {
        let Some(list) = &others.list else { return self.are_all() };
        list.iter().all(|pattern| match pattern {
            Pattern::Name(name) => self.matches(name),
            Pattern::Prefix(prefix) => self.cover(prefix),
        })
    }

    /// The beginnings of names that a search has to look at, each with whether it is a whole name.
    pub fn beginnings(&self) -> impl Iterator<Item = (&str, bool)> {
        let everything = self.list.is_none().then_some(("", false));
        let listed = self.list.iter().flatten().map(|pattern| match pattern {
            Pattern::Name(name) => (name.as_str(), true),
            Pattern::Prefix(prefix) => (prefix.as_str(), false),
        });
        everything.into_iter().chain(listed)
    }

    /// As they are written; `["*"]` for every stream.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let text = |(beginning, is_whole): (&str, bool)| format!("{beginning}{}", if is_whole { "" } else { "*" });
        self.beginnings().map(text).collect()
    }
}

impl Pattern {
    fn parse(index: usize, text: &str) -> Result<Self, BadPattern> {
        if !(1..=PATTERN_BYTES_MAX).contains(&text.len()) {
            return Err(BadPattern::Length(index));
        }
        let (name, is_prefix) = text.strip_suffix('*').map_or((text, false), |prefix| (prefix, true));
        if name.contains('*') {
            return Err(BadPattern::Star(index));
        }
        if is_system(name) || name.chars().any(char::is_control) {
            return Err(BadPattern::Impossible(index));
        }
        Ok(if is_prefix { Self::Prefix(name.to_owned()) } else { Self::Name(name.to_owned()) })
    }
}

/// Of one token or client.
pub(super) const PATTERNS_MAX: usize = 64;
/// As long as a stream's name may be, and the star.
const PATTERN_BYTES_MAX: usize = 256;
