//! Who does the server say that it is? A certificate, exchanged while connections go on.

use std::fmt;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::http::stalled::StallGuard;

/// Where a certificate and what belongs to it lie, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and after it those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
    /// If there is one, each client has to show a certificate that one of these authorities has signed.
    pub client_ca: Option<PathBuf>,
}

/// A certificate that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {detail}", file.display())]
pub struct TlsFault {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub detail: String,
}

/// What connections are begun with; clones share it.
#[derive(Clone)]
pub struct Tls {
    files: Arc<TlsFiles>,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// One can't be read, holds nothing of its kind, or the key belongs to another certificate.
    pub fn read(files: TlsFiles) -> Result<Self, TlsFault> {
        let config = config(&files)?;
        Ok(Self { files: Arc::new(files), current: Arc::new(RwLock::new(Arc::new(config))) })
    }

    /// Reads the files again, for connections that begin from now on. Those that are there go on with what they began with.
    ///
    /// # Errors
    ///
    /// As [`Tls::read`]; what was in force before is in force still.
    pub fn reload(&self) -> Result<(), TlsFault> {
        let config = config(&self.files)?;
        *self.current.write() = Arc::new(config);
        Ok(())
    }

    /// The connection behind the handshake, for which the client has `time`.
    pub(crate) async fn accept(&self, socket: TcpStream, time: Duration, stall: Duration) -> io::Result<TlsStream<StallGuard<TcpStream>>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.current.read()));
        let accepted = async {
            let socket = not_plain(socket).await?;
            acceptor.accept(StallGuard::new(socket, stall)).await
        };
        tokio::time::timeout(time, accepted).await.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no handshake in time"))?
    }
}

/// Whoever speaks plain HTTP is told so: an alert in another protocol says nothing to people.
async fn not_plain(mut socket: TcpStream) -> io::Result<TcpStream> {
    let mut first = [0];
    let is_plain = socket.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase();
    if !is_plain {
        return Ok(socket);
    }
    // What is not read when the socket is closed would take the answer away with it.
    let mut request = vec![0; HEAD_BYTES];
    let _read = socket.read(&mut request).await?;
    socket.write_all(PLAIN.as_bytes()).await?;
    socket.shutdown().await?;
    Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP on a port of TLS"))
}

fn config(files: &TlsFiles) -> Result<ServerConfig, TlsFault> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| fault(&files.key, "no private key", &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| fault(&files.certificate, "cannot be used", &error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| fault(file, "an authority cannot be used", &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| fault(file, "cannot be used", &error))?)
        }
    };
    let mut config =
        builder.with_single_cert(chain, key).map_err(|error| fault(&files.certificate, "cannot be used with its key", &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| fault(file, "no certificate", &error))?;
    if found.is_empty() {
        return Err(TlsFault { file: file.to_owned(), detail: "no certificate: there is none in it (PEM, BEGIN CERTIFICATE)".to_owned() });
    }
    Ok(found)
}

fn fault(file: &Path, what: &str, error: &dyn fmt::Display) -> TlsFault {
    TlsFault { file: file.to_owned(), detail: format!("{what}: {error}") }
}

/// Of a request that is not answered as such.
const HEAD_BYTES: usize = 16 << 10;
const PLAIN: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: 162\r\n\r\n\
{\"type\":\"urn:factum:problem:malformed-request\",\"title\":\"The request breaks a rule\",\"status\":400,\"detail\":\"this port speaks TLS: \
the address begins with https://\"}";
