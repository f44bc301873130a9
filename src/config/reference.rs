//! How is `docs/config.md` made? From the table, so it cannot be wrong.

use std::fmt::Write;

use super::SETTINGS;

/// The reference of all settings in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    let mut section = "";
    for setting in SETTINGS {
        if setting.section != section {
            section = setting.section;
            push(
                &mut text,
                &format!("\n## [{section}]\n\n| key | default | form | environment, flag | what it does |\n|---|---|---|---|---|\n"),
            );
        }
        let flag = setting.flag.map(|flag| format!(", `{flag}`")).unwrap_or_default();
        push(
            &mut text,
            &format!(
                "| `{}` | `{}` | {} | `{}`{flag} | {} |\n",
                setting.key,
                setting.default,
                setting.form,
                setting.variable(),
                setting.help
            ),
        );
    }
    text
}

fn push(text: &mut String, more: &str) {
    text.write_str(more).expect("a String takes everything");
}

const HEAD: &str = "\
# Settings

Made by `factum config --markdown`. Later layers win: built-in default, `factum.toml` (or `--config FILE`), environment, flag.
`factum config` prints what holds and where each value came from. A name that is not a setting is an error.
Sizes read `64MiB`, times `250ms`.
";
