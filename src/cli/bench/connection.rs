//! An HTTP/1.1 connection that costs next to nothing, so that what is measured is the server.

use bytes::Buf;
use bytes::BytesMut;
use reqwest::Url;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::cli::client::Connection as Address;
use crate::cli::failure::Failure;
use crate::cli::failure::Problem;

/// Where to connect, and the lines that every request has.
#[derive(Clone, Debug)]
pub(super) struct Target {
    address: String,
    path: String,
    lines: String,
}

impl Target {
    /// Expects an address that `Client::new` has accepted.
    pub(super) fn new(connection: &Address) -> Result<Self, Failure> {
        let bad = || Failure::usage(format!("{:?} is not the address of a server", connection.url));
        let url: Url = connection.url.parse().map_err(|_| bad())?;
        if url.scheme() != "http" {
            let failure = Failure::usage("`factum bench` speaks plain HTTP only");
            return Err(failure.next("measure a server without TLS, on the same machine"));
        }
        let host = url.host_str().ok_or_else(bad)?;
        let address = format!("{host}:{}", url.port_or_known_default().unwrap_or(80));
        let mut lines = format!("host: {address}\r\n");
        if let Some(token) = &connection.token {
            if token.chars().any(|character| character.is_control() || character == ' ') {
                return Err(Failure::usage("the token holds a space or control character"));
            }
            lines.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        Ok(Self { address, path: url.path().trim_end_matches('/').to_owned(), lines })
    }

    /// A whole GET request.
    pub(super) fn get(&self, path: &str, accept: &str) -> Vec<u8> {
        format!("GET {}{path} HTTP/1.1\r\n{}accept: {accept}\r\n\r\n", self.path, self.lines).into_bytes()
    }

    /// A whole POST request, into `request`.
    pub(super) fn post(&self, path: &str, body: &[u8], request: &mut Vec<u8>) {
        request.clear();
        let head = format!(
            "POST {}{path} HTTP/1.1\r\n{}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.path,
            self.lines,
            body.len()
        );
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(body);
    }
}

/// One connection that is kept alive. One request at a time.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    left: Left,
}

/// What of the answer's body has not come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    Bytes(usize),
    /// Within a chunk, so many bytes and its line end are left; 0 before a chunk's head.
    Chunk(usize),
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self, Failure> {
        let stream = TcpStream::connect(&target.address)
            .await
            .map_err(|error| Failure::failed(format!("cannot connect to {}", target.address)).detail(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| broken(&error))?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(BUFFER_BYTES), left: Left::Nothing })
    }

    /// Sends a request and reads the head of its answer; one that is no success becomes a failure.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(request).await.map_err(|error| broken(&error))?;
        let head = loop {
            if let Some(head) = parse_head(&self.buffer)? {
                break head;
            }
            self.fill().await?;
        };
        self.buffer.advance(head.bytes);
        self.left = head.left;
        if (200..300).contains(&head.status) {
            return Ok(());
        }
        let mut body = Vec::new();
        while let Some(part) = self.part().await? {
            body.extend_from_slice(&part);
        }
        let problem = serde_json::from_slice(&body).unwrap_or_else(|_| Problem { status: head.status, ..Problem::default() });
        Err(Failure::problem(problem))
    }

    /// The next part of the body; `None` at its end.
    pub(super) async fn part(&mut self) -> Result<Option<BytesMut>, Failure> {
        loop {
            match self.left {
                Left::Nothing | Left::Bytes(0) => {
                    self.left = Left::Nothing;
                    return Ok(None);
                }
                Left::Bytes(bytes) if !self.buffer.is_empty() => {
                    let part = self.buffer.split_to(bytes.min(self.buffer.len()));
                    self.left = Left::Bytes(bytes - part.len());
                    return Ok(Some(part));
                }
                Left::Chunk(0) => {
                    if let Some((head, bytes)) = parse_chunk_head(&self.buffer)? {
                        // The last chunk has no bytes; the line behind it must be here before the body has ended.
                        if bytes == 0 && self.buffer.len() < head + 2 {
                            self.fill().await?;
                            continue;
                        }
                        self.buffer.advance(if bytes == 0 { head + 2 } else { head });
                        self.left = if bytes == 0 { Left::Nothing } else { Left::Chunk(bytes) };
                        continue;
                    }
                }
                Left::Chunk(bytes) if self.buffer.len() > bytes + 1 => {
                    let part = self.buffer.split_to(bytes);
                    self.buffer.advance(2);
                    self.left = Left::Chunk(0);
                    return Ok(Some(part));
                }
                Left::Bytes(_) | Left::Chunk(_) => {}
            }
            self.fill().await?;
        }
    }

    /// Reads the body away, and says how many bytes and line feeds it had.
    pub(super) async fn drain(&mut self) -> Result<(u64, u64), Failure> {
        let (mut bytes, mut lines) = (0, 0);
        while let Some(part) = self.part().await? {
            bytes += part.len() as u64;
            lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        Ok((bytes, lines))
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        self.buffer.reserve(BUFFER_BYTES);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Failure::failed("the server closed the connection").next("look at the server's log")),
            Ok(_) => Ok(()),
            Err(error) => Err(broken(&error)),
        }
    }
}

