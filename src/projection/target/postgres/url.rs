//! Which server does a URL name, and how is its certificate to be checked?

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_postgres::config::SslMode;

use super::session::Timeouts;
use super::tls::Check;
use super::tls::Roots;
use super::tls::Trust;

/// Reads a URL as libpq does, `sslmode` and `sslrootcert` included. What is wrong is told without repeating the URL: it holds a password.
pub(super) fn parse(url: &str) -> Result<(Config, Trust), String> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err("the url does not begin with postgres://".to_owned());
    }
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut root) = ("prefer".to_owned(), None);
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "sslmode" => mode = decoded(value)?,
            "sslrootcert" => root = Some(decoded(value)?),
            _ if NOT_HERE.contains(&name) => return Err(format!("the url has {name}, which Factum does not know")),
            _ => rest.push(pair),
        }
    }
    let plain = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    let mut config: Config =
        plain.parse().map_err(|_| "the url is not one of Postgres: postgres://user:password@host:5432/database".to_owned())?;
    if config.get_hosts().is_empty() {
        return Err("the url names no host".to_owned());
    }
    let (mut ssl_mode, check) = asked(&mode, root.as_deref())?;
    // Postgres does not encrypt what stays on the machine, and libpq does not ask for it.
    if config.get_hosts().iter().all(|host| !matches!(host, Host::Tcp(_))) {
        ssl_mode = SslMode::Disable;
    }
    config.ssl_mode(ssl_mode);
    if config.get_keepalives_idle() == Duration::from_hours(2) {
        config.keepalives_idle(Duration::from_secs(30));
    }
    config.keepalives_interval(config.get_keepalives_interval().unwrap_or(Duration::from_secs(10)));
    config.keepalives_retries(config.get_keepalives_retries().unwrap_or(3));
    let roots = match root {
        Some(path) if path != SYSTEM => Roots::File(PathBuf::from(path)),
        Some(_) | None => Roots::System,
    };
    Ok((config, Trust { check, roots }))
}

fn asked(mode: &str, root: Option<&str>) -> Result<(SslMode, Check), String> {
    let checked_if_told = if root.is_some() { Check::Chain } else { Check::Nothing };
    let (ssl_mode, check) = match mode {
        "disable" => (SslMode::Disable, Check::Nothing),
        "allow" | "prefer" => (SslMode::Prefer, Check::Nothing),
        "require" => (SslMode::Require, checked_if_told),
        "verify-ca" => (SslMode::Require, Check::Chain),
        "verify-full" => (SslMode::Require, Check::ChainAndName),
        _ => return Err("sslmode is not one of disable, allow, prefer, require, verify-ca, verify-full".to_owned()),
    };
    // The system's roots sign for anybody: without the name they prove nothing.
    let is_system = root == Some(SYSTEM) && check == Check::Chain;
    Ok((ssl_mode, if is_system { Check::ChainAndName } else { check }))
}

/// How long to wait for what, where the URL says so: `connect_timeout=5`, and `options=-c statement_timeout=30s -c lock_timeout=5s`.
pub(super) fn timeouts(config: &Config, otherwise: Timeouts) -> Result<Timeouts, String> {
    let mut timeouts = otherwise;
    if let Some(connect) = config.get_connect_timeout() {
        timeouts.connect = *connect;
    }
    let settings = config.get_options().unwrap_or_default().split_whitespace().filter_map(|word| word.split_once('='));
    for (name, value) in settings {
        let timeout = match name.trim_start_matches("-c").trim_start_matches("--").replace('-', "_").as_str() {
            "statement_timeout" => &mut timeouts.statement,
            "lock_timeout" => &mut timeouts.lock,
            "idle_in_transaction_session_timeout" => &mut timeouts.idle,
            _ => continue,
        };
        *timeout = duration(value)
            .ok_or_else(|| format!("the url's options have {name}, which must be a time above zero, such as 30s or 500ms"))?;
    }
    Ok(timeouts)
}

/// A time as Postgres writes it; milliseconds without a unit.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let millis = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        _ => return None,
    };
    let millis = number.parse::<u64>().ok()?.checked_mul(millis)?;
    (1..=MILLIS_MAX).contains(&millis).then(|| Duration::from_millis(millis))
}

fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or("the url has a % without two hexadecimal digits")?);
        rest = behind.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| "the url is not UTF-8".to_owned())
}

/// What Postgres takes.
const MILLIS_MAX: u64 = 2_147_483_647;

/// The value of `sslrootcert` that means the system's.
const SYSTEM: &str = "system";

/// What libpq knows and this client does not. To leave them out in silence could mean less safety than was asked for.
const NOT_HERE: &[&str] =
    &["sslcert", "sslkey", "sslpassword", "sslcrl", "sslcrldir", "passfile", "service", "requirepeer", "gssencmode", "krbsrvname"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssl_modes_mean_what_libpq_says() {
        for (query, mode, check) in [
            ("", SslMode::Prefer, Check::Nothing),
            ("sslmode=disable", SslMode::Disable, Check::Nothing),
            ("sslmode=require", SslMode::Require, Check::Nothing),
            ("sslmode=require&sslrootcert=%2Fa%2Fb.pem", SslMode::Require, Check::Chain),
            ("sslmode=verify-ca", SslMode::Require, Check::Chain),
            ("connect_timeout=3&sslmode=verify-full", SslMode::Require, Check::ChainAndName),
            ("sslmode=require&sslrootcert=system", SslMode::Require, Check::ChainAndName),
        ] {
            let (config, trust) = parse(&format!("postgres://u:secret@h/db?{query}")).unwrap();
            assert_eq!((config.get_ssl_mode(), trust.check), (mode, check), "{query}");
        }
        let (_, trust) = parse("postgres://h/db?sslrootcert=%2Fa%2Fb.pem").unwrap();
        assert_eq!(trust.roots, Roots::File(PathBuf::from("/a/b.pem")));
        let (config, _) = parse("postgres://u@%2Frun%2Fpg/db?sslmode=require").unwrap();
        assert_eq!(config.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn the_url_may_say_how_long_to_wait() {
        let read = |query: &str| {
            let (config, _) = parse(&format!("postgres://u:secret@h/db?{query}")).unwrap();
            timeouts(&config, Timeouts::default())
        };
        assert_eq!(read("").unwrap(), Timeouts::default());
        let found = read("connect_timeout=3&options=-c%20statement_timeout%3D30s%20-clock_timeout%3D500%20--work-mem%3D1MB").unwrap();
        let expected = Timeouts {
            connect: Duration::from_secs(3),
            statement: Duration::from_secs(30),
            lock: Duration::from_millis(500),
            ..Timeouts::default()
        };
        assert_eq!(found, expected);
        for query in ["statement_timeout%3D0", "statement_timeout%3D1d", "lock_timeout%3Dsecret", "lock_timeout%3D99999999min"] {
            let error = read(&format!("options=-c%20{query}")).unwrap_err();
            assert!(error.contains("such as 30s") && !error.contains("secret"), "{query}: {error}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_its_password() {
        for url in [
            "host=h password=secret",
            "postgres://u:secret@h:port/db",
            "postgres://u:secret@h/db?sslmode=secret",
            "postgres://u:secret@h/db?secret=1",
            "postgres://u:secret@h/db?sslcert=secret",
            "postgres://u:secret@h/db?sslrootcert=%s",
            "postgres:///db?password=secret",
        ] {
            let error = parse(url).unwrap_err();
            assert!(!error.contains("secret"), "{url}: {error}");
        }
    }
}
