//! Can the bytes of a record, a frame, a header or a footer do harm?

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| factum_storage::fuzzing::decode(input));
