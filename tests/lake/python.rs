//! Readers from elsewhere: DuckDB, pyarrow, pandas and Polars, in an environment that `tests/run.sh` makes.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;

use crate::process::skipped;

/// The interpreter that has the readers; a test that gets none says so and ends.
pub(crate) fn interpreter(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("FACTUM_READERS").map(PathBuf::from);
    // Beside the folder of the profile: `target/debug/factum` and `target/readers`.
    let beside = || Some(Path::new(crate::process::FACTUM).parent()?.parent()?.join("readers/bin/python"));
    let found = named.or_else(beside).filter(|path| path.exists());
    if found.is_none() {
        skipped(test, "no environment with DuckDB, pyarrow, pandas and Polars; tests/run.sh makes one");
    }
    found
}

/// Another program of the same environment.
pub(crate) fn program(interpreter: &Path, name: &str) -> PathBuf {
    interpreter.with_file_name(name)
}

/// Runs one of the functions of `readers.py`; what it answers.
pub(crate) fn ask(interpreter: &Path, function: &str, arguments: &Value) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lake/readers.py");
    let output = Command::new(interpreter)
        .arg(script)
        .args([function, &arguments.to_string()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .expect("the interpreter runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{function}({arguments}): {}\n{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{function}: {error}: {}", text(&output.stdout)))
}
