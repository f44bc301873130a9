//! Do tokens outlive what happens to a server, and does an implementation of others read them as this one does?

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::measurements::series;
use crate::process::FACTUM;
use crate::process::Place;
use crate::process::Ran;
use crate::process::Server;
use crate::process::Start;
use crate::process::run;
use crate::process::skipped;

const SECRET: &str = "a secret of the settings";
const SHARED: &str = "thirty-two bytes and a few more of them";
const ISSUER: &str = "http://factum.example";

/// A server that asks for tokens, whatever port it gets.
fn guarded(place: &Place, algorithm: &str) -> Start {
    with_tokens(place, place.start(), algorithm)
}

fn with_tokens(place: &Place, start: Start, algorithm: &str) -> Start {
    let secret = place.path("root.secret");
    let shared = place.path("shared.secret");
    std::fs::write(&secret, SECRET).expect("writes");
    std::fs::write(&shared, SHARED).expect("writes");
    start
        .env("FACTUM_AUTH__ENABLED", "true")
        .env("FACTUM_AUTH__ISSUER", ISSUER)
        .env("FACTUM_AUTH__ALGORITHM", algorithm)
        .env("FACTUM_AUTH__KEY", "a key of thirty-two characters, or more")
        .env("FACTUM_AUTH__BOOTSTRAP_CLIENT_ID", "root")
        .env("FACTUM_AUTH__BOOTSTRAP_CLIENT_SECRET_FILE", secret.to_str().expect("text"))
        .env("FACTUM_AUTH__SHARED_SECRET__FILE", shared.to_str().expect("text"))
}

/// A client command with a token.
fn with_token(server: &Server, token: &str, arguments: &[&str]) -> Ran {
    run(arguments, "", &[("FACTUM_URL", &server.url), ("FACTUM_TOKEN", token)])
}

fn token(server: &Server) -> String {
    let secret = [("FACTUM_URL", server.url.as_str()), ("FACTUM_CLIENT_SECRET", SECRET)];
    run(&["token", "--client", "root"], "", &secret).exits(0).stdout.trim().to_owned()
}

#[test]
fn commands_get_tokens_and_say_what_to_do_without() {
    let place = Place::new();
    let server = guarded(&place, "ES256").ready();
    with_token(&server, "", &["streams"]).exits(1).says("factum token");
    with_token(&server, "a.b.c", &["keys"]).exits(1).says("factum token");
    let root = token(&server);
    with_token(&server, &root, &["append", "order-1", "T", "1"]).exits(0);
    let made = with_token(&server, &root, &["clients", "mail", "--scopes", "events:read", "--streams", "order-*"]).exits(0);
    let secret = made.json_lines()[0]["secret"].as_str().expect("a secret was drawn").to_owned();
    let environment = [("FACTUM_URL", server.url.as_str()), ("FACTUM_CLIENT_SECRET", secret.as_str())];
    let mail = run(&["token", "--client", "mail", "--json"], "", &environment).exits(0).json_lines()[0].clone();
    assert_eq!(mail["scope"], "events:read");
    let access = mail["access_token"].as_str().expect("a token").to_owned();
    with_token(&server, &access, &["read", "order-1"]).exits(0);
    with_token(&server, &access, &["keys"]).exits(1).says("admin");
    let inspected = run(&["token", "--client", "mail", "--inspect"], &access, &environment).exits(0).json_lines()[0].clone();
    assert_eq!((&inspected["active"], &inspected["client_id"]), (&true.into(), &"mail".into()));
    run(&["token", "--client", "mail", "--revoke"], &access, &environment).exits(0);
    with_token(&server, &access, &["read", "order-1"]).exits(1);
    run(&["token", "--client", "mail"], "", &[("FACTUM_URL", &server.url), ("FACTUM_CLIENT_SECRET", "not its secret, but long")])
        .exits(1)
        .says("invalid_client");
    with_token(&server, &root, &["clients", "mail", "--delete"]).exits(0);
    assert_eq!(with_token(&server, &root, &["clients"]).exits(0).stdout, "");
    let log = server.log();
    for hidden in [SECRET, SHARED, &root, &access, &secret, "a key of thirty-two"] {
        assert!(!log.contains(hidden), "the log tells a secret");
    }
    assert_eq!(server.terminate(), Some(0));
    // What was done last was written before it ended.
    let server = guarded(&place, "ES256").ready();
    let audit = with_token(&server, &token(&server), &["read", "$audit", "--limit", "1000"]).exits(0).stdout;
    assert!(audit.contains("/v1/clients/mail") && audit.contains("\"DELETE\""), "{audit}");
}

