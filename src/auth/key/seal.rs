//! What keeps private keys private at rest? AES-256-GCM under a key that is derived from what the operator keeps elsewhere.

use aws_lc_rs::aead::AES_256_GCM;
use aws_lc_rs::aead::Aad;
use aws_lc_rs::aead::Nonce;
use aws_lc_rs::aead::RandomizedNonceKey;
use aws_lc_rs::hkdf::HKDF_SHA256;
use aws_lc_rs::hkdf::Salt;
use aws_lc_rs::hmac;

/// What everything secret of this server hangs on.
#[derive(Clone)]
pub(crate) struct SealingKey {
    seal: [u8; 32],
    mac: hmac::Key,
}

impl SealingKey {
    /// Derives from a text or bytes of at least 32 bytes.
    pub(crate) fn derive(material: &[u8]) -> Option<Self> {
        if material.len() < MATERIAL_BYTES_MIN {
            return None;
        }
        let root = Salt::new(HKDF_SHA256, b"factum keys v1").extract(material);
        let derived = |purpose: &[u8]| {
            let mut key = [0; 32];
            root.expand(&[purpose], HKDF_SHA256).ok()?.fill(&mut key).ok()?;
            Some(key)
        };
        Some(Self { seal: derived(b"seal")?, mac: hmac::Key::new(hmac::HMAC_SHA256, &derived(b"refresh")?) })
    }

    /// Encrypts; `context` must be the same when it is opened.
    pub(super) fn seal(&self, context: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.seal).ok()?;
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(context), &mut sealed).ok()?;
        sealed.splice(..0, nonce.as_ref().iter().copied());
        Some(sealed)
    }

    /// Decrypts what [`SealingKey::seal`] made under the same key and context.
    pub(super) fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.seal).ok()?;
        let (nonce, rest) = sealed.split_at_checked(NONCE_BYTES)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = rest.to_vec();
        let length = key.open_in_place(nonce, Aad::from(context), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }

    /// A tag that nobody else can make.
    pub(crate) fn tag(&self, message: &[u8]) -> Vec<u8> {
        hmac::sign(&self.mac, message).as_ref().to_vec()
    }

    /// Whether it is the message's tag.
    pub(crate) fn is_tag(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.mac, message, tag).is_ok()
    }
}

/// Bytes that nobody can guess.
///
/// # Panics
///
/// When the system has no randomness; nothing could be kept secret then.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives randomness");
    bytes
}

pub(super) const MATERIAL_BYTES_MIN: usize = 32;
const NONCE_BYTES: usize = 12;
