//! Would this suite notice? Each bug that can be planted is planted, and something must find it.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use factum_storage::disk::sim::Call;
use factum_storage::disk::sim::Fault;
use factum_storage::plant::Plant;
use factum_storage::plant::plant;
use factum_storage::plant::reached;

use crate::against_model;
use crate::crash;
use crate::damage::active;
use crate::damage::sealed;
use crate::damage::zombies;
use crate::faults;
use crate::index;
use crate::world::options;

type Check = (&'static str, fn() -> Result<(), String>);

/// A bounded part of the suite, the quick ones first.
const CHECKS: [Check; 20] = [
    ("earlier epoch", zombies::check_earlier_epoch),
    ("foreign chain", zombies::check_foreign_chain),
    ("gap", zombies::check_gap),
    ("failed sync", faults::check_failed_sync),
    ("index ahead", index::check_index_ahead),
    ("flips in the tail", || active::check_flips_in_the_tail(37)),
    ("flips below durable", || active::check_flips_below_durable(33)),
    ("misdirected commit", active::check_misdirected_commit),
    ("misplaced segments", sealed::check_misplaced),
    ("exchanged offsets", sealed::check_exchanged_offsets),
    ("misdirected blocks", sealed::check_misdirected),
    ("second to last segment", || sealed::check_second_to_last(31)),
    ("lengths", sealed::check_lengths),
    ("lying sync", faults::check_lying_sync),
    ("failing flush", || (1..8).try_for_each(|nth| index::check_failing_flush(Fault::Eio, nth, Call::Write).map(drop))),
    ("model", || (1..6).try_for_each(against_model::check_seed)),
    ("chaos", || (1..10).try_for_each(faults::check_chaos)),
    ("torn batch", || active::check_torn_batch(200, 3)),
    ("recovery cut", || crash::cut_recovery_everywhere(5_000).map(drop)),
    ("power cuts", || (1..4).try_for_each(|seed| crash::cut_everywhere(seed, 20, crash::ROLL_OVER, options(), 6).map(drop))),
];

/// Runs checks until one fails; a panic is a failure too.
fn find(checks: &[Check]) -> Option<(&'static str, String)> {
    checks.iter().find_map(|(name, check)| {
        let outcome = catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| Err("panicked".to_owned()));
        outcome.err().map(|why| (*name, why))
    })
}

#[expect(clippy::print_stderr, reason = "who found which bug is worth reading with `--no-capture`")]
fn note(line: &str) {
    eprintln!("{line}");
}

fn all_found(plants: &[Plant]) {
    let mut missed = Vec::new();
    for bug in plants {
        let planted = plant(*bug);
        let found = find(&CHECKS);
        let was_reached = reached();
        drop(planted);
        match found {
            Some((name, why)) => note(&format!("{bug:?}: found by {name}: {}", why.chars().take(160).collect::<String>())),
            None => missed.push(format!("{bug:?}{}", if was_reached { "" } else { " (the engine never came by it)" })),
        }
    }
    assert!(missed.is_empty(), "nobody found {missed:?}");
}

#[test]
fn planted_bugs_are_all_found_first_half() {
    all_found(&Plant::ALL[..Plant::ALL.len() / 2]);
}

#[test]
fn planted_bugs_are_all_found_second_half() {
    all_found(&Plant::ALL[Plant::ALL.len() / 2..]);
}

#[test]
fn nothing_is_found_where_nothing_is_planted() {
    assert_eq!(find(&CHECKS), None);
}
