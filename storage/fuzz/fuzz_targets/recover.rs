//! Can a directory whose segments were changed by a forger do harm?

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| factum_storage::fuzzing::recover(input));
