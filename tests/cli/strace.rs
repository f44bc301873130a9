//! System calls that fail in a real process, injected by strace.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use uuid::Uuid;

use crate::http::Answer;
use crate::http::Api;
use crate::oracle::Attempt;
use crate::oracle::Oracle;
use crate::process::Place;
use crate::process::Start;
use crate::process::send_signal;
use crate::process::skipped;

fn strace_works() -> Result<(), String> {
    let output = Command::new("strace").args(["-o", "/dev/null", "-e", "inject=getppid:error=EIO", "true"]).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Appends to a server that loses its disk at the `when`-th call of `call`, and checks what is there after a restart.
async fn check(test: &str, call: &str, when: u32) {
    if let Err(reason) = strace_works() {
        return skipped(test, &format!("strace cannot be used: {reason}"));
    }
    let place = Place::new();
    let trace = place.path("trace");
    // The directory is made first, so that the failing call is one of the appends'.
    assert_eq!(place.start().ready().terminate(), Some(0));
    let (what, which) = (format!("trace={call}"), format!("inject={call}:error=EIO:when={when}"));
    let words = ["-f", "-qq", "-o", trace.to_str().expect("text"), "-e", &what, "-e", &which];
    let server = Start::behind("strace", &words, &place.data()).ready();
    let api = Api::new(&server.url);
    let mut attempts = Vec::new();
    let mut version = 0;
    loop {
        assert!(version < 1_000, "the fault never comes");
        let id = Uuid::now_v7();
        let answer = api.append("a", version, &[id], "content").await;
        let acknowledged = matches!(answer, Answer::Acknowledged(_));
        attempts.push(Attempt { stream: "a".to_owned(), expected: version, ids: vec![id], acknowledged });
        match answer {
            Answer::Acknowledged(_) => version += 1,
            Answer::Unknown => break,
            Answer::Refused(status, problem) => panic!("an append whose sync failed is unknown, not {status}: {problem}"),
        }
    }
    assert!(version > 0, "some appends came before the fault");
    // Poisoned: nothing is taken any more, until the process ends by itself for its supervisor to start it anew.
    let later = api.append("b", 0, &[Uuid::now_v7()], "content").await;
    assert!(!matches!(later, Answer::Acknowledged(_)), "{later:?}");
    let status = server.ended();
    assert_eq!(status.code(), Some(1), "{status}");
    assert_no_second_sync(&fs::read_to_string(&trace).expect("a trace"));

    let server = place.start().ready();
    let mut oracle = Oracle::default();
    oracle.check(&Api::new(&server.url), &attempts, test).await;
    let version = oracle.version("a");
    let answer = Api::new(&server.url).append("a", version, &[Uuid::now_v7()], "after the restart").await;
    assert!(matches!(answer, Answer::Acknowledged(_)), "{answer:?}");
    assert_eq!(server.terminate(), Some(0));
}

/// After a failed sync nobody may sync the same file again: the second one would succeed and prove nothing.
fn assert_no_second_sync(trace: &str) {
    let mut failed = BTreeSet::new();
    for line in trace.lines() {
        let Some((_, rest)) = line.split_once("fdatasync(") else { continue };
        let file: String = rest.chars().take_while(char::is_ascii_digit).collect();
        assert!(!failed.contains(&file), "file {file} was synced again:\n{line}");
        if line.contains("(INJECTED)") {
            failed.insert(file);
        }
    }
}

#[tokio::test]
async fn l7_failed_sync_poisons_the_process_strace() {
    check("l7", "fdatasync", 20).await;
}

#[tokio::test]
async fn l9_failed_write_fails_the_whole_append_strace() {
    check("l9", "pwrite64", 20).await;
}

/// R6: with several shards, one whose disk has failed is poisoned alone: the process goes on, and a restart finds what is there.
#[tokio::test]
async fn r6_a_disk_that_fails_under_one_shard_leaves_the_others_serving_strace() {
    let test = "r6";
    if let Err(reason) = strace_works() {
        return skipped(test, &format!("strace cannot be used: {reason}"));
    }
    let place = Place::new();
    assert_eq!(place.start().flag(&["--shards", "2"]).ready().terminate(), Some(0));
    let trace = place.path("trace");
    let words = ["-f", "-qq", "-o", trace.to_str().expect("text"), "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=20"];
    let server = Start::behind("strace", &words, &place.data()).ready();
    let api = Api::new(&server.url);
    let mut homes: Vec<Option<String>> = vec![None, None];
    for number in 0..100 {
        let located = api.get(&format!("/v1/shards/locate/s-{number}")).await.expect("a place");
        let shard = usize::try_from(located["shard"].as_u64().expect("a shard")).expect("0 or 1");
        homes[shard].get_or_insert(format!("s-{number}"));
    }
    // Only one is written to, so the sync that fails is one of its own.
    let [sound, failing] = [0, 1].map(|shard: usize| homes[shard].clone().expect("a hundred names lead to both"));
    let mut attempts = Vec::new();
    for version in 0..1_000 {
        let ids = vec![Uuid::now_v7()];
        let answer = api.append(&failing, version, &ids, "content").await;
        let acknowledged = matches!(answer, Answer::Acknowledged(_));
        attempts.push(Attempt { stream: failing.clone(), expected: version, ids, acknowledged });
        if !acknowledged {
            assert_eq!(answer, Answer::Unknown);
            break;
        }
    }
    while !server.log().contains("the other shards serve on") {
        let answer = api.append(&failing, 0, &[Uuid::now_v7()], "content").await;
        assert!(matches!(answer, Answer::Refused(503, _)), "{answer:?}");
    }
    for version in 0..10 {
        let ids = vec![Uuid::now_v7()];
        assert!(matches!(api.append(&sound, version, &ids, "content").await, Answer::Acknowledged(_)));
        attempts.push(Attempt { stream: sound.clone(), expected: version, ids, acknowledged: true });
    }
    assert!(api.get(&format!("/v1/streams/{failing}/events")).await.is_some(), "what it has is read");
    let traced = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).expect("a child");
    send_signal("TERM", traced.trim().parse().expect("one child"));
    server.ended();
    let server = place.start().ready();
    Oracle::default().check(&Api::new(&server.url), &attempts, test).await;
    assert_eq!(server.terminate(), Some(0));
}

