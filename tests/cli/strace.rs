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
