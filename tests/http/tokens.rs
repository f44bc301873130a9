//! Is every token refused that is not exactly right, with the same answer? RFC 8725, by the ids of `docs/trust.md`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use factum::Database;
use factum::auth::Auth;
use factum::auth::AuthOptions;
use jsonwebtoken::Algorithm;
use jsonwebtoken::EncodingKey;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;

use crate::guarded::Guarded;
use crate::guarded::ISSUER;
use crate::guarded::SHARED_SECRET;
use crate::guarded::text;

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Signs whatever it is given.
fn signed(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256).expect("a sound token");
    format!("{message}.{signature}")
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Claims that are right for the shared secret, with some changed.
fn claims(change: &Value) -> String {
    let mut claims = json!({
        "iss": "shared-secret", "aud": "factum", "sub": "tester", "jti": "1", "exp": now_s() + 600, "iat": now_s(), "scope": "events:read",
    });
    for (name, value) in change.as_object().expect("a sound token") {
        claims[name] = value.clone();
    }
    claims.to_string()
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn shared(change: &Value) -> String {
    signed(HS256, &claims(change), SHARED_SECRET.as_bytes())
}

/// The one answer that everybody gets.
async fn refused(guarded: &Guarded, token: &str, why: &str) {
    let answer = guarded.get("/v1/events", token).await;
    let problem = answer.problem(401, "unauthenticated");
    assert_eq!(answer.header("www-authenticate"), "Bearer", "{why}");
    let generic = guarded.get("/v1/events", "").await.json();
    assert_eq!(problem, generic, "{why}: the answer tells something");
}

/// The parts of a token of this server.
fn parts(token: &str) -> (Value, Value, String) {
    let mut parts = token.split('.');
    let mut json = || {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next().expect("a sound token")).expect("a sound token"))
            .expect("a sound token")
    };
    let (header, claims) = (json(), json());
    (header, claims, parts.next().expect("a sound token").to_owned())
}

#[tokio::test]
async fn a_token_of_the_shared_secret_is_let_in() {
    let guarded = Guarded::new().await;
    guarded.get("/v1/events", &shared(&json!({}))).await.is(200);
    guarded.get("/v1/events", &shared(&json!({"aud": ["other", "factum"]}))).await.is(200);
    guarded.get("/v1/events", &shared(&json!({"scope": "events:append"}))).await.problem(403, "forbidden");
    refused(&guarded, "", "none at all").await;
}

#[tokio::test]
async fn j1_without_a_signature_nobody_is_let_in() {
    let guarded = Guarded::new().await;
    let (header, claims, _) = parts(&guarded.root);
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let mut header = header.clone();
        header["alg"] = algorithm.into();
        for signature in ["", "AA", &encode([0; 64])] {
            refused(&guarded, &format!("{}.{}.{signature}", encode(header.to_string()), encode(claims.to_string())), algorithm).await;
        }
        let typed = format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#);
        refused(&guarded, &format!("{}.{}.", encode(typed), encode(self::claims(&json!({})))), algorithm).await;
    }
}

#[tokio::test]
async fn j2_a_public_key_is_no_secret() {
    for algorithm in factum::config::SigningAlgorithm::ALL {
        let guarded = Guarded::with(|settings| settings.algorithm = algorithm).await;
        let jwks = guarded.get("/.well-known/jwks.json", "").await.is(200).json();
        let (mut header, claims, _) = parts(&guarded.root);
        let jwk = jwks["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == header["kid"]).unwrap();
        let bytes = |name: &str| jwk[name].as_str().map_or_else(Vec::new, |text| URL_SAFE_NO_PAD.decode(text).unwrap());
        let point = [vec![4], bytes("x"), bytes("y")].concat();
        let secrets = [jwk.to_string().into_bytes(), jwks.to_string().into_bytes(), bytes("x"), bytes("n"), bytes("y"), point];
        header["alg"] = "HS256".into();
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            let der = [b"\x30\x59\x30\x13".as_slice(), secret].concat();
            let pem = format!(
                "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
                base64::engine::general_purpose::STANDARD.encode(&der)
            );
            for secret in [secret.as_slice(), &der, pem.as_bytes()] {
                refused(&guarded, &signed(&header.to_string(), &claims.to_string(), secret), algorithm.as_str()).await;
            }
        }
    }
}

