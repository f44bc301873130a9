//! Are the documents' examples true? Runs every `sh` and `python` block of them against a fresh server, and compares what comes out
//! with the `text` block behind it.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

/// A server of the real binary on a port and a directory of its own; stopped when dropped.
struct Server {
    process: Child,
    url: String,
    data: tempfile::TempDir,
}

impl Server {
    /// With the settings that the document shows first, if it shows any of a server's.
    fn start(document: &[Block]) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        if let Some(settings) = document.iter().find(|block| is_of_server(block)) {
            std::fs::write(data.path().join("factum.toml"), &settings.text).expect("settings can be written");
            std::fs::write(data.path().join("root.secret"), "cm9vdCBpcyB3aG8gbWFrZXMgb3RoZXJz\n").expect("a secret can be written");
        }
        let mut process = Command::new(BINARY)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path().join("data"))
            // Here are the settings, and the files that they name.
            .current_dir(data.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("stdout is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the server's first line can be read");
        let url = line.trim().strip_prefix("factum ready on ").unwrap_or_else(|| panic!("the server said {line:?}")).to_owned();
        Self { process, url, data }
    }
}

fn is_of_server(block: &Block) -> bool {
    block.language == "toml" && ["[auth]", "[shards]"].iter().any(|section| block.text.starts_with(section))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).expect("the server can be stopped");
    }
}

/// A fenced block of a document.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Its first line, 1-based.
    line: usize,
    language: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    for (line, text) in (1..).zip(document.lines()) {
        match (text.strip_prefix("```"), inside) {
            (Some(language), false) => found.push(Block { line: line + 1, language: language.to_owned(), text: String::new() }),
            (None, true) => {
                let block = found.last_mut().expect("a block was opened");
                block.text.push_str(text);
                block.text.push('\n');
            }
            _ => {}
        }
        inside ^= text.starts_with("```");
    }
    found
}

/// Whether `text` is what `pattern` says, where `…` stands for anything within a line.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<&str>, Vec<&str>) = (pattern.trim_end().lines().collect(), text.trim_end().lines().collect());
    pattern.len() == text.len() && pattern.iter().zip(&text).all(|(pattern, line)| matches_line(pattern, line))
}

fn matches_line(pattern: &str, line: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('…') else { return pattern == line };
    let Some(mut left) = line.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('…').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some((_, behind)) = left.split_once(piece) else { return false };
        left = behind;
    }
    left.ends_with(last)
}

/// Runs a document's examples in their order, as a reader would; what is wrong with them.
fn run(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).expect("the document is there");
    let blocks = blocks(&text);
    let server = Server::start(&blocks);
    let folder = Path::new(BINARY).parent().expect("the binary lies in a folder");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let python = python();
    let mut wrong = Vec::new();
    for (at, block) in blocks.iter().enumerate().filter(|(_, block)| matches!(block.language.as_str(), "sh" | "python")) {
        let text = block.text.replace(DEFAULT_URL, &server.url);
        let mut command = match (block.language.as_str(), &python) {
            ("python", Some(python)) => Command::new(python),
            ("python", None) => {
                note(&format!("SKIPPED {document}:{}: no Python that has the readers of the lake; tests/run.sh makes one", block.line));
                continue;
            }
            _ => Command::new("bash"),
        };
        let output = command
            .args(if block.language == "python" { vec!["-c", &text] } else { vec!["-euo", "pipefail", "-c", &text] })
            // Some write files.
            .current_dir(if document.starts_with("docs/guide/") { server.data.path() } else { Path::new(env!("CARGO_MANIFEST_DIR")) })
            .env("PATH", &path)
            .env("FACTUM_URL", &server.url)
            .output()
            .expect("the interpreter is there");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let place = format!("{document}:{}", block.line);
        if !output.status.success() {
            wrong.push(format!("{place}: {}\n{stdout}{stderr}", output.status));
        }
        match blocks.get(at + 1).filter(|next| next.language == "text") {
            Some(expected) if !matches(&expected.text, &stdout) => {
                wrong.push(format!("{place}: expected\n{}\nbut got\n{stdout}\n{stderr}", expected.text));
            }
            Some(_) => {}
            None => wrong.push(format!("{place}: no `text` block says what comes out")),
        }
    }
    wrong
}

/// The interpreter that has DuckDB and pandas, if `tests/run.sh` has made one.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("FACTUM_READERS").map(PathBuf::from);
    // Beside the folder of the profile: `target/debug/factum` and `target/readers`.
    let beside = || Some(Path::new(BINARY).parent()?.parent()?.join("readers/bin/python"));
    named.or_else(beside).filter(|path| path.exists())
}

/// A line for whoever reads the test's output.
#[expect(clippy::print_stderr, reason = "the output of a test is its stderr")]
fn note(text: &str) {
    eprintln!("{text}");
}

#[test]
fn the_guide_is_true() {
    let wrong = run("docs/guide.md");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_guide_to_aggregates_is_true() {
    let wrong = run("docs/guide/aggregates.md");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_guide_to_schemas_is_true() {
    let wrong = run("docs/guide/schemas.md");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_guide_to_projections_is_true() {
    let wrong = run("docs/guide/projections.md");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_guide_to_consumer_groups_is_true() {
    let wrong = run("docs/guide/consumer-groups.md");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_guide_to_what_happens_is_true() {
    let wrong = run("docs/guide/observability.md");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[cfg(feature = "analytics")]
#[test]
fn the_guide_to_analytics_is_true() {
    let wrong = run("docs/guide/analytics.md");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_guide_to_sharding_is_true() {
    let wrong = run("docs/guide/sharding.md");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_guide_to_ranges_and_regions_is_true() {
    let wrong = run("docs/guide/ranges-and-regions.md");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_guide_to_security_is_true() {
    let wrong = run("docs/guide/security.md");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_guide_to_transfers_is_true() {
    let wrong = run("docs/guide/transfers.md");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_readme_is_true() {
    let wrong = run("README.md");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn patterns_match_what_they_say_and_nothing_else() {
    for (pattern, text, expected) in [
        ("abc", "abc\n", true),
        ("abc", "abcd", false),
        ("a…c", "a-b-c", true),
        ("a…b…c", "a-c", false),
        ("…b…", "abc", true),
        ("a…", "b", false),
        ("{…}\n{…}", "{1}\n{2}\n", true),
        ("{…}", "{1}\n{2}", false),
        ("a…a", "a", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern:?} and {text:?}");
    }
    let block = |line, language: &str, text: &str| Block { line, language: language.to_owned(), text: text.to_owned() };
    assert_eq!(blocks("a\n```sh\nb\n```\n```text\n```"), [block(3, "sh", "b\n"), block(6, "text", "")]);
}

const BINARY: &str = env!("CARGO_BIN_EXE_factum");
/// What the documents call the server.
const DEFAULT_URL: &str = "http://127.0.0.1:4400";
