//! `factum sql`: formats, files, parameters, faults, a data directory without a server, and the prompt.

use std::fs;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use crate::process::FACTUM;
use crate::process::Place;
use crate::process::Server;
use crate::process::run;
use crate::process::skipped;
use crate::process::wait;

fn with_orders(place: &Place) -> Server {
    let server = place.start().ready();
    for (number, amount) in [(1, "10.5"), (2, "20"), (3, "0.25")] {
        let data = format!(r#"{{"amount": {amount}, "note": "{}"}}"#, "long ".repeat(60));
        server.run(&["append", &format!("order-{number}"), "Placed", &data]).exits(0);
    }
    server
}

#[test]
fn rows_are_printed_as_asked() {
    let place = Place::new();
    let server = with_orders(&place);
    let query = "select stream, amount from \"order\" order by stream";
    let lines = server.run(&["sql", query]).exits(0).json_lines();
    assert_eq!(lines[0], json!({"stream": "order-1", "amount": 10.5}));
    assert_eq!(lines.len(), 3);
    let csv = server.run(&["sql", query, "--format", "csv"]).exits(0).stdout;
    assert_eq!(csv, "stream,amount\norder-1,10.5\norder-2,20.0\norder-3,0.25\n");
    let table = server.run(&["sql", query, "--format", "table"]).exits(0).stdout;
    let shown: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        (&shown[0][..], &shown[3][..], &shown[4][..3]),
        (&["STREAM", "AMOUNT"][..], &["order-3", "0.25"][..], &["3", "rows", "in"][..])
    );
    assert!(table.trim_end().ends_with("as of position 3"), "{table}");
    let none = server.run(&["sql", "select id from events where type = 'x'", "--format", "table"]).exits(0).stdout;
    assert!(none.contains("ID") && none.contains("0 rows"), "{none}");
    let param =
        server.run(&["sql", "select stream from \"order\" where amount < $1 and stream <> $2", "--param", "15", "--param", "order-1"]);
    assert_eq!(param.exits(0).json_lines(), [json!({"stream": "order-3"})]);
}

#[test]
fn several_statements_come_from_stdin() {
    let place = Place::new();
    let server = with_orders(&place);
    let script = "-- how many;\nselect count(*) as n from events;\nselect ';' as semicolon;\n/* the last */ select 'it''s' as text";
    let lines = server.run_with_input(&["sql"], script).exits(0).json_lines();
    assert_eq!(lines, [json!({"n": 3}), json!({"semicolon": ";"}), json!({"text": "it's"})]);
    // What stands behind a fault is not asked.
    let ran = server.run_with_input(&["sql"], "select 1 as a; select nothing; select 2 as b").exits(1);
    assert_eq!(ran.json_lines(), [json!({"a": 1})]);
    server.run_with_input(&["sql"], " -- nothing\n").exits(2).says("nothing to ask");
}

#[test]
fn files_are_there_when_they_are_whole() {
    let place = Place::new();
    let server = with_orders(&place);
    let path = |name: &str| place.path(name).to_str().expect("text").to_owned();
    let (parquet, csv) = (path("rows.parquet"), path("rows.csv"));
    server.run(&["sql", "select * from \"order\"", "-o", &parquet]).exits(0);
    let bytes = fs::read(&parquet).expect("the file");
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    server.run(&["sql", "select count(*) as n from events", "-o", &csv]).exits(0);
    assert_eq!(fs::read_to_string(&csv).expect("the file"), "n\n3\n");
    // A query that fails leaves what was there before.
    server.run(&["sql", "select nothing", "-o", &csv]).exits(1);
    assert_eq!(fs::read_to_string(&csv).expect("the file"), "n\n3\n");
    assert!(!Path::new(&format!("{csv}.part")).exists());
    server.run(&["sql", "select 1; select 2", "-o", &csv]).exits(2).says("one query");
    server.run(&["sql", "select 1", "-o", &path("no/such/folder.csv")]).exits(1).says("cannot be written");
}

#[test]
fn faults_point_at_their_place() {
    let place = Place::new();
    let server = with_orders(&place);
    let ran = server.run(&["sql", "select 1,\n  amuont from \"order\""]).exits(1);
    let expected = "error: the query cannot be answered\n  there is no column \"amuont\"; did you mean amount?\n  line 2:   amuont from \"order\"\n            ^\n";
    assert_eq!(ran.stderr, expected);
    server.run(&["sql", "drop table events"]).exits(1).says("the query cannot be answered");
    run(&["sql", "select 1", "--url", "http://127.0.0.1:9"], "", &[]).exits(1).says("no server answers");
}