#[tokio::test]
async fn j3_each_key_has_one_algorithm() {
    let guarded = Guarded::new().await;
    let (mut header, claims, signature) = parts(&guarded.root);
    for algorithm in ["ES384", "RS256", "EdDSA", "es256", "HS256", "ES256K", "PS256"] {
        header["alg"] = algorithm.into();
        let token = format!("{}.{}.{signature}", encode(header.to_string()), encode(claims.to_string()));
        refused(&guarded, &token, algorithm).await;
    }
    for algorithm in ["HS384", "HS512", "ES256", "RS256", "hs256"] {
        let token = signed(&format!(r#"{{"alg":"{algorithm}"}}"#), &self::claims(&json!({})), SHARED_SECRET.as_bytes());
        refused(&guarded, &token, algorithm).await;
    }
}

#[tokio::test]
async fn j4_keys_that_come_along_are_not_used_and_nobody_is_asked_for_them() {
    let guarded = Guarded::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let own = encode(b"another secret of thirty-two bytes and more");
    for header in [
        json!({"alg": "HS256", "jwk": {"kty": "oct", "k": own}}),
        json!({"alg": "HS256", "jku": url}),
        json!({"alg": "HS256", "x5u": url, "x5c": ["AA=="]}),
        json!({"alg": "HS256", "kid": url}),
    ] {
        let token = signed(&header.to_string(), &claims(&json!({})), b"another secret of thirty-two bytes and more");
        refused(&guarded, &token, &header.to_string()).await;
        let token = signed(&header.to_string(), &claims(&json!({"iss": ISSUER})), b"another secret of thirty-two bytes and more");
        refused(&guarded, &token, &header.to_string()).await;
    }
    let asked = std::future::poll_fn(|context| std::task::Poll::Ready(listener.poll_accept(context).is_ready())).await;
    assert!(!asked, "somebody has asked");
}

#[tokio::test]
async fn j5_a_key_id_is_a_name_and_nothing_else() {
    let guarded = Guarded::new().await;
    let (_, claims, signature) = parts(&guarded.root);
    let long = "k".repeat(1_000);
    let ids = ["../../keys/key", "' OR 1=1 --", "a\0b", "", "..%2f", "*", long.as_str()];
    for id in ids {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": id});
        refused(&guarded, &format!("{}.{}.{signature}", encode(header.to_string()), encode(claims.to_string())), id).await;
    }
    let huge = format!("{}.{}.{signature}", encode(json!({"alg": "ES256", "kid": "k".repeat(10 << 20)}).to_string()), encode("{}"));
    refused(&guarded, &huge, "one of ten megabytes").await;
    let twice = r#"{"alg":"HS256","kid":"a","kid":"b"}"#;
    refused(&guarded, &signed(twice, &self::claims(&json!({})), SHARED_SECRET.as_bytes()), "twice").await;
}

#[tokio::test]
async fn j6_an_extension_that_must_be_understood_is_not() {
    let guarded = Guarded::new().await;
    for header in [r#"{"alg":"HS256","crit":["exp"]}"#, r#"{"alg":"HS256","crit":[]}"#, r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#] {
        refused(&guarded, &signed(header, &claims(&json!({})), SHARED_SECRET.as_bytes()), header).await;
    }
}

#[tokio::test]
async fn j7_times_count() {
    let guarded = Guarded::new().await;
    let now = now_s();
    for change in [
        json!({"exp": null}),
        json!({"exp": (now + 600).to_string()}),
        json!({"exp": 1.5e9}),
        json!({"exp": -1}),
        json!({"exp": 9_223_372_036_854_775_807_i64}),
        json!({"exp": 9_223_372_036_854_775_808_u64}),
        json!({"exp": now - 1}),
        json!({"nbf": now + 600}),
        json!({"nbf": now.to_string()}),
        json!({"iat": now + 600}),
    ] {
        refused(&guarded, &shared(&change), &change.to_string()).await;
    }
}

#[tokio::test]
async fn j8_issuer_and_audience_are_these_very_texts() {
    let guarded = Guarded::new().await;
    for change in [
        json!({"iss": null}),
        json!({"iss": "Shared-Secret"}),
        json!({"iss": "shared-secret/"}),
        json!({"iss": "shared-secre"}),
        json!({"iss": ["shared-secret"]}),
        json!({"aud": null}),
        json!({"aud": "factum/"}),
        json!({"aud": "Factum"}),
        json!({"aud": "factu"}),
        json!({"aud": ["factum/"]}),
        json!({"aud": ["factum", 1]}),
    ] {
        refused(&guarded, &shared(&change), &change.to_string()).await;
    }
}

#[tokio::test]
async fn j9_a_token_for_something_else_is_not_for_access() {
    let guarded = Guarded::new().await;
    for header in [r#"{"alg":"HS256","typ":"dpop+jwt"}"#, r#"{"alg":"HS256","typ":"logout+jwt"}"#, r#"{"alg":"HS256","typ":"JWE"}"#] {
        refused(&guarded, &signed(header, &claims(&json!({})), SHARED_SECRET.as_bytes()), header).await;
    }
    for change in [json!({"nonce": "n"}), json!({"at_hash": "h"}), json!({"token_use": "id"}), json!({"typ": "ID"})] {
        refused(&guarded, &shared(&change), &change.to_string()).await;
    }
    // Five parts: one that is encrypted.
    refused(&guarded, "e30.e30.e30.e30.e30", "JWE").await;
    // A refresh token is none either.
    let refresh = guarded.grant("root", crate::guarded::ROOT_SECRET, &[]).await.is(200).json();
    refused(&guarded, &text(&refresh, "refresh_token"), "a refresh token").await;
}

#[tokio::test]
async fn j11_the_key_must_be_that_of_the_issuer() {
    let guarded = Guarded::new().await;
    let (header, own, _) = parts(&guarded.root);
    // Right for one issuer, and said to be of the other.
    for header in [HS256.to_owned(), json!({"alg": "HS256", "typ": "at+jwt", "kid": header["kid"]}).to_string()] {
        refused(&guarded, &signed(&header, &own.to_string(), SHARED_SECRET.as_bytes()), &header).await;
        refused(&guarded, &signed(&header, &claims(&json!({"iss": ISSUER})), SHARED_SECRET.as_bytes()), &header).await;
    }
    // Another server of the same name has other keys.
    let stranger = Guarded::new().await;
    refused(&guarded, &stranger.root, "a stranger's").await;
}

#[tokio::test]
async fn j12_weak_secrets_are_refused_before_anybody_is_let_in() {
    let guarded = Guarded::new().await;
    let file = guarded.folder.path().join("short");
    std::fs::write(&file, format!(" {} \n", "s".repeat(31))).unwrap();
    let open = |change: &dyn Fn(&mut factum::config::AuthSettings)| {
        let mut settings = guarded.settings.clone();
        change(&mut settings);
        async move {
            let database = Database::in_memory().await.unwrap();
            Auth::open(&database, AuthOptions::new(settings, ISSUER, None)).await.err().map(|error| error.to_string())
        }
    };
    let said = open(&|settings| settings.shared_secret.file = Some(file.clone())).await.unwrap();
    assert!(said.contains("auth.shared_secret.file") && said.contains("31 bytes"), "{said}");
    assert!(open(&|settings| settings.shared_secret.issuer = ISSUER.to_owned()).await.is_some());
    assert!(open(&|settings| settings.key = Some(factum::config::Secret::new("short"))).await.is_some());
    assert!(open(&|settings| settings.bootstrap_client_id = None).await.is_some());
    std::fs::write(&file, "too short").unwrap();
    assert!(open(&|settings| settings.bootstrap_client_secret_file = Some(file.clone())).await.is_some());
    assert!(open(&|settings| settings.key_file = Some("nowhere/key".into())).await.is_some());
    assert_eq!(open(&|_| {}).await, None);
}

#[tokio::test]
async fn j13_large_and_deep_tokens_cost_nothing() {
    let guarded = Guarded::new().await;
    refused(&guarded, &shared(&json!({"x": "y".repeat(100_000)})), "100 KB").await;
    let many: serde_json::Map<String, Value> = (0..100_000).map(|number| (number.to_string(), 1.into())).collect();
    refused(&guarded, &shared(&many.into()), "100,000 claims").await;
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(2_900), "]".repeat(2_900));
    refused(&guarded, &signed(HS256, &deep, SHARED_SECRET.as_bytes()), "deep").await;
}

#[tokio::test]
async fn j14_tokens_are_written_in_one_way() {
    let guarded = Guarded::new().await;
    let good = shared(&json!({}));
    guarded.get("/v1/events", &good).await.is(200);
    let signature = good.rsplit_once('.').unwrap().1;
    // The last character of 32 bytes stands for four bits and two that mean nothing.
    let last = signature.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let other = alphabet.chars().nth((alphabet.find(last).unwrap() / 4) * 4 + 1).unwrap();
    let twin = format!("{}{other}", &good[..good.len() - 1]);
    for (token, why) in [
        (format!("{good}="), "padding"),
        (twin, "bits that mean nothing"),
        (good.replacen('.', " .", 1), "white space"),
        (format!("{good}."), "a fourth part"),
        (good.replace('-', "+").replace('_', "/") + "+", "the other alphabet"),
    ] {
        if token != good {
            refused(&guarded, &token, why).await;
        }
    }
    let twice = claims(&json!({})).replacen('{', r#"{"sub":"somebody","#, 1);
    refused(&guarded, &signed(HS256, &twice, SHARED_SECRET.as_bytes()), "a claim that stands twice").await;
}

#[tokio::test]
async fn credentials_come_in_one_header() {
    let guarded = Guarded::new().await;
    let bearer = format!("Bearer {}", guarded.root);
    let (one, lower) = (("authorization", bearer.as_str()), format!("bearer {}", guarded.root));
    guarded.api.get_with("/v1/events", &[one]).await.is(200);
    guarded.api.get_with("/v1/events", &[("authorization", &lower)]).await.is(200);
    guarded.api.get_with("/v1/events", &[one, one]).await.problem(401, "unauthenticated");
    for wrong in [
        guarded.root.as_str(),
        "Basic cm9vdDpz",
        "Bearer",
        "Bearer ",
        &format!("Bearer  {}", guarded.root),
        &format!("Bearer {} ", guarded.root),
    ] {
        guarded.api.get_with("/v1/events", &[("authorization", wrong)]).await.problem(401, "unauthenticated");
    }
    guarded.api.get(&format!("/v1/events?access_token={}", guarded.root)).await.problem(401, "unauthenticated");
}

/// What every request pays. The bound is far above what it takes, as this is no optimised build.
#[tokio::test]
async fn checking_a_known_token_is_cheap() {
    let guarded = Guarded::new().await;
    guarded.get("/v1/events", &guarded.root).await.is(200);
    let batch = |_| {
        let since = std::time::Instant::now();
        for _ in 0..1_000 {
            assert!(guarded.auth.authenticate(&guarded.root).is_ok());
        }
        since.elapsed() / 1_000
    };
    let best = (0..20).map(batch).min().unwrap();
    assert!(best < std::time::Duration::from_micros(50), "{best:?}");
}
