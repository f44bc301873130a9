//! How is a token written? Three parts with points between them, read in one way only.

use serde_json::Map;
use serde_json::Value;

use super::Rejected;
use super::TOKEN_BYTES_MAX;
use crate::auth::text::decode;
use crate::auth::text::encode;
use crate::auth::text::read_object;

/// The parts of a token whose signature nobody has checked yet.
pub(crate) struct Compact<'a> {
    /// What the header says that it is signed with. Only ever compared with what the key is for.
    pub(crate) algorithm: String,
    /// `kid`.
    pub(crate) key: Option<String>,
    /// `typ`, in lower case and without `application/`.
    pub(crate) typ: Option<String>,
    /// All claims.
    pub(crate) claims: Map<String, Value>,
    /// What is signed.
    pub(crate) signed: &'a str,
    /// In base64url.
    pub(crate) signature: &'a str,
}

impl<'a> Compact<'a> {
    /// Takes a token apart. What its header carries of keys, or of places where keys are, is not looked at.
    ///
    /// # Errors
    ///
    /// [`Rejected`]: too large, not three parts, not what its parts should be, or with an extension that must be understood.
    pub(crate) fn read(token: &'a str) -> Result<Self, Rejected> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Rejected("too large"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejected("not three parts"))?;
        let (header, claims) = signed.split_once('.').ok_or(Rejected("not three parts"))?;
        // A point has no place in base64url: more parts than three end here.
        let mut header = part(header)?;
        let claims = part(claims)?;
        if decode(signature).is_none_or(|signature| signature.is_empty()) {
            return Err(Rejected("no signature"));
        }
        // `b64` is an extension of its own, and `enc` and `zip` belong to what is encrypted.
        if ["crit", "b64", "enc", "zip"].iter().any(|name| header.contains_key(*name)) {
            return Err(Rejected("an extension"));
        }
        let mut text = |name: &str| match header.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= HEADER_TEXT_BYTES_MAX => Ok(Some(text)),
            Some(_) => Err(Rejected("a header that is no short text")),
        };
        let algorithm = text("alg")?.ok_or(Rejected("no algorithm"))?;
        let typ = text("typ")?.map(|typ| typ.to_ascii_lowercase());
        let typ = typ.map(|typ| typ.strip_prefix("application/").map_or(typ.clone(), str::to_owned));
        Ok(Self { algorithm, key: text("kid")?, typ, claims, signed, signature })
    }
}

/// A token without its signature.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

fn part(text: &str) -> Result<Map<String, Value>, Rejected> {
    decode(text).and_then(|json| read_object(&json)).ok_or(Rejected("a part that is no object in base64url"))
}

const HEADER_TEXT_BYTES_MAX: usize = 256;
