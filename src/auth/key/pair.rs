//! How is a key made, and how does it sign?

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::Pkcs8V1Der;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair;
use aws_lc_rs::signature::RsaKeyPair;
use serde_json::Value;
use serde_json::json;

use super::store::KeyStoreError;
use crate::auth::text::encode;
use crate::config::SigningAlgorithm;

/// A private key, ready to sign.
pub(super) enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// Draws a new private key, as PKCS#8.
///
/// # Errors
///
/// When the system has no randomness.
pub(super) fn generate(algorithm: SigningAlgorithm) -> Result<Vec<u8>, KeyStoreError> {
    let failed = |_| KeyStoreError::Crypto("a key could not be drawn");
    match algorithm {
        SigningAlgorithm::Rs256 => {
            let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
            let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(failed)?;
            Ok(der.as_ref().to_vec())
        }
        SigningAlgorithm::Es256 => {
            let curve = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
            Ok(EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).map_err(failed)?.as_ref().to_vec())
        }
        SigningAlgorithm::EdDsa => Ok(Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).map_err(failed)?.as_ref().to_vec()),
    }
}

impl Pair {
    /// Reads PKCS#8.
    ///
    /// # Errors
    ///
    /// When it is not a key of this algorithm.
    pub(super) fn read(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, KeyStoreError> {
        let failed = |_| KeyStoreError::Crypto("a private key is not what it should be");
        Ok(match algorithm {
            SigningAlgorithm::Rs256 => Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(pkcs8).map_err(failed)?)),
            SigningAlgorithm::Es256 => {
                Self::Ecdsa(Box::new(EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(failed)?))
            }
            SigningAlgorithm::EdDsa => Self::Ed25519(Box::new(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(failed)?)),
        })
    }

    /// Signs.
    ///
    /// # Errors
    ///
    /// When the system has no randomness.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyStoreError> {
        let failed = |_| KeyStoreError::Crypto("a token could not be signed");
        match self {
            Self::Rsa(pair) => {
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signed).map_err(failed)?;
                Ok(signed)
            }
            Self::Ecdsa(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// What RFC 7638 takes the thumbprint of: the required members of the public key, in the order of their names.
    pub(super) fn public_members(&self) -> Value {
        match self {
            Self::Rsa(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                json!({
                    "e": encode(e.big_endian_without_leading_zero()),
                    "kty": "RSA",
                    "n": encode(n.big_endian_without_leading_zero()),
                })
            }
            Self::Ecdsa(pair) => {
                // 0x04, then both coordinates.
                let point = pair.public_key().as_ref();
                let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
                json!({ "crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y) })
            }
            Self::Ed25519(pair) => json!({ "crv": "Ed25519", "kty": "OKP", "x": encode(pair.public_key().as_ref()) }),
        }
    }
}
