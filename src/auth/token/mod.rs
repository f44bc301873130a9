//! What does a token say, and is it well formed? Whether it is true is for the keys to say.

mod claims;
mod compact;
#[cfg(test)]
mod tests;

pub(crate) use claims::Claims;
pub(crate) use claims::Kind;
pub(crate) use claims::OwnClaims;
pub(crate) use compact::Compact;
pub(crate) use compact::unsigned;

/// Why a token is not let in: for the log, which names no part of it. The client gets the same answer whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected(pub(crate) &'static str);

/// What a token has at most; one of ours has some hundred.
pub(crate) const TOKEN_BYTES_MAX: usize = 8 << 10;
