//! What stands behind the question mark? Parameters are taken by name; one that nobody took is refused, for an ignored filter gives
//! wrong answers.

use std::str::FromStr;

use crate::http::problem::Problem;
use crate::subscription::time::parse_timestamp;
use factum_storage::Timestamp;

/// The parameters of a request that have not been taken yet.
#[derive(Debug)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Decodes the query of a URI.
    ///
    /// # Errors
    ///
    /// 400 for broken percent-encoding, text that is not UTF-8, or too many parameters.
    pub(crate) fn parse(raw: Option<&str>) -> Result<Self, Problem> {
        let mut pairs = Vec::new();
        for part in raw.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            if pairs.len() == PARAMETERS_MAX {
                return Err(Problem::malformed("query", format!("at most {PARAMETERS_MAX} parameters are allowed")));
            }
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = percent_decode(name, true).map_err(|detail| Problem::malformed("query", detail))?;
            let value = percent_decode(value, true).map_err(|detail| Problem::malformed(&name, detail))?;
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// Takes a parameter that may be there once.
    ///
    /// # Errors
    ///
    /// 400 if it is there twice.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.texts(name);
        let value = values.pop();
        if values.is_empty() { Ok(value) } else { Err(Problem::malformed(name, "is given more than once")) }
    }

    /// Takes a parameter that may be repeated.
    pub(crate) fn texts(&mut self, name: &str) -> Vec<String> {
        self.pairs.extract_if(.., |(own, _)| own == name).map(|(_, value)| value).collect()
    }

    /// Takes a parameter that is a number or the like.
    ///
    /// # Errors
    ///
    /// 400 with `detail` if it is not.
    pub(crate) fn parsed<T: FromStr>(&mut self, name: &str, detail: &'static str) -> Result<Option<T>, Problem> {
        self.text(name)?.map(|text| text.parse().map_err(|_| Problem::malformed(name, detail))).transpose()
    }

    /// Takes a switch: `true` or `false`, absent is `false`.
    ///
    /// # Errors
    ///
    /// 400 if it is anything else.
    pub(crate) fn switch(&mut self, name: &str) -> Result<bool, Problem> {
        Ok(self.parsed(name, "must be true or false")?.unwrap_or(false))
    }

    /// Takes a point in time.
    ///
    /// # Errors
    ///
    /// 400 if it is not RFC 3339.
    pub(crate) fn time(&mut self, name: &str) -> Result<Option<Timestamp>, Problem> {
        self.text(name)?.map(|text| parse_timestamp(&text).map_err(|detail| Problem::malformed(name, detail))).transpose()
    }

    /// Takes `limit`.
    ///
    /// # Errors
    ///
    /// 400 if it is not within 1 to 10,000.
    pub(crate) fn limit(&mut self) -> Result<Option<usize>, Problem> {
        const DETAIL: &str = "must be a number from 1 to 10000";
        match self.parsed("limit", DETAIL)? {
            Some(limit) if !(1..=LIMIT_MAX).contains(&limit) => Err(Problem::malformed("limit", DETAIL)),
            limit => Ok(limit),
        }
    }

    /// Takes everything that is left, in order.
    pub(crate) fn rest(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.pairs)
    }

    /// Ends the taking.
    ///
    /// # Errors
    ///
    /// 400 that names a parameter which nobody took.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.pairs.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                Err(Problem::malformed(&name, "is not a parameter of this path"))
            }
        }
    }
}

/// Decodes `%xx`, and `+` as a space where that is meant.
///
/// # Errors
///
/// What is wrong, in words for a client.
pub(crate) fn percent_decode(text: &str, plus_is_space: bool) -> Result<String, &'static str> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (Some(high), Some(low)) = (bytes.next().and_then(hex_digit), bytes.next().and_then(hex_digit)) else {
                    return Err("has a % that two hexadecimal digits do not follow");
                };
                out.push(high << 4 | low);
            }
            b'+' if plus_is_space => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).map_err(|_| "is not UTF-8 when its percent-encoding is undone")
}

/// Appends text so that it can stand in a path segment or query value.
pub(crate) fn push_percent_encoded(out: &mut String, text: &str) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':' | b'$') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(HEX.get(usize::from(byte >> 4)));
            out.extend(HEX.get(usize::from(byte & 15)));
        }
    }
}

/// The query with one parameter set in place of what it was.
pub(crate) fn with_parameter(raw: Option<&str>, name: &str, value: &str) -> String {
    let mut out = String::new();
    for part in raw.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
        if part.split('=').next() != Some(name) {
            out.push_str(part);
            out.push('&');
        }
    }
    out.push_str(name);
    out.push('=');
    push_percent_encoded(&mut out, value);
    out
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The most that a page or listing gives.
pub(crate) const LIMIT_MAX: usize = 10_000;
/// What it gives when nobody says.
pub(crate) const LIMIT_DEFAULT: usize = 100;
const PARAMETERS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_taken_once_and_the_rest_is_refused() {
        let mut query = Query::parse(Some("tag=a%20b&tag=c+d&limit=5&x=1")).unwrap();
        assert_eq!(query.texts("tag"), ["a b", "c d"]);
        assert_eq!(query.limit().unwrap(), Some(5));
        assert!(query.finish().is_err());
        assert!(Query::parse(Some("a=1&a=2")).unwrap().text("a").is_err());
        for bad in ["a=%", "a=%1", "a=%zz", "a=%ff", "%ff=a"] {
            assert!(Query::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn links_keep_the_other_parameters() {
        assert_eq!(with_parameter(Some("type=a%26b&after=3&limit=2"), "after", "7.9"), "type=a%26b&limit=2&after=7.9");
        assert_eq!(with_parameter(None, "from", "3"), "from=3");
    }
}