struct Head {
    bytes: usize,
    status: u16,
    left: Left,
}

/// The head of an answer, once it is whole.
fn parse_head(buffer: &[u8]) -> Result<Option<Head>, Failure> {
    let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if buffer.len() > HEAD_BYTES_MAX { Err(not_http("a head without an end")) } else { Ok(None) };
    };
    let text = std::str::from_utf8(buffer.get(..end).unwrap_or_default()).map_err(|_| not_http("a head that is not text"))?;
    let mut lines = text.split("\r\n");
    let status =
        lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| not_http("no status line"))?;
    let mut left = Left::Nothing;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            left = Left::Bytes(value.trim().parse().map_err(|_| not_http("a length that is no number"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") && value.trim().eq_ignore_ascii_case("chunked") {
            left = Left::Chunk(0);
        }
    }
    Ok(Some(Head { bytes: end + 4, status, left }))
}

/// The bytes of a chunk's head and of the chunk, once the head is whole.
fn parse_chunk_head(buffer: &[u8]) -> Result<Option<(usize, usize)>, Failure> {
    let Some(end) = buffer.windows(2).position(|window| window == b"\r\n") else {
        return if buffer.len() > HEAD_BYTES_MAX { Err(not_http("a chunk without a length")) } else { Ok(None) };
    };
    let text = std::str::from_utf8(buffer.get(..end).unwrap_or_default()).unwrap_or_default();
    let digits = text.split(';').next().unwrap_or_default().trim();
    let bytes = usize::from_str_radix(digits, 16).map_err(|_| not_http("a chunk without a length"))?;
    Ok(Some((end + 2, bytes)))
}

fn broken(error: &std::io::Error) -> Failure {
    Failure::failed("the connection broke").detail(error.to_string()).next("look at the server's log")
}

fn not_http(what: &str) -> Failure {
    Failure::failed("the answer is not HTTP/1.1").detail(what)
}

const BUFFER_BYTES: usize = 64 << 10;
const HEAD_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Sends `answer` in pieces of `size` bytes, and checks the body that arrives.
    async fn check(answer: &'static str, size: usize, expected: Result<&str, u16>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/base", listener.local_addr().expect("an address"));
        let target = Target::new(&Address { token: Some("t".to_owned()), ..Address::to(&url) }).expect("an address");
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = [0; 1_024];
            let count = stream.read(&mut request).await.expect("a request");
            let request = String::from_utf8_lossy(request.get(..count).expect("within")).into_owned();
            assert!(request.starts_with("GET /base/x HTTP/1.1\r\nhost: 127.0.0.1:"), "{request}");
            assert!(request.contains("authorization: Bearer t\r\n"), "{request}");
            for piece in answer.as_bytes().chunks(size) {
                stream.write_all(piece).await.expect("a client that listens");
                tokio::task::yield_now().await;
            }
            stream
        };
        let client = async {
            let mut connection = Connection::open(&target).await.expect("connects");
            connection.ask(&target.get("/x", "*/*")).await?;
            let mut body = Vec::new();
            while let Some(part) = connection.part().await? {
                body.extend_from_slice(&part);
            }
            assert!(connection.buffer.is_empty(), "nothing is left for the next answer");
            Ok(String::from_utf8(body).expect("text"))
        };
        let (_stream, found): (_, Result<String, Failure>) = tokio::join!(server, client);
        let found = found.map_err(|failure| failure.as_problem().map_or(0, |problem| problem.status));
        assert_eq!(found.as_deref(), expected.as_ref().map(|text| *text), "pieces of {size}");
    }

    #[tokio::test]
    async fn bodies_are_read_however_they_arrive() {
        for size in [1, 3, 1_000] {
            check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", size, Ok("hello")).await;
            check("HTTP/1.1 204 No Content\r\n\r\n", size, Ok("")).await;
            check(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
                size,
                Ok("hello world"),
            )
            .await;
            check("HTTP/1.1 503 X\r\ncontent-length: 14\r\n\r\n{\"status\":503}", size, Err(503)).await;
            check("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", size, Err(0)).await;
            check("SSH-2.0-OpenSSH\r\n\r\n", size, Err(0)).await;
        }
    }
}
