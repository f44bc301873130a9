//! An interface that lets in who has a token, and the tokens.

use std::sync::Arc;
use std::time::Duration;

use factum::Database;
use factum::auth::Auth;
use factum::auth::AuthOptions;
use factum::config::AuthSettings;
use factum::config::Settings;
use factum::http::HttpSettings;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;

use crate::support::Answer;
use crate::support::Api;
use crate::support::JSON;
use crate::support::request;

/// The interface, with the client `root` that may do everything.
pub(crate) struct Guarded {
    pub(crate) api: Api,
    pub(crate) auth: Arc<Auth>,

    pub(crate) root: String,
    pub(crate) settings: AuthSettings,
    pub(crate) folder: TempDir,
}

pub(crate) const ROOT_SECRET: &str = "a secret of the settings";
pub(crate) const SHARED_SECRET: &str = "thirty-two bytes and a few more of them";
pub(crate) const ISSUER: &str = "http://127.0.0.1:4400";

impl Guarded {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut AuthSettings)) -> Self {
        Self::over(HttpSettings::default(), change).await
    }

    pub(crate) async fn over(http: HttpSettings, change: impl FnOnce(&mut AuthSettings)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("root");
        std::fs::write(&secret, format!("{ROOT_SECRET}\n")).expect("writes");
        let shared = folder.path().join("shared");
        std::fs::write(&shared, SHARED_SECRET).expect("writes");
        let mut settings = Settings::default().auth;
        settings.enabled = true;
        settings.bootstrap_client_id = Some("root".to_owned());
        settings.bootstrap_client_secret_file = Some(secret);
        settings.shared_secret.file = Some(shared);
        change(&mut settings);
        let database = Database::in_memory().await.expect("memory opens");
        let options = AuthOptions::new(settings.clone(), ISSUER, Some(folder.path().join("data")));
        let auth = Auth::open(&database, options).await.expect("authentication opens");
        let router = factum::http::guarded_router(database.clone(), http, Arc::clone(&auth));
        let mut guarded = Self { api: Api { database, router }, auth, root: String::new(), settings, folder };
        guarded.root = guarded.token("root", ROOT_SECRET, "").await;
        guarded
    }

    /// What the token endpoint answers to this form.
    pub(crate) async fn form(&self, path: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Answer {
        let text: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.api.send(request("POST", path, &all, text.join("&"))).await
    }

    pub(crate) async fn grant(&self, client: &str, secret: &str, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret)];
        form.extend_from_slice(more);
        self.form("/oauth/token", &[], &form).await
    }

    pub(crate) async fn token(&self, client: &str, secret: &str, scope: &str) -> String {
        let more = if scope.is_empty() { vec![] } else { vec![("scope", scope)] };
        text(&self.grant(client, secret, &more).await.is(200).json(), "access_token")
    }

    /// Makes a client and gives a token of it.
    pub(crate) async fn client(&self, id: &str, scopes: &[&str], streams: Option<&[&str]>) -> (String, String) {
        let mut terms = json!({ "scopes": scopes });
        if let Some(streams) = streams {
            terms["streams"] = json!(streams);
        }
        let made = self.put(&format!("/v1/clients/{id}"), &self.root, &terms).await;
        let secret = text(&made.is(201).json(), "secret");
        let token = self.token(id, &secret, "").await;
        (token, secret)
    }

    pub(crate) async fn send(&self, method: &str, path: &str, token: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut all = headers.to_vec();
        if !token.is_empty() {
            all.push(("authorization", &bearer));
        }
        self.api.send(request(method, path, &all, body.to_owned())).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", path, token, &[], "").await
    }

    pub(crate) async fn put(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send("PUT", path, token, &[JSON], &body.to_string()).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send("POST", path, token, &[JSON], &body.to_string()).await
    }

    /// Appends one event as somebody.
    pub(crate) async fn append(&self, stream: &str, token: &str) -> Answer {
        self.post(&format!("/v1/streams/{stream}/events"), token, &json!({"events": [{"type": "T", "data": 1}]})).await
    }

    /// One more server over the same log.
    pub(crate) async fn again(&self) -> Arc<Auth> {
        let options = AuthOptions::new(self.settings.clone(), ISSUER, Some(self.folder.path().join("data")));
        Auth::open(&self.api.database, options).await.expect("authentication opens again")
    }
}

/// A member that is text.
#[track_caller]
pub(crate) fn text(json: &Value, name: &str) -> String {
    json[name].as_str().unwrap_or_else(|| panic!("no {name} in {json}")).to_owned()
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Asks until something is so; for what comes by itself within a second.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !is_so().await {
        assert!(tokio::time::Instant::now() < deadline, "{what} has not come");
        tokio::task::yield_now().await;
    }
}
