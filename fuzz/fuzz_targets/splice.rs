//! Two messages of a call, combined into a third one that comes from another address. `fuzz/src/network/splice.rs`
//! defines the input.
#![no_main]

use fuzz::splice;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| splice(input));
