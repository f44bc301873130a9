//! A line between a test and Postgres that can be cut around a COMMIT.

use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

/// What happens to the next COMMIT; then nothing happens any more.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// It does not arrive.
    Question = 1,
    /// It arrives, and is done; its answer does not.
    Answer = 2,
}

pub(super) struct Proxy {
    port: u16,
    next: Arc<AtomicU8>,
}

impl Proxy {
    pub(super) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let next = Arc::new(AtomicU8::new(0));
        let armed = Arc::clone(&next);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&armed)));
            }
        });
        Self { port, next }
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    pub(super) fn cut_next(&self, cut: Cut) {
        self.next.store(cut as u8, Ordering::SeqCst);
    }

    pub(super) fn is_armed(&self) -> bool {
        self.next.load(Ordering::SeqCst) != 0
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, next: Arc<AtomicU8>) {
    let (mut question, mut answer) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut question) => {
                let Ok(count @ 1..) = read else { return };
                let sent = &question[..count];
                // It is sent alone, when everything before it has been answered.
                let cut = if sent == b"Q\0\0\0\x0bCOMMIT\0" { next.swap(0, Ordering::SeqCst) } else { 0 };
                if cut == Cut::Question as u8 || server.write_all(sent).await.is_err() {
                    return;
                }
                if cut == Cut::Answer as u8 {
                    let count = server.read(&mut answer).await.unwrap();
                    assert!(answer[..count].windows(7).any(|bytes| bytes == b"COMMIT\0"), "it was not committed");
                    return;
                }
            }
            read = server.read(&mut answer) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&answer[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
