//! Servers and commands as processes of their own.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Output;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// The binary under test.
pub(crate) const FACTUM: &str = env!("CARGO_BIN_EXE_factum");
const READY: &str = "factum ready on ";
/// More than any start may take on a busy machine; tests of speed have bounds of their own.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) ready_after: Duration,
    log: PathBuf,
}

/// A server that is about to be started.
pub(crate) struct Start {
    command: Command,
    log: PathBuf,
}

impl Start {
    /// `factum serve` on `data` and a free port.
    pub(crate) fn new(data: &Path) -> Self {
        Self::of(Command::new(FACTUM), data, "127.0.0.1:0")
    }

    /// The same behind words that end by running the program named after them, such as `strace … factum`.
    pub(crate) fn behind(program: &str, words: &[&str], data: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(words).arg(FACTUM);
        Self::of(command, data, "127.0.0.1:0")
    }

    /// On an address of its own.
    pub(crate) fn at(data: &Path, listen: &str) -> Self {
        Self::of(Command::new(FACTUM), data, listen)
    }

    fn of(mut command: Command, data: &Path, listen: &str) -> Self {
        command.args(["serve", "--listen", listen, "--data"]).arg(data);
        let log = data.with_extension("log");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FACTUM_") {
                command.env_remove(name);
            }
        }
        Self { command, log }
    }

    pub(crate) fn flag(mut self, words: &[&str]) -> Self {
        self.command.args(words);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    fn spawn(mut self) -> (Child, PathBuf) {
        #[expect(clippy::disallowed_methods, reason = "a log file of the test's own")]
        let log = fs::File::options().create(true).append(true).open(&self.log).expect("a log file");
        let child = self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().expect("starts");
        (child, self.log)
    }

    /// Starts it and waits for the ready line.
    pub(crate) fn ready(self) -> Server {
        let started = Instant::now();
        let (mut child, log) = self.spawn();
        let line = first_line(&mut child);
        let Some(url) = line.as_deref().and_then(|line| line.strip_prefix(READY)) else {
            let status = child.wait().expect("it can be waited for");
            panic!("no ready line but {line:?}, {status}; its log:\n{}", fs::read_to_string(&log).unwrap_or_default());
        };
        Server { url: url.to_owned(), child, ready_after: started.elapsed(), log }
    }

    /// Starts it, and kills it after `delay`, wherever it is then.
    pub(crate) fn killed_after(self, delay: Duration) {
        kill_after(self.spawn().0, delay);
    }

    /// Starts it and waits for it to end by itself; what it said on stderr.
    pub(crate) fn fails(self) -> (ExitStatus, String) {
        let before = fs::read_to_string(&self.log).unwrap_or_default().len();
        let (mut child, log) = self.spawn();
        let status = wait(&mut child);
        let said = fs::read_to_string(&log).expect("a log");
        (status, said.get(before..).unwrap_or_default().to_owned())
    }
}

/// Starts a command, and kills it after `delay`, wherever it is then.
pub(crate) fn killed_after(command: &mut Command, delay: Duration) {
    kill_after(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts"), delay);
}

fn kill_after(mut child: Child, delay: Duration) {
    // Not a wait for something: the fault's own random time.
    thread::park_timeout(delay);
    child.kill().expect("it can be killed");
    child.wait().expect("it can be waited for");
}

fn first_line(child: &mut Child) -> Option<String> {
    let stdout = child.stdout.take().expect("stdout is piped");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines();
        // The receiver may have lost patience; stdout is read on, so that the server never finds it closed.
        drop(sender.send(lines.next()));
        lines.for_each(drop);
    });
    receiver.recv_timeout(PATIENCE).expect("a first line or the end of stdout").map(|line| line.expect("text"))
}

/// Waits for the end of a process, but not for ever.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return status;
        }
        assert!(started.elapsed() < PATIENCE, "the process does not end");
        // There is no blocking wait with a deadline in std.
        thread::park_timeout(Duration::from_millis(5));
    }
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        send_signal(name, self.pid());
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        wait(&mut self.child).code()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }

    /// Waits for it to end by itself.
    pub(crate) fn ended(mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// What it has logged, with what earlier servers on the same directory logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    /// Runs a client command against it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with_input(arguments, "")
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        run(arguments, input, &[("FACTUM_URL", &self.url)])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn send_signal(name: &str, pid: u32) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().expect("kill runs");
    assert!(status.success(), "kill -{name} {pid}");
}

/// What came of a command.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The command's exit code must be this.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Each line of stdout as JSON.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<serde_json::Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "stderr lacks {text:?}:\n{}", self.stderr);
        self
    }
}

/// Runs `factum` to its end.
pub(crate) fn run(arguments: &[&str], input: &str, environment: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(FACTUM);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FACTUM_")) {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    let mut child = command.spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_owned();
    let writer = thread::spawn(move || {
        // A command that does not read its input closes it.
        drop(stdin.write_all(input.as_bytes()));
    });
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it can be waited for");
    writer.join().expect("the writer does not panic");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A data directory (not yet made) with room for its log beside it.
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn start(&self) -> Start {
        Start::new(&self.data())
    }

    /// On an address of its own, such as that of a server before.
    pub(crate) fn start_at(&self, address: &str) -> Start {
        Start::at(&self.data(), address)
    }
}

/// Says that a test could not do its work here. Visible with `--nocapture` and in the log of CI.
pub(crate) fn skipped(test: &str, reason: &str) {
    note(&format!("SKIPPED {test}: {reason}"));
}

/// A line for whoever reads the test's output.
#[expect(clippy::print_stderr, reason = "the output of a test is its stderr")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
