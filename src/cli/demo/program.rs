//! How is this program called from another terminal?

use std::path::Path;
use std::path::PathBuf;

/// What makes `factum` mean this program in a shell; `None` if it does already, or nobody knows where it is.
pub(super) fn path_to_export() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    if program.file_name()? != "factum" || is_found(&program, &folders) {
        return None;
    }
    Some(format!("export PATH={}:\"$PATH\"", quoted(program.parent()?.to_str()?)))
}

/// Whether the first `factum` of these folders is this one.
fn is_found(program: &Path, folders: &[PathBuf]) -> bool {
    let first = folders.iter().map(|folder| folder.join("factum")).find(|path| path.is_file());
    let whole = |path: &Path| path.canonicalize().ok();
    first.is_some_and(|first| whole(&first).is_some_and(|first| Some(first) == whole(program)))
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = text.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '/' | '.' | '-' | '_'));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        assert_eq!(quoted("/usr/local/bin"), "/usr/local/bin");
        assert_eq!(quoted("/My Programs/it's"), r"'/My Programs/it'\''s'");
    }

    #[test]
    fn only_the_first_of_the_path_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
        for place in [&first, &second] {
            std::fs::create_dir(place).expect("a folder");
            std::fs::write(place.join("factum"), "").expect("a file");
        }
        assert!(is_found(&first.join("factum"), &[first.clone(), second.clone()]));
        assert!(!is_found(&second.join("factum"), &[first, second.clone()]));
        assert!(is_found(&second.join("factum"), &[folder.path().to_owned(), second]));
    }
}