#[test]
fn a_data_directory_is_asked_without_a_server() {
    let place = Place::new();
    let server = with_orders(&place);
    let data = place.data();
    let data = data.to_str().expect("text");
    let offline = ["sql", "select count(*) as n from \"order\"", "--data", data];
    run(&offline, "", &[]).exits(1).says("is in use");
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(run(&offline, "", &[]).exits(0).json_lines(), [json!({"n": 3})]);
    let ran = run(&["sql", "select nothing", "--data", data], "", &[]).exits(1);
    assert!(ran.stderr.contains("the query cannot be answered"), "{}", ran.stderr);
    // A directory that is none is not made into one.
    let other = place.path("other");
    run(&["sql", "select 1", "--data", other.to_str().expect("text")], "", &[]).exits(2).says("is not a data directory");
    assert!(!other.exists());
    // It leaves nothing behind that a server would mind.
    let server = place.start().ready();
    assert_eq!(server.run(&["sql", "select count(*) as n from events"]).exits(0).json_lines(), [json!({"n": 3})]);
}

/// A prompt on a terminal of its own, as `script` makes one.
struct Terminal {
    child: Child,
    shown: String,
    parts: mpsc::Receiver<Vec<u8>>,
}

impl Terminal {
    fn open(server: &Server, state: &Path) -> Self {
        let mut child = Command::new("script")
            .args(["-qec", &format!("stty cols 80 rows 24; exec {FACTUM} sql"), "/dev/null"])
            .env("FACTUM_URL", &server.url)
            .env("XDG_STATE_HOME", state)
            .env("NO_COLOR", "1")
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script runs");
        let mut stdout = child.stdout.take().expect("stdout is piped");
        let (sender, parts) = mpsc::channel();
        thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut part) {
                // The test may have ended.
                drop(sender.send(part[..count].to_vec()));
            }
        });
        Self { child, shown: String::new(), parts }
    }

    fn types(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("the terminal takes it");
    }

    /// What is shown until this is; everything before is forgotten.
    fn shows(&mut self, needle: &str) -> String {
        let started = Instant::now();
        while !self.shown.contains(needle) {
            assert!(started.elapsed() < Duration::from_secs(60), "no {needle:?} but:\n{}", self.shown);
            if let Ok(part) = self.parts.recv_timeout(Duration::from_millis(100)) {
                self.shown.push_str(&String::from_utf8_lossy(&part));
            }
        }
        let end = self.shown.find(needle).expect("it is there") + needle.len();
        let rest = self.shown.split_off(end);
        std::mem::replace(&mut self.shown, rest)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn the_prompt_answers_describes_and_gives_up() {
    if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skipped("the_prompt_answers_describes_and_gives_up", "no program `script` to make a terminal with");
    }
    let place = Place::new();
    let server = with_orders(&place);
    let state = place.path("state");
    let mut terminal = Terminal::open(&server, &state);
    terminal.shows("sql> ");
    terminal.types("\\d\r");
    assert!(terminal.shows("sql> ").contains("category"));
    // Completed, over several lines, and cut to the width of the terminal.
    terminal.types("sel\t stream, note from \"order\"\r");
    terminal.types("order by stream;\r");
    let shown = terminal.shows("as of position 3");
    assert!(shown.contains("NOTE") && shown.contains("long…") || shown.contains("lon…") || shown.contains("long …"), "{shown}");
    terminal.types("\\d order\r");
    assert!(terminal.shows("recorded_at").contains("COLUMN"));
    terminal.types("selekt 1;\r");
    terminal.shows("the query cannot be answered");
    // What is typed before it reads again would be lost with a Ctrl-C.
    terminal.shows("sql> ");
    // Several at once, as when they are pasted.
    terminal.types("select 'the' || ' first';\r\\d order\rselect 'the' || ' last';\r");
    let shown = terminal.shows("the last");
    assert!(shown.contains("the first") && shown.contains("recorded_at"), "{shown}");
    terminal.shows("sql> ");
    // Without end, until Ctrl-C.
    terminal.types("with recursive r(n) as (select 1 union all select n + 1 from r) select count(*) from r;\r");
    terminal.shows("from r;");
    let started = Instant::now();
    while !terminal.shown.contains("given up") {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not give up:\n{}", terminal.shown);
        terminal.types("\u{3}");
        while let Ok(part) = terminal.parts.recv_timeout(Duration::from_millis(200)) {
            terminal.shown.push_str(&String::from_utf8_lossy(&part));
        }
    }
    terminal.types("\\q\r");
    assert_eq!(wait(&mut terminal.child).code(), Some(0));
    let history = fs::read_to_string(state.join("factum/sql_history")).expect("the history");
    assert!(history.contains("select stream, note") && history.contains("\\d order"), "{history}");
}
