//! Are tokens of other issuers let in by their keys, whatever becomes of the place where those are? K1 to K9 and J10 of `docs/trust.md`.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair;
use axum::Router;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use factum::config::IssuerSettings;
use factum::config::SigningAlgorithm;
use parking_lot::Mutex;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;

use crate::guarded::Guarded;
use crate::guarded::until;
use crate::support::within;

/// What the place of the keys answers.
#[derive(Clone)]
enum Answer {
    Text(u16, String),
    /// To another address.
    Redirect(String),
    /// Nothing, ever.
    Silence,
}

/// An issuer with a key, and a server that tells it.
struct Issuer {
    name: String,
    kid: Mutex<String>,
    pair: Mutex<Ed25519KeyPair>,
    answer: Arc<Mutex<Answer>>,
    fetches: Arc<AtomicUsize>,
    url: String,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn jwk(pair: &Ed25519KeyPair, kid: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": encode(pair.public_key().as_ref())})
}

impl Issuer {
    async fn start(name: &str) -> Self {
        let pair = Ed25519KeyPair::generate().expect("a sound issuer");
        let set = json!({"keys": [jwk(&pair, "first")]}).to_string();
        let answer = Arc::new(Mutex::new(Answer::Text(200, set)));
        let fetches = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a sound issuer");
        let url = format!("http://{}/keys", listener.local_addr().expect("a sound issuer"));
        let (answering, counting) = (Arc::clone(&answer), Arc::clone(&fetches));
        let handler = move || {
            counting.fetch_add(1, Ordering::SeqCst);
            let answer = answering.lock().clone();
            async move {
                match answer {
                    Answer::Text(status, text) => (http::StatusCode::from_u16(status).expect("a sound issuer"), text).into_response(),
                    Answer::Redirect(to) => (http::StatusCode::FOUND, [("location", to)]).into_response(),
                    Answer::Silence => std::future::pending::<Response>().await,
                }
            }
        };
        let router = Router::new().route("/keys", get(handler));
        tokio::spawn(async move { axum_serve(listener, router).await });
        Self { name: name.to_owned(), kid: Mutex::new("first".to_owned()), pair: Mutex::new(pair), answer, fetches, url }
    }

    fn settings(&self) -> IssuerSettings {
        IssuerSettings {
            issuer: self.name.clone(),
            audience: "factum".to_owned(),
            jwks_url: self.url.clone(),
            algorithms: vec![SigningAlgorithm::EdDsa],
            loopback_http: true,
        }
    }

    fn says(&self, answer: Answer) {
        *self.answer.lock() = answer;
    }

