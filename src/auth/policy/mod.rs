//! May this principal do this, to this stream? A pure function; what it does not allow is denied.

mod pattern;
mod scope;
#[cfg(test)]
mod tests;

use factum_storage::Timestamp;
use factum_storage::is_system;

pub use pattern::BadPattern;
pub use pattern::Patterns;
pub use scope::Scope;
pub use scope::Scopes;

/// Who asks, as far as a token that was checked says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `sub`.
    pub subject: String,
    /// `client_id`: which program acts, which may be for somebody else.
    pub client: Option<String>,
    /// What it may do.
    pub scopes: Scopes,
    /// To which streams.
    pub streams: Patterns,
    /// Who has issued the token, and which of theirs it is.
    pub token: TokenId,
    /// What this server knows of it, if it is one of its own.
    pub own: Option<OwnToken>,
    /// What it hangs on, if it is one of an issuer whose keys are looked at from time to time.
    pub foreign: Option<ForeignToken>,
    /// From then on the token counts for nothing.
    pub expires_at: Timestamp,
}

/// What names one token among all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenId {
    /// `iss`.
    pub issuer: String,
    /// `jti`, or the hash of a token that has none.
    pub id: String,
}

/// What a token of this server hangs on: it ends with any of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnToken {
    /// The key that has signed it.
    pub key: String,
    /// The version of `$clients` that made its client; 0 is the one of the settings.
    pub client_version: u64,
    /// The refresh tokens that it belongs to, all of which end together.
    pub family: Option<String>,
}

/// What a token of another issuer hangs on: it ends when its issuer no longer shows the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignToken {
    /// The key that has signed it, as the issuer names it.
    pub key: String,
    /// Another key may take over the name.
    pub thumbprint: [u8; 32],
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read events, and what is made of the events of one stream.
    Read,
    /// Add events.
    Append,
    /// Read the rows of views.
    ReadViews,
    /// Ask in SQL, and read what exports say.
    Query,
    /// Change what is made of events: aggregates, schemas, projections, subscriptions, exports.
    Define,
    /// Everything that is about the server, its clients and keys, or about ending streams.
    Administer,
}

/// To what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// This stream.
    Stream(&'a str),
    /// Several, each of which is decided about by itself before it is shown or written.
    Each,
    /// What can't be told apart by streams: only for who may reach all of them.
    Whole,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The token lacks this scope.
    Scope(Scope),
    /// The token is for some streams only, and not for this one.
    Stream,
    /// The token is for some streams only, and this is about all of them.
    Narrowed,
    /// Streams of the system are written by the system.
    System,
}

impl Action {
    /// The scope that it takes.
    #[must_use]
    pub fn scope(self) -> Scope {
        match self {
            Self::Read => Scope::EventsRead,
            Self::Append => Scope::EventsAppend,
            Self::ReadViews => Scope::ViewsRead,
            Self::Query => Scope::SqlRead,
            Self::Define => Scope::ProjectionsWrite,
            Self::Administer => Scope::Admin,
        }
    }
}

/// Whether `principal` may do `action` to `target`.
///
/// # Errors
///
/// [`Denied`] says which rule forbids it. None of them depends on whether the stream exists.
pub fn decide(principal: &Principal, action: Action, target: Target<'_>) -> Result<(), Denied> {
    require(principal, action.scope())?;
    match target {
        Target::Each => Ok(()),
        Target::Whole => whole(principal),
        Target::Stream(stream) if is_system(stream) => match action {
            Action::Read => require(principal, Scope::Admin).and_then(|()| whole(principal)),
            Action::Append | Action::ReadViews | Action::Query | Action::Define | Action::Administer => Err(Denied::System),
        },
        Target::Stream(stream) if principal.streams.matches(stream) => Ok(()),
        Target::Stream(_) => Err(Denied::Stream),
    }
}

fn require(principal: &Principal, scope: Scope) -> Result<(), Denied> {
    if principal.scopes.contains(scope) { Ok(()) } else { Err(Denied::Scope(scope)) }
}

fn whole(principal: &Principal) -> Result<(), Denied> {
    if principal.streams.are_all() { Ok(()) } else { Err(Denied::Narrowed) }
}
