//! Programs of others that take or read what a server tells, in an environment that `tests/run.sh` makes.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use crate::process::FACTUM;
use crate::process::skipped;

/// A Python that has these modules; a test that gets none says so and ends.
pub(crate) fn python(test: &str, modules: &str) -> Option<PathBuf> {
    let named = std::env::var_os("FACTUM_READERS").map(PathBuf::from);
    // Beside the folder of the profile: `target/debug/factum` and `target/readers`.
    let beside = || Some(Path::new(FACTUM).parent()?.parent()?.join("readers/bin/python"));
    let has = |python: &PathBuf| {
        let tried = Command::new(python).args(["-c", &format!("import {modules}")]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let found = named.or_else(beside).filter(has);
    if found.is_none() {
        skipped(test, &format!("no Python with {modules}; tests/run.sh makes one"));
    }
    found
}

/// Runs a piece of Python with `input`; what it says.
#[track_caller]
pub(crate) fn run(python: &Path, code: &str, input: &str) -> String {
    let mut command = Command::new(python);
    let mut child =
        command.args(["-c", code]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("Python runs");
    child.stdin.take().expect("stdin is piped").write_all(input.as_bytes()).expect("Python reads");
    let output = child.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "{}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// `otlp_collector.py`, for as long as it exists.
pub(crate) struct OtherCollector {
    child: Child,
    pub(crate) http: String,
    pub(crate) grpc: String,
    came: watch::Receiver<Vec<Value>>,
}

impl OtherCollector {
    pub(crate) fn start(python: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/otlp_collector.py");
        let mut command = Command::new(python);
        command.arg(script).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("Python runs");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut next = move || serde_json::from_str::<Value>(&lines.next()?.ok()?).ok();
        let ports = next().expect("it says where it listens");
        let (sender, came) = watch::channel(Vec::new());
        std::thread::spawn(move || {
            while let Some(line) = next() {
                sender.send_modify(|all| all.push(line));
            }
        });
        let url = |name: &str| format!("http://127.0.0.1:{}", ports[name]);
        Self { child, http: url("http"), grpc: url("grpc"), came }
    }

    /// What has come, once it is enough.
    pub(crate) async fn wait_for(&self, what: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut came = self.came.clone();
        let waiting = came.wait_for(|came| enough(came));
        match tokio::time::timeout(Duration::from_secs(60), waiting).await {
            Ok(found) => found.expect("the collector runs").clone(),
            Err(_) => panic!("{what} did not come; what came: {:#?}", *self.came.borrow()),
        }
    }

    pub(crate) fn all(&self) -> Vec<Value> {
        self.came.borrow().clone()
    }
}

impl Drop for OtherCollector {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
