//! Which tokens were found to be true before? A signature takes a hundred times as long to check as a token takes to be known again.
//!
//! They are known by their whole text, so that no other can be taken for one of them. Where in the table one stands hangs on its signature
//! alone, which looks like chance whatever is signed, and on a number that is drawn for each table; and only what bears a good signature
//! gets in. So nobody can aim at one place of it, nor learn from how long comparing takes.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hash::Hasher;
use std::sync::Arc;

use factum_storage::Timestamp;
use foldhash::fast::FoldHasher;
use foldhash::fast::RandomState;
use parking_lot::RwLock;

use super::policy::Principal;

/// Tokens that were found to be true, with who brings them; whether they still count is another question. There is no `Debug`: their texts
/// are nobody's to see.
#[derive(Default)]
pub(super) struct Known {
    tokens: RwLock<Tokens>,
}

#[derive(Default)]
struct Tokens {
    by_text: HashMap<Box<[u8]>, Arc<Principal>, OfEnds>,
    bytes: usize,
}

impl Known {
    /// Who brings this token, if it was seen before.
    pub(super) fn find(&self, token: &[u8]) -> Option<Arc<Principal>> {
        self.tokens.read().by_text.get(token).map(Arc::clone)
    }

    /// Remembers a token that is true.
    pub(super) fn put(&self, token: &[u8], principal: &Arc<Principal>, now: Timestamp) {
        let mut tokens = self.tokens.write();
        if !tokens.have_room_for(token) {
            tokens.retain(|principal| now < principal.expires_at);
        }
        if !tokens.have_room_for(token) {
            // All of them count: every other one has to be checked again.
            let mut keep = false;
            tokens.retain(|_| {
                keep = !keep;
                keep
            });
        }
        if tokens.by_text.insert(token.into(), Arc::clone(principal)).is_none() {
            tokens.bytes += token.len();
        }
    }
}

impl Tokens {
    fn have_room_for(&self, token: &[u8]) -> bool {
        self.by_text.len() < TOKENS_MAX && self.bytes + token.len() <= TOKENS_BYTES_MAX
    }

    fn retain(&mut self, mut keep: impl FnMut(&Principal) -> bool) {
        self.by_text.retain(|_, principal| keep(principal));
        self.bytes = self.by_text.keys().map(|token| token.len()).sum();
    }
}

/// Hashes the end of a text, which of a token is its signature or a part of that.
#[derive(Default)]
struct OfEnds(RandomState);

struct EndHasher<'a>(FoldHasher<'a>);

impl BuildHasher for OfEnds {
    type Hasher = EndHasher<'static>;

    fn build_hasher(&self) -> Self::Hasher {
        EndHasher(self.0.build_hasher())
    }
}

impl Hasher for EndHasher<'_> {
    fn write(&mut self, bytes: &[u8]) {
        let (_, end) = bytes.split_at(bytes.len().saturating_sub(END_BYTES));
        self.0.write(end);
    }

    fn write_usize(&mut self, length: usize) {
        self.0.write_usize(length);
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

/// 240 bits of a signature in base64url.
const END_BYTES: usize = 40;
const TOKENS_MAX: usize = 10_000;
/// As many of the usual size as there may be; of the largest that there may be, a quarter.
const TOKENS_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::super::policy::Patterns;
    use super::super::policy::Scopes;
    use super::super::policy::TokenId;
    use super::*;

    fn principal(expires_at: i64) -> Arc<Principal> {
        Arc::new(Principal {
            subject: "somebody".to_owned(),
            client: None,
            scopes: Scopes::NONE,
            streams: Patterns::all(),
            token: TokenId { issuer: "i".to_owned(), id: "t".to_owned() },
            own: None,
            foreign: None,
            expires_at: Timestamp::from_micros(expires_at),
        })
    }

    #[test]
    fn a_token_is_known_by_its_whole_text() {
        let (known, now) = (Known::default(), Timestamp::from_micros(0));
        let (one, other) = (principal(1), principal(2));
        known.put(b"head.claims.one", &one, now);
        known.put(b"head.claims.other", &other, now);
        assert_eq!(known.find(b"head.claims.one"), Some(one));
        assert_eq!(known.find(b"head.claims.other"), Some(other));
        for unknown in [b"head.claims.on".as_slice(), b"head.claims.one ", b"Head.claims.one", b""] {
            assert_eq!(known.find(unknown), None);
        }
    }

    #[test]
    fn memory_has_a_bound_in_number_and_in_bytes() {
        for (bytes, tokens_max) in [(20, TOKENS_MAX), (8 << 10, TOKENS_BYTES_MAX / (8 << 10))] {
            let known = Known::default();
            let token = |number: usize| format!("{number:0bytes$}").into_bytes();
            for number in 0..30_000 {
                known.put(&token(number), &principal(1), Timestamp::from_micros(0));
            }
            let tokens = known.tokens.read();
            assert!((tokens_max / 2..=tokens_max).contains(&tokens.by_text.len()), "{}", tokens.by_text.len());
            assert_eq!(tokens.bytes, tokens.by_text.len() * bytes);
            drop(tokens);
            assert!(known.find(&token(29_999)).is_some());
        }
    }

    #[test]
    fn those_that_have_expired_go_first() {
        let known = Known::default();
        for number in 0..TOKENS_MAX {
            known.put(number.to_string().as_bytes(), &principal(if number == 7 { 9 } else { 3 }), Timestamp::from_micros(0));
        }
        known.put(b"new", &principal(9), Timestamp::from_micros(3));
        assert!(known.find(b"new").is_some() && known.find(b"7").is_some() && known.find(b"8").is_none());
    }
}
