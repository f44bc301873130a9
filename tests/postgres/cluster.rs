//! A Postgres of a test's own: made in a folder that goes with it, stopped and started as the test likes.
//!
//! Needs the programs of Debian's package `postgresql` (`tests/run.sh` installs it); [`Cluster::start`] tells where it finds none.

use std::ffi::OsStr;
use std::io::BufRead;
use std::io::BufReader;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

/// A cluster with the database `postgres` and the superuser `postgres`, who needs no password on this machine.
pub(crate) struct Cluster {
    /// A folder for the test's own files too: the server can read them.
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
    programs: PathBuf,
    settings: Vec<String>,
    server: Option<Child>,
}

impl Cluster {
    /// Makes and starts one, or says why that is not possible here. To be called on the test's own thread: the server ends with it.
    pub(crate) fn start(settings: &[&str]) -> Result<Self, String> {
        let programs = programs().ok_or("there is no Postgres here (Debian: apt-get install postgresql)")?;
        let folder = tempfile::tempdir().expect("a folder can be made");
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut cluster = Self { folder, programs, port: 0, settings, server: None };
        give_away(cluster.folder.path());
        let mut initdb = as_server(&cluster.programs.join("initdb"));
        initdb.args(["--no-sync", "--no-instructions", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"]);
        let made = initdb.arg(cluster.data()).output().expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        // Another process may take the port between the look and the start.
        for _ in 0..5 {
            cluster.port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
            if cluster.run().is_ok() {
                return Ok(cluster);
            }
        }
        panic!("Postgres does not start: {:?}", cluster.run());
    }

    pub(crate) fn url(&self) -> String {
        self.url_as("postgres", "postgres")
    }

    /// A URL for somebody (`name:password`) and a database.
    pub(crate) fn url_as(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// Where its files are.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// `pg_ctl stop -m immediate`: every backend is killed where it stands, nothing is written any more.
    pub(crate) fn stop_immediately(&mut self) {
        self.go_on();
        if let Some(mut server) = self.server.take() {
            signal("QUIT", &[server.id()]);
            server.wait().expect("the server can be waited for");
        }
    }

    /// Stops the server and all of its backends where they stand: connections stay, and nobody answers.
    pub(crate) fn hang(&self) {
        if let Some(server) = &self.server {
            // The one that makes backends first, so that none is made meanwhile.
            signal("STOP", &[server.id()]);
            signal("STOP", &children(server.id()));
        }
    }

    /// Lets them go on.
    pub(crate) fn go_on(&self) {
        if let Some(server) = &self.server {
            let mut all = children(server.id());
            all.push(server.id());
            signal("CONT", &all);
        }
    }

    /// Starts it again after a stop.
    pub(crate) fn start_again(&mut self) {
        if let Err(log) = self.run() {
            panic!("Postgres does not start again:\n{log}");
        }
    }

    /// Starts the server and waits for it to say that it is ready; else what it said.
    fn run(&mut self) -> Result<(), String> {
        let mut command = as_server(&self.programs.join("postgres"));
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path()).args(["-p", &self.port.to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "max_connections=50", "shared_buffers=32MB", "log_min_messages=warning"] {
            command.args(["-c", setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let mut server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("postgres runs");
        let errors = BufReader::new(server.stderr.take().expect("it is piped"));
        let (ready, is_ready) = mpsc::channel();
        // Read to the end: a server whose log is full stands still.
        std::thread::spawn(move || {
            let mut log = String::new();
            for line in errors.lines().map_while(Result::ok) {
                if line.contains("database system is ready to accept connections") {
                    drop(ready.send(Ok(())));
                }
                log.push_str(&line);
                log.push('\n');
            }
            drop(ready.send(Err(log)));
        });
        let answer = is_ready.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| Err("it is not ready after a minute".to_owned()));
        if answer.is_ok() {
            self.server = Some(server);
        } else {
            drop(server.kill());
            drop(server.wait());
        }
        answer
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_immediately();
    }
}

/// Where the programs are: in the path, or the newest that Debian has.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.filter_map(Result::ok).map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    versions
        .sort_by_key(|folder| folder.parent().and_then(Path::file_name).and_then(OsStr::to_str).and_then(|name| name.parse::<u32>().ok()));
    versions
        .into_iter()
        .rev()
        .chain(std::env::split_paths(&path))
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}

/// Postgres refuses to run as root. Whoever the server runs as, it ends with the thread that started it.
fn as_server(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command.arg("--").arg(program).current_dir("/");
    command
}

/// Makes the server the owner of a file or folder.
pub(crate) fn give_away(path: &Path) {
    if is_root() {
        chown(path, Some(number_of("-u")), Some(number_of("-g"))).expect("root may give a file away");
    }
}

pub(crate) fn is_root() -> bool {
    id(&["-u"]) == "0"
}

fn number_of(which: &str) -> u32 {
    id(&[which, "postgres"]).parse().expect("there is a user postgres")
}

fn id(arguments: &[&str]) -> String {
    let output = Command::new("id").args(arguments).output().expect("id runs");
    String::from_utf8(output.stdout).expect("a number").trim().to_owned()
}

/// The processes that a process has made.
fn children(of: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("there is /proc");
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |process: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // `pid (name) state parent …`; a name may hold anything.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parent == Some(of)
    };
    numbers.filter(is_child).collect()
}

fn signal(name: &str, processes: &[u32]) {
    let numbers = processes.iter().map(u32::to_string);
    // One of several may have ended by itself meanwhile.
    let status = Command::new("kill").arg(format!("-{name}")).args(numbers).status().expect("kill runs");
    assert!(status.success() || processes.len() > 1, "the server is gone already");
}
