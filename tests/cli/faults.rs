//! A second server, no files left to open, no space left: what is refused, and what goes on.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use uuid::Uuid;

use crate::http::Answer;
use crate::http::Api;
use crate::process::Place;
use crate::process::Start;
use crate::process::skipped;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn l21_second_server_process_on_one_directory_names_the_first() {
    let place = Place::new();
    let server = place.start().ready();
    let (status, said) = place.start().fails();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("locked") && said.contains(&server.pid().to_string()), "the owner is named: {said}");
    server.run(&["append", "a", "T", "{}"]).exits(0);
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(place.start().ready().terminate(), Some(0), "free again");
}

#[test]
fn a_taken_port_is_told() {
    let place = Place::new();
    let server = place.start().ready();
    let other = Place::new();
    let (status, said) = other.start_at(server.url.strip_prefix("http://").expect("an address")).fails();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("cannot listen") && said.contains("--listen"), "{said}");
}

/// Appends one event on this very connection: a client with a pool might open another one. The answer's status line.
fn append_on(connection: &mut TcpStream, expected: u64) -> String {
    let body = format!("{{\"events\":[{{\"type\":\"T\",\"data\":1}}],\"expected_version\":{expected}}}");
    let head = "POST /v1/streams/a/events HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: ";
    connection.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).expect("the connection is open");
    let mut reader = BufReader::new(connection);
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| line != "\r\n") {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).expect("an answer in time") > 0, "closed after {lines:?}");
        lines.push(line);
    }
    let length = lines.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut answer = vec![0; length.expect("the answer has a length")];
    reader.read_exact(&mut answer).expect("an answer in time");
    lines.swap_remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_a_process_without_files_left_keeps_its_log_whole() {
    let place = Place::new();
    let server = Start::behind("sh", &["-c", "ulimit -n 64; exec \"$0\" \"$@\""], &place.data()).ready();
    let address = server.url.strip_prefix("http://").expect("an address").parse().expect("an address");
    let connect = || {
        let connection = TcpStream::connect_timeout(&address, PATIENCE).expect("the system's queue has room");
        connection.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        connection
    };
    // This connection was there first and stays.
    let mut first = connect();
    assert!(append_on(&mut first, 0).contains(" 201 "));
    // Twice as many as the process may have files; the system's queue holds what it does not accept.
    let idle: Vec<_> = (0..128).map(|_| connect()).collect();
    for version in 1..20 {
        let status = append_on(&mut first, version);
        assert!(status.contains(" 201 "), "version {version}: {status}");
    }
    drop(idle);
    assert!(append_on(&mut connect(), 20).contains(" 201 "), "connections are taken again");
    server.kill();
    let server = place.start().ready();
    let (events, _) = Api::new(&server.url).events_after("0").await;
    assert_eq!(events.len(), 21);
    assert_eq!(server.terminate(), Some(0));
}

/// A file system of a few MiB, unmounted when dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn mount(at: &Path, size: &str) -> Result<Self, String> {
        fs::create_dir_all(at).expect("a directory");
        let options = format!("size={size}");
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output().map_err(|error| error.to_string())?;
        if output.status.success() { Ok(Self(at.to_owned())) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
    }
}

#[cfg(feature = "analytics")]
impl SmallDisk {
    /// Whether it can be written, `ro` or `rw`, from now on.
    pub(crate) fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.0).status().expect("mount runs");
        assert!(status.success(), "{options}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that a failed test leaves behind may still be at it.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

async fn append_until_full(api: &Api, version: &mut u64) {
    let fill = "x".repeat(200_000);
    for _ in 0..1_000 {
        match api.append("a", *version, &[Uuid::now_v7()], &fill).await {
            Answer::Acknowledged(_) => *version += 1,
            Answer::Refused(507, _) => return,
            other @ (Answer::Refused(..) | Answer::Unknown) => panic!("507 is the answer to a full disk: {other:?}"),
        }
    }
    panic!("the disk is never full");
}

#[tokio::test]
async fn l10_a_full_disk_answers_507_and_the_process_goes_on_when_there_is_space() {
    let place = Place::new();
    let root = place.path("disk");
    let _disk = match SmallDisk::mount(&root, "40m") {
        Ok(disk) => disk,
        Err(reason) => return skipped("l10", &format!("no tmpfs can be mounted: {reason}")),
    };
    let ballast = root.join("ballast");
    fs::write(&ballast, vec![1; 16 << 20]).unwrap();
    let data = root.join("data");
    let start = || Start::new(&data).env("FACTUM_STORAGE__SEGMENT", "4MiB");
    let server = start().ready();
    let api = Api::new(&server.url);
    let mut version = 0;
    append_until_full(&api, &mut version).await;
    assert!(version > 10, "{version}");
    let read = api.get(&format!("/v1/streams/a/events?from={version}")).await.expect("reads work");
    assert_eq!(read["events"][0]["version"], version);

    // A restart while it is full works as well, clean or not.
    server.kill();
    let server = start().ready();
    let api = Api::new(&server.url);
    let (events, _) = api.events_after("0").await;
    assert_eq!(events.len() as u64, version, "what was acknowledged is there, and nothing else");
    append_until_full(&api, &mut version).await;

    fs::remove_file(&ballast).unwrap();
    let before = version;
    for _ in 0..20 {
        let answer = api.append("a", version, &[Uuid::now_v7()], "there is space again").await;
        assert!(matches!(answer, Answer::Acknowledged(_)), "it goes on by itself: {answer:?}");
        version += 1;
    }
    assert_eq!(version, before + 20);
    assert_eq!(server.terminate(), Some(0));
}
