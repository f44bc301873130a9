//! Are the tokens of a real OpenID provider let in, while it changes its keys, and when it is away?

use std::io::BufRead;
use std::io::BufReader;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;

use crate::process::FACTUM;
use crate::process::Place;
use crate::process::skipped;

const AUDIENCE: &str = "urn:factum:test";
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/openid/provider.mjs");

/// A provider that runs.
struct Provider {
    child: Child,
    url: String,
}

impl Provider {
    fn start(folder: &Path, port: u16, key: &str) -> Self {
        let words = [PROGRAM, folder.to_str().expect("text"), &port.to_string(), key, AUDIENCE];
        let mut command = Command::new("node");
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("node starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        // It says things of its own before.
        assert!(lines.any(|line| line.is_ok_and(|line| line == "ready")), "the provider ended before it was ready");
        Self { child, url: format!("http://127.0.0.1:{port}") }
    }

    async fn token(&self, scope: &str) -> String {
        let form = format!("grant_type=client_credentials&scope={}&resource={AUDIENCE}", scope.replace(' ', "+"));
        let asked = reqwest::Client::new()
            .post(format!("{}/token", self.url))
            .basic_auth("analyst", Some("a-secret-of-the-provider"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let answer: Value = asked.send().await.expect("the provider answers").json().await.expect("JSON");
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    fn stop(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("it ends");
    }
}

/// Where `tests/run.sh` has put oidc-provider.
fn provider_folder(test: &str) -> Option<PathBuf> {
    let folder = Path::new(FACTUM).parent()?.parent()?.join("openid");
    let found = Some(folder).filter(|folder| folder.join("node_modules/oidc-provider").is_dir());
    if found.is_none() {
        skipped(test, "no oidc-provider; tests/run.sh installs it");
    }
    found
}

async fn status(url: &str, token: &str, body: Option<&'static str>) -> u16 {
    let url = format!("{url}/v1/streams/order-1/events");
    let client = reqwest::Client::new();
    let asked = match body {
        Some(body) => client.post(url).header("content-type", "application/json").body(body),
        None => client.get(url),
    };
    asked.bearer_auth(token).send().await.expect("the server answers").status().as_u16()
}

/// K4, K5, J8 with an implementation that is not ours.
#[tokio::test]
async fn k4_k5_a_real_provider_rotates_its_keys_and_stops() {
    let Some(folder) = provider_folder("k4_k5_a_real_provider_rotates_its_keys_and_stops") else { return };
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let first = Provider::start(&folder, port, "first");
    let place = Place::new();
    let config = place.path("factum.toml");
    let issuer = &first.url;
    let text = format!(
        "[auth]\nenabled = true\n\n[[auth.issuers]]\nissuer = \"{issuer}\"\naudience = \"{AUDIENCE}\"\n\
         jwks_url = \"{issuer}/jwks\"\nalgorithms = [\"RS256\"]\nloopback_http = true\n"
    );
    std::fs::write(&config, text).expect("writes");
    let server = place.start().flag(&["--config", config.to_str().expect("text")]).ready();
    let append = Some(r#"{"events":[{"type":"Placed","data":{}}]}"#);

    let (writer, reader) = (first.token("events:read events:append").await, first.token("events:read").await);
    assert_eq!(status(&server.url, &writer, append).await, 201);
    assert_eq!(status(&server.url, &writer, None).await, 200);
    assert_eq!((status(&server.url, &reader, None).await, status(&server.url, &reader, append).await), (200, 403));

    // It begins anew with another key, and has forgotten the one before: its first token brings the change here.
    first.stop();
    let second = Provider::start(&folder, port, "second");
    let rotated = second.token("events:read").await;
    assert_eq!(status(&server.url, &rotated, None).await, 200);
    assert_eq!(status(&server.url, &writer, append).await, 401, "its key is gone");

    // While it is away, what is known counts on.
    let later = second.token("events:read").await;
    second.stop();
    assert_eq!((status(&server.url, &rotated, None).await, status(&server.url, &later, None).await), (200, 200));
    assert_eq!(status(&server.url, &writer, None).await, 401);
    assert_eq!(server.terminate(), Some(0));
}