/// Every way to a file or a host that people have tried elsewhere; none may even be opened.
fn ways_out(path: &str, host: &str) -> Vec<String> {
    let mut ways: Vec<String> = Vec::new();
    for place in [path.to_owned(), format!("file://{path}"), format!("http://{host}/a.csv"), format!("s3://{host}/a.csv")] {
        ways.push(format!("select * from '{place}'"));
        ways.push(format!("select * from \"{place}\""));
        for function in ["read_csv", "read_parquet", "read_json", "parquet_metadata", "glob", "url", "file", "s3"] {
            ways.push(format!("select * from {function}('{place}')"));
        }
        for function in ["read_text", "pg_read_file", "read_file", "load_extension", "current_setting"] {
            ways.push(format!("select {function}('{place}')"));
        }
        ways.push(format!("create external table t stored as csv location '{place}'"));
        ways.push(format!("explain analyze copy (select 1) to '{place}'"));
        ways.push(format!("copy (select 1) to '{place}'"));
        ways.push(format!("insert into '{place}' select 1"));
        ways.push(format!("attach '{place}'"));
        ways.push(format!("set datafusion.catalog.location = '{place}'"));
    }
    ways
}

#[tokio::test]
async fn q2_no_query_opens_a_file_outside_or_a_connection_strace() {
    if let Err(reason) = strace_works() {
        return skipped("q2", &format!("strace cannot be used: {reason}"));
    }
    let place = Place::new();
    let trace = place.path("trace");
    let secret = place.path("secret.csv");
    fs::write(&secret, "a,b\n1,2\n").expect("a file");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let words = ["-f", "-qq", "-s", "4096", "-o", trace.to_str().expect("text"), "-e", "trace=open,openat,openat2,creat,connect,execve"];
    let server = Start::behind("strace", &words, &place.data()).ready();
    let api = Api::new(&server.url);
    api.write("order-1", "Placed", serde_json::json!({"amount": 1})).await;
    let sql = |text: &str| serde_json::json!({"query": text}).to_string();
    // What a query needs of the system at first, it has had before.
    let sorted = sql("select stream, count(*) from events group by stream order by 2");
    assert_eq!(api.post("/v1/sql", "application/json", sorted).await.map(|(status, _)| status), Some(200));
    let before = fs::read_to_string(&trace).expect("a trace").lines().count();
    for way in ways_out(secret.to_str().expect("text"), &host) {
        let (status, answer) = api.post("/v1/sql", "application/json", sql(&way)).await.expect("an answer");
        assert_eq!(status, 400, "{way}: {answer}");
        assert!(!answer.contains("a,b"), "{way}: {answer}");
    }
    // strace itself does not pass the signal on.
    let traced = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).expect("a child");
    send_signal("TERM", traced.trim().parse().expect("one child"));
    assert_eq!(server.ended().code(), Some(0));
    let data = place.data().to_str().expect("text").to_owned();
    let trace = fs::read_to_string(&trace).expect("a trace");
    let is_open = |line: &&str| ["open(", "openat(", "openat2(", "creat(", "connect(", "execve("].iter().any(|call| line.contains(call));
    let mut opened = 0;
    for line in trace.lines().skip(before).filter(is_open) {
        opened += 1;
        let is_own = OWN.iter().any(|own| line.contains(own)) || line.contains(&format!("\"{data}"));
        assert!(is_own, "a query leads to\n{line}");
    }
    // Closing writes into the data directory: that the trace sees files at all.
    assert!(opened > 0, "nothing was traced");
    listener.set_nonblocking(true).expect("a socket");
    assert!(listener.accept().is_err(), "somebody has connected");
}

/// What the process looks at of itself and of the machine.
const OWN: [&str; 3] = ["\"/proc/self/", "\"/sys/fs/cgroup/", "\"/sys/devices/system/cpu"];
