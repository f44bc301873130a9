//! What does an error of Postgres mean for who waits: try again, call somebody, or blame a row?

use std::error::Error as _;

use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use super::super::Fault;

/// What went wrong with a statement.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// As it is told to the caller.
    Fault(Fault),
    /// Postgres refuses what some row says: which one is not known yet.
    Refused(String),
    /// An earlier statement of the transaction has failed: that one says why.
    Aborted(String),
}

impl Trouble {
    /// As a fault, where no row was written.
    pub(super) fn into_fault(self) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            Self::Refused(text) => Fault::Lasting(text),
            Self::Aborted(text) => Fault::Passing(text),
        }
    }
}

/// Of what statements of one transaction say that were sent without waiting for each other: why it has failed, if it has.
pub(super) fn first_cause<const COUNT: usize>(done: [Result<(), Trouble>; COUNT]) -> Result<(), Trouble> {
    let mut aborted = Ok(());
    for done in done {
        match done {
            Ok(()) => {}
            Err(trouble @ Trouble::Aborted(_)) => aborted = Err(trouble),
            Err(trouble @ (Trouble::Fault(_) | Trouble::Refused(_))) => return Err(trouble),
        }
    }
    aborted
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Sorts an error by its SQLSTATE. The text names it; it never holds a row's values (`DETAIL` does) nor a password.
pub(super) fn sort(error: &Error, doing: &str) -> Trouble {
    let Some(answer) = error.as_db_error() else {
        // Not an answer: what did not arrive may be tried again.
        return Trouble::Fault(Fault::Passing(format!("postgres, {doing}: {}", with_causes(error))));
    };
    let code = answer.code().code();
    let text = format!("postgres, {doing}: {} (SQLSTATE {code})", answer.message());
    match kind(code) {
        Kind::Passing => Trouble::Fault(Fault::Passing(text)),
        Kind::Refused => Trouble::Refused(text),
        Kind::Aborted => Trouble::Aborted(text),
        Kind::Lasting => Trouble::Fault(Fault::Lasting(format!("{text}{}", advice(code, answer)))),
    }
}

/// An error while connecting: whatever it is, an operator may repair it, and nothing is lost by trying again.
pub(super) fn connecting(error: &Error) -> Fault {
    let text = match error.as_db_error() {
        Some(answer) => format!("{} (SQLSTATE {})", answer.message(), answer.code().code()),
        None => with_causes(error),
    };
    Fault::Passing(format!("postgres, connecting: {text}"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Passing,
    Lasting,
    Refused,
    Aborted,
}

fn kind(code: &str) -> Kind {
    match code {
        // A plan that an ALTER TABLE made stale: the table is looked at anew when it is opened anew.
        "0A000" => Kind::Passing,
        // A standby after a failover; a session that was ended for idling in its transaction.
        "25006" | "25P03" => Kind::Passing,
        "55P03" | "55006" | "3D000" => Kind::Passing,
        "25P02" => Kind::Aborted,
        "54000" | "44000" | "P0001" => Kind::Refused,
        _ => match code.get(..2).unwrap_or_default() {
            // No connection, credentials, rolled back to let another go on, no resources, an operator, a disk or its files.
            "08" | "28" | "40" | "53" | "57" | "58" => Kind::Passing,
            // A value that the type can't hold; a constraint.
            "22" | "23" => Kind::Refused,
            _ => Kind::Lasting,
        },
    }
}

fn advice(code: &str, answer: &DbError) -> String {
    match code {
        "42501" => "; grant it to the projection's user".to_owned(),
        // What depends on a table is a view's name, not a row's value.
        "2BP01" => {
            format!("; {}; drop it first and make it again after", answer.detail().unwrap_or("something depends on it").replace('\n', "; "))
        }
        _ if code.starts_with("42") => "; was the table altered? Put it back, or rebuild the projection".to_owned(),
        _ => String::new(),
    }
}

/// An error with what is behind it.
pub(super) fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_says_what_to_do() {
        for (expected, codes) in [
            (
                Kind::Passing,
                "08006 08P01 57P01 57P02 57P03 57014 40001 40P01 55P03 55006 53100 53200 53300 28P01 28000 3D000 25006 58030 0A000",
            ),
            (Kind::Lasting, "42501 42P01 42703 42804 42P10 3F000 2BP01 XX001"),
            (Kind::Aborted, "25P02"),
            (Kind::Refused, "22021 22P05 22003 22008 23502 23503 23505 23514 54000 P0001"),
        ] {
            for code in codes.split(' ') {
                assert_eq!(kind(code), expected, "{code}");
            }
        }
    }

    /// A full disk under the parked events made a batch with many rows fail for good: the rows behind it only said 25P02.
    #[test]
    fn the_statement_that_failed_is_told_and_not_those_behind_it() {
        let aborted = || Err(Trouble::Aborted("25P02".to_owned()));
        let full = || Err(Trouble::Fault(Fault::Passing("53100".to_owned())));
        for done in [[aborted(), full(), aborted()], [full(), aborted(), aborted()], [aborted(), Ok(()), full()]] {
            assert!(matches!(first_cause(done), Err(Trouble::Fault(Fault::Passing(text))) if text == "53100"));
        }
        assert!(matches!(first_cause([Ok(()), aborted()]), Err(Trouble::Aborted(_))));
        assert!(first_cause([Ok(()), Ok(())]).is_ok());
    }
}