#[test]
fn what_comes_of_tokens_is_counted_and_nobody_is_named() {
    let place = Place::new();
    let server = guarded(&place, "ES256").ready();
    let root = token(&server);
    with_token(&server, &root, &["streams"]).exits(0);
    let made = with_token(&server, &root, &["clients", "mail-client", "--scopes", "events:read"]).exits(0);
    let secret = made.json_lines()[0]["secret"].as_str().expect("a secret was drawn").to_owned();
    let environment = [("FACTUM_URL", server.url.as_str()), ("FACTUM_CLIENT_SECRET", secret.as_str())];
    let access = run(&["token", "--client", "mail-client"], "", &environment).exits(0).stdout.trim().to_owned();
    with_token(&server, &access, &["keys"]).exits(1);
    with_token(&server, "a.b.c", &["streams"]).exits(1);
    let wrong = [("FACTUM_URL", server.url.as_str()), ("FACTUM_CLIENT_SECRET", "not its secret, but long")];
    run(&["token", "--client", "mail-client"], "", &wrong).exits(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let text = runtime.block_on(async {
        let without = reqwest::get(format!("{}/v1/streams", server.url)).await.expect("an answer");
        assert_eq!(without.status().as_u16(), 401);
        let request = reqwest::Client::new().get(format!("{}/metrics", server.url)).bearer_auth(&root);
        request.send().await.expect("an answer").text().await.expect("a body")
    });
    let counted = |name: &str, outcome: &str| series(&text, &format!("factum_auth_{name}_total{{outcome=\"{outcome}\"}}"));
    assert_eq!((counted("grants", "issued"), counted("grants", "invalid_client")), (Some(2.0), Some(1.0)), "{text}");
    assert_eq!(counted("grants", "invalid_grant"), Some(0.0), "what did not happen yet is told too");
    assert_eq!((counted("requests", "refused"), counted("requests", "missing")), (Some(1.0), Some(1.0)), "{text}");
    assert_eq!(counted("requests", "forbidden"), Some(1.0), "{text}");
    assert!(counted("requests", "accepted").is_some_and(|count| count >= 2.0), "{text}");
    assert!(!text.contains("mail-client") && !text.contains("root"), "{text}");
    assert_eq!(server.terminate(), Some(0));
}

/// Servers are killed while their keys rotate; every token that was ever given counts with the next one.
#[test]
fn crash_kill_nine_during_a_rotation_logs_nobody_out() {
    let place = Place::new();
    let mut tokens: Vec<String> = Vec::new();
    for round in 0..6_u64 {
        let server = guarded(&place, "EdDSA").ready();
        for before in &tokens {
            with_token(&server, before, &["keys"]).exits(0);
        }
        tokens.push(token(&server));
        let (url, newest) = (server.url.clone(), tokens[tokens.len() - 1].clone());
        let rotating = std::thread::spawn(move || {
            // Until the server is gone, or so many keys retire that it says no.
            while run(&["keys", "--rotate"], "", &[("FACTUM_URL", &url), ("FACTUM_TOKEN", &newest)]).code == Some(0) {}
        });
        // Not a wait for something: the fault's own time.
        std::thread::park_timeout(Duration::from_millis(3 + 7 * round));
        server.kill();
        rotating.join().expect("it does not panic");
    }
    let server = guarded(&place, "EdDSA").ready();
    for before in &tokens {
        let keys = with_token(&server, before, &["keys"]).exits(0).json_lines();
        assert_eq!(keys.iter().filter(|key| key["state"] == "active").count(), 1, "{keys:?}");
        assert_eq!(keys.iter().filter(|key| key["state"] == "next").count(), 1, "{keys:?}");
    }
}

#[test]
fn another_key_for_the_keys_is_told_at_the_start() {
    let place = Place::new();
    guarded(&place, "ES256").ready().kill();
    let (status, said) = guarded(&place, "ES256").env("FACTUM_AUTH__KEY", "another of thirty-two characters, or more").fails();
    assert!(!status.success() && said.contains("sealed with another"), "{said}");
    let (status, said) = guarded(&place, "ES256").env("FACTUM_AUTH__KEY", "short").fails();
    assert!(!status.success() && said.contains("at least 32"), "{said}");
    // With authentication it may listen anywhere.
    let (status, said) = place.start_at("0.0.0.0:0").fails();
    assert!(!status.success() && said.contains("auth.enabled"), "{said}");
    with_tokens(&place, place.start_at("0.0.0.0:0"), "ES256").ready();
}

/// PyJWT, in the environment that `tests/run.sh` makes.
fn python(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("FACTUM_READERS").map(PathBuf::from);
    let beside = || Some(Path::new(FACTUM).parent()?.parent()?.join("readers/bin/python"));
    let has_it =
        |path: &PathBuf| Command::new(path).args(["-c", "import jwt, cryptography"]).output().is_ok_and(|ran| ran.status.success());
    let found = named.or_else(beside).filter(has_it);
    if found.is_none() {
        skipped(test, "no Python with PyJWT; tests/run.sh makes one");
    }
    found
}

/// Checks our token with our published keys, then mints tokens with the shared secret.
const SCRIPT: &str = r#"
import json, sys, time, urllib.request
import jwt
url, issuer, secret, token = sys.argv[1:5]
client = jwt.PyJWKClient(url + "/.well-known/jwks.json")
key = client.get_signing_key_from_jwt(token)
claims = jwt.decode(token, key, algorithms=["RS256", "ES256", "EdDSA"], audience="factum", issuer=issuer,
                    options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"], "verify_iat": True})
header = jwt.get_unverified_header(token)
now = int(time.time())
good = {"iss": "shared-secret", "aud": "factum", "sub": "python", "exp": now + 60, "iat": now, "scope": "events:read"}
def status(claims, key=secret, algorithm="HS256", headers=None):
    minted = jwt.encode(claims, key, algorithm=algorithm, headers=headers)
    request = urllib.request.Request(url + "/v1/events", headers={"Authorization": "Bearer " + minted})
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code
print(json.dumps({
    "typ": header["typ"], "alg": header["alg"], "scope": claims["scope"], "sub": claims["sub"],
    "good": status(good),
    "narrowed": status({**good, "streams": ["order-*"]}),
    "late": status({**good, "exp": now - 1}),
    "early": status({**good, "nbf": now + 120}),
    "elsewhere": status({**good, "aud": "other"}),
    "stranger": status(good, key="another secret of thirty-two bytes"),
    "stronger": status(good, algorithm="HS512", key=secret * 2),
    "unsigned": status(good, key=None, algorithm="none"),
    "named": status(good, headers={"typ": "logout+jwt"}),
}))
"#;

#[test]
fn another_implementation_reads_our_tokens_and_we_read_its() {
    let Some(python) = python("another_implementation_reads_our_tokens_and_we_read_its") else { return };
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let place = Place::new();
        let server = guarded(&place, algorithm).ready();
        let ran = Command::new(&python).args(["-c", SCRIPT, &server.url, ISSUER, SHARED, &token(&server)]).output().expect("runs");
        assert!(ran.status.success(), "{algorithm}: {}", String::from_utf8_lossy(&ran.stderr));
        let said: Value = serde_json::from_slice(&ran.stdout).expect("a line of JSON");
        assert_eq!((&said["typ"], &said["alg"], &said["sub"]), (&"at+jwt".into(), &algorithm.into(), &"root".into()), "{said}");
        assert_eq!((&said["good"], &said["narrowed"]), (&200.into(), &200.into()), "{said}");
        for bad in ["late", "early", "elsewhere", "stranger", "stronger", "unsigned", "named"] {
            assert_eq!(said[bad], 401, "{bad}: {said}");
        }
    }
}
