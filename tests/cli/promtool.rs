//! What does Prometheus itself say? Its own tool reads measurements and rules, as it would before it takes them.

use std::io::ErrorKind;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

/// `promtool check metrics` has nothing to say against a text.
#[track_caller]
pub(crate) fn check_metrics(text: &str) {
    let mut child = promtool(&["check", "metrics"], Path::new(".")).stdin(Stdio::piped()).spawn().unwrap_or_else(missing);
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(text.as_bytes()).expect("promtool reads");
    drop(stdin);
    judge(child.wait_with_output().expect("promtool ends"));
}

/// `promtool` with these arguments says yes.
#[track_caller]
pub(crate) fn agrees(arguments: &[&str], folder: &Path) {
    judge(promtool(arguments, folder).output().unwrap_or_else(missing));
}

fn promtool(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn judge(output: std::process::Output) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stderr.is_empty(), "promtool: {}\n{stdout}{stderr}", output.status);
}

#[track_caller]
fn missing<T>(error: std::io::Error) -> T {
    assert!(error.kind() != ErrorKind::NotFound, "promtool is not here: tests/run.sh installs it, or `apt-get install prometheus`");
    panic!("promtool: {error}");
}
