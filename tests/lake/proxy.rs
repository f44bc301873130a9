//! A way to a server on which things go wrong: requests are refused, hang, or reach the server while their answer gets lost.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It is answered with this status, and the server never sees it.
    Status(u16),
    /// Nobody answers; after a while the connection is gone, and the server has never seen it.
    Hang,
    /// The server has done it, and its answer gets lost with the connection.
    LostAnswer,
}

type Plan = Box<dyn FnMut(&Method, &str) -> Fault + Send>;

/// A proxy to one server. Ends when dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    server: String,
    client: reqwest::Client,
    plan: Mutex<Plan>,
    /// What was done to what, for whoever looks for a cause.
    log: Mutex<Vec<(Fault, String)>>,
}

impl Proxy {
    /// Before `server` (as `http://host:port`), with no fault planned.
    pub(crate) async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            client: reqwest::Client::builder().http1_only().build().expect("a client"),
            plan: Mutex::new(Box::new(|_, _| Fault::None)),
            log: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                let shared = Arc::clone(&own);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                    // A connection that is cut is what this is for.
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
                });
            }
        });
        Self { address, shared, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on requests fare as this says, by method and path.
    pub(crate) fn plan(&self, plan: impl FnMut(&Method, &str) -> Fault + Send + 'static) {
        *self.shared.plan.lock().expect("no panic") = Box::new(plan);
    }

    /// How many requests met this fault.
    pub(crate) fn count(&self, fault: Fault) -> usize {
        self.shared.log.lock().expect("no panic").iter().filter(|(met, _)| *met == fault).count()
    }

    /// Everything that went wrong, for a failure's message.
    pub(crate) fn told(&self) -> String {
        let log = self.shared.log.lock().expect("no panic");
        log.iter().filter(|(fault, _)| *fault != Fault::None).map(|(fault, what)| format!("{fault:?} {what}\n")).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let fault = (shared.plan.lock().expect("no panic"))(&parts.method, &path);
    shared.log.lock().expect("no panic").push((fault, format!("{} {path}", parts.method)));
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    match fault {
        Fault::Status(status) => {
            let status = StatusCode::from_u16(status).expect("a status");
            let xml = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
            return Ok(Response::builder()
                .status(status)
                .header("content-type", "application/xml")
                .body(Full::from(xml))
                .expect("an answer"));
        }
        Fault::Hang => {
            // Not a wait for something: the fault's own time.
            tokio::time::sleep(HANG).await;
            return Err(io::Error::other("the connection is gone"));
        }
        Fault::None | Fault::LostAnswer => {}
    }
    let answered = shared.client.request(parts.method, format!("{}{path}", shared.server)).headers(parts.headers).body(body).send().await;
    let answered = answered.map_err(io::Error::other)?;
    let (status, headers) = (answered.status(), answered.headers().clone());
    let bytes = answered.bytes().await.map_err(io::Error::other)?;
    if fault == Fault::LostAnswer {
        return Err(io::Error::other("the answer is lost"));
    }
    let mut response = Response::new(Full::from(bytes));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    // Each connection frames and lives by itself.
    for name in ["transfer-encoding", "connection"] {
        response.headers_mut().remove(name);
    }
    Ok(response)
}

const HANG: Duration = Duration::from_secs(2);

#[tokio::test]
async fn each_fault_is_what_it_says() {
    let server = Proxy::start("http://127.0.0.1:1").await;
    server.plan(|_, _| Fault::Status(201));
    let proxy = Proxy::start(&server.url()).await;
    let get = async |fault: Fault| {
        proxy.plan(move |_, _| fault);
        let answer = reqwest::get(format!("{}/x", proxy.url())).await;
        (answer.ok().map(|answer| answer.status().as_u16()), server.count(Fault::Status(201)))
    };
    assert_eq!(get(Fault::None).await, (Some(201), 1));
    assert_eq!(get(Fault::Status(503)).await, (Some(503), 1));
    assert_eq!(get(Fault::Hang).await, (None, 1));
    // The client may try once more by itself on a connection that was cut.
    let (answer, reached) = get(Fault::LostAnswer).await;
    assert!(answer.is_none() && reached >= 2, "{answer:?} {reached}");
    assert!(proxy.told().contains("LostAnswer GET /x"));
}
