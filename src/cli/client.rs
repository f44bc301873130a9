//! How do the online commands speak to a server?

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::Identity;
use reqwest::Method;
use reqwest::RequestBuilder;
use reqwest::Response;
use reqwest::Url;
use reqwest::header::ACCEPT;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::failure::Problem;

/// Where the server is and who asks.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Connection {
    /// The server.
    #[arg(long, env = "FACTUM_URL", default_value = "http://127.0.0.1:4400", value_name = "URL", hide_env_values = true)]
    pub(crate) url: String,
    /// Sent as bearer token. Better kept in FACTUM_TOKEN: other users of the machine can see flags.
    #[arg(long, env = "FACTUM_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Authorities in PEM that are trusted beside the system's, for https.
    #[arg(long, env = "FACTUM_CA", value_name = "FILE", hide_env_values = true)]
    pub(crate) ca: Option<PathBuf>,
    /// A certificate and its private key in PEM, in one file, for servers that want to see one.
    #[arg(long, env = "FACTUM_CLIENT_CERTIFICATE", value_name = "FILE", hide_env_values = true)]
    pub(crate) client_certificate: Option<PathBuf>,
}

impl Connection {
    /// One that needs nothing but an address.
    pub(crate) fn to(url: &str) -> Self {
        Self { url: url.to_owned(), token: None, ca: None, client_certificate: None }
    }
}

/// A client of one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
}

impl Client {
    /// Checks the address; connects with the first call.
    pub(crate) fn new(connection: &Connection) -> Result<Self, Failure> {
        let base = parse_url(&connection.url)?;
        let mut builder = reqwest::Client::builder();
        if let Some(file) = &connection.ca {
            let roots = Certificate::from_pem_bundle(&read(file)?).map_err(|error| unusable(file, &error))?;
            if roots.is_empty() {
                return Err(Failure::usage(format!("{} holds no certificate", file.display())).next("name a file in PEM"));
            }
            builder = builder.tls_certs_merge(roots);
        }
        if let Some(file) = &connection.client_certificate {
            builder = builder.identity(Identity::from_pem(&read(file)?).map_err(|error| unusable(file, &error))?);
        }
        let http = builder
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("factum/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .tcp_nodelay(true)
            .build()
            .map_err(|error| Failure::failed("cannot start an HTTP client").detail(chain(&error)))?;
        Ok(Self { http, base, token: connection.token.clone() })
    }

    /// The same without a token: for who has yet to get one.
    pub(crate) fn without_token(connection: &Connection) -> Result<Self, Failure> {
        Ok(Self { token: None, ..Self::new(connection)? })
    }

    /// Where the server is, without a slash at the end.
    pub(crate) fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// A request; each part of the path is escaped.
    pub(crate) fn request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> Result<RequestBuilder, Failure> {
        let mut url = self.base.clone();
        for part in path {
            // A URL cannot name these: every client and proxy takes them for directories.
            if matches!(*part, "." | ".." | "") {
                return Err(Failure::usage(format!("the name {part:?} cannot stand in a URL")));
            }
        }
        url.path_segments_mut().map_err(|()| bad_url(self.base.as_str()))?.pop_if_empty().extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        Ok(request)
    }

    /// Sends it; an answer that is no success becomes a [`Failure`].
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }

    /// GET, and the JSON that it answers.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)]) -> Result<T, Failure> {
        let request = self.request(Method::GET, path, query)?.header(ACCEPT, "application/json").timeout(ANSWER_TIMEOUT);
        let response = self.send(request).await?;
        self.json(response).await
    }

    /// The JSON of an answer.
    pub(crate) async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::failed("the answer is not what a Factum server says")
                .detail(error.to_string())
                .next(format!("check that {} is a Factum server", self.base()))
        })
    }

    /// What a failed exchange means.
    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let base = self.base();
        if error.is_connect() && chain(error).contains("invalid peer certificate") {
            return Failure::failed(format!("the certificate of {base} is not trusted"))
                .detail(chain(error))
                .never_sent()
                .next("name its authority with --ca; a self-signed certificate is its own, made with basicConstraints=CA:FALSE");
        }
        if error.is_connect() {
            return Failure::failed(format!("no server answers at {base}"))
                .detail(chain(error))
                .never_sent()
                .next("start one with `factum serve --data ./data`, try `factum demo`,\nor name another with --url or FACTUM_URL");
        }
        if error.is_timeout() {
            return Failure::failed(format!("{base} took too long to answer"))
                .detail(chain(error))
                .next("look at the server's log, and try again");
        }
        Failure::failed(format!("the connection to {base} broke")).detail(chain(error)).next("look at the server's log, and try again")
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::usage(format!("cannot read {}", file.display())).detail(error.to_string()))
}

fn unusable(file: &Path, error: &reqwest::Error) -> Failure {
    Failure::usage(format!("{} cannot be used", file.display())).detail(chain(error)).next("name a file in PEM")
}

async fn refused(response: Response) -> Failure {
    let status = response.status();
    let body = response.bytes().await.unwrap_or_default();
    match serde_json::from_slice::<Problem>(&body) {
        Ok(mut problem) if !problem.kind.is_empty() || !problem.title.is_empty() => {
            problem.status = status.as_u16();
            Failure::problem(problem)
        }
        Ok(problem) if problem.members.contains_key("error_description") => {
            let text = |name: &str| problem.members.get(name).and_then(|value| value.as_str()).map(super::output::printable);
            Failure::failed(format!("the server answered {}", text("error").unwrap_or_default()))
                .detail(text("error_description").unwrap_or_default())
        }
        Ok(_) | Err(_) => Failure::failed(format!("the server answered {status}"))
            .detail(super::output::cut(&super::output::printable(&String::from_utf8_lossy(&body)), 300)),
    }
}

fn parse_url(text: &str) -> Result<Url, Failure> {
    let url: Url = text.parse().map_err(|_| bad_url(text))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(bad_url(text)),
    }
}

fn bad_url(text: &str) -> Failure {
    Failure::usage(format!("{text:?} is not the address of a server")).next("write one such as http://127.0.0.1:4400")
}

/// An error with its causes, outermost first, without saying the same twice.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an ordinary call may take, as a whole.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<Client, Failure> {
        Client::new(&Connection::to(url))
    }

    fn check_path(base: &str, path: &[&str], expected: &str) {
        let request = client(base).expect("an address").request(Method::GET, path, &[]).expect("a path");
        assert_eq!(request.build().expect("a request").url().as_str(), expected);
    }

    #[test]
    fn paths_are_escaped_and_a_prefix_is_kept() {
        check_path(
            "http://127.0.0.1:1",
            &["v1", "streams", "a/b ?#%-1", "events"],
            "http://127.0.0.1:1/v1/streams/a%2Fb%20%3F%23%25-1/events",
        );
        check_path("http://h/prefix/", &["v1", "events"], "http://h/prefix/v1/events");
        assert_eq!(client("http://h").unwrap().request(Method::GET, &["v1", ".."], &[]).unwrap_err().exit(), 2);
    }

    #[test]
    fn addresses_are_checked_before_anything_is_sent() {
        for url in ["ftp://h", "h:1", "", "http://"] {
            assert_eq!(client(url).expect_err(url).exit(), 2, "{url}");
        }
    }
}
