//! Who is let in, and by which tokens?

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::IssuerSettings;

/// Who is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSettings {
    /// Whether requests need a token.
    pub enabled: bool,
    /// `iss` of the tokens that this server issues, and the address that its metadata name; `None` is made from `server.listen`.
    pub issuer: Option<String>,
    /// `aud` of the tokens that this server issues, and of those signed with the shared secret.
    pub audience: String,
    /// A client that is there before anybody has made one, with every scope.
    pub bootstrap_client_id: Option<String>,
    /// Where its secret stands.
    pub bootstrap_client_secret_file: Option<PathBuf>,
    /// How long an access token counts.
    pub token_ttl: Duration,
    /// How long a refresh token counts; `None`: there are none.
    pub refresh_ttl: Option<Duration>,
    /// What new keys sign with.
    pub algorithm: SigningAlgorithm,
    /// Encrypts private keys at rest.
    pub key: Option<Secret>,
    /// Where that stands.
    pub key_file: Option<PathBuf>,
    /// After so long another key signs; `None`: only when somebody says so.
    pub rotate_every: Option<Duration>,
    /// `[auth.shared_secret]`
    pub shared_secret: SharedSecretSettings,
    /// `[[auth.issuers]]`
    pub issuers: Vec<IssuerSettings>,
}

/// Tokens that others sign with a secret which both know (HS256).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedSecretSettings {
    /// Where the secret stands; `None`: there is none.
    pub file: Option<PathBuf>,
    /// `iss` of such tokens.
    pub issuer: String,
}

/// How this server signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// RSA of 2,048 bits with SHA-256.
    Rs256,
    /// The curve P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl SigningAlgorithm {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// As tokens and keys name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text)
    }
}

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For who uses it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// What stands where a secret would.
pub(super) const HIDDEN: &str = "(hidden)";

/// Before any line of the table was applied.
pub(super) fn blank() -> AuthSettings {
    AuthSettings {
        enabled: false,
        issuer: None,
        audience: String::new(),
        bootstrap_client_id: None,
        bootstrap_client_secret_file: None,
        token_ttl: Duration::ZERO,
        refresh_ttl: None,
        algorithm: SigningAlgorithm::Es256,
        key: None,
        key_file: None,
        rotate_every: None,
        shared_secret: SharedSecretSettings { file: None, issuer: String::new() },
        issuers: Vec::new(),
    }
}

/// A text, or `none`.
pub(super) fn optional(text: &str) -> Result<Option<&str>, String> {
    match text {
        "" => Err("must not be empty; none stands for nothing".into()),
        "none" => Ok(None),
        text => Ok(Some(text)),
    }
}

/// Visible ASCII, as it goes into tokens and headers.
pub(super) fn name(text: &str) -> Result<String, String> {
    if (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 200 visible ASCII characters without quotes and backslashes".into())
}
