//! Which row of a batch is it that Postgres refuses?

use super::super::Fault;
use super::fault::Trouble;
use super::writer::Work;
use crate::projection::row::Write;

/// Tries the rows in a transaction that is rolled back: all, then halves of what fails, down to one row. What was fine stays for those
/// behind it, so that the second of two rows that exclude each other is found.
pub(super) async fn find(work: &Work, writes: &[Write], detail: String) -> Fault {
    match search(work, writes).await {
        Ok(Some(fault)) => fault,
        // It is fine now: whatever was in the way is gone, or stands in what is not a row.
        Ok(None) => Fault::Passing(detail),
        Err(trouble) => trouble.into_fault(),
    }
}

async fn search(work: &Work, writes: &[Write]) -> Result<Option<Fault>, Trouble> {
    let session = &work.session;
    session.run("rolling back", "ROLLBACK").await?;
    // Constraints that wait for the commit must speak now.
    work.begin("BEGIN; SET CONSTRAINTS ALL IMMEDIATE").await?;
    // In the order in which a commit does them.
    let mut ordered: Vec<Write> = writes.iter().filter(|write| write.row.is_none()).cloned().collect();
    ordered.extend(writes.iter().filter(|write| write.row.is_some()).cloned());
    let mut waiting: Vec<&[Write]> = vec![&ordered];
    let mut culprit = None;
    while let Some(part) = waiting.pop() {
        session.run("looking for the row", "SAVEPOINT part").await?;
        match work.write_rows(part).await {
            Ok(()) => session.run("looking for the row", "RELEASE SAVEPOINT part").await?,
            Err(trouble @ (Trouble::Fault(_) | Trouble::Aborted(_))) => return Err(trouble),
            Err(Trouble::Refused(detail)) => {
                session.run("looking for the row", "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part").await?;
                if let [write] = part {
                    culprit = Some(Fault::Row { key: write.key.clone(), detail });
                    break;
                }
                let (first, second) = part.split_at(part.len() / 2);
                waiting.push(second);
                waiting.push(first);
            }
        }
    }
    session.run("rolling back", "ROLLBACK").await?;
    Ok(culprit)
}
