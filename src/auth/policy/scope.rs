//! Which kinds of permission are there?

use std::fmt;

/// One permission, as it stands in a token's `scope`. None of them includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// `events:read`
    EventsRead,
    /// `events:append`
    EventsAppend,
    /// `views:read`
    ViewsRead,
    /// `sql:read`
    SqlRead,
    /// `projections:write`
    ProjectionsWrite,
    /// `admin`
    Admin,
}

impl Scope {
    /// All that there are.
    pub const ALL: [Self; 6] = [Self::EventsRead, Self::EventsAppend, Self::ViewsRead, Self::SqlRead, Self::ProjectionsWrite, Self::Admin];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventsRead => "events:read",
            Self::EventsAppend => "events:append",
            Self::ViewsRead => "views:read",
            Self::SqlRead => "sql:read",
            Self::ProjectionsWrite => "projections:write",
            Self::Admin => "admin",
        }
    }

    /// The scope that is written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    fn bit(self) -> u8 {
        match self {
            Self::EventsRead => 1,
            Self::EventsAppend => 1 << 1,
            Self::ViewsRead => 1 << 2,
            Self::SqlRead => 1 << 3,
            Self::ProjectionsWrite => 1 << 4,
            Self::Admin => 1 << 5,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// None.
    pub const NONE: Self = Self(0);

    /// Every one that there is.
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether it is among them.
    #[must_use]
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether all of `others` are among them.
    #[must_use]
    pub fn contains_all(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// The set with one more.
    #[must_use]
    pub fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    /// Those that are named in a text with spaces between them. What Factum does not know is left out: tokens of other issuers carry
    /// scopes for others, too.
    #[must_use]
    pub fn known_in(text: &str) -> Self {
        text.split(' ').filter_map(Scope::parse).collect()
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, scope) in self.iter().enumerate() {
            write!(f, "{}{scope}", if number > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}
