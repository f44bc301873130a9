//! Whose tokens are let in? `[[auth.issuers]]`, one table for each.

use serde::Deserialize;

use super::SigningAlgorithm;

/// Somebody else whose tokens are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// `iss` of their tokens.
    pub issuer: String,
    /// `aud` of tokens that are for this server.
    pub audience: String,
    /// Where their public keys are.
    pub jwks_url: String,
    /// What their keys may sign with.
    pub algorithms: Vec<SigningAlgorithm>,
    /// Whether that may be `http` on this machine: for tests and for a proxy beside the server.
    pub loopback_http: bool,
}

#[derive(Deserialize)]
struct Wire {
    issuer: Option<String>,
    audience: Option<String>,
    jwks_url: Option<String>,
    algorithms: Option<Vec<String>>,
    loopback_http: Option<bool>,
    #[serde(flatten)]
    unknown: std::collections::BTreeMap<String, serde_json::Value>,
}

/// Reads all of them from JSON, as the file's tables are written in it; `none` is none.
pub(super) fn parse(text: &str) -> Result<Vec<IssuerSettings>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let list: Vec<Wire> = serde_json::from_str(text)
        .map_err(|error| format!("must be tables [[auth.issuers]], or a JSON array of objects in the environment: {error}"))?;
    if list.len() > ISSUERS_MAX {
        return Err(format!("has {} issuers, at most {ISSUERS_MAX} are allowed", list.len()));
    }
    let read: Vec<IssuerSettings> = list
        .into_iter()
        .enumerate()
        .map(|(index, wire)| wire.read().map_err(|detail| format!("[{index}]: {detail}")))
        .collect::<Result<_, _>>()?;
    for (index, one) in read.iter().enumerate() {
        if read.iter().skip(index + 1).any(|other| other.issuer == one.issuer) {
            return Err(format!("issuer {:?} stands twice", one.issuer));
        }
    }
    Ok(read)
}

impl Wire {
    fn read(self) -> Result<IssuerSettings, String> {
        if let Some(name) = self.unknown.keys().next() {
            let near = KEYS.iter().min_by_key(|key| strsim::damerau_levenshtein(key, name)).unwrap_or(&"issuer");
            return Err(format!("{name:?} is not one of its settings; did you mean {near}?"));
        }
        let required =
            |name: &str, value: Option<String>| value.filter(|text| !text.is_empty()).ok_or_else(|| format!("{name} is missing"));
        let algorithms = match self.algorithms {
            None => SigningAlgorithm::ALL.to_vec(),
            Some(names) => names
                .iter()
                .map(|name| SigningAlgorithm::parse(name).ok_or_else(|| format!("algorithm {name:?} is none of RS256, ES256 and EdDSA")))
                .collect::<Result<_, _>>()?,
        };
        if algorithms.is_empty() {
            return Err("algorithms must name at least one".to_owned());
        }
        Ok(IssuerSettings {
            issuer: required("issuer", self.issuer)?,
            audience: required("audience", self.audience)?,
            jwks_url: required("jwks_url", self.jwks_url)?,
            algorithms,
            loopback_http: self.loopback_http.unwrap_or(false),
        })
    }
}

const KEYS: [&str; 5] = ["issuer", "audience", "jwks_url", "algorithms", "loopback_http"];
const ISSUERS_MAX: usize = 16;
