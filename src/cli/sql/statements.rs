//! Where does a statement end? At a `;` outside of quotes and comments.

/// The statements of a text that end with `;`, without it, and what stands behind the last one if that is more than space and comments.
pub(super) fn split(text: &str) -> (Vec<&str>, Option<&str>) {
    let mut statements = Vec::new();
    let mut start = 0;
    let mut has_words = false;
    let mut rest = text.char_indices().peekable();
    while let Some((at, character)) = rest.next() {
        let next = rest.peek().map(|(_, next)| *next);
        match (character, next) {
            ('\'' | '"', _) => {
                has_words = true;
                // A doubled quote ends one quotation and begins the next: nothing is lost by that.
                rest.by_ref().take_while(|(_, inner)| *inner != character).for_each(drop);
            }
            ('-', Some('-')) => rest.by_ref().take_while(|(_, inner)| *inner != '\n').for_each(drop),
            ('/', Some('*')) => skip_comment(&mut rest),
            (';', _) => {
                statements.extend(text.get(start..at).filter(|_| has_words).map(str::trim));
                (start, has_words) = (at + 1, false);
            }
            _ => has_words |= !character.is_whitespace(),
        }
    }
    (statements, text.get(start..).filter(|_| has_words).map(str::trim))
}

/// Whether a prompt has all it needs: a quotation that is open runs to the end, and a `;` in it ends nothing.
pub(super) fn is_complete(text: &str) -> bool {
    let (statements, rest) = split(text);
    rest.is_none() && (!statements.is_empty() || text.trim().is_empty())
}

/// Comments stand in each other.
fn skip_comment(rest: &mut std::iter::Peekable<std::str::CharIndices<'_>>) {
    let mut depth = 1_u32;
    // The star behind the slash that was seen: `/*/` ends nothing.
    rest.next();
    while let Some((_, character)) = rest.next() {
        let next = rest.peek().map(|(_, next)| *next);
        match (character, next) {
            ('*', Some('/')) => depth -= 1,
            ('/', Some('*')) => depth += 1,
            _ => continue,
        }
        rest.next();
        if depth == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_outside_of_quotes_and_comments() {
        let check = |text: &str, statements: &[&str], rest: Option<&str>| assert_eq!(split(text), (statements.to_vec(), rest), "{text}");
        check("select 1; select 2 ;", &["select 1", "select 2"], None);
        check("select ';' ; x", &["select ';'"], Some("x"));
        check("select 'it''s;' as \"a;\"\"b\";", &["select 'it''s;' as \"a;\"\"b\""], None);
        check("-- a;b\nselect 1 -- c;\n;-- d", &["-- a;b\nselect 1 -- c;"], None);
        check("/* ; /* ; */ ; */ select 1;/*/ ; */", &["/* ; /* ; */ ; */ select 1"], None);
        check(";; ;", &[], None);
        check("select 5 - 3 / 2;", &["select 5 - 3 / 2"], None);
        check("select 'open ; ", &[], Some("select 'open ;"));
        check("", &[], None);
    }

    #[test]
    fn a_prompt_waits_for_the_end() {
        for (text, expected) in [
            ("select 1;", true),
            ("select 1", false),
            ("select 1; select", false),
            ("select ';", false),
            ("select 1; -- done", true),
            ("", true),
            ("-- nothing yet", false),
        ] {
            assert_eq!(is_complete(text), expected, "{text}");
        }
    }
}
