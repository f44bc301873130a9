//! How is a failure found again, and made small?

use crate::script::Step;
use crate::world::World;
use crate::world::options;

/// The seeds to run: `SEED` alone if it is set, else `count` of them from `first` on, as many times over as `CUTS` asks for more than
/// usual.
pub(crate) fn seeds(first: u64, count: u64) -> Vec<u64> {
    if let Some(seed) = number("SEED") {
        return vec![seed];
    }
    (first..first + count).collect()
}

/// How much more than usual is to be done: `CUTS` in proportion to the usual 50,000.
pub(crate) fn effort() -> u64 {
    number("CUTS").map_or(1, |cuts| cuts.div_ceil(50_000).max(1))
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Plays the script; when it fails, looks for a shorter one that fails too, and says so.
pub(crate) fn play_and_shrink(seed: u64, script: Vec<Step>, play: impl Fn(&[Step]) -> Result<(), String>) {
    let Err(first) = play(&script) else { return };
    let mut shortest = script;
    let mut reason = first;
    let mut chunk = shortest.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < shortest.len() {
            let mut shorter = shortest.clone();
            shorter.drain(at..(at + chunk).min(shorter.len()));
            match play(&shorter) {
                Err(why) => {
                    shortest = shorter;
                    reason = why;
                }
                Ok(()) => at += chunk,
            }
        }
        chunk /= 2;
    }
    let steps: Vec<String> = shortest.iter().map(|step| format!("{step:?}")).collect();
    panic!("SEED={seed}: {reason}\n{} steps are left:\n{}", steps.len(), steps.join("\n"));
}

/// One seed run twice makes the same calls with the same bytes, so a seed is all that is needed to find a failure again.
#[test]
fn the_same_seed_gives_the_same_trace() {
    let mix = crate::script::Mix { upkeep_percent: 25, large_percent: 5, reopens: true };
    let run = |seed| {
        let mut world = World::new(options()).expect("opens");
        let disk = world.disk.clone();
        for step in crate::script::generate(seed, 60, mix).iter().filter(|step| !matches!(step, Step::Kill)) {
            world.step(step).unwrap_or_else(|why| panic!("SEED={seed}: {why}"));
        }
        drop(world);
        (disk.trace_hash(), disk.calls())
    };
    let traces: Vec<(u64, u64)> = seeds(1, 5).into_iter().map(run).collect();
    let again: Vec<(u64, u64)> = seeds(1, 5).into_iter().map(run).collect();
    assert_eq!(traces, again);
    assert!(traces.windows(2).all(|pair| pair[0] != pair[1]), "other seeds give other traces: {traces:?}");
}
