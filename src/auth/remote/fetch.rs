//! How is a key set fetched? From the one address in the settings, within bounds of time and size, and from nowhere that it leads to.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use super::guard::Guarded;
use super::guard::is_public;
use crate::auth::key::PublicKey;
use crate::config::IssuerSettings;

/// Where an issuer's keys are.
pub(super) struct Source {
    client: reqwest::Client,
    url: Url,
    algorithms: Vec<&'static str>,
}

/// Why an address may not be asked.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum BadAddress {
    /// It is no address.
    #[error("jwks_url is not a URL")]
    None,
    /// It is not `https`.
    #[error("jwks_url must be https://; loopback_http = true allows http:// to this machine alone")]
    Scheme,
    /// It is this machine or something else that only machines like this reach.
    #[error("jwks_url names an address that is not to be asked: this machine, its link, or its cloud's own services")]
    Address,
    /// Nothing can be asked at all.
    #[error("cannot start an HTTP client: {0}")]
    Client(String),
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0}")]
    Http(String),
    #[error("it answers {0}")]
    Status(u16),
    #[error("it has more than {SET_BYTES_MAX} bytes")]
    Large,
    #[error("it is no JWK set")]
    Garbage,
    #[error("it has {0} keys, more than {KEYS_MAX}")]
    Many(usize),
    #[error("it has no key that can be used")]
    Empty,
}

impl Source {
    pub(super) fn new(settings: &IssuerSettings) -> Result<Self, BadAddress> {
        let url = Url::parse(&settings.jwks_url).map_err(|_| BadAddress::None)?;
        let is_loopback = is_loopback(&url);
        match url.scheme() {
            "https" if is_loopback => return Err(BadAddress::Address),
            "https" => {}
            "http" if settings.loopback_http && is_loopback => {}
            _ => return Err(BadAddress::Scheme),
        }
        if !is_loopback && literal(&url).is_some_and(|address| !is_public(address)) {
            return Err(BadAddress::Address);
        }
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Guarded))
            .pool_max_idle_per_host(0)
            .user_agent(concat!("factum/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| BadAddress::Client(error.to_string()))?;
        Ok(Self { client, url, algorithms: settings.algorithms.iter().map(|algorithm| algorithm.as_str()).collect() })
    }

    /// The keys that can be used, by their ids.
    pub(super) async fn fetch(&self) -> Result<Vec<(String, Arc<PublicKey>)>, FetchError> {
        let http = |error: reqwest::Error| FetchError::Http(cause(&error));
        let mut response = self.client.get(self.url.clone()).header("accept", "application/json").send().await.map_err(http)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut text = Vec::new();
        while let Some(part) = response.chunk().await.map_err(http)? {
            if text.len() + part.len() > SET_BYTES_MAX {
                return Err(FetchError::Large);
            }
            text.extend_from_slice(&part);
        }
        self.read(&text)
    }

    fn read(&self, text: &[u8]) -> Result<Vec<(String, Arc<PublicKey>)>, FetchError> {
        let set: Value = serde_json::from_slice(text).map_err(|_| FetchError::Garbage)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(FetchError::Garbage)?;
        if keys.len() > KEYS_MAX {
            return Err(FetchError::Many(keys.len()));
        }
        let usable = keys.iter().filter_map(|jwk| {
            let jwk = jwk.as_object()?;
            let id = jwk.get("kid").and_then(Value::as_str).filter(|id| !id.is_empty())?;
            let key = PublicKey::of_jwk(jwk).filter(|key| self.algorithms.contains(&key.algorithm_name()))?;
            Some((id.to_owned(), Arc::new(key)))
        });
        let usable: Vec<_> = usable.collect();
        if usable.is_empty() { Err(FetchError::Empty) } else { Ok(usable) }
    }
}

/// An address that stands in the URL itself: nobody resolves it.
fn literal(url: &Url) -> Option<std::net::IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_loopback(url: &Url) -> bool {
    literal(url).is_some_and(|address| address.to_canonical().is_loopback())
}

/// What lies beneath, without the address, which the settings tell.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

const TIMEOUT: Duration = Duration::from_secs(5);
const SET_BYTES_MAX: usize = 64 << 10;
const KEYS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SigningAlgorithm;

    fn source(url: &str, loopback_http: bool) -> Result<Source, BadAddress> {
        Source::new(&IssuerSettings {
            issuer: "i".into(),
            audience: "a".into(),
            jwks_url: url.into(),
            algorithms: vec![SigningAlgorithm::EdDsa],
            loopback_http,
        })
    }

    #[test]
    fn k7_only_https_and_only_addresses_that_are_to_be_asked() {
        assert!(source("https://issuer.example/keys", false).is_ok());
        assert!(source("https://192.168.1.7/keys", false).is_ok(), "an issuer of one's own network");
        assert!(source("http://127.0.0.1:1/keys", true).is_ok());
        for url in ["http://issuer.example/keys", "http://127.0.0.1:1/keys", "file:///etc/passwd", "ftp://issuer.example", "keys"] {
            assert!(source(url, false).is_err(), "{url}");
        }
        for url in ["http://issuer.example/keys", "http://localhost:1/keys", "http://192.168.1.7/keys"] {
            assert!(source(url, true).is_err(), "{url}");
        }
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0.0.0.0",
            "169.254.169.254",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:169.254.169.254]",
            "[fe80::1]",
            "[fd00:ec2::254]",
            "[ff02::1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
        ] {
            assert!(matches!(source(&format!("https://{host}/keys"), false), Err(BadAddress::Address)), "{host}");
        }
    }

    #[test]
    fn k6_k8_k9_what_is_no_good_set_is_none() {
        let source = source("https://issuer.example/keys", false).unwrap();
        let ed = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"k"}"#;
        assert_eq!(source.read(format!(r#"{{"keys":[{ed}]}}"#).as_bytes()).unwrap().len(), 1);
        let symmetric = r#"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","kid":"s"}"#;
        assert_eq!(source.read(format!(r#"{{"keys":[{symmetric},{ed},7,null,{{}}]}}"#).as_bytes()).unwrap().len(), 1);
        let many = vec![ed; 33].join(",");
        for bad in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"keys":{}}"#,
            r#"{"keys":[]}"#,
            &format!(r#"{{"keys":[{symmetric}]}}"#),
            &format!(r#"{{"keys":[{many}]}}"#),
        ] {
            assert!(source.read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
