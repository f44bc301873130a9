//! What does a public key verify? With the one algorithm that belongs to it, whatever a token says.

use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED;
use aws_lc_rs::signature::ED25519;
use aws_lc_rs::signature::ParsedPublicKey;
use jsonwebtoken::Algorithm;
use jsonwebtoken::DecodingKey;
use serde_json::Map;
use serde_json::Value;

use crate::auth::text::decode;

/// A key that verifies.
pub(crate) struct PublicKey {
    algorithm: Algorithm,
    /// As tokens name it.
    name: &'static str,
    key: DecodingKey,
    thumbprint: [u8; 32],
}

impl PublicKey {
    /// A secret that both sides know, of at least 32 bytes.
    pub(crate) fn of_secret(secret: &[u8]) -> Option<Self> {
        (secret.len() >= SECRET_BYTES_MIN).then(|| Self {
            algorithm: Algorithm::HS256,
            name: "HS256",
            key: DecodingKey::from_secret(secret),
            thumbprint: *blake3::hash(secret).as_bytes(),
        })
    }

    /// Reads a JWK that is meant for signatures: RSA from 2,048 bits on, a point of P-256, or Ed25519. Anything else, symmetric keys
    /// included, is not one.
    pub(crate) fn of_jwk(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|usage| usage != "sig") || jwk.get("key_ops").is_some_and(|operations| !verifies(operations)) {
            return None;
        }
        let (algorithm, name, key, parts) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (Algorithm::RS256, "RS256", rsa(text("n")?, text("e")?)?, ["n", "e"]),
            ("EC", Some("P-256")) => (Algorithm::ES256, "ES256", point(text("x")?, text("y")?)?, ["x", "y"]),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, "EdDSA", edwards(text("x")?)?, ["x", "crv"]),
            _ => return None,
        };
        let written: String = parts.iter().flat_map(|part| [name, ".", text(part).unwrap_or_default(), "."]).collect();
        let key = Self { algorithm, name, key, thumbprint: *blake3::hash(written.as_bytes()).as_bytes() };
        // A key that names another algorithm is for that one.
        let is_named = jwk.get("alg").is_none_or(|named| named.as_str() == Some(name));
        is_named.then_some(key)
    }

    /// What tells it from every other key.
    pub(crate) fn thumbprint(&self) -> [u8; 32] {
        self.thumbprint
    }

    /// As tokens name it.
    pub(crate) fn algorithm_name(&self) -> &'static str {
        self.name
    }

    /// Whether the signature (base64url) is the key's over the message. A token whose header names another algorithm has none.
    pub(crate) fn verifies(&self, named: &str, message: &[u8], signature: &str) -> bool {
        named == self.name && jsonwebtoken::crypto::verify(signature, message, &self.key, self.algorithm).is_ok_and(|is_good| is_good)
    }
}

fn verifies(operations: &Value) -> bool {
    operations.as_array().is_some_and(|list| list.iter().any(|operation| operation == "verify"))
}

fn rsa(n: &str, e: &str) -> Option<DecodingKey> {
    let (modulus, exponent) = (decode(n)?, decode(e)?);
    let bits = modulus.iter().position(|byte| *byte != 0).map(|zeros| (modulus.len() - zeros) * 8)?;
    let is_sane = (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) && (1..=8).contains(&exponent.len());
    is_sane.then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

fn point(x: &str, y: &str) -> Option<DecodingKey> {
    let (horizontal, vertical) = (decode(x)?, decode(y)?);
    if horizontal.len() != 32 || vertical.len() != 32 {
        return None;
    }
    let point = [&[4], horizontal.as_slice(), vertical.as_slice()].concat();
    // One that does not lie on the curve could be made to tell the other's key, and verifies nothing.
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).ok()?;
    Some(DecodingKey::from_ec_der(&point))
}

fn edwards(x: &str) -> Option<DecodingKey> {
    let key = decode(x)?;
    ParsedPublicKey::new(&ED25519, &key).ok()?;
    Some(DecodingKey::from_ed_der(&key))
}

const SECRET_BYTES_MIN: usize = 32;
const RSA_BITS_MIN: usize = 2_048;
const RSA_BITS_MAX: usize = 8_192;
