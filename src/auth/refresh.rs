//! What is in a refresh token? All that is needed to issue the next access token, under a tag that only this server can make.

use serde::Deserialize;
use serde::Serialize;

use super::key::SealingKey;
use super::text::decode;
use super::text::encode;

/// A refresh token's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    /// Which family it belongs to,
    pub(super) family: String,
    /// and how often that was refreshed before it.
    pub(super) number: u32,
    pub(super) client: String,
    pub(super) client_version: u64,
    pub(super) scope: String,
    pub(super) streams: Vec<String>,
    /// In seconds since 1970.
    pub(super) expires_at: i64,
}

impl Refresh {
    /// As clients keep it.
    pub(super) fn write(&self, key: &SealingKey) -> String {
        let text = encode(serde_json::to_vec(self).expect("text is JSON"));
        let tag = encode(key.tag(text.as_bytes()));
        format!("{PREFIX}{text}.{tag}")
    }

    /// Reads one of this server's.
    pub(super) fn read(text: &str, key: &SealingKey) -> Option<Self> {
        let (text, tag) = text.strip_prefix(PREFIX).filter(|text| text.len() <= BYTES_MAX)?.split_once('.')?;
        if !key.is_tag(text.as_bytes(), &decode(tag)?) {
            return None;
        }
        serde_json::from_slice(&decode(text)?).ok()
    }
}

/// So that one that has leaked is recognised by who looks for such things.
const PREFIX: &str = "factum_refresh_";
const BYTES_MAX: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_server_has_written_is_read() {
        let key = SealingKey::derive(&[1; 32]).unwrap();
        let refresh = Refresh {
            family: "f".into(),
            number: 3,
            client: "c".into(),
            client_version: 1,
            scope: "admin".into(),
            streams: vec!["*".into()],
            expires_at: 7,
        };
        let text = refresh.write(&key);
        assert_eq!(Refresh::read(&text, &key), Some(refresh.clone()));
        assert_eq!(Refresh::read(&text, &SealingKey::derive(&[2; 32]).unwrap()), None);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(changed == text || Refresh::read(&changed, &key).is_none(), "{at}");
        }
    }
}