    fn fetched(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// Signs with another key from now on, and tells it.
    fn rotate(&self, kid: &str) {
        let pair = Ed25519KeyPair::generate().expect("a sound issuer");
        self.says(Answer::Text(200, json!({"keys": [jwk(&pair, kid)]}).to_string()));
        *self.pair.lock() = pair;
        *self.kid.lock() = kid.to_owned();
    }

    fn token(&self) -> String {
        self.token_with(&self.kid.lock(), &json!({}))
    }

    fn token_with(&self, kid: &str, change: &Value) -> String {
        let now = jiff::Timestamp::now().as_second();
        let mut claims = json!({"iss": self.name, "aud": "factum", "sub": "somebody", "exp": now + 600, "scope": "openid events:read"});
        for (name, value) in change.as_object().expect("a sound issuer") {
            claims[name] = value.clone();
        }
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": kid});
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = encode(self.pair.lock().sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// axum's own server is not in this build; hyper's is.
async fn axum_serve(listener: TcpListener, router: Router) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { return };
        let router = router.clone();
        tokio::spawn(async move {
            let service = hyper_util::service::TowerToHyperService::new(router);
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(socket), service);
            // A client that goes away is its own affair.
            drop(serving.await);
        });
    }
}

async fn guarded(issuers: &[&Issuer]) -> Guarded {
    let settings: Vec<IssuerSettings> = issuers.iter().map(|issuer| issuer.settings()).collect();
    let guarded = Guarded::with(|auth| auth.issuers = settings).await;
    for issuer in issuers {
        until("the first fetch", async || issuer.fetched() > 0).await;
    }
    guarded
}

#[tokio::test]
async fn a_token_of_another_issuer_is_let_in_by_its_keys() {
    let issuer = Issuer::start("https://issuer.example/").await;
    let guarded = guarded(&[&issuer]).await;
    guarded.get("/v1/events", &issuer.token()).await.is(200);
    guarded.append("order-1", &issuer.token()).await.problem(403, "forbidden");
    let narrowed = issuer.token_with("first", &json!({"streams": ["other-*"]}));
    guarded.get("/v1/streams/order-1", &narrowed).await.problem(403, "forbidden");
    for change in [json!({"aud": "other"}), json!({"iss": "https://issuer.example"}), json!({"nonce": "n"}), json!({"exp": 1})] {
        guarded.get("/v1/events", &issuer.token_with("first", &change)).await.problem(401, "unauthenticated");
    }
    // Its tokens can be revoked here, too.
    let token = issuer.token();
    let bearer = format!("Bearer {}", guarded.root);
    guarded.form("/oauth/revoke", &[("authorization", &bearer)], &[("token", &token)]).await.is(200);
    guarded.get("/v1/events", &token).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn j10_two_issuers_may_call_their_keys_the_same() {
    let (one, other) = (Issuer::start("https://one.example").await, Issuer::start("https://other.example").await);
    let guarded = guarded(&[&one, &other]).await;
    guarded.get("/v1/events", &one.token()).await.is(200);
    guarded.get("/v1/events", &other.token()).await.is(200);
    guarded.get("/v1/events", &one.token_with("first", &json!({"iss": "https://other.example"}))).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn k1_invented_key_ids_cause_one_fetch() {
    let issuer = Issuer::start("https://issuer.example").await;
    let guarded = guarded(&[&issuer]).await;
    let before = issuer.fetched();
    for number in 0..10_000 {
        guarded.get("/v1/events", &issuer.token_with(&format!("invented-{number}"), &json!({}))).await.problem(401, "unauthenticated");
    }
    assert_eq!(issuer.fetched() - before, 1, "one for the first, and none within the cooldown");
    guarded.get("/v1/events", &issuer.token()).await.is(200);
}

#[tokio::test]
async fn k2_k3_k5_a_rotation_is_seen_at_once_and_by_one_fetch_for_all() {
    let issuer = Issuer::start("https://issuer.example").await;
    let guarded = guarded(&[&issuer]).await;
    guarded.get("/v1/events", &issuer.token()).await.is(200);
    let before = issuer.fetched();
    issuer.rotate("second");
    // The fetch of the start has not used up what an unknown key may cause.
    let tokens: Vec<String> = (0..50).map(|number| issuer.token_with("second", &json!({"jti": number.to_string()}))).collect();
    let asked = futures::future::join_all(tokens.iter().map(|token| guarded.get("/v1/events", token))).await;
    asked.into_iter().for_each(|answer| drop(answer.is(200)));
    assert_eq!(issuer.fetched() - before, 1);
    // The key that is gone verifies nothing any more.
    guarded.get("/v1/events", &issuer.token_with("first", &json!({}))).await.problem(401, "unauthenticated");
}

/// J15: what was found to be true once is not true for longer than the key that has signed it.
#[tokio::test]
async fn j15_a_token_ends_with_the_key_that_its_issuer_takes_back() {
    let issuer = Issuer::start("https://issuer.example").await;
    let guarded = guarded(&[&issuer]).await;
    let (old, feed) = (issuer.token(), issuer.token_with("first", &json!({"jti": "feed"})));
    guarded.get("/v1/events", &old).await.is(200);
    guarded.get("/v1/events", &feed).await.is(200);
    // Another key under the old name, and the first token of a new one that makes it known.
    issuer.rotate("first");
    let keys = ["first", "second"].map(|kid| jwk(&issuer.pair.lock(), kid));
    issuer.says(Answer::Text(200, json!({ "keys": keys }).to_string()));
    guarded.get("/v1/events", &issuer.token_with("second", &json!({}))).await.is(200);
    guarded.get("/v1/events", &old).await.problem(401, "unauthenticated");
    guarded.get("/v1/events", &feed).await.problem(401, "unauthenticated");
    guarded.get("/v1/events", &issuer.token_with("first", &json!({"jti": "new"}))).await.is(200);
}

#[tokio::test]
async fn k4_k6_k8_what_is_away_or_garbage_leaves_the_keys_as_they_are() {
    let good = Issuer::start("https://issuer.example").await;
    let known = good.token();
    let target = Issuer::start("https://target.example").await;
    for (answer, why) in [
        (Answer::Text(500, "{}".to_owned()), "an error"),
        (Answer::Text(200, String::new()), "nothing"),
        (Answer::Text(200, "<html>".to_owned()), "garbage"),
        (Answer::Text(200, r#"{"keys":[]}"#.to_owned()), "an empty set"),
        (Answer::Text(200, format!(r#"{{"keys":[],"x":"{}"}}"#, "y".repeat(70_000))), "too large"),
        (Answer::Redirect(target.url.clone()), "a redirect"),
    ] {
        good.says(Answer::Text(200, json!({"keys": [jwk(&good.pair.lock(), "first")]}).to_string()));
        let guarded = guarded_fresh(&good).await;
        guarded.get("/v1/events", &known).await.is(200);
        good.says(answer);
        let before = good.fetched();
        guarded.get("/v1/events", &good.token_with("unknown", &json!({}))).await.problem(401, "unauthenticated");
        assert_eq!(good.fetched() - before, 1, "{why}: it was looked at");
        // Not the one that is remembered.
        guarded.get("/v1/events", &good.token_with("first", &json!({"jti": why}))).await.is(200);
    }
    assert_eq!(target.fetched(), 0, "nobody is led elsewhere");
}

async fn guarded_fresh(issuer: &Issuer) -> Guarded {
    let before = issuer.fetched();
    let guarded = Guarded::with(|auth| auth.issuers = vec![issuer.settings()]).await;
    until("the first fetch", async || issuer.fetched() > before).await;
    // It has been asked; what it said is in use a moment later.
    until("the keys", async || guarded.get("/v1/events", &issuer.token()).await.status.as_u16() == 200).await;
    guarded
}

#[tokio::test]
async fn k6_an_issuer_that_never_answers_holds_nobody_up() {
    let issuer = Issuer::start("https://issuer.example").await;
    let guarded = guarded_fresh(&issuer).await;
    issuer.says(Answer::Silence);
    let since = std::time::Instant::now();
    let unknown = issuer.token_with("unknown", &json!({}));
    let (slow, known) = within(futures::future::join(guarded.get("/v1/events", &unknown), async {
        for number in 0..100 {
            guarded.get("/v1/events", &issuer.token_with("first", &json!({"jti": number.to_string()}))).await.is(200);
        }
        since.elapsed()
    }))
    .await;
    slow.problem(401, "unauthenticated");
    assert!(since.elapsed() < Duration::from_secs(20), "the fetch has its bound: {:?}", since.elapsed());
    assert!(known < Duration::from_secs(4), "those with a known key do not wait: {known:?}");
}

#[tokio::test]
async fn k9_symmetric_keys_of_a_key_set_are_none() {
    let issuer = Issuer::start("https://issuer.example").await;
    let secret = "thirty-two bytes of somebody, and more";
    let own = jwk(&issuer.pair.lock(), "first");
    issuer.says(Answer::Text(200, json!({"keys": [own, {"kty": "oct", "kid": "s", "alg": "HS256", "k": encode(secret)}]}).to_string()));
    let guarded = guarded_fresh(&issuer).await;
    let claims = json!({"iss": "https://issuer.example", "aud": "factum", "sub": "s", "exp": jiff::Timestamp::now().as_second() + 60});
    let message = format!("{}.{}", encode(r#"{"alg":"HS256","kid":"s"}"#), encode(claims.to_string()));
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    guarded.get("/v1/events", &format!("{message}.{signature}")).await.problem(401, "unauthenticated");
}
