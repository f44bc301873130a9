//! Does a store that nothing goes wrong with answer like the model?

use crate::replay::effort;
use crate::replay::play_and_shrink;
use crate::replay::seeds;
use crate::script::Mix;
use crate::script::Step;
use crate::script::generate;
use crate::world::World;
use crate::world::options;

fn play(script: &[Step]) -> Result<(), String> {
    let mut world = World::new(options())?;
    for (number, step) in script.iter().enumerate() {
        world.step(step).map_err(|why| format!("step {number}: {why}"))?;
        if number % 8 == 0 {
            world.check_log().map_err(|why| format!("after step {number}: {why}"))?;
        }
    }
    world.check_answers(1)?;
    world.step(&Step::Reopen)?;
    world.check_answers(2).map_err(|why| format!("after the last open: {why}"))?;
    world.step(&Step::DeleteIndex)?;
    world.check_answers(3).map_err(|why| format!("after the index was made anew: {why}"))
}

pub(crate) fn check_seed(seed: u64) -> Result<(), String> {
    play(&generate(seed, 60, Mix { upkeep_percent: 25, large_percent: 4, reopens: true }))
}

fn run(first: u64, steps: usize, mix: Mix) {
    for seed in seeds(first, 60 * effort()) {
        play_and_shrink(seed, generate(seed, steps, mix), play);
    }
}

#[test]
fn random_requests_get_what_the_model_says() {
    run(1, 80, Mix { upkeep_percent: 20, large_percent: 3, reopens: true });
}

#[test]
fn random_requests_get_what_the_model_says_while_the_store_is_opened_again_and_again() {
    run(10_000, 60, Mix { upkeep_percent: 60, large_percent: 10, reopens: true });
}

#[test]
fn long_histories_get_what_the_model_says() {
    for seed in seeds(20_000, 6 * effort()) {
        play_and_shrink(seed, generate(seed, 600, Mix { upkeep_percent: 10, large_percent: 1, reopens: true }), play);
    }
}
